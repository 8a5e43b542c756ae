"""Your own constraint handler beside the brancher: a travelling salesman whose subtour constraints come lazily.

The brancher splits nodes with fractional LP solutions. Where the solution is integer, SCIP asks the constraint handler,
which adds a constraint for every subtour it finds. These become rows of later LPs, and the brancher sees them there.
"""

from itertools import combinations

import numpy as np
from pyscipopt import SCIP_PARAMSETTING, SCIP_RESULT, Conshdlr, Model, quicksum

import revibranch


class Subtours(Conshdlr):
    """Accepts one tour through all cities."""

    def __init__(self, n: int, edges: dict) -> None:
        self.n, self.edges, self.added = n, edges, 0

    def components(self, solution) -> list[set[int]]:
        """Cities that are connected by chosen edges (None: of the LP solution), component by component."""
        component = {city: {city} for city in range(self.n)}
        for (i, j), variable in self.edges.items():
            if self.model.getSolVal(solution, variable) > 0.5 and component[i] is not component[j]:
                component[i] |= component[j]
                for city in component[j]:
                    component[city] = component[i]
        return list({id(cities): cities for cities in component.values()}.values())

    def conscheck(self, constraints, solution, *flags) -> dict:
        """Whether a solution (a heuristic's, say) is one tour."""
        return {"result": SCIP_RESULT.FEASIBLE if len(self.components(solution)) == 1 else SCIP_RESULT.INFEASIBLE}

    def consenfolp(self, constraints, nusefulconss, solinfeasible) -> dict:
        """The LP's solution is integer: forbid its subtours. A tour has at most k - 1 edges among k of its cities."""
        components = self.components(None)
        if len(components) == 1:
            return {"result": SCIP_RESULT.FEASIBLE}
        for cities in components:
            self.model.addCons(quicksum(self.edges[pair] for pair in combinations(sorted(cities), 2)) <= len(cities) - 1)
        self.added += len(components)
        return {"result": SCIP_RESULT.CONSADDED}

    def conslock(self, constraint, locktype, nlockspos, nlocksneg) -> None:
        """Any edge, up or down, may matter: no reduction by duality may round one."""
        for variable in self.edges.values():
            self.model.addVarLocksType(variable, locktype, nlockspos + nlocksneg, nlockspos + nlocksneg)


def build(n: int = 40, seed: int = 0) -> tuple[Model, Subtours]:
    """A tour through n random cities of the unit square, and its constraint handler."""
    points = np.random.default_rng(seed).random((n, 2))
    model = Model("tsp")
    model.hideOutput()
    edges = {(i, j): model.addVar(vtype="B", obj=float(np.linalg.norm(points[i] - points[j]))) for i, j in combinations(range(n), 2)}
    for city in range(n):
        model.addCons(quicksum(variable for pair, variable in edges.items() if city in pair) == 2)
    model.setSeparating(SCIP_PARAMSETTING.OFF)  # with SCIP's cuts a problem this small hardly branches
    handler = Subtours(n, edges)
    # Priorities below 0, where SCIP tests the LP's solution for integrality and the brancher works.
    model.includeConshdlr(handler, "subtours", "one tour", enfopriority=-1, chckpriority=-1, needscons=False)
    return model, handler


def main() -> dict[str, float]:
    """Solve it, print the length of the tour."""
    model, handler = build()
    brancher = revibranch.include(model)
    model.optimize()
    print(f"{model.getStatus()}: a tour of {model.getObjVal():.4f}; {handler.added} subtours forbidden; {brancher.statistics}")
    return {"objective": model.getObjVal(), "subtours": handler.added} | brancher.statistics.as_dict()


if __name__ == "__main__":
    main()
