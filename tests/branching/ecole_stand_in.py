"""A stand-in with Ecole's interface.

Its models share SCIP's pointer with PySCIPOpt as Ecole's do, and its environment turns a solve inside out as Ecole's does: a
branching rule, in a thread of its own, waits for each action.
"""

from __future__ import annotations

import threading
import weakref
from queue import SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np
from pyscipopt import SCIP_RESULT, Branchrule, Model

from revibranch.branching._bipartite import BipartiteBuffer
from revibranch.branching.settings import SETTINGS, TOP_PRIORITY
from revibranch.branching.state import BranchState

CLEAN = dict(SETTINGS["clean"])
Default = object()


class EcoleModel:
    """What the bridge uses of ``ecole.scip.Model``."""

    def __init__(self, model: Model) -> None:
        model.hideOutput()
        self.owner = model

    @property
    def name(self) -> str:
        return self.owner.getProbName()

    def as_pyscipopt(self) -> Model:
        view = Model.from_ptr(self.owner.to_ptr(give_ownership=False), take_ownership=False)
        view.data = self  # a view keeps the model
        return view

    def copy_orig(self) -> EcoleModel:
        return EcoleModel(Model(sourceModel=self.owner, origcopy=True))

    def write_problem(self, path: str) -> None:
        self.owner.writeProblem(path, verbose=False)


class Waits(Branchrule):
    """Waits at every decision for an action: a variable's place, ``Default``, or None for the end."""

    def __init__(self, owner: Model) -> None:
        self.owner = weakref.ref(owner)
        self.asked: SimpleQueue[bool] = SimpleQueue()  # whether the solve is at its end
        self.actions: SimpleQueue[Any] = SimpleQueue()
        self.own = BipartiteBuffer(owner)
        self.state: BranchState | None = None

    def branchexeclp(self, allowaddcons: bool) -> dict[str, Any]:
        model = self.owner()
        assert model is not None
        self.state = self.own.update().copy()
        self.asked.put(False)
        action = self.actions.get()
        if action is None:
            model.interruptSolve()
            return {"result": SCIP_RESULT.DIDNOTRUN}
        if action is Default:
            return {"result": SCIP_RESULT.DIDNOTRUN}
        model.branchVar(model.getVars(transformed=True)[action])
        return {"result": SCIP_RESULT.BRANCHED}


class Environment:
    """``ecole.environment.Branching``, its reward the decisions so far, its information the stage."""

    def __init__(self, observation_function: Any = None, scip_params: dict[str, Any] = CLEAN) -> None:
        self.observation_function, self.scip_params = observation_function, scip_params
        self.model: Any = None
        self.rule: Waits | None = None
        self.thread: threading.Thread | None = None

    def reset(self, instance: str | EcoleModel) -> tuple[Any, ...]:
        self.close()
        if isinstance(instance, EcoleModel):
            self.model = instance.copy_orig()
        else:
            model = Model()
            model.hideOutput()
            model.readProblem(instance)
            self.model = EcoleModel(model)
        owner = self.model.owner
        owner.setParams(self.scip_params)
        if self.observation_function is not None:
            self.observation_function.before_reset(self.model)
        self.rule = rule = Waits(owner)
        owner.includeBranchrule(rule, "waits", "", priority=TOP_PRIORITY, maxdepth=-1, maxbounddist=1.0)
        rule.model = None
        self.decisions = 0

        def solve() -> None:
            owner.optimizeNogil()
            rule.asked.put(True)

        self.thread = threading.Thread(target=solve, daemon=True)
        self.thread.start()
        return self.transition()

    def step(self, action: Any) -> tuple[Any, ...]:
        assert self.rule is not None
        self.decisions += 1
        self.rule.actions.put(action)
        return self.transition()

    def transition(self) -> tuple[Any, ...]:
        assert self.rule is not None
        assert self.thread is not None
        done, observation, action_set = self.rule.asked.get(timeout=120), None, None
        if done:
            self.thread.join()
        else:
            owner = self.model.owner
            places = {variable.ptr(): place for place, variable in enumerate(owner.getVars(transformed=True))}
            action_set = np.array([places[variable.ptr()] for variable in owner.getLPBranchCands()[0]])
        if self.observation_function is not None and not done:
            observation = self.observation_function.extract(self.model, done)
        return observation, action_set, float(self.decisions), done, {"stage": self.model.owner.getStage()}

    def close(self) -> None:
        while self.thread is not None and self.thread.is_alive():
            assert self.rule is not None
            self.rule.actions.put(None)
            self.thread.join(0.1)


def module(name: str, file: str | None = None) -> ModuleType:
    made = ModuleType(name)
    made.__file__ = file
    return made
