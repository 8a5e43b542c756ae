"""A bridge to Ecole (Prouvost et al. 2020): our state and policies in its environments, its instances in ours (extra ``ecole``).

    environment = ecole.environment.Branching(observation_function=BranchStateObservation())
    episode = branch(ecole.environment.Branching(observation_function=None), policy, "instance.mps")
    with BranchingEnv(sources(ecole.instance.SetCoverGenerator(500, 1000))) as environment: ...

This module is written against the published interface of Ecole 0.8 and has not been run against Ecole itself: none could be
installed where it was written. Its tests run with a stand-in of that interface, and with Ecole where there is one.

Both sides must call one and the same SCIP library, as an Ecole model is read through PySCIPOpt; a model of one library crashes in
the other. That is compared before anything is called. PySCIPOpt's wheel and Ecole from a package index carry two. Ecole 0.8 is
for SCIP 8 and PySCIPOpt from 5.7 on for SCIP 9 and 10, so Ecole must be one that was ported and built on PySCIPOpt's SCIP.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pyscipopt
from pyscipopt import Model

from ._bipartite import BipartiteBuffer
from ._scip import Search
from .brancher import LearnedBrancher
from .mixture import as_asked
from .path import PathMemory
from .policy import PathStep, Policy, PolicyError
from .state import BranchState
from .statistics import BrancherStatistics

__all__ = ["BranchStateObservation", "EcoleEpisode", "EcoleLibraryError", "EcoleSource", "branch", "sources"]

_REMEDY = (
    "a model of the one crashes in the other; Ecole must be one that was ported to PySCIPOpt's SCIP (the release 0.8 is for SCIP 8) "
    "and built on the same SCIP library"
)


class EcoleLibraryError(ImportError):
    """Ecole and PySCIPOpt call two different SCIP libraries, so nothing can be passed from one to the other."""


# ---- one SCIP library for both ------------------------------------------------------------------------------------------------


class _DlInfo(ctypes.Structure):
    _fields_ = (("file", ctypes.c_char_p), ("base", ctypes.c_void_p), ("symbol", ctypes.c_char_p), ("address", ctypes.c_void_p))


def _scip_behind(extension: ModuleType) -> tuple[int | None, str]:
    """Where an extension module's SCIP lies in memory, and its file; None where no library that it loads exports SCIP."""
    path = os.fspath(extension.__file__ or "")
    try:
        # A handle of what is loaded already: names are looked up in it and in the libraries that it was linked with.
        function = ctypes.CDLL(path, mode=os.RTLD_LAZY | os.RTLD_NOLOAD).SCIPmajorVersion
    except (AttributeError, OSError):
        return None, f"inside {path}"
    address = ctypes.cast(function, ctypes.c_void_p).value
    info = _DlInfo()
    known = ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(info))
    return address, os.fsdecode(info.file) if known and info.file else "unknown"


def _library() -> ModuleType:
    """Ecole, after a look at its SCIP.

    Raises:
        ImportError: Ecole is not installed, or cannot be loaded.
        EcoleLibraryError: it calls another SCIP library than PySCIPOpt.
    """
    try:
        ecole = importlib.import_module("ecole")
        extension = importlib.import_module("ecole.core")
    except ImportError as error:
        raise ImportError(f"this needs Ecole, on the SCIP library that PySCIPOpt calls; it cannot be imported: {error}") from error
    (theirs, their_file), (ours, our_file) = _scip_behind(extension), _scip_behind(pyscipopt.scip)
    if theirs is None or theirs != ours:
        raise EcoleLibraryError(f"Ecole's SCIP is {their_file}, PySCIPOpt's is {our_file}: {_REMEDY}")
    return ecole


# ---- our state as an observation ------------------------------------------------------------------------------------------------


