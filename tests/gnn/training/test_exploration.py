from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from revibranch.branching.episode import Episode
from revibranch.branching.policy import PathStep, Policy
from revibranch.branching.settings import apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState
from revibranch.gnn.training.exploration import Exploration, Explorer, choice_shares
from revibranch.instances.families import get


class Descending(Policy):
    """Scores 0, -1, -2 ... in the order of the candidates."""

    extended = False
    needs_path = False

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.floating]:
        scores = -np.arange(len(state.candidates), dtype=np.float64)
        return np.full_like(scores, np.nan) if self.broken else scores


@given(
    scores=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30),
    temperature=st.sampled_from([0.0, 0.01, 1.0, 50.0]),
    epsilon=st.floats(0, 1),
)
def test_shares_are_a_distribution_that_favours_the_best(scores: list[float], temperature: float, epsilon: float) -> None:
    array = np.array(scores)
    shares = choice_shares(array, Exploration(temperature, epsilon))
    assert shares.sum() == pytest.approx(1.0)
    assert (shares >= epsilon / len(scores) * 0.999).all()
    assert shares[array.argmax()] == pytest.approx(shares.max())


def test_decisions_and_their_probabilities_are_written_down() -> None:
    model = get("auction").generate("30x120", 3).to_model()
    apply_settings(model, "clean")
    explorer = Explorer(Descending(), Exploration(temperature=1.0, epsilon=0.2), (7,))
    brancher = attach(model, explorer, strict=True)
    optimize(model)
    assert explorer.recorder is not None
    episode = explorer.recorder.episode({})
    assert len(episode) == brancher.statistics.decisions > 3
    for decision in range(len(episode)):
        state = episode.state(decision)
        expected = choice_shares(-np.arange(len(state.candidates), dtype=float), Exploration(1.0, 0.2))
        assert episode.log_probability[decision] == pytest.approx(np.log(expected[episode.choice[decision]]))


def explored(exploration: Exploration) -> Episode:
    model = get("auction").generate("30x120", 3).to_model()
    apply_settings(model, "clean")
    explorer = Explorer(Descending(), exploration, (7,))
    attach(model, explorer, strict=True)
    optimize(model)
    assert model.getStatus() == "optimal"
    assert explorer.recorder is not None
    return explorer.recorder.episode({"nodes": model.getNTotalNodes()})


def test_probes_score_the_policys_best_and_are_not_followed() -> None:
    plain, probed = (explored(Exploration(probing=probing, probes=3)) for probing in (0.0, 1.0))
    assert all(np.isnan(plain.scores(decision)).all() for decision in range(len(plain)))
    assert not probed.choice.any(), "the policy's best is its first candidate"
    seen = better = 0
    for decision in range(len(probed)):
        scores = probed.scores(decision)
        assert len(scores) == len(probed.candidates(decision))
        assert np.isnan(scores[3:]).all()  # the policy's best come first
        seen += int(np.isfinite(scores).sum() >= 2)
        better += int(np.nanargmax(scores) != 0) if np.isfinite(scores).any() else 0
    assert seen > len(probed) / 2
    assert better > 0, "strong branching would have gone elsewhere"


def test_some_decisions_are_probed() -> None:
    episode = explored(Exploration(temperature=1.0, probing=0.5, probes=3))
    shares = np.mean([np.isfinite(episode.scores(decision)).any() for decision in range(len(episode))])
    assert 0.2 < shares < 0.8


def test_a_policy_without_finite_scores_is_an_error_not_a_choice() -> None:
    model = get("auction").generate("30x120", 3).to_model()
    explorer = Explorer(Descending(broken=True), Exploration(), (0,))
    attach(model, explorer, strict=True)
    with pytest.raises(RuntimeError, match="no finite score"):
        optimize(model)
