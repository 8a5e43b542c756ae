"""Inference without torch: a checkpoint's network folded into few layers for the native module, and as a policy."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..branching.policy import PathStep, Policy
from ..branching.state import BranchState, NodeFacts, row_column_names, variable_column_names
from ._network import MAX_WIDTH, NativeNetwork
from .columns import LIMIT, LOGARITHMIC_COLUMNS, MISSING_COLUMNS
from .config import NetworkConfig
from .facts import NODE_FACTS, node_fact_vector
from .history import select_steps

if TYPE_CHECKING:
    from pyscipopt import Model

__all__ = ["MAX_WIDTH", "NativePolicy", "fits", "fold", "native_network"]

_Arrays = Mapping[str, NDArray[np.floating]]
_LAYER_NORM_EPSILON = 1e-5  # torch's default, which HalfConvolution keeps


def fits(config: NetworkConfig) -> bool:
    """Whether the native module can run networks of this shape."""
    return config.width % 8 == 0 and config.width <= MAX_WIDTH


def native_network(config: NetworkConfig, tensors: _Arrays) -> NativeNetwork:
    """The network of a checkpoint (``description.read_checkpoint``) in the native module.

    Raises:
        ValueError: the width does not suit it, see ``fits``.
    """
    epsilon = (_LAYER_NORM_EPSILON, _LAYER_NORM_EPSILON)
    sizes = (config.width, config.heads, len(NODE_FACTS), config.classes)
    return NativeNetwork(*sizes, config.highest, LIMIT, epsilon, fold(config, tensors))


def fold(config: NetworkConfig, tensors: _Arrays) -> dict[str, NDArray[np.float32] | NDArray[np.int32]]:
    """A network's tensors as ``csrc/network.h`` reads them: layers as (in, out), linear maps in a row multiplied out.

    Folded in double precision: the centring of LayerNorm into the layers before it, the normalisation of edge values into
    edge vector and bias, the message's last layer and the sum's scale into the update, the attention's scale into the
    query, the answer's layer into the score's.
    """
    exact = {name: np.asarray(tensor, dtype=np.float64) for name, tensor in tensors.items()}
    folded: dict[str, NDArray[np.floating]] = {}

    def put(name: str, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        """A layer from torch's (out, in) weight."""
        folded[f"{name}.weight"], folded[f"{name}.bias"] = weight.T, bias

    def linear(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return exact[f"{name}.weight"], exact[f"{name}.bias"]

    for kind in ("variables", "rows"):
        put(f"{kind}1", *linear(f"encoder.embed_{kind}.0"))
        put(f"{kind}2", *linear(f"encoder.embed_{kind}.2"))
        for moment in ("mean", "inverse_scale"):
            folded[f"{kind}.{moment}"] = exact[f"encoder.normalise_{kind}.{moment}"]
    for half in ("to_rows", "to_variables"):
        for name, values in _fold_half(exact, f"encoder.{half}").items():
            folded[f"{half}.{name}"] = values

    scale = (config.width // config.heads) ** -0.5
    weight, bias = linear("decoder.query")
    put("query", weight * scale, bias * scale)
    put("key", *linear("decoder.key"))
    put("value", *linear("decoder.value"))
    folded["null"] = exact["decoder.null"]
    (score, score_bias), (answer, answer_bias) = linear("decoder.score.0"), linear("decoder.answer")
    candidate, attended = np.hsplit(score, [config.width])
    put("score1", np.hstack([candidate, attended @ answer]), score_bias + attended @ answer_bias)
    weight, bias = linear("decoder.score.2")
    padding = -config.classes % 8  # the native layers write 8 columns at a time
    put("score2", np.pad(weight, ((0, padding), (0, 0))), np.pad(bias, (0, padding)))

    weight, bias = linear("revival.mlp.0")
    shared, child = np.hsplit(weight, [2 * config.width + len(NODE_FACTS)])
    put("step1", shared, bias)
    folded["step.child"] = child.T
    put("step2", *linear("revival.mlp.2"))

    result: dict[str, NDArray[np.float32] | NDArray[np.int32]] = {
        name: np.ascontiguousarray(values, dtype=np.float32) for name, values in folded.items()
    }
    for kind, names, available in (
        ("variables", config.variable_columns, variable_column_names()),
        ("rows", config.row_columns, row_column_names()),
    ):
        flags = iter(range(len(names), 2 * len(names)))
        result[f"{kind}.place"] = np.array([available.index(name) for name in names], dtype=np.int32)
        result[f"{kind}.logarithmic"] = np.array([name in LOGARITHMIC_COLUMNS for name in names], dtype=np.int32)
        result[f"{kind}.flag"] = np.array([next(flags) if name in MISSING_COLUMNS else -1 for name in names], dtype=np.int32)
    return result


def _fold_half(exact: Mapping[str, NDArray[np.float64]], half: str) -> dict[str, NDArray[np.float64]]:
    """One half-convolution. LayerNorm subtracts the mean over outputs of what these layers make: they do it themselves."""

    def centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = values - values.mean(axis=0)
        return result

    edge = exact[f"{half}.edge"] / exact[f"{half}.edge_scale"]
    update, message = exact[f"{half}.update_output.0.weight"], exact[f"{half}.message_output.weight"]
    target, summed = np.hsplit(update, [len(edge)])
    summed = summed / exact[f"{half}.sum_scale"]
    degree = summed @ exact[f"{half}.message_output.bias"]
    return {
        "source.weight": centred(exact[f"{half}.source.weight"]).T,
        "source.bias": np.zeros_like(edge),
        "target.weight": centred(exact[f"{half}.target.weight"]).T,
        "target.bias": centred(exact[f"{half}.target.bias"] - edge * exact[f"{half}.edge_mean"]),
        "edge": centred(edge),
        "gamma": exact[f"{half}.norm.weight"],
        "beta": exact[f"{half}.norm.bias"],
        "update1.weight": np.hstack([target, summed @ message, degree[:, None]]).T,
        "update1.bias": exact[f"{half}.update_output.0.bias"],
        "update2.weight": exact[f"{half}.update_output.2.weight"].T,
        "update2.bias": exact[f"{half}.update_output.2.bias"],
    }


class NativePolicy(Policy):
    """Scores candidates with a checkpoint's network in C, on one core; a decision's memory is its three steps (3, D).

    Several solves may share one policy, in turn or on several threads: each thread has scratch memory of its own.

    Args:
        config: of the network; ``fits`` tells whether it can run here.
        tensors: its weights by name.
        raises_bound: ``Policy.raises_bound``.
        mixes_pseudocosts: ``Policy.mixes_pseudocosts``.
    """

    def __init__(self, config: NetworkConfig, tensors: _Arrays, *, raises_bound: bool = True, mixes_pseudocosts: bool = False) -> None:
        self.config = config
        self.raises_bound = raises_bound
        self.mixes_pseudocosts = mixes_pseudocosts
        self.extended = config.extended
        self.needs_path = config.history_length > 0
        self._tensors = {name: np.array(tensor, dtype=np.float32) for name, tensor in tensors.items()}
        self._frequencies = np.exp(np.arange(0, config.width, 2) * (-np.log(10_000.0) / config.width)).astype(np.float32)
        self._positions: dict[int, NDArray[np.float32]] = {}
        self._local = threading.local()
        self._network()

    def __reduce__(self) -> tuple[object, ...]:
        make = partial(NativePolicy, raises_bound=self.raises_bound, mixes_pseudocosts=self.mixes_pseudocosts)
        return make, (self.config, self._tensors)

    def begin(self, model: Model) -> None:
        """Nothing is kept from solve to solve."""

    def score(self, state: BranchState, path: Sequence[PathStep]) -> NDArray[np.float32]:
        """Scores of the candidates, (k,) float32. Steps without memory are left out of the history."""
        network = self._network()
        self._local.scored = None
        scores = network.score(state, network.revive(select_steps(path, self.config.history_length)), everything=self.needs_path)
        self._local.scored = (state.node, state.variable_features)
        return scores

    def remember(self, state: BranchState, path: Sequence[PathStep], choice: int) -> NDArray[np.float32] | None:
        """The decision's steps (3, D); None for a network without history. Uses what ``score`` computed for the node."""
        if not self.needs_path:
            return None
        scored: tuple[NodeFacts, object] | None = getattr(self._local, "scored", None)
        if scored is None or scored[1] is not state.variable_features or scored[0] != state.node:
            self.score(state, path)
        facts = node_fact_vector(state.node, len(state.candidates), state.n_variables)
        return self._network().steps(int(state.candidates[choice]), facts, self._position(state.node.depth))

    def _network(self) -> NativeNetwork:
        network: NativeNetwork | None = getattr(self._local, "network", None)
        if network is None:
            network = self._local.network = native_network(self.config, self._tensors)
        return network

    def _position(self, depth: int) -> NDArray[np.float32]:
        """(D,) encoding of a depth, as ``revival.Revival`` has it."""
        position = self._positions.get(depth)
        if position is None:
            angles = np.float32(depth) * self._frequencies
            position = self._positions[depth] = np.concatenate([np.sin(angles), np.cos(angles)])
        return position
