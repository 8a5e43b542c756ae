"""Ten thousand random states through the native network and through torch: the same scores and steps, the same memory."""

from __future__ import annotations

import gc

import numpy as np
import psutil
import pytest

from revibranch.branching.policy import PathStep
from revibranch.branching.state import ROW_COLUMNS, VARIABLE_COLUMNS, BranchState, variable_column_names
from revibranch.gnn.config import NetworkConfig
from revibranch.gnn.native import NativePolicy
from revibranch.gnn.torch_policy import NetworkPolicy

from .states import build, facts
from .test_native import pair, random_network

STATES = 10_000
STATES_A_NETWORK = 50
TOLERANCE = 1e-5

# Variables, rows, share of the matrix that is filled. Every kind comes up in turn.
KINDS = {
    "ordinary": ((5, 40), (3, 30), (0.05, 0.4)),
    "sparse": ((20, 60), (20, 60), (0.0, 0.02)),  # most rows and variables have no edge
    "without rows": ((1, 20), (0, 0), (0.0, 0.0)),
    "without edges": ((1, 20), (1, 20), (0.0, 0.0)),
    "one candidate": ((1, 30), (1, 20), (0.1, 0.5)),
    "missing values": ((5, 40), (3, 30), (0.05, 0.4)),
    "extreme values": ((5, 40), (3, 30), (0.05, 0.4)),
    "full": ((1, 25), (1, 25), (1.0, 1.0)),
    "long rows": ((300, 900), (1, 3), (0.9, 1.0)),
    "long columns": ((1, 3), (300, 900), (0.9, 1.0)),
}


def random_config(generator: np.random.Generator) -> NetworkConfig:
    width, heads = [(8, 2), (16, 4), (32, 4), (32, 8), (48, 3), (64, 4)][generator.integers(6)]
    names = variable_column_names(extended=bool(generator.integers(2)))
    if generator.random() < 0.3:
        names = tuple(generator.permutation(names)[: generator.integers(1, len(names) + 1)].tolist())
    return NetworkConfig(
        width=width,
        heads=heads,
        history_length=int(generator.integers(0, 7)) if generator.random() < 0.5 else 0,
        classes=int(generator.integers(2, 40)) if generator.random() < 0.3 else 0,
        variable_columns=names,
    )


def many_state(generator: np.random.Generator, kind: str, number: int) -> BranchState:
    variables, rows, fill = KINDS[kind]
    n, m = (int(generator.integers(low, high + 1)) for low, high in (variables, rows))
    places = np.flatnonzero(generator.random(n * m) < generator.uniform(*fill))
    variable_features = generator.normal(size=(n, len(VARIABLE_COLUMNS)))
    row_features = generator.normal(size=(m, len(ROW_COLUMNS)))
    values = generator.normal(size=len(places))
    if kind == "missing values":  # whole columns, and single values of any column
        variable_features[:, generator.random(len(VARIABLE_COLUMNS)) < 0.3] = np.nan
        variable_features[generator.random(variable_features.shape) < 0.05] = np.nan
        row_features[generator.random(row_features.shape) < 0.05] = np.nan
    if kind == "extreme values":
        variable_features *= 10.0 ** generator.uniform(-20, 20, variable_features.shape)
        row_features *= 10.0 ** generator.uniform(-20, 20, row_features.shape)
        values *= 10.0 ** generator.uniform(-4, 4)
    n_candidates = 1 if kind == "one candidate" else int(generator.integers(1, min(n, 30) + 1))
    node = facts(number=number, depth=int(generator.integers(0, 5000)), lp_objective=float(generator.normal(0, 1e3)))
    candidates = generator.choice(n, size=n_candidates, replace=False)
    return build(
        variable_features,
        row_features,
        places // n,
        places % n,
        values,
        candidates,
        node=node,
        structure_id=number,
    )


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference, relative to the largest absolute number of the vector; to 1 where all are smaller."""
    assert ours.shape == theirs.shape
    assert np.isfinite(ours).all()
    return float(np.abs(ours - theirs).max(initial=0.0)) / max(1.0, float(np.abs(theirs).max(initial=0.0)))


def compare(generator: np.random.Generator, native: NativePolicy, reference: NetworkPolicy, state: BranchState) -> float:
    """Both policies on one state, behind a history of random length: scores, then the steps of a random choice."""
    width, length = native.config.width, native.config.history_length
    steps = int(generator.integers(0, 10)) if length else 0
    memory = generator.standard_normal((steps, 3, width)).astype(np.float32)
    path = [PathStep(t + 1, t, int(generator.integers(0, 3)), memory[t]) for t in range(steps)]
    worst = difference(native.score(state, path), reference.score(state, path))
    if length:
        choice = int(generator.integers(len(state.candidates)))
        ours, theirs = native.remember(state, path, choice), reference.remember(state, path, choice)
        assert ours is not None
        assert theirs is not None
        worst = max(worst, difference(ours, theirs))
    return worst


@pytest.mark.slow
def test_ten_thousand_states_give_torchs_numbers_and_leave_no_memory_behind() -> None:
    kinds = list(KINDS)
    process = psutil.Process()
    resident: list[int] = []
    for batch in range(STATES // STATES_A_NETWORK):
        generator = np.random.default_rng(batch)
        config = random_config(generator)
        fitted = [many_state(generator, kind, 0) for kind in ("ordinary", "missing values")]
        native, reference = pair(random_network(config, batch, fitted))
        for i in range(STATES_A_NETWORK):
            kind = kinds[i % len(kinds)]
            state = many_state(generator, kind, batch * STATES_A_NETWORK + i)
            found = compare(generator, native, reference, state)
            assert found <= TOLERANCE, f"{kind}, network {batch}, state {i}: {found:.1e}"
        gc.collect()
        resident.append(process.memory_info().rss)
    # The first fifth warms up: allocators, torch's threads, the largest shapes. A kilobyte lost per state would be 8 MB.
    warm = len(resident) // 5
    growth = max(resident[-warm:]) - max(resident[:warm])
    assert growth < 4 * 2**20, f"{growth / 2**20:.1f} MB more than after the warm-up"
