from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..branching.policy import PathStep
from ..branching.state import BranchState, NodeFacts

MAX_WIDTH: int
"""Width of the widest network that the native module runs."""

class NativeNetwork:
    def __init__(
        self,
        width: int,
        heads: int,
        n_facts: int,
        classes: int,
        highest: float,
        limit: float,
        epsilon: tuple[float, float],
        arrays: dict[str, NDArray[np.float32] | NDArray[np.int32]],
    ) -> None: ...
    def revive(self, steps: Sequence[PathStep]) -> NDArray[np.float32]: ...
    def score(self, state: BranchState, memory: NDArray[np.float32], everything: bool) -> NDArray[np.float32]: ...
    def steps(self, chosen: int, facts: NDArray[np.float32], position: NDArray[np.float32]) -> NDArray[np.float32]: ...

VECTORS: tuple[str, ...]
"""Vectors by the floats in them, as ``REVIBRANCH_VECTORS`` names them."""

def vectors() -> str: ...
def node_fact_vector(facts: NodeFacts, n_candidates: int, n_variables: int) -> NDArray[np.float32]: ...
