"""ReviBranch: a learned branching rule for SCIP.

    import revibranch
    revibranch.include(model)
    model.optimize()

Names are imported when they are first used: ``import revibranch`` alone loads neither torch nor SCIP.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .branching._bipartite import BipartiteBuffer
    from .branching.brancher import LearnedBrancher
    from .branching.policy import Policy, PolicyError
    from .branching.solving import optimize
    from .branching.state import BranchState
    from .gnn.description import CheckpointError
    from .gnn.plugin import include
    from .gnn.policy import load_policy

    __version__: str

if find_spec(".branching", __name__) is None:
    raise ImportError(
        f"{__path__[0]} is a part of the sources, not the installed package: Python found it in the working directory. Work in "
        "another folder, or call python -P"
    )

__all__ = [
    "BipartiteBuffer",
    "BranchState",
    "CheckpointError",
    "LearnedBrancher",
    "Policy",
    "PolicyError",
    "__version__",
    "include",
    "load_policy",
    "optimize",
]

_HOMES = {
    "BipartiteBuffer": ".branching._bipartite",
    "BranchState": ".branching.state",
    "CheckpointError": ".gnn.description",
    "LearnedBrancher": ".branching.brancher",
    "Policy": ".branching.policy",
    "PolicyError": ".branching.policy",
    "include": ".gnn.plugin",
    "load_policy": ".gnn.policy",
    "optimize": ".branching.solving",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("revibranch")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name], __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