class BranchStateObservation:
    """Ecole's ``ObservationFunction`` that gives our state in place of ``NodeBipartite``.

    Within ``ecole.environment.Branching``, whose action set holds ``state.candidates``: both are places in ``SCIPgetVars``.
    (Ecole lists all LP candidates, the state those of the best branching priority. Without priorities they are the same.)

    Args:
        extended: observe all columns of ``VARIABLE_COLUMNS``, not only Ecole's 19.

    Raises:
        ImportError: as an ``EcoleLibraryError`` too, see there.
    """

    def __init__(self, *, extended: bool = True) -> None:
        _library()
        self._extended = extended
        self._model: Any = None
        # The buffer holds this model weakly, and this model holds Ecole's.
        self._view: Model | None = None
        self._buffer: BipartiteBuffer | None = None

    def before_reset(self, model: Any) -> None:
        """An episode begins on this ``ecole.scip.Model``; Ecole calls it."""
        self._model, self._view = model, model.as_pyscipopt()
        self._buffer = BipartiteBuffer(self._view, extended=self._extended)

    def extract(self, model: Any, done: bool) -> BranchState | None:
        """The state of the focus node, with arrays of its own; None at the end of an episode.

        Raises:
            RuntimeError: the model is not at a node with a solved LP.
        """
        if done:
            return None
        if model is not self._model:
            self.before_reset(model)
        assert self._buffer is not None
        return self._buffer.update().copy()


# ---- our policies in its environment ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EcoleEpisode:
    """One episode of an Ecole environment under a policy of ours. The environment's ``model`` tells bounds and solutions."""

    statistics: BrancherStatistics
    """What the policy did; its seconds are those of this side alone, and the branching itself is not in them."""
    rewards: tuple[Any, ...]
    """What the environment's reward function gave: the offset of ``reset``, then one entry a step."""
    information: Any
    """What its information function gave last."""
    error: BaseException | None
    """The policy's first exception."""


def branch(environment: Any, policy: Policy, instance: Any, *, strict: bool = False) -> EcoleEpisode:
    """Run an episode of an Ecole environment to its end; the policy chooses the actions.

    A policy that fails or gives None leaves the node to SCIP's next rule (``ecole.Default``), as in the plugin. What the
    environment observes is not used: ``observation_function=None`` saves it.

    Args:
        environment: an ``ecole.environment.Branching``, with whatever parameters, rewards and information it was made with.
        policy: who scores the candidates, such as ``revibranch.load_policy("auction")``. If it asks for SCIP's pseudocosts beside its
            scores it gets them, as with ``include``; a guard it has only if it is a ``GuardedPolicy``.
        instance: what ``environment.reset`` takes, an ``ecole.scip.Model`` or the path of a file.
        strict: raise the policy's first exception after the episode.

    Raises:
        ImportError: Ecole is not installed; as an ``EcoleLibraryError``, it calls another SCIP library than PySCIPOpt.
        PolicyError: the policy branched by itself; the episode is not at its end then.
        Exception: what the environment raised; with ``strict`` what the policy raised.
    """
    default = _library().Default
    _, _, reward, done, information = environment.reset(instance)
    rewards = [reward]
    view = environment.model.as_pyscipopt()
    chooser = _Chooser(view, as_asked(policy), strict=strict)
    while not done:
        choice = chooser.choose()
        _, _, reward, done, information = environment.step(default if choice is None else choice)
        rewards.append(reward)
    if strict and chooser.error is not None:
        raise chooser.error
    return EcoleEpisode(chooser.statistics, tuple(rewards), information, chooser.error)


