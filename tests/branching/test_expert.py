"""The rule of thumb that imitation may learn from; strong branching is tested with the golden data and the shortlist."""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyscipopt import SCIP_RESULT, Conshdlr, Model

from revibranch.branching.expert import ConstraintByConstraint
from revibranch.branching.policy import PathStep, Policy
from revibranch.branching.settings import apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState
from revibranch.instances.families import get

ITEMS, KNAPSACKS = 40, 4


class Checked(Policy):
    """Branches by the rule, and works out from SCIP's own variables what the rule should say."""

    needs_path = False

    def __init__(self) -> None:
        self.choices: list[int] = []
        self.most = 0

    def begin(self, model: Model) -> None:
        self.model = weakref.ref(model)
        self.rule = ConstraintByConstraint(model)

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.float64]:
        model = self.model()
        assert model is not None
        variables = model.getVars(transformed=True)
        knapsacks = [int(re.findall(r"\d+", variable.name)[-1]) // ITEMS for variable in variables]
        packed = [0] * KNAPSACKS
        for variable, knapsack in zip(variables, knapsacks, strict=True):
            packed[knapsack] += variable.getLbLocal() > 0.5
        wanted = [(packed[knapsacks[place]], round(variables[place].getLPSol(), 5)) for place in state.candidates]
        places = self.rule.places(state)
        assert sorted(places) == list(range(len(wanted)))
        assert sorted(wanted) == [wanted[place] for place in places.argsort()]
        self.choices.append(int(places.argmax()))
        self.most = max(self.most, max(packed) - min(packed))
        return places


class Silent(Conshdlr):  # type: ignore[misc]
    """Constraints that every solution satisfies, and that cannot say which variables are theirs."""

    def conscheck(self, *_: object) -> dict[str, object]:
        return {"result": SCIP_RESULT.FEASIBLE}

    def consenfolp(self, *_: object) -> dict[str, object]:
        return {"result": SCIP_RESULT.FEASIBLE}

    def consenfops(self, *_: object) -> dict[str, object]:
        return {"result": SCIP_RESULT.FEASIBLE}

    def conslock(self, *_: object) -> None:
        pass


def test_constraints_that_cannot_say_their_variables_have_none() -> None:
    model = get("knapsack").generate(f"{ITEMS}x{KNAPSACKS}", 1).to_model()
    apply_settings(model, "clean")
    handler = Silent()
    model.includeConshdlr(handler, "silent", "", needscons=True)
    model.addPyCons(model.createCons(handler, "one"))
    model.setParam("limits/totalnodes", 20)
    checked = Checked()
    attach(model, checked, strict=True)
    optimize(model)
    assert checked.choices


def test_constraint_by_constraint_goes_on_with_the_knapsack_that_has_most_packed() -> None:
    decisions, choices, most = 0, set(), 0
    for seed in range(6):
        model = get("knapsack").generate(f"{ITEMS}x{KNAPSACKS}", seed).to_model()
        apply_settings(model, "clean")
        model.setParam("limits/totalnodes", 200)
        checked = Checked()
        attach(model, checked, strict=True)
        optimize(model)
        decisions += len(checked.choices)
        choices |= set(checked.choices)
        most = max(most, checked.most)
    assert decisions > 50
    assert len(choices) > 2
    assert most > 2
