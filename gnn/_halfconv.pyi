from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

MAX_WIDTH: int
"""Largest width that the kernels take."""

Real = TypeVar("Real", np.float32, np.float64)

def forward(
    offsets: NDArray[np.int64],
    sources: NDArray[np.int32],
    values: NDArray[Real],
    source: NDArray[Real],
    target: NDArray[Real],
    edge: NDArray[Real],
    gamma: NDArray[Real],
    beta: NDArray[Real],
    epsilon: float,
    out: NDArray[Real],
) -> None:
    """Sums over the edges of each target of relu(gamma x / sqrt(mean(x^2) + epsilon) + beta), x = source + target + value edge.

    That is LayerNorm in place of the division where source, target and edge have mean zero over the width. Releases the GIL.

    Args:
        offsets: (targets + 1,): the edges of target i are ``offsets[i]:offsets[i+1]``.
        sources: (nnz,): where each edge comes from.
        values: (nnz,).
        source: (sources, D), D a multiple of 8 up to 512. All arrays are dense (C order) and of one type.
        target: (targets, D).
        edge: (D,).
        gamma: (D,).
        beta: (D,).
        epsilon: beside the mean of squares.
        out: (targets, D), overwritten; no memory shared with the others.

    Raises:
        ValueError: shapes, types or indices that do not fit. Nothing was written then.
    """

def backward(
    offsets: NDArray[np.int64],
    sources: NDArray[np.int32],
    values: NDArray[Real],
    source: NDArray[Real],
    target: NDArray[Real],
    edge: NDArray[Real],
    gamma: NDArray[Real],
    beta: NDArray[Real],
    epsilon: float,
    grad: NDArray[Real],
    d_source: NDArray[Real],
    d_target: NDArray[Real],
    d_edge: NDArray[Real],
    d_gamma: NDArray[Real],
    d_beta: NDArray[Real],
) -> None:
    """Gradients of a loss whose gradient with respect to the sums is ``grad`` (targets, D); the five outputs are overwritten.

    Raises:
        ValueError: shapes, types or indices that do not fit. Nothing was written then.
    """
