"""The fused sum of a half-convolution as a torch operator: autograd and torch.compile see one operation with a gradient."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from . import _halfconv
from ._halfconv import MAX_WIDTH

__all__ = ["MAX_WIDTH", "halfconv_sum", "supports"]

_TYPES = (torch.float32, torch.float64)


def supports(source: Tensor, target: Tensor, values: Tensor) -> bool:
    """Whether ``halfconv_sum`` takes what linear layers make of these.

    On the CPU, all float32 or all float64, no autocast to other types, a fitting width, ``values`` without gradient.
    """
    width = source.shape[1]
    return (
        source.device.type == target.device.type == values.device.type == "cpu"
        and source.dtype in _TYPES
        and source.dtype == target.dtype == values.dtype
        and width % 8 == 0
        and 0 < width <= MAX_WIDTH
        and not values.requires_grad
        and not torch.is_autocast_enabled("cpu")
    )


@torch.library.custom_op("revibranch::halfconv_sum", mutates_args=(), device_types="cpu")
def halfconv_sum(
    offsets: Tensor,
    sources: Tensor,
    values: Tensor,
    source: Tensor,
    target: Tensor,
    edge: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
) -> Tensor:
    """Sum over the edges of each target of relu(gamma x / sqrt(mean(x^2) + epsilon) + beta), x = source + target + value edge.

    That is LayerNorm in place of the division where source, target and edge have mean zero over the width. Has gradients
    with respect to source, target, edge, gamma and beta. Deterministic; one thread.

    Args:
        offsets: (targets + 1,) int64: the edges of target i are ``offsets[i]:offsets[i+1]``.
        sources: (nnz,) int32: where each edge comes from.
        values: (nnz,) edge values, without gradient.
        source: (sources, D) float32 or float64; as all that follow.
        target: (targets, D).
        edge: (D,).
        gamma: (D,) scale of the norm.
        beta: (D,) shift of the norm.
        epsilon: beside the mean of squares.

    Returns:
        (targets, D).

    Raises:
        ValueError: shapes, types or indices that do not fit.
        TypeError: a type that NumPy does not have, or that no kernel is for.
    """
    sums = torch.empty(target.shape, dtype=target.dtype, device="cpu")
    _halfconv.forward(
        _array(offsets),
        _array(sources),
        _array(values),
        _array(source),
        _array(target),
        _array(edge),
        _array(gamma),
        _array(beta),
        epsilon,
        sums.numpy(),
    )
    return sums


@halfconv_sum.register_fake
def _(*inputs: Any) -> Tensor:
    target: Tensor = inputs[4]
    return torch.empty_like(target, memory_format=torch.contiguous_format)


@torch.library.custom_op("revibranch::halfconv_sum_backward", mutates_args=(), device_types="cpu")
def halfconv_sum_backward(
    grad: Tensor,
    offsets: Tensor,
    sources: Tensor,
    values: Tensor,
    source: Tensor,
    target: Tensor,
    edge: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of source, target, edge, gamma and beta for ``grad`` (targets, D), the gradient of the sums."""
    likes = (source, target, edge, gamma, beta)
    d_source, d_target, d_edge, d_gamma, d_beta = (torch.empty(like.shape, dtype=like.dtype, device="cpu") for like in likes)
    _halfconv.backward(
        _array(offsets),
        _array(sources),
        _array(values),
        _array(source),
        _array(target),
        _array(edge),
        _array(gamma),
        _array(beta),
        epsilon,
        _array(grad),
        d_source.numpy(),
        d_target.numpy(),
        d_edge.numpy(),
        d_gamma.numpy(),
        d_beta.numpy(),
    )
    return d_source, d_target, d_edge, d_gamma, d_beta


@halfconv_sum_backward.register_fake
def _(*inputs: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(like, memory_format=torch.contiguous_format) for like in inputs[4:9])


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    *tensors, ctx.epsilon = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    gradients = halfconv_sum_backward(grad, *ctx.saved_tensors, ctx.epsilon)
    return (None, None, None, *gradients, None)


halfconv_sum.register_autograd(_backward, setup_context=_save)


def _array(tensor: Tensor) -> NDArray[Any]:
    """The tensor's memory, dense; a copy only where it is not dense (gradients of expanded sums)."""
    return tensor.detach().contiguous().numpy()
