"""The collection of an expert's samples: whose they are, repeated, gone on with, refused."""

from __future__ import annotations

import os
import signal
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from revibranch.branching.episode import Episode
from revibranch.branching.policy import PathStep
from revibranch.branching.settings import apply_settings
from revibranch.branching.solving import attach, optimize
from revibranch.branching.state import BranchState
from revibranch.gnn.training.collect import CollectPolicy, SolveReport, collect, pseudocost_scores
from revibranch.gnn.training.errors import TrainingError
from revibranch.gnn.training.interruption import Interrupted
from revibranch.gnn.training.recipe import Recipe, SampleSettings
from revibranch.gnn.training.sections import settings_of
from revibranch.instances.families import get

from ..states import random_state
from .episodes import RECIPE

FAMILY, SIZE = "auction", "40x200"  # some tens of nodes in a fraction of a second


def small(**samples: object) -> Recipe:
    return Recipe.model_validate(
        {
            **RECIPE,
            "instances": {"family": FAMILY, "size": SIZE},
            "samples": {"training": 6, "validation": 3, "per_instance": 3, "probability": 0.3, "node_limit": 40, **samples},
        }
    )


class Watched(CollectPolicy):
    """Notes what the plugin says of each decision, beside what is recorded."""

    def __init__(self, settings: SampleSettings) -> None:
        super().__init__(settings, (0,))
        self.seen: list[tuple[BranchState, list[tuple[int, int]], int]] = []

    def remember(self, state: BranchState, path: object, choice: int) -> int:
        steps: list[PathStep] = list(path)  # type: ignore[call-overload]
        self.seen.append((state.copy(), [(step.node, step.child) for step in steps], choice))
        return super().remember(state, steps, choice)


def files(folder: Path, count: int) -> list[str]:
    """Instances of one name in folders of their own."""
    for number in range(count):
        (folder / f"{number}").mkdir(parents=True)
        get(FAMILY).generate(SIZE, number).to_model().writeProblem(str(folder / f"{number}" / "p.lp"), verbose=False)
    return [str(folder / f"{number}" / "p.lp") for number in range(count)]


def test_files_of_one_name_have_episodes_of_their_own_in_the_folder(tmp_path: Path) -> None:
    paths = files(tmp_path / "data", 3)
    before = sorted((tmp_path / "data").rglob("*"))
    content = {"training_files": tuple(paths[:2]), "validation_files": (paths[2],)}
    recipe = Recipe.model_validate({**small().model_dump(exclude={"instances"}), "instances": content})
    collected = collect(recipe, tmp_path / "samples", "training", workers=0)
    assert len(set(collected)) == 2
    assert all(path.parent == tmp_path / "samples" and path.exists() for path in collected)
    assert sorted((tmp_path / "data").rglob("*")) == before


def test_names_too_long_for_a_file_are_cut_and_stay_apart(tmp_path: Path) -> None:
    folder = tmp_path / "Станция распределения электроэнергии" / "год 2021"
    paths = files(folder, 3)
    content = {"training_files": tuple(paths[:2]), "validation_files": (paths[2],)}
    recipe = Recipe.model_validate({**small().model_dump(exclude={"instances"}), "instances": content})
    collected = collect(recipe, tmp_path / "samples", "training", workers=0)
    assert len(set(collected)) == 2
    assert all(path.exists() and len(path.name.encode()) < 230 for path in collected)
    assert len({path.name[:200] for path in collected}) == 1
    assert collect(recipe, tmp_path / "samples", "training", workers=0) == collected


def test_every_instance_is_solved_with_one_of_several_settings(tmp_path: Path) -> None:
    recipe = small(training=24, settings=("clean", "default"))
    paths = collect(recipe, tmp_path, "training", workers=0)
    found = {Episode.load(path).facts["seed"]: Episode.load(path).facts["settings"] for path in paths}
    assert set(found.values()) == {"clean", "default"}
    assert found == {seed: settings_of(("clean", "default"), recipe.seed, seed) for seed in found}


