"""Generators: reproducible, versioned, and of the structure their sources define."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from revibranch.instances import families
from revibranch.instances.draws import Draws
from revibranch.instances.milp import INFINITY, Milp

SMALL = {
    "setcover": "60x80",
    "auction": "12x30",
    "facility": "6x4",
    "independent-set": "30",
    "knapsack": "12x3",
    "general": "12x20",
}
SEEDS = st.integers(0, 2**63 - 1)

# (version, checksum) of seed 3 at the sizes above. Another checksum is another generator: raise its version too.
GOLDEN = {
    "setcover": (1, "fc17f1fe7e40993b341b1e159b11910ae724d33e3634bc1a26597215df6a5481"),
    "auction": (1, "701fcb4f43c720650520ccd09ad4aaba1f1b1d2624e072a02313ee15081e5822"),
    "facility": (1, "73005e8dc704edfc662508806fc947c266ea6bbc8196a018cb4355231b3cf778"),
    "independent-set": (1, "a51cba08b6e9debcdbae1a2553ab957959dea394edbbc2495b43abab6b8223b3"),
    "knapsack": (1, "4657d990f92c104ec78ce3c2a3aade6bf2657741ef5e693d4827ffc91d873eaa"),
    "general": (1, "cdba8f9356e03cbf68469eb639504c9de4484c742c2e9eeae65a99593b86a1df"),
}


def matrix(problem: Milp) -> np.ndarray:
    dense = np.zeros((problem.n_rows, problem.n_variables))
    rows = np.repeat(np.arange(problem.n_rows), np.diff(problem.row_offsets))
    np.add.at(dense, (rows, problem.columns), problem.values)
    return dense


def test_every_family_has_a_small_size_here() -> None:
    assert set(SMALL) == set(GOLDEN) == set(families.names())


@pytest.mark.parametrize("name", families.names())
def test_generators_have_not_changed_without_a_new_version(name: str) -> None:
    family = families.get(name)
    assert (family.version, family.generate(SMALL[name], 3).problem.checksum()) == GOLDEN[name]


@pytest.mark.parametrize("name", families.names())
def test_same_seed_same_instance_and_other_seed_another(name: str) -> None:
    family = families.get(name)
    first, again, other = (family.generate(SMALL[name], seed).problem.checksum() for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_no_two_families_share_a_random_stream() -> None:
    numbers = [families.get(name).number for name in families.names()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("name", families.names())
def test_default_and_published_sizes_are_sizes_of_the_family(name: str) -> None:
    family = families.get(name)
    assert family.parse_size(str(family.default_size)) == family.default_size == family.published_sizes["small"]
    for label, size in family.published_sizes.items():
        assert family.parse_size(label) == family.parse_size(str(size)) == size


@pytest.mark.parametrize("text", ["", "20", "20x", "20x30x40", "-20x30", "20x30.5", "axb", "2x0", "²x3"])
def test_wrong_sizes_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="500x1000"):
        families.get("setcover").parse_size(text)


def test_an_unknown_family_is_refused_with_the_nearest_and_all_known_names() -> None:
    with pytest.raises(ValueError, match="did you mean setcover") as caught:
        families.get("set-cover")
    assert all(name in str(caught.value) for name in families.names())


def test_misspelt_and_foreign_parameters_are_refused() -> None:
    setcover, knapsack = families.get("setcover"), families.get("knapsack")
    with pytest.raises(ValueError, match="densit"):
        setcover.parameters(densit=0.1)
    with pytest.raises(ValueError, match="SetCoverParameters"):
        setcover.generate("60x80", 0, knapsack.parameters())


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_outside_their_range_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        families.get("setcover").generate("60x80", seed)


@given(seed=SEEDS, rows=st.integers(3, 60), columns=st.integers(1, 60), share=st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_set_cover_covers_every_row_and_uses_every_column_twice(seed: int, rows: int, columns: int, share: float) -> None:
    least = max(2 * columns, rows) / (rows * columns)
    assume(least <= 1.0)
    family = families.get("setcover")
    density = min(1.0, least + 1e-9 + share * (1.0 - least))
    problem = family.generate((rows, columns), seed, family.parameters(density=density)).problem
    dense = matrix(problem)
    assert set(np.unique(dense)) <= {0.0, 1.0}
    assert (dense.sum(axis=0) >= 2).all()
    assert (dense.sum(axis=1) >= 1).all()
    assert dense.sum() == problem.n_entries == int(rows * columns * density)
    assert ((problem.objective >= 1) & (problem.objective <= 100)).all()


@given(seed=SEEDS, items=st.integers(2, 30), bids=st.integers(1, 80), probability=st.floats(0.0, 0.95))
@settings(max_examples=40, deadline=None)
def test_auctions_have_the_bids_asked_for_at_prices_above_zero(seed: int, items: int, bids: int, probability: float) -> None:
    family = families.get("auction")
    problem = family.generate((items, bids), seed, family.parameters(add_item_probability=probability)).problem
    dense = matrix(problem)
    assert problem.n_variables == bids
    assert (dense.sum(axis=0) >= 1).all()
    assert (dense.sum(axis=1) >= 1).all()
    assert (problem.objective >= 0).all()
    assert problem.maximise


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_bidder_never_bids_twice_for_one_bundle(seed: int) -> None:
    problem = families.get("auction").generate((8, 60), seed).problem
    # An exclusive row ties one bidder's bids; what differs between two of them is then the items alone.
    dense = matrix(problem)
    exclusive = dense[8:] if problem.n_rows > 8 else dense[:0]
    for row in exclusive:
        bids = np.flatnonzero(row)
        assert len({tuple(dense[:8, bid]) for bid in bids}) == len(bids) > 2
        assert (np.diff(bids) == 1).all()


@given(seed=SEEDS, customers=st.integers(1, 12), facilities=st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_facilities_together_can_serve_everyone(seed: int, customers: int, facilities: int) -> None:
    problem = families.get("facility").generate((customers, facilities), seed).problem
    everything_open = np.ones(facilities)
    dense = matrix(problem)
    capacity = -np.diag(dense[customers : customers + facilities, :facilities])
    shares = np.tile(capacity / capacity.sum(), customers)  # everyone is served in proportion to the capacities
    point = np.concatenate([everything_open, shares])
    activity = dense @ point
    assert (activity >= problem.lhs - 1e-9).all()
    assert (activity <= problem.rhs + 1e-9).all()


@given(
    seed=SEEDS,
    nodes=st.integers(6, 40),
    graph=st.sampled_from(["barabasi-albert", "erdos-renyi"]),
    cliques=st.sampled_from(["greedy", "maximal"]),
)
@settings(max_examples=60, deadline=None)
def test_independent_set_rows_are_cliques_and_hold_every_edge(seed: int, nodes: int, graph: str, cliques: str) -> None:
    family = families.get("independent-set")
    edges = family.generate((nodes,), seed, family.parameters(graph=graph, cliques="maximal")).problem
    adjacency = matrix(edges).T @ matrix(edges) > 0
    np.fill_diagonal(adjacency, False)
    rows = matrix(family.generate((nodes,), seed, family.parameters(graph=graph, cliques=cliques)).problem)
    covered = rows.T @ rows > 0
    np.fill_diagonal(covered, False)
    assert (covered == adjacency).all()
    if graph == "barabasi-albert":
        assert adjacency.sum() == 2 * 4 * (nodes - 4)  # a star of five nodes, then four edges a node
    if cliques == "greedy":
        large = rows[rows.sum(axis=1) > 2]
        assert (large.sum(axis=0) <= 1).all()


@given(seed=SEEDS, items=st.integers(20, 60), knapsacks=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_knapsacks_hold_half_of_the_weight_and_an_item_each(seed: int, items: int, knapsacks: int) -> None:
    problem = families.get("knapsack").generate((items, knapsacks), seed).problem
    dense = matrix(problem)
    weights, capacities = dense[0, :items], problem.rhs[:knapsacks]
    assert capacities.sum() == weights.sum() // 2
    assert capacities.min() >= weights.min() >= 10
    assert (np.abs(problem.objective[:items] - weights) <= 10).all()
    assert (dense[knapsacks:].sum(axis=1) == knapsacks).all()


def test_more_knapsacks_than_the_weight_fills_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot fill"):
        families.get("knapsack").generate("10x20", 0)


@given(seed=SEEDS, rows=st.integers(1, 30), variables=st.integers(4, 40))
@settings(max_examples=60, deadline=None)
def test_general_problems_are_bounded_and_mixed(seed: int, rows: int, variables: int) -> None:
    problem = families.get("general").generate((rows, variables), seed).problem
    assert (problem.lower > -INFINITY).all()
    assert (problem.upper < INFINITY).all()
    assert {b"B", b"C"} <= set(problem.types.tolist())
    assert np.isfinite(problem.lhs).all()
    assert ((problem.lhs > -INFINITY) | (problem.rhs < INFINITY)).all()


@pytest.mark.parametrize("seed", range(12))
def test_general_problems_are_feasible(seed: int) -> None:
    model = families.get("general").generate("25x20", seed).to_model()
    model.setParam("limits/solutions", 1)
    model.optimize()
    assert model.getStatus() in ("optimal", "sollimit")
    assert model.getNSols() >= 1


def test_general_problems_have_all_kinds_of_rows() -> None:
    problem = families.get("general").generate("small", 0).problem
    left, right = problem.lhs > -INFINITY, problem.rhs < INFINITY
    equal = problem.lhs == problem.rhs
    for kind in (left & ~right, right & ~left, equal, left & right & ~equal):
        assert kind.any()
    assert set(problem.types.tolist()) == {b"B", b"I", b"C"}


@given(population=st.integers(1, 200), seed=SEEDS, data=st.data())
@settings(max_examples=60, deadline=None)
def test_samples_are_different_and_within_the_population(population: int, seed: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, population))
    sample = Draws((seed,)).sample(population, count)
    assert len(set(sample.tolist())) == count == sample.size
    assert ((sample >= 0) & (sample < population)).all()


def test_draws_are_those_that_were_drawn_before() -> None:
    # Exact values: a NumPy or a machine with another stream would show here first.
    draws = Draws((1, 2, 3))
    assert draws.integers(0, 999, 6).tolist() == [670, 111, 511, 356, 704, 479]
    assert draws.uniform(2).tolist() == [0.7111954134744979, 0.3808542287240241]
    assert draws.permutation(6).tolist() == [0, 2, 5, 1, 4, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": np.zeros(3)}, "lower"),
        ({"columns": np.array([0, 7], dtype=np.int32)}, "variable"),
        ({"types": np.array([b"B", b"X"])}, "types"),
        ({"lower": np.array([0.0, 2.0])}, "crossed"),
        ({"row_offsets": np.array([0, 3])}, "row_offsets"),
        ({"values": np.ones(2, dtype=np.float32)}, "values"),
        ({"names": ("x",)}, "names"),
    ],
)
def test_inconsistent_arrays_are_refused(change: dict[str, object], message: str) -> None:
    good: dict[str, object] = {
        "objective": np.zeros(2),
        "lower": np.zeros(2),
        "upper": np.ones(2),
        "types": np.array([b"B", b"C"]),
        "row_offsets": np.array([0, 2]),
        "columns": np.array([0, 1], dtype=np.int32),
        "values": np.ones(2),
        "lhs": np.zeros(1),
        "rhs": np.ones(1),
    }
    Milp(**good)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        Milp(**{**good, **change})  # type: ignore[arg-type]
