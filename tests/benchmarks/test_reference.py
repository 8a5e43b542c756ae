from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from revibranch.benchmarks.reference import VARIANTS, EagerHalfConvolution, variant_of  # noqa: E402
from revibranch.benchmarks.training_speed import measure  # noqa: E402
from revibranch.gnn.batch import GraphBatch  # noqa: E402
from revibranch.gnn.network import BranchingNetwork, NetworkConfig  # noqa: E402

from ..gnn.states import random_state  # noqa: E402


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_the_same_network(variant):
    torch.manual_seed(0)
    states = [random_state(seed) for seed in range(3)]
    network = BranchingNetwork(NetworkConfig(width=16))
    network.fit_normalisation(states)
    other = variant_of(network, variant)
    assert isinstance(other.encoder.to_rows, EagerHalfConvolution) == (variant == "eager")
    assert other.encoder.to_rows.fuse == (variant != "reordered")
    batch = GraphBatch.from_states(states)
    torch.testing.assert_close(other(batch), network(batch), rtol=1e-4, atol=1e-5)


def test_a_measurement_covers_every_variant():
    seconds, collating = measure([random_state(seed) for seed in range(2)], width=8, batch_size=2, repetitions=1)
    assert seconds.keys() == VARIANTS.keys()
    assert min(*seconds.values(), collating) > 0
