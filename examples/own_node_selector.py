"""Your own node selector beside the brancher: the brancher says how a node is split, the selector which node comes next.

The two are independent of each other. This selector dives: it goes on with a child, then with a sibling, and where the dive
ends it jumps to the open node with the best bound.
"""

from pyscipopt import Model, Nodesel

import revibranch
from revibranch.instances import families


class Dive(Nodesel):
    """Child, sibling, best bound."""

    def __init__(self) -> None:
        self.jumps = 0

    def nodeselect(self) -> dict:
        """The node that SCIP is to process next."""
        node = self.model.getPrioChild() or self.model.getPrioSibling()
        if node is None:
            self.jumps += 1
            node = self.model.getBestboundNode()  # None where no node is left: the search is over
        return {"selnode": node}

    def nodecomp(self, node1, node2) -> int:
        """The order of SCIP's queue of open leaves: negative where the first comes before the second."""
        first, second = node1.getLowerbound(), node2.getLowerbound()
        return (first > second) - (first < second)


def build() -> tuple[Model, Dive]:
    """A combinatorial auction of 40 items and 200 bids, and its node selector."""
    model = families.get("auction").generate("40x200", seed=3).to_model()
    model.setParams({"separating/maxrounds": 0, "separating/maxroundsroot": 0, "presolving/maxrestarts": 0})
    selector = Dive()
    model.includeNodesel(selector, "dive", "child, sibling, best bound", stdpriority=1_000_000, memsavepriority=1_000_000)
    return model, selector


def main() -> dict[str, float]:
    """Solve it, print how often the dive ended."""
    model, selector = build()
    brancher = revibranch.include(model)
    model.optimize()
    print(f"{model.getStatus()}: {model.getObjVal():g} in {model.getNTotalNodes()} nodes, {selector.jumps} of them by a jump")
    return {"objective": model.getObjVal(), "jumps": selector.jumps} | brancher.statistics.as_dict()


if __name__ == "__main__":
    main()
