"""Your own cut separator beside the brancher: cover cuts for knapsack rows.

Cuts change the rows of the LP from node to node. The brancher notices it and reads the graph's matrix anew where the rows
are others; elsewhere it keeps it. SCIP's own cuts are off, so every cut in the LP is this separator's.
"""

import numpy as np
from pyscipopt import SCIP_PARAMSETTING, SCIP_RESULT, Model, Sepa, quicksum

import revibranch


class CoverCuts(Sepa):
    """Cuts off fractional points by covers: items C of a row with more weight than it holds give sum_C x <= |C| - 1."""

    def __init__(self, weights: np.ndarray, capacities: np.ndarray, variables: list) -> None:
        self.weights, self.capacities, self.variables = weights, capacities, variables
        self.cuts = 0

    def sepaexeclp(self) -> dict:
        """Look for a violated cover of every row: take items greedily, those nearest to 1 per weight first."""
        model = self.model
        items = [model.getTransformedVar(variable) for variable in self.variables]
        values = np.array([item.getLPSol() for item in items])
        found = 0
        for weights, capacity in zip(self.weights, self.capacities, strict=True):
            order = np.argsort((1 - values) / weights)
            size = int(np.searchsorted(np.cumsum(weights[order]), capacity, side="right")) + 1
            cover = order[:size]  # the first `size` items weigh more than the row holds
            if size > len(order) or values[cover].sum() <= size - 1 + 1e-4:
                continue
            row = model.createEmptyRowSepa(self, f"cover{self.cuts}", lhs=None, rhs=size - 1, local=False)
            model.cacheRowExtensions(row)
            for place in cover:
                model.addVarToRow(row, items[place], 1.0)
            model.flushRowExtensions(row)
            model.addCut(row, forcecut=True)
            model.releaseRow(row)
            self.cuts += 1
            found += 1
        return {"result": SCIP_RESULT.SEPARATED if found else SCIP_RESULT.DIDNOTFIND}


def build() -> tuple[Model, CoverCuts]:
    """A knapsack with 5 rows over 30 items, and its separator."""
    generator = np.random.default_rng(0)
    weights = generator.integers(10, 100, (5, 30))
    profits = weights.mean(axis=0) + generator.integers(0, 20, 30)
    capacities = weights.sum(axis=1) // 3
    model = Model("knapsack")
    model.hideOutput()
    items = [model.addVar(vtype="B") for _ in profits]
    for row, capacity in zip(weights, capacities, strict=True):
        model.addCons(quicksum(int(w) * x for w, x in zip(row, items, strict=True)) <= int(capacity))
    model.setObjective(quicksum(float(p) * x for p, x in zip(profits, items, strict=True)), "maximize")
    model.setPresolve(SCIP_PARAMSETTING.OFF)
    model.setSeparating(SCIP_PARAMSETTING.OFF)  # all that are there: ours is included below
    model.setParams({"separating/maxrounds": 3, "separating/maxroundsroot": 20})
    separator = CoverCuts(weights, capacities, items)
    model.includeSepa(separator, "cover", "cover cuts", priority=1000, freq=1)
    return model, separator


def main() -> dict[str, float]:
    """Solve it, print how many cuts were found."""
    model, separator = build()
    brancher = revibranch.include(model)
    model.optimize()
    print(f"{model.getStatus()}: {model.getObjVal():g} in {model.getNTotalNodes()} nodes with {separator.cuts} cover cuts")
    return {"objective": model.getObjVal(), "cuts": separator.cuts} | brancher.statistics.as_dict()


if __name__ == "__main__":
    main()
