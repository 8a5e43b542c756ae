"""Drop-in use: one line more, before ``optimize``, and a learned policy chooses the branching variables.

Solves a combinatorial auction and prints what the brancher counted: decisions, nodes left to SCIP's own rule, seconds, and what the
policy has to say (which one ``auto`` chose and why, what the guard did).
"""

from pyscipopt import Model

import revibranch
from revibranch.instances import families


def build() -> Model:
    """A combinatorial auction of 50 items and 250 bids; your own model, or ``model.readProblem(...)``, goes here."""
    model = families.get("auction").generate("50x250", seed=0).to_model()
    # Without cuts behind the root and without restarts a problem this small still has a tree.
    model.setParams({"separating/maxrounds": 0, "presolving/maxrestarts": 0})
    return model


def main() -> dict[str, float | str]:
    """Solve it, print the statistics."""
    model = build()
    brancher = revibranch.include(model)
    model.optimize()

    print(f"{model.getStatus()}: {model.getObjVal():g} in {model.getNTotalNodes()} nodes")
    for name, value in brancher.statistics.as_dict().items():
        print(f"  {name:<24}{value if isinstance(value, str) else format(value, '.4g')}")
    return {"objective": model.getObjVal()} | brancher.statistics.as_dict()


if __name__ == "__main__":
    main()
