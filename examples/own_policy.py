"""A policy written by hand: any object with the methods of ``revibranch.Policy`` decides, no network needed.

This one multiplies the gains that SCIP's pseudocosts expect down and up, as SCIP's rule ``pscost`` does, and adds a little
where the parent's decision was about a variable of the same row: a taste of what ``path`` and ``remember`` are for.
"""

from collections.abc import Sequence

import numpy as np
from pyscipopt import Model

import revibranch
from revibranch.branching.policy import PathStep
from revibranch.branching.state import variable_column_names
from revibranch.instances import families

COLUMN = {name: place for place, name in enumerate(variable_column_names())}


class PseudocostProduct(revibranch.Policy):
    """Pseudocost product, with a bonus for neighbours of the variable that the parent was branched on."""

    extended = True  # the pseudocosts stand behind Ecole's 19 columns
    needs_path = True

    def begin(self, model: Model) -> None:
        """Called once before the first decision of a solve."""
        self.name, self.deepest = model.getProbName(), 0

    def score(self, state: revibranch.BranchState, path: Sequence[PathStep]) -> np.ndarray:
        """One number per candidate; the highest is branched on."""
        rows = state.variable_features[state.candidates]
        fraction = rows[:, COLUMN["solution_frac"]]
        down = fraction * rows[:, COLUMN["pseudocost_down"]]
        up = (1 - fraction) * rows[:, COLUMN["pseudocost_up"]]
        scores = np.maximum(down, 1e-6) * np.maximum(up, 1e-6)
        if path:
            scores = scores * np.where(np.isin(state.candidates, path[-1].memory), 1.1, 1.0)
        self.deepest = max(self.deepest, state.node.depth)
        return scores

    def remember(self, state: revibranch.BranchState, path: Sequence[PathStep], choice: int) -> np.ndarray:
        """What descendants find as ``path[i].memory``: the variables that share a row with the chosen one."""
        variable = state.candidates[choice]
        rows = state.edge_rows[state.variable_offsets[variable] : state.variable_offsets[variable + 1]]
        return np.unique(np.concatenate([state.edge_variables[state.row_offsets[r] : state.row_offsets[r + 1]] for r in rows] or [[]]))

    def report(self) -> dict[str, float | str]:
        """Stands in the brancher's statistics."""
        return {"problem": self.name, "deepest_node": self.deepest}


def build() -> Model:
    """A facility location problem: 30 customers, 20 facilities."""
    model = families.get("facility").generate("30x20", seed=1).to_model()
    model.setParams({"separating/maxrounds": 0, "separating/maxroundsroot": 0, "presolving/maxrestarts": 0})
    return model


def main() -> dict[str, float | str]:
    """Solve it; a mistake in the policy is raised here, after the solve."""
    model = build()
    brancher = revibranch.include(model, PseudocostProduct(), guard=False, strict=True)
    revibranch.optimize(model)
    print(f"{model.getStatus()}: {model.getObjVal():g} in {model.getNTotalNodes()} nodes; {brancher.statistics.as_dict()}")
    return {"objective": model.getObjVal()} | brancher.statistics.as_dict()


if __name__ == "__main__":
    main()
