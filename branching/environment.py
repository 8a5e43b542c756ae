"""Branching as a Gymnasium environment: ``reset`` and ``step`` around a SCIP solve (extra ``revibranch[gym]``).

One episode::

    with BranchingEnv(resolve_all(["setcover:500x1000:0-99"]), reward=-nodes) as environment:
        state, info = environment.reset(seed=0)
        terminated = truncated = False
        while not (terminated or truncated):
            state, reward, terminated, truncated, info = environment.step(my_choice(state))

The process is that of Ecole's ``Branching`` (Prouvost et al. 2020): one step is one node that is branched on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

try:
    import gymnasium
except ImportError as error:
    raise ImportError("the environment needs Gymnasium: pip install 'revibranch[gym]'") from error

from .control import ControlledSolve
from .measures import SETTLED
from .padding import Padding, PaddingError
from .reward_functions import Progress, Reward, RewardFunction, dual_integral, lp_iterations, nodes, seconds
from .settings import INFINITY, LARGEST_SEED, MOST_NODES, SETTINGS, apply_seed, apply_settings
from .sources import Instance, InstancesExhaustedError, Turns, place_among
from .spaces import CandidateSpace, StateSpace, padded_space
from .state import BranchState
from .statistics import BrancherStatistics

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = [
    "BranchingEnv",
    "CandidateSpace",
    "Instance",
    "InstancesExhaustedError",
    "NoDecisionError",
    "Padding",
    "PaddingError",
    "Progress",
    "Reward",
    "RewardFunction",
    "StateSpace",
    "dual_integral",
    "lp_iterations",
    "nodes",
    "seconds",
]

_SOLVING = "solving"


class NoDecisionError(RuntimeError):
    """No instance came to a branching decision."""


class BranchingEnv(gymnasium.Env):  # type: ignore[misc]
    """Chooses branching variables, one step a decision. To be used from one thread.

    An observation is a ``BranchState`` with arrays of its own, or with ``padding`` a dictionary of arrays of fixed shapes.
    An action is a place within ``state.candidates``. After the end the last observation is given once more.

    Instances that SCIP solves (or gives up at a limit) without a decision are passed over, ``tries`` of them at most, and counted
    in ``info["skipped"]``. SCIP runs in a thread of its own, which ends by ``close``, by ``reset``, by an exception such as Ctrl-C
    while ``step`` waits, and at the latest when the environment is garbage. SCIP stops between two nodes or LPs, not within one.
    A fork does not take that thread along: in the child the episode is over.

    ``info`` holds ``instance`` (its name), ``skipped``, ``scip_seed`` (as in ``apply_seed``), ``status`` (SCIP's; ``solving``
    before the end), ``candidates`` (k,) int32 and ``action_mask`` (k,) int8, all ones, both filled up to (K,) with a padding,
    ``node`` (``NodeFacts`` of the last decision), ``decisions`` and ``fallbacks`` so far, ``nodes`` and ``lp_iterations`` as in
    ``Progress``, ``primal_bound`` and ``dual_bound`` in the instance's own sense. After the end there are no candidates. The
    same seed and actions give the same info, unless SCIP comes to a time limit; times are in ``progress``.

    Args:
        instances: sources or functions that make a model; taken in turn, again and again, from the first one on after
            ``reset(seed=...)``. An iterator is taken as it comes, may be endless, may give models too, and cannot go back.
        settings: named SCIP parameters, see ``SETTINGS``.
        reward: from the progress at two decisions to a number, such as ``-nodes - 0.001 * lp_iterations``.
        seed: of the first ``reset`` that gives none. It decides SCIP's seeds, one an episode.
        time_limit: SCIP's time limit in seconds; its clock (the wall's by default) runs on between two steps. With None, or 1e20
            and more, the model's own limit stays.
        node_limit: nodes over all restarts; with None the model's own limit stays.
        padding: observations are dictionaries of these sizes.
        extended: observe all columns of ``VARIABLE_COLUMNS``, not only Ecole's 19.
        tries: instances that a ``reset`` may look at to find one with a decision.

    Raises:
        ValueError: no instances, unknown settings, or a limit or number of tries that is not positive, or too large an integer.
        TypeError: what is given as instances is no iterable, or what is given as a limit or number of tries no number, or no integer.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  (Gymnasium's declaration)

    def __init__(
        self,
        instances: Iterable[Instance | Model],
        *,
        settings: str = "clean",
        reward: Reward = -nodes,
        seed: int = 0,
        time_limit: float | None = None,
        node_limit: int | None = None,
        padding: Padding | None = None,
        extended: bool = True,
        tries: int = 100,
    ) -> None:
        if settings not in SETTINGS:
            raise ValueError(f"unknown settings {settings!r}; known are {', '.join(SETTINGS)}")
        tries = _positive_integer("tries", tries)
        limits: dict[str, float | int] = {}
        if time_limit is not None and (seconds := _positive_seconds(time_limit)) < INFINITY:
            limits["limits/time"] = seconds
        if node_limit is not None:
            limits["limits/totalnodes"] = _positive_integer("node_limit", node_limit)
        self._turns = Turns(instances)
        self._settings, self._reward = settings, reward
        self._limits = limits
        self._padding, self._extended, self._tries = padding, extended, tries
        self.action_space = CandidateSpace(None if padding is None else padding.candidates)
        self.observation_space = StateSpace() if padding is None else padded_space(padding, extended)
        self._solve: ControlledSolve | None = None
        self._state: BranchState | None = None
        self._skipped = self._decisions = self._scip_seed = 0
        if seed is not None:
            super().reset(seed=seed)

    # ---- Gymnasium ------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[BranchState | dict[str, NDArray[Any]], dict[str, Any]]:
        """Begin an episode with the next instance that needs a decision; ends the one that is under way.

        Args:
            seed: of SCIP's seeds from here on; begins with the first instance again.
            options: ``{"instance": i}`` begins with the i-th instance, 0 being the first.

        Raises:
            NoDecisionError: no instance within ``tries`` came to a decision.
            InstancesExhaustedError: the iterator of instances has come to its end.
            PaddingError: the first state does not fit into the padding.
            ValueError: unknown options, or an instance that gives no model, or one whose solve has begun.
            Exception: what loading or solving an instance raised.
        """
        self.close()
        super().reset(seed=seed)
        if seed is not None:
            self._turns.rewind()
        self._take_options(options or {})
        self._decisions = 0
        endings: list[str] = []
        for skipped in range(self._tries):
            self._skipped = skipped
            self._solve = self._new_solve()
            try:
                self._state = self._solve.begin()
            except BaseException:
                self.close()
                raise
            if self._state is not None:
                return self._observe(), self._info()
            assert self._solve.ending is not None
            endings.append(f"{self._solve.progress.instance} ({self._solve.ending.status})")
            self.close()
        raise NoDecisionError(f"no branching decision on {len(endings)} instances, the last of them {', '.join(endings[-3:])}")

    def step(self, action: Any) -> tuple[BranchState | dict[str, NDArray[Any]], float, bool, bool, dict[str, Any]]:
        """Branch on a candidate and go on to the next decision or to the end.

        Args:
            action: place within ``state.candidates``, an integer 0 .. k-1.

        Returns:
            Observation, reward, whether the instance is solved, whether a limit (or an interrupt) ended the solve, info.

        Raises:
            ValueError: the action is no such place. Nothing has happened then, and another one may be tried.
            gymnasium.error.ResetNeeded: no episode is under way.
            PaddingError: the next state does not fit into the padding; the episode is over.
            Exception: what the solve raised; the episode is over. What the reward raised: the step is taken, its
                observation is lost, and the episode goes on, unless it ended with this step.
            RuntimeError: this process was forked during the episode, which goes on in the parent.
        """
        solve, state = self._solve, self._state
        if solve is None or state is None or solve.ending is not None:
            raise gymnasium.error.ResetNeeded("no episode is under way: call reset()")
        place = place_among(action, len(state.candidates), "an action")
        before = solve.progress
        try:
            self._state = solve.branch(place) or state
            self._decisions += 1
        except BaseException:
            self.close()
            raise
        observation, info = self._observe(), self._info()
        status = info["status"]
        reward = float(self._reward(before, solve.progress))
        return observation, reward, status in SETTLED, status not in SETTLED and status != _SOLVING, info

    def close(self) -> None:
        """End the episode that is under way, if any: SCIP has returned and its model is free when this returns."""
        solve, self._solve, self._state = self._solve, None, None
        self.action_space.n_candidates = 1
        if solve is not None:
            solve.stop()

    # ---- beside Gymnasium -----------------------------------------------------------------------------------------

    @property
    def model(self) -> Model | None:
        """The model of the episode, also after its end, until ``reset`` or ``close``; to be read, not to be changed or kept."""
        return None if self._solve is None else self._solve.model

    @property
    def progress(self) -> Progress | None:
        """How far the episode has come, seconds included; None without an episode."""
        return None if self._solve is None else self._solve.progress

    @property
    def statistics(self) -> BrancherStatistics | None:
        """What the brancher counted in the episode, its inference time being the caller's; None without an episode."""
        return None if self._solve is None else self._solve.statistics

    def action_masks(self) -> NDArray[np.bool_]:
        """(k,) or with a padding (K,) bool: which actions are valid, under the name that sb3-contrib's MaskablePPO asks for."""
        return self._filled_up(np.ones(len(self._candidates()), dtype=np.bool_))

    # ---- within ---------------------------------------------------------------------------------------------------

    def _take_options(self, options: Mapping[str, Any]) -> None:
        if unknown := set(options) - {"instance"}:
            raise ValueError(f"unknown options {', '.join(sorted(map(str, unknown)))}; known is instance")
        if "instance" in options:
            self._turns.choose(options["instance"])

    def _new_solve(self) -> ControlledSolve:
        model, name = self._turns.next_model()
        apply_settings(model, self._settings)
        self._scip_seed = int(self.np_random.integers(LARGEST_SEED + 1))
        apply_seed(model, self._scip_seed)
        if self._limits:
            model.setParams(self._limits)
        return ControlledSolve(model, name, extended=self._extended)

    def _candidates(self) -> NDArray[np.int32]:
        if self._solve is None or self._solve.ending is not None or self._state is None:
            return np.zeros(0, dtype=np.int32)
        return self._state.candidates

    def _filled_up(self, values: NDArray[Any]) -> NDArray[Any]:
        if self._padding is None:
            return values
        room = np.zeros(self._padding.candidates, dtype=values.dtype)
        room[: len(values)] = values
        return room

    def _observe(self) -> BranchState | dict[str, NDArray[Any]]:
        assert self._state is not None
        candidates = self._candidates()
        self.action_space.n_candidates = max(len(candidates), 1)
        if self._padding is None:
            return self._state
        try:
            arrays = self._padding.arrays(self._state)
        except PaddingError:
            self.close()
            raise
        arrays["action_mask"][len(candidates) :] = 0
        return arrays

    def _info(self) -> dict[str, Any]:
        assert self._solve is not None
        assert self._state is not None
        progress, ending, candidates = self._solve.progress, self._solve.ending, self._candidates()
        return {
            "instance": progress.instance,
            "skipped": self._skipped,
            "scip_seed": self._scip_seed,
            "status": _SOLVING if ending is None else ending.status,
            "candidates": self._filled_up(candidates.copy()),
            "action_mask": self._filled_up(np.ones(len(candidates), dtype=np.int8)),
            "node": self._state.node,
            "decisions": self._decisions,
            "fallbacks": self._solve.statistics.fallbacks,
            "nodes": progress.nodes,
            "lp_iterations": progress.lp_iterations,
            "primal_bound": progress.primal_bound,
            "dual_bound": progress.dual_bound,
        }


def _positive_seconds(value: object) -> float:
    given: Any = value
    if not isinstance(value, Real):
        raise TypeError(f"time_limit is a number of seconds, not {value!r}")
    if not given > 0:
        raise ValueError(f"time_limit is positive, not {value}")
    return float(given) if given < INFINITY else INFINITY  # integers may be too large for a float


def _positive_integer(what: str, value: Any) -> int:
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{what} is an integer, not {value!r}") from None
    if number <= 0:
        raise ValueError(f"{what} is positive, not {value}")
    if number > MOST_NODES:
        raise ValueError(f"{what} is at most {MOST_NODES}, not {value}")
    return number
