"""Your own event handler beside the brancher: it watches the bounds of a solve whose branching is learned.

An event handler is called where something happened that it asked for: here a better solution, or a node that was branched
on. It sees the brancher's work as it would see that of any of SCIP's rules.
"""

from pyscipopt import SCIP_EVENTTYPE, Eventhdlr, Model

import revibranch
from revibranch.instances import families


class BoundLog(Eventhdlr):
    """Notes (nodes, dual bound, primal bound) at every new incumbent, and counts the nodes that were branched on."""

    def __init__(self) -> None:
        self.incumbents: list[tuple[int, float, float]] = []
        self.branched = 0

    def eventinit(self) -> None:
        """The problem is transformed: say what is to be told."""
        self.model.catchEvent(SCIP_EVENTTYPE.BESTSOLFOUND, self)
        self.model.catchEvent(SCIP_EVENTTYPE.NODEBRANCHED, self)

    def eventexit(self) -> None:
        """The transformed problem goes."""
        self.model.dropEvent(SCIP_EVENTTYPE.BESTSOLFOUND, self)
        self.model.dropEvent(SCIP_EVENTTYPE.NODEBRANCHED, self)

    def eventexec(self, event) -> None:
        """It happened."""
        if event.getType() == SCIP_EVENTTYPE.NODEBRANCHED:
            self.branched += 1
        else:
            # SCIP tells of a solution before it takes over its bound.
            primal = self.model.getSolObjVal(self.model.getBestSol())
            self.incumbents.append((self.model.getNTotalNodes(), self.model.getDualbound(), primal))


def build() -> tuple[Model, BoundLog]:
    """A multiple knapsack of 30 items and 4 sacks, and its event handler."""
    model = families.get("knapsack").generate("30x4", seed=0).to_model()
    model.setParams({"separating/maxrounds": 0, "presolving/maxrestarts": 0})
    log = BoundLog()
    model.includeEventhdlr(log, "boundlog", "bounds at every incumbent")
    return model, log


def main() -> dict[str, float]:
    """Solve it, print how the bounds moved."""
    model, log = build()
    brancher = revibranch.include(model)
    model.optimize()

    for nodes, dual, primal in log.incumbents:
        print(f"node {nodes:>5}  dual bound {dual:>10g}  primal bound {primal:>10g}")  # 1e+20 is SCIP's infinity
    decisions = brancher.statistics.decisions
    print(f"{model.getStatus()}: {model.getObjVal():g}; {log.branched} nodes branched, {decisions} of them by the policy")
    seen = {"branched": log.branched, "incumbents": len(log.incumbents), "last": log.incumbents[-1][2]}
    return {"objective": model.getObjVal()} | seen | brancher.statistics.as_dict()


if __name__ == "__main__":
    main()
