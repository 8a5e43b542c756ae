"""What a brancher asks: the ``Policy`` protocol, and the revived path that it hands over."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from .state import BranchState

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["PathStep", "Policy", "PolicyError", "PolicyWrapper", "best_candidate", "check_policy", "innermost"]


class PolicyError(RuntimeError):
    """The policy answered, but not with scores that can be used."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """One branching decision on the way from the root to the node at hand."""

    node: int
    """SCIP's number of the node that was branched on."""
    depth: int
    """Its depth."""
    child: int
    """Which child the way entered: 0 down, 1 up, 2 the middle child of an integer value."""
    memory: object
    """What the policy returned from ``remember`` at that node."""


class Policy(Protocol):
    """Scores the branching candidates of a node.

    Subclass it (all methods but ``score`` have bodies) or give an object of the same shape, with or without ``skip``, ``report``,
    ``raises_bound`` and ``mixes_pseudocosts``. A policy may raise: the brancher reports it once, lets SCIP's next rule take the
    node, and goes on.
    """

    extended: bool = True
    """Whether the policy reads the variable columns behind Ecole's 19. False saves the time to write them."""
    needs_path: bool = True
    """Whether ``score`` reads ``path`` or ``remember`` has an effect. False saves both: ``path`` is then empty."""
    raises_bound: bool = True
    """Whether its choices are to raise the dual bound. False for one whose trees end when they come upon a solution that attains the
    root's bound: gains say nothing of its choices, so the guard does not judge it by them."""
    mixes_pseudocosts: bool = False
    """Whether ``include`` mixes SCIP's pseudocosts into its scores, the more the better they are known
    (:class:`~revibranch.branching.mixture.MixedPolicy`)."""

    def begin(self, model: Model) -> None:
        """Called before the first decision of a solve, after presolving; again where another model's solve came in between.

        Args:
            model: what is solved. Keep ``weakref.ref(model)`` of it, if anything: a model that its own policy refers to is
                never freed.
        """

    @abstractmethod
    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
        """Scores of the candidates, (k,) floats in the order of ``state.candidates``; the highest finite one is taken.

        NaN marks a candidate that must not be taken. None leaves the node to SCIP's next rule, which is no failure.

        Args:
            state: the graph at the node; its arrays are valid during this call only (``state.copy()`` keeps them).
            path: the decisions of this plugin between the root and the node, root first. Ancestors that another
                rule branched on are missing.
        """

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:  # noqa: ARG002
        """Called after the node was branched on; what it returns reaches all descendants as ``PathStep.memory``.

        Args:
            state: as in ``score``, of the same node.
            path: as in ``score``.
            choice: place of the chosen candidate within ``state.candidates``.
        """
        return None

    def skip(self) -> bool:
        """Called before a node's state is written. True leaves the node to SCIP's next rule, at no further cost.

        SCIP asks more than once at a node where a rule tightens domains in place of branching.
        """
        return False

    def report(self) -> Mapping[str, float | str]:
        """What is worth knowing of the last solve beside its scores, by name; the brancher's statistics carry it."""
        return {}


class PolicyWrapper(Policy):
    """A policy around another one: passes everything on, and its subclasses change what they are there for.

    Args:
        policy: the one inside; it may lack ``skip``, ``report``, ``raises_bound`` and ``mixes_pseudocosts``.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    @property
    def extended(self) -> bool:  # type: ignore[override]
        """As the policy has it."""
        return self.policy.extended

    @property
    def needs_path(self) -> bool:  # type: ignore[override]
        """As the policy has it."""
        return self.policy.needs_path

    @property
    def raises_bound(self) -> bool:  # type: ignore[override]
        """As the policy has it; True where it does not say."""
        return getattr(self.policy, "raises_bound", True)

    @property
    def mixes_pseudocosts(self) -> bool:  # type: ignore[override]
        """As the policy has it; False where it does not say."""
        return getattr(self.policy, "mixes_pseudocosts", False)

    def begin(self, model: Model) -> None:
        """Begin with the policy."""
        self.policy.begin(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating] | None:
        """The policy's scores."""
        return self.policy.score(state, path)

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> object:
        """The policy's memory."""
        return self.policy.remember(state, path, choice)

    def skip(self) -> bool:
        """As the policy has it."""
        inner = getattr(self.policy, "skip", None)
        return bool(inner()) if inner is not None else False

    def report(self) -> Mapping[str, float | str]:
        """What the policy has to say."""
        inner = getattr(self.policy, "report", None)
        report: Mapping[str, float | str] = inner() if inner is not None else {}
        return report


def best_candidate(scores: object, n_candidates: int) -> int:
    """Place of the highest finite score; the first of equals.

    Raises:
        PolicyError: not one score per candidate, or none of them finite.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.shape != (n_candidates,):
        raise PolicyError(f"the policy gave scores of shape {array.shape} for {n_candidates} candidates")
    best = int(array.argmax())
    if math.isfinite(array[best]):
        return best
    finite = np.isfinite(array)
    if not finite.any():
        raise PolicyError("the policy gave no finite score")
    return int(np.where(finite, array, -np.inf).argmax())


def check_policy(policy: object) -> None:
    """Refuse what cannot be asked.

    Raises:
        TypeError: a class in the place of an object, or an object that lacks something of ``Policy``.
    """
    if isinstance(policy, type):
        raise TypeError(f"a policy is an object: {policy.__name__}(...), not the class {policy.__name__} itself")
    missing = [name for name in ("extended", "needs_path", "begin", "score", "remember") if not hasattr(policy, name)]
    if missing:
        raise TypeError(f"{type(policy).__name__} is no policy: it lacks {', '.join(missing)} (subclass revibranch.Policy)")


def innermost(policy: Policy) -> Policy:
    """The policy inside all wrappers."""
    while isinstance(policy, PolicyWrapper):
        policy = policy.policy
    return policy
