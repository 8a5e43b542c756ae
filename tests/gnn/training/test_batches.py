from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from revibranch.gnn.batch import GraphBatch
from revibranch.gnn.network import BranchingNetwork
from revibranch.gnn.revival import gather_history
from revibranch.gnn.training.batches import SampleSet, shuffled_batches

from .episodes import recipe, with_history, write_episodes


def network_with_history(length: int) -> BranchingNetwork:
    torch.manual_seed(0)
    return BranchingNetwork(with_history(recipe(), length).network)


def test_each_distinct_graph_is_there_once(tmp_path: Path) -> None:
    data = SampleSet(write_episodes(tmp_path, 2), history_length=8)
    assert data.collate([3, 4, 5]).graphs.n_graphs == 6  # a chain of six: 3, 4, 5 and their ancestors 0, 1, 2
    assert data.collate([5, 11]).graphs.n_graphs == 12
    assert SampleSet(data_paths(tmp_path), history_length=0).collate([3, 4, 5]).graphs.n_graphs == 3


def data_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npz"))


def test_a_batch_scores_like_each_sample_alone_along_its_path(tmp_path: Path) -> None:
    data = SampleSet(write_episodes(tmp_path, 2), history_length=3)
    network = network_with_history(3).eval()
    chosen = [9, 2, 5, 0]
    batch = data.collate(chosen)
    together = batch.logits(network).detach().split(torch.bincount(batch.candidates.batch).tolist())
    for logits, sample in zip(together, chosen, strict=True):
        episode, decision = data.episodes[data.trees[sample]], sample % 6
        # By hand, graph by graph: encode every ancestor, take the step of the child that was entered.
        steps = []
        for ancestor in episode.ancestors(decision):
            graph = GraphBatch.view(episode.state(ancestor.decision))
            choice = torch.tensor([int(episode.choice[ancestor.decision])])
            steps.append(network.steps(graph, network.encode(graph), choice)[0, ancestor.child])
        table = torch.stack(steps) if steps else torch.zeros(0, 8)
        memory, mask = gather_history(table, [range(len(steps))], 3)
        alone = network(GraphBatch.view(episode.state(decision)), memory, mask)
        torch.testing.assert_close(logits, alone.detach(), rtol=1e-4, atol=1e-5)


def test_ancestors_are_trained_too(tmp_path: Path) -> None:
    data = SampleSet(write_episodes(tmp_path, 1), history_length=4)
    network = network_with_history(4)
    data.collate([5]).logits(network).square().sum().backward()
    parameter = next(network.revival.parameters())
    assert parameter.grad is not None
    assert parameter.grad.abs().sum() > 0


def test_an_epoch_holds_every_sample_once_and_differs_from_the_next() -> None:
    trees = np.repeat(np.arange(5), [3, 1, 7, 2, 4])
    for together in (1, 3):
        first, second = (np.concatenate(shuffled_batches(trees, 4, together, (0, epoch))) for epoch in (0, 1))
        assert sorted(first) == list(range(17))
        assert first.tolist() != second.tolist()
        again = np.concatenate(shuffled_batches(trees, 4, together, (0, 0)))
        assert again.tolist() == first.tolist()


def test_samples_of_a_tree_stay_together_where_asked() -> None:
    trees = np.repeat(np.arange(10), 6)
    order = trees[np.concatenate(shuffled_batches(trees, 60, 3, (0,)))]
    assert all(len(set(order[begin : begin + 3])) == 1 for begin in range(0, 60, 3))