class _Choice(Search):
    """A search in which branching is left to somebody else: what was to be branched on is kept."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.chosen: int | None = None

    def branch(self, position: int) -> tuple[int, int, int]:
        self.chosen = position
        return -1, -1, -1  # the children do not exist yet


class _Paths(PathMemory):
    """Paths where the children of a decision become known only when the search comes to them."""

    def __init__(self, view: Model, search: Search) -> None:
        super().__init__(search)
        self._view = view
        self._decisions: dict[int, tuple[int, object]] = {}

    def clear(self) -> None:
        super().clear()
        self._decisions.clear()

    def keep(self, state: BranchState, children: tuple[int, int, int], memory: object) -> None:
        self._decisions[state.node.number] = state.node.depth, memory
        super().keep(state, children, memory)

    def path(self) -> tuple[PathStep, ...]:
        node = self._view.getCurrentNode()
        while (parent := node.getParent()) is not None:
            number, entered = parent.getNumber(), node.getNumber()
            if entered in self._steps:
                break  # and so are all above it
            branching = node.getParentBranchings() if number in self._decisions else None
            # One bound was changed: the upper one down, the lower one up. Nodes made by other rules may have more.
            if branching is not None and len(branching[2]) == 1:
                depth, memory = self._decisions[number]
                self._steps[entered] = PathStep(number, depth, 1 if branching[2][0] == 0 else 0, memory)
            node = parent
        return super().path()

    def _prune(self, alive: set[int]) -> None:
        super()._prune(alive)
        self._decisions = {number: decision for number, decision in self._decisions.items() if number in alive}


class _Chooser(LearnedBrancher):
    """The brancher, outside of SCIP: it says what to branch on and leaves the rest to the environment."""

    def __init__(self, view: Model, policy: Policy, *, strict: bool) -> None:
        super().__init__(view, policy, strict=strict)
        self._view = view  # the base holds it weakly
        self._choice = self._search = _Choice(view)
        self._paths = _Paths(view, self._choice)
        self._run = 0

    def choose(self) -> int | None:
        """The place in ``SCIPgetVars`` of the variable to branch on; None leaves the node to SCIP's next rule.

        Raises:
            PolicyError: the policy branched by itself.
        """
        if self._choice.run != self._run:
            self._run = self._choice.run
            self.branchinitsol()
        self._choice.chosen = None
        # Unlike in a callback of SCIP, KeyboardInterrupt and its like may pass.
        try:
            self._branch()
        except Exception as error:
            self._hand_over(error)
        if self._choice.n_children > 0:
            raise PolicyError("the policy branched by itself: the environment cannot go on from there")
        return self._choice.chosen


# ---- its instances ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EcoleSource:
    """The problem of an Ecole model, which can be loaded any number of times and sent to other processes."""

    name: str
    """Name of the instance."""
    problem: str = field(repr=False)
    """The problem in SCIP's CIP format, its numbers with 15 digits, as SCIP writes them."""
    family: str | None = None
    """Family where it is known."""

    def load(self) -> Model:
        """A new, silent PySCIPOpt model."""
        model = Model()
        model.hideOutput()
        with tempfile.TemporaryDirectory(prefix="revibranch-") as folder:
            path = Path(folder, "problem.cip")
            path.write_text(self.problem)
            model.readProblem(str(path))
        return model


def sources(models: Iterable[Any], *, family: str | None = None) -> Iterator[EcoleSource]:
    """Ecole models (one of its generators, which have no end, or a list) as instances for ``BranchingEnv`` or an evaluation.

    Models are taken as they are asked for. ``list(sources(models))`` can be gone through again, as evaluations need it;
    of a generator take as many as are wanted first (``itertools.islice``).

    Args:
        models: ``ecole.scip.Model`` objects.
        family: the family of all of them, where it is known.

    Raises:
        ImportError: as an ``EcoleLibraryError`` too, see there.
    """
    _library()
    return (_source(model, place, family) for place, model in enumerate(models))


def _source(model: Any, place: int, family: str | None) -> EcoleSource:
    with tempfile.TemporaryDirectory(prefix="revibranch-") as folder:
        path = Path(folder, "problem.cip")
        model.write_problem(str(path))
        return EcoleSource(f"{model.name or 'ecole'}-{place}", path.read_text(), family)