def test_the_rule_of_thumb_branches_everywhere_and_asks_no_lp(tmp_path: Path) -> None:
    watched = Watched(small(expert="constraint-by-constraint", probability=0.5, per_instance=1000).samples)
    model = get(FAMILY).generate("50x250", 0).to_model()
    apply_settings(model, "clean")
    attach(model, watched, strict=True)
    optimize(model)
    rule = watched._order
    assert rule is not None
    assert watched.recorder.n_samples
    assert len(watched.seen) > watched.recorder.n_samples
    assert all(choice == rule[1].places(state).argmax() for state, _, choice in watched.seen)
    assert model.getNStrongbranchLPIterations() == 0


def test_ctrl_c_leaves_no_episode_of_a_part_of_a_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember, calls = CollectPolicy.remember, count()

    def interrupted(self: CollectPolicy, state: BranchState, path: object, choice: int) -> int:
        if next(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)  # SCIP has the handler
        return remember(self, state, path, choice)  # type: ignore[arg-type]

    monkeypatch.setattr(CollectPolicy, "remember", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collect(small(per_instance=100), tmp_path, "training", workers=0)
    assert {Episode.load(path).facts["status"] for path in tmp_path.iterdir()} <= {"optimal", "totalnodelimit"}


def test_instances_without_samples_are_told_at_every_attempt(tmp_path: Path) -> None:
    recipe = small(probability=1e-12, shallow_probability=0.0)
    for _ in range(2):
        reports: list[SolveReport] = []
        with pytest.raises(TrainingError, match="gave no sample"):
            collect(recipe, tmp_path, "training", workers=0, on_report=reports.append)
        assert len(reports) <= 51


def test_episodes_of_files_are_known_by_their_place_among_them(tmp_path: Path) -> None:
    paths = files(tmp_path, 4)

    def of(training: list[str]) -> Recipe:
        content = {"training_files": tuple(training), "validation_files": (paths[3],)}
        return Recipe.model_validate({**small(training=1).model_dump(exclude={"instances"}), "instances": content})

    collect(of(paths[1:3]), tmp_path / "samples", "training", workers=0)
    collect(of(paths[1:3]), tmp_path / "samples", "training", workers=0)
    with pytest.raises(TrainingError, match="other settings"):  # other draws, for it is the second one now
        collect(of([paths[0], paths[1]]), tmp_path / "samples", "training", workers=0)


def test_samples_of_a_file_that_was_changed_are_not_taken(tmp_path: Path) -> None:
    paths = files(tmp_path / "data", 2)
    content = {"training_files": (paths[0],), "validation_files": (paths[1],)}
    recipe = Recipe.model_validate({**small(training=1).model_dump(exclude={"instances"}), "instances": content})
    reports: list[SolveReport] = []
    for _ in range(2):
        collect(recipe, tmp_path / "samples", "training", workers=0, on_report=reports.append)
    assert [report.reused for report in reports] == [False, True]
    get(FAMILY).generate(SIZE, 77).to_model().writeProblem(paths[0], verbose=False)
    with pytest.raises(TrainingError, match="other settings or instances"):
        collect(recipe, tmp_path / "samples", "training", workers=0)


def test_samples_of_another_scip_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small(training=1)
    collect(recipe, tmp_path, "training", workers=0)
    collect(recipe, tmp_path, "training", workers=0)
    monkeypatch.setattr("revibranch.gnn.training.collect.scip_release", lambda: "11.0.0")
    with pytest.raises(TrainingError, match=r"holds samples of SCIP \d+\.\d+\.\d+ .*, this is SCIP 11\.0\.0"):
        collect(recipe, tmp_path, "training", workers=0)


def test_recorded_ancestors_are_the_real_path(tmp_path: Path) -> None:
    recipe = small(shallow_probability=0.3, per_instance=100)
    deepest = 0
    for seed in (1, 3):
        model = recipe.instances.training(seed).load()
        apply_settings(model, "clean")
        policy = Watched(recipe.samples)
        attach(model, policy, strict=True)
        optimize(model)
        episode = policy.recorder.episode({})
        episode = episode.kept(episode.samples)
        seen = {state.node.number: (state, path, choice) for state, path, choice in policy.seen}
        for decision in range(len(episode)):
            stored = episode.state(decision)
            state, path, choice = seen[stored.node.number]
            for name in ("variable_features", "row_features", "edge_variables", "edge_rows", "edge_order", "edge_values", "candidates"):
                np.testing.assert_array_equal(getattr(stored, name), getattr(state, name), err_msg=name)
            assert stored.node == state.node
            assert int(episode.choice[decision]) == choice
            ancestors = episode.ancestors(decision)
            assert [(episode.state(step.decision).node.number, step.child) for step in ancestors] == path
            assert len(path) == state.node.depth  # nobody else branched
            deepest = max(deepest, len(path))
    assert deepest >= 3


def test_samples_hold_the_experts_scores_and_choice(tmp_path: Path) -> None:
    [path, *_] = collect(small(), tmp_path, "training", workers=0)
    episode = Episode.load(path)
    assert len(episode.samples) >= 1
    for sample in episode.samples.tolist():
        scores = episode.scores(sample)
        assert np.isfinite(scores).sum() >= 2
        assert int(episode.choice[sample]) == int(np.nanargmax(scores))
    others = sorted(set(range(len(episode))) - set(episode.samples.tolist()))
    for decision in others:
        assert np.isnan(episode.scores(decision)).all()
        assert int(episode.choice[decision]) == int(pseudocost_scores(episode.state(decision)).argmax())


def test_collection_is_repeatable_and_the_same_on_workers(tmp_path: Path) -> None:
    recipe = small(training=3)
    runs = [collect(recipe, tmp_path / str(workers), "training", workers=workers) for workers in (0, 2)]
    names = [[path.name for path in run] for run in runs]
    assert names[0] == names[1]
    for one, other in zip(*runs, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_good_episodes_are_kept_and_damaged_ones_made_again(tmp_path: Path) -> None:
    recipe = small()
    paths = collect(recipe, tmp_path, "training", workers=0)
    whole = [path.read_bytes() for path in paths]
    paths[0].write_bytes(whole[0][:-50])
    reports: list[SolveReport] = []
    assert collect(recipe, tmp_path, "training", workers=0, on_report=reports.append) == paths
    assert [path.read_bytes() for path in paths] == whole
    assert sum(not report.reused for report in reports) == 1
    # More samples of the same kind only take further instances; samples of another kind are refused.
    more = small(training=7)
    assert collect(more, tmp_path, "training", workers=0)[: len(paths)] == paths
    with pytest.raises(ValueError, match="other settings"):
        collect(small(probability=0.4), tmp_path, "training", workers=0)


def test_no_more_samples_of_an_instance_than_asked_for(tmp_path: Path) -> None:
    for path in collect(small(per_instance=2), tmp_path, "training", workers=0):
        assert 1 <= len(Episode.load(path).samples) <= 2


def test_too_few_instances_are_an_error(tmp_path: Path) -> None:
    recipe = small(training=10_000)
    recipe = recipe.model_copy(update={"instances": recipe.instances.model_copy(update={"limit": 1})})
    with pytest.raises(ValueError, match="1 training instances hold"):
        collect(recipe, tmp_path, "training", workers=0)


def test_pseudocost_scores_by_hand() -> None:
    state = random_state(0, n_candidates=2).copy()
    features = state.variable_features
    features.flags.writeable = True
    first, second = state.candidates.tolist()
    features[first, [9, 19, 20]] = 0.25, 8.0, 4.0  # 2 * 3
    features[second, [9, 19, 20]] = 0.5, 0.0, np.nan  # both gains at SCIP's epsilon
    assert pseudocost_scores(state) == pytest.approx([6.0, 1e-12])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_signal_stops_the_collection_in_order_and_the_next_one_goes_on(tmp_path: Path, workers: int) -> None:
    recipe = small()
    whole = collect(recipe, tmp_path / "whole", "training", workers=0)
    with pytest.raises(Interrupted, match="SIGTERM"):
        collect(recipe, tmp_path / "parts", "training", workers=workers, on_report=lambda report: os.kill(os.getpid(), signal.SIGTERM))
    assert len(whole) > 1
    assert len(list((tmp_path / "parts").glob("*.npz"))) < len(whole)
    parts = collect(recipe, tmp_path / "parts", "training", workers=workers)
    assert [path.name for path in parts] == [path.name for path in whole]
    assert [len(Episode.load(path).samples) for path in parts] == [len(Episode.load(path).samples) for path in whole]
