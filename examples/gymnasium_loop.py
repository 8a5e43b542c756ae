"""The Gymnasium environment: the same control, turned inside out. Needs the extra ``gym``.

One episode is one solve, one step one branching. The choice here is the most fractional candidate; an agent that learns
would stand in its place. ``padding`` gives observations of fixed shapes, for libraries that need them.
"""

import numpy as np
from pyscipopt import Model

from revibranch.branching.environment import BranchingEnv, nodes
from revibranch.branching.state import BranchState, variable_column_names
from revibranch.instances import families

FRACTION = variable_column_names().index("solution_frac")


def build() -> Model:
    """An independent set problem on 200 nodes. The environment takes functions that make a model, or instance files."""
    return families.get("independent-set").generate("200", seed=0).to_model()


def most_fractional(state: BranchState) -> int:
    """Place within ``state.candidates`` of the one nearest to one half."""
    return int(np.abs(state.variable_features[state.candidates, FRACTION] - 0.5).argmin())


def main() -> dict[str, float]:
    """Two episodes of the same instance, with two of SCIP's seeds; returns what the last one came to."""
    with BranchingEnv([build], reward=-nodes, settings="clean") as environment:
        for episode in range(2):
            state, info = environment.reset(seed=0 if episode == 0 else None)
            total, terminated, truncated = 0.0, False, False
            while not (terminated or truncated):
                state, reward, terminated, truncated, info = environment.step(most_fractional(state))
                total += reward
            print(f"{info['instance']}: {info['status']}, {info['primal_bound']:g}, {info['decisions']} decisions, return {total:g}")
    return {"objective": info["primal_bound"], "decisions": info["decisions"], "return": total}


if __name__ == "__main__":
    main()
