"""Branch and price: the brancher in a model whose columns come from a pricer during the solve. Cutting stock, two rolls.

It branches on the master's variables and goes on when columns enter, at the root or below. It cannot branch on anything else,
and no shipped policy was trained on such masters: expect the guard to hand most nodes over to SCIP's rule. Branching on how
often a pattern is used is exact only if no pattern ever has two columns: this pricer goes through a list of all patterns.
A real one solves a knapsack problem, would find a bounded pattern again, and needs a branching of its own.
"""

from itertools import product

from pyscipopt import SCIP_PARAMSETTING, SCIP_RESULT, Model, Pricer

import revibranch

DEMANDS, ROLLS = {17: 7, 21: 5, 26: 4, 33: 3, 38: 4, 45: 3}, {60: 10.0, 85: 13.5}  # pieces, and prices, by length


def patterns() -> list[tuple[tuple[int, ...], float]]:
    """All ways to cut a roll: numbers of pieces, and the price of the cheapest roll that is long enough."""
    ways = product(*(range(max(ROLLS) // length + 1) for length in DEMANDS))
    used = {way: sum(n * length for n, length in zip(way, DEMANDS, strict=True)) for way in ways}
    return [(way, min(ROLLS[roll] for roll in ROLLS if roll >= n)) for way, n in used.items() if 0 < n <= max(ROLLS)]


class Patterns(Pricer):
    """Adds the pattern with the least reduced cost of those that are not in the master yet."""

    def __init__(self, rows: list, waiting: list) -> None:
        self.rows, self.waiting, self.below_root = rows, waiting, 0

    def pricerinit(self) -> None:
        """From here on the rows are those of the transformed problem."""
        self.rows = [self.model.getTransformedCons(row) for row in self.rows]

    def pricerredcost(self) -> dict:
        """The LP is solved: is there a better column?"""
        return self.price([self.model.getDualsolLinear(row) for row in self.rows], 1.0)

    def pricerfarkas(self) -> dict:
        """The LP is infeasible, by a branching say: is there a column that mends it? Its price does not count."""
        return self.price([self.model.getDualfarkasLinear(row) for row in self.rows], 0.0)

    def price(self, duals: list[float], scale: float) -> dict:
        """Add the best column, if any has a negative reduced cost."""
        costs = [scale * price - sum(n * dual for n, dual in zip(way, duals, strict=True)) for way, price in self.waiting]
        if costs and min(costs) < -1e-6:
            way, price = self.waiting.pop(costs.index(min(costs)))
            column = self.model.addVar(vtype="I", obj=price, pricedVar=True)
            for row, n in zip(self.rows, way, strict=True):
                self.model.addConsCoeff(row, column, n)
            self.below_root += self.model.getDepth() > 0
        return {"result": SCIP_RESULT.SUCCESS}


def build() -> tuple[Model, Patterns]:
    """The master with one pattern for each length, and its pricer."""
    model = Model()
    for switch_off in (model.setPresolve, model.setSeparating, model.setHeuristics):
        switch_off(SCIP_PARAMSETTING.OFF)  # heuristics too: they would find the optimum before there is a tree to show
    model.hideOutput()
    waiting, rows = patterns(), []
    for piece, demand in enumerate(DEMANDS.values()):
        _, price = waiting.pop(next(i for i, (way, _) in enumerate(waiting) if sum(way) == way[piece] == 1))
        rows.append(model.addCons(model.addVar(vtype="I", obj=price) >= demand, separate=False, modifiable=True))
    model.includePricer(pricer := Patterns(rows, waiting), "patterns", "cutting patterns")
    return model, pricer


def main() -> dict[str, float]:
    """Solve it, print how many columns came and where."""
    model, pricer = build()
    statistics = revibranch.include(model).statistics
    model.optimize()
    print(f"{model.getStatus()}: {model.getObjVal():g}; {pricer.below_root} columns came below the root; {statistics}")
    return {"objective": model.getObjVal(), "columns_below_root": pricer.below_root} | statistics.as_dict()


if __name__ == "__main__":
    main()
