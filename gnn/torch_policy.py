"""A torch network as a branching policy: what training and GPUs use, and what the native network is held to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..branching.policy import PathStep, Policy
from ..branching.state import BranchState, NodeFacts
from .batch import GraphBatch, GraphStructure
from .history import select_steps
from .network import BranchingNetwork
from .revival import gather_history

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["NetworkPolicy", "ScoredNodes"]


@dataclass(frozen=True)
class _Kept:
    """A structure on the network's device."""

    key: tuple[int, ...]
    structure: GraphStructure
    source: GraphStructure
    """Views into the state's memory, which keep that memory from being used again for another structure."""


@dataclass(frozen=True)
class _Scored:
    """What ``score`` leaves for ``remember``."""

    key: tuple[int, ...]
    node: NodeFacts
    batch: GraphBatch
    embeddings: Tensor


@dataclass(frozen=True)
class ScoredNodes:
    """Many nodes that were scored together, and what their decisions' memories are made of."""

    scores: list[NDArray[np.float32]]
    """Of each node's candidates, (k,)."""
    batch: GraphBatch
    """The nodes' graphs."""
    embeddings: Tensor
    """(n, D) of the batch's variables."""


class NetworkPolicy(Policy):
    """Scores candidates with a network; its memory of a decision is the three steps (3, D) of the decision's children.

    Several solves may share one policy, in turn or on several threads.

    Args:
        network: is moved to the device and put into evaluation mode.
        device: where it runs.
        threads: torch's threads during a call; the process's own number is restored after it.
        raises_bound: ``Policy.raises_bound``.
        mixes_pseudocosts: ``Policy.mixes_pseudocosts``.

    Raises:
        ValueError: fewer than one thread.
    """

    def __init__(
        self,
        network: BranchingNetwork,
        device: torch.device | str = "cpu",
        threads: int = 1,
        *,
        raises_bound: bool = True,
        mixes_pseudocosts: bool = False,
    ) -> None:
        if threads < 1:
            raise ValueError(f"a policy needs at least one thread, not {threads}")
        self.network = network.to(device).eval()
        self.device = torch.device(device)
        self.threads = threads
        self.extended = network.config.extended
        self.needs_path = network.config.history_length > 0
        self.raises_bound = raises_bound
        self.mixes_pseudocosts = mixes_pseudocosts
        self._kept: _Kept | None = None
        self._scored: _Scored | None = None

    def begin(self, model: Model) -> None:  # noqa: ARG002
        """Let go of the last solve's memory."""
        self._kept = self._scored = None

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.float32]:
        """Scores of the candidates, (k,) float32. Steps without memory are left out of the history."""
        with self._computing():
            scored = self._encode(state)
            memory = self._steps(path)[None]
            mask = torch.ones(memory.shape[:2], dtype=torch.bool, device=self.device)
            batch = scored.batch
            scores = self.network.decode(scored.embeddings[batch.candidates], batch.candidate_batch, memory, mask)
            self._scored = scored
            array: NDArray[np.float32] = scores.cpu().numpy()
            return array

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> NDArray[np.float32] | None:  # noqa: ARG002
        """The decision's steps (3, D); None for a network without history. Uses what ``score`` computed for the node."""
        if not self.network.config.history_length:
            return None
        scored = self._scored
        with self._computing():
            if scored is None or scored.node != state.node or scored.key != _structure_key(state):
                scored = self._encode(state)
            choices = torch.tensor([choice], device=self.device)
            # Back at once, not when a descendant asks: a GPU that fails later takes no memory with it.
            steps: NDArray[np.float32] = self.network.steps(scored.batch, scored.embeddings, choices)[0].cpu().numpy()
            return steps

    def score_many(self, states: Sequence[BranchState], paths: Sequence[Sequence[PathStep]]) -> ScoredNodes:
        """Score many nodes, of one solve or of several, in one call of the network.

        Args:
            states: at least one; all with the same variable columns.
            paths: of each, as in ``score``.

        Raises:
            ValueError: no state, states of different columns, or not one path for each.
        """
        if len(paths) != len(states):
            raise ValueError(f"{len(states)} states and {len(paths)} paths")
        with self._computing():
            batch = GraphBatch.from_states(states).to(self.device)
            embeddings = self.network.encode(batch)
            memory, mask = self._histories(paths)
            scores = self.network.decode(embeddings[batch.candidates], batch.candidate_batch, memory, mask).cpu()
            parts = torch.split(scores, [len(state.candidates) for state in states])
            return ScoredNodes([part.numpy() for part in parts], batch, embeddings)

    def remember_many(self, nodes: ScoredNodes, choices: Sequence[int]) -> list[NDArray[np.float32] | None]:
        """Memories of the decisions at nodes that ``score_many`` scored, as ``remember`` gives them.

        Args:
            nodes: the nodes.
            choices: of each, the place of the chosen candidate among its candidates.

        Raises:
            ValueError: not one choice for each node.
            IndexError: a choice that is no place among its node's candidates.
        """
        if len(choices) != len(nodes.scores):
            raise ValueError(f"{len(choices)} choices for {len(nodes.scores)} nodes")
        for choice, scores in zip(choices, nodes.scores, strict=True):
            if not 0 <= choice < len(scores):
                raise IndexError(f"choice {choice} of {len(scores)} candidates")
        if not self.network.config.history_length:
            return [None] * len(choices)
        with self._computing():
            steps = self.network.steps(nodes.batch, nodes.embeddings, torch.tensor(choices, device=self.device))
            return [part.copy() for part in steps.cpu().numpy()]  # a view would keep those of all other nodes too

    def _histories(self, paths: Sequence[Sequence[PathStep]]) -> tuple[Tensor, Tensor]:
        """Memory (B, T, D), padded, and mask (B, T)."""
        parts = [self._steps(path) for path in paths]
        ends = np.cumsum([len(part) for part in parts]).tolist()
        histories = [range(end - len(part), end) for part, end in zip(parts, ends, strict=True)]
        return gather_history(torch.cat(parts), histories, self.network.config.history_length)

    def _encode(self, state: BranchState) -> _Scored:
        key = _structure_key(state)
        kept = self._kept
        if kept is None or kept.key != key:
            # Moved once per structure; on the CPU nothing moves and the edges are the state's own memory.
            source = GraphStructure.view(state)
            kept = _Kept(key, source.to(self.device), source)
            self._kept = kept
        batch = GraphBatch.view(state, kept.structure).to(self.device)
        return _Scored(key, state.node, batch, self.network.encode(batch))

    def _steps(self, path: Sequence[PathStep]) -> Tensor:
        """The steps of the path that the decoder sees, (T, D); a native network's memory is the same."""
        rows = []
        for step in select_steps(path, self.network.config.history_length):
            assert isinstance(step.memory, np.ndarray)
            rows.append(step.memory[step.child])
        steps = np.stack(rows) if rows else np.zeros((0, self.network.config.width), dtype=np.float32)
        return torch.from_numpy(steps).to(self.device)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        threads = torch.get_num_threads()
        if threads != self.threads:
            torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                yield
        finally:
            if threads != self.threads:
                torch.set_num_threads(threads)


def _structure_key(state: BranchState) -> tuple[int, ...]:
    """Tells structures apart, those of two solves that share a policy included: where their edges are in memory."""
    return (
        state.structure_id,
        state.n_variables,
        state.n_rows,
        state.n_edges,
        state.row_offsets.ctypes.data,
        state.edge_variables.ctypes.data,
        state.edge_values.ctypes.data,
        state.variable_offsets.ctypes.data,
        state.edge_rows.ctypes.data,
        state.edge_order.ctypes.data,
    )
