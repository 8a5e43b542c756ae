"""The fused operator: its numbers, its gradients, and what autograd and torch.compile make of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from revibranch.gnn import _halfconv
from revibranch.gnn.batch import Edges, GraphBatch
from revibranch.gnn.fused import halfconv_sum, supports
from revibranch.gnn.halfconv import HalfConvolution

from .states import random_state

EPSILON = 1e-5


def random_edges(rng: np.random.Generator, n_targets: int, n_sources: int, n_edges: int, dtype=torch.float64) -> Edges:
    """Edges in random order within a target; many between the same two, some targets with none."""
    targets = np.sort(rng.integers(0, max(n_targets, 1), n_edges))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(targets, minlength=n_targets))]).astype(np.int64)[: n_targets + 1]
    sources = rng.integers(0, max(n_sources, 1), n_edges).astype(np.int32)
    return Edges(torch.from_numpy(offsets), torch.from_numpy(sources), torch.from_numpy(rng.normal(size=n_edges)).to(dtype))


def random_arguments(width: int, *, n_targets=7, n_sources=5, n_edges=30, dtype=torch.float64, seed=0) -> tuple:
    rng = np.random.default_rng(seed)
    edges = random_edges(rng, n_targets, n_sources, n_edges, dtype)
    shapes = [(n_sources, width), (n_targets, width), (width,), (width,), (width,)]
    return edges.offsets, edges.sources, edges.values, *(torch.from_numpy(rng.normal(size=shape)).to(dtype) for shape in shapes), EPSILON


def numpy_sum(offsets, sources, values, source, target, edge, gamma, beta, epsilon) -> np.ndarray:
    """The formula, one edge at a time, in double precision."""
    source, target, edge, gamma, beta, values = (part.double().numpy() for part in (source, target, edge, gamma, beta, values))
    sums = np.zeros(target.shape)
    for i in range(len(target)):
        for e in range(int(offsets[i]), int(offsets[i + 1])):
            x = source[int(sources[e])] + target[i] + values[e] * edge
            sums[i] += np.maximum(gamma * x / np.sqrt(np.mean(x**2) + epsilon) + beta, 0)
    return sums


def differentiable(arguments: tuple) -> tuple:
    return *arguments[:3], *(part.clone().requires_grad_() for part in arguments[3:8]), arguments[8]


@pytest.mark.parametrize("width", [8, 16, 32, 48, 64, 512])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_sums_equal_the_formula_in_numpy(width, dtype, tolerance):
    arguments = random_arguments(width, dtype=dtype)
    sums = halfconv_sum(*arguments)
    assert sums.dtype == dtype
    np.testing.assert_allclose(sums.numpy(), numpy_sum(*arguments), rtol=tolerance, atol=tolerance)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.sampled_from([8, 32, 48, 64]),
    n_targets=st.integers(0, 9),
    n_sources=st.integers(0, 9),
    n_edges=st.integers(0, 40),
)
def test_sums_and_gradients_equal_plain_torch_on_random_graphs(seed, width, n_targets, n_sources, n_edges):
    n_edges = n_edges if n_targets and n_sources else 0
    arguments = differentiable(random_arguments(width, n_targets=n_targets, n_sources=n_sources, n_edges=n_edges, seed=seed))
    offsets, sources, values, source, target, edge, gamma, beta, epsilon = arguments
    targets = torch.arange(n_targets).repeat_interleave(offsets.diff())
    x = source[sources.long()] + target[targets] + values[:, None] * edge
    y = torch.relu(gamma * x * torch.rsqrt(x.square().mean(1, keepdim=True) + epsilon) + beta)
    expected = torch.zeros_like(target).index_add(0, targets, y)
    sums = halfconv_sum(*arguments)
    torch.testing.assert_close(sums, expected, rtol=1e-11, atol=1e-11)
    weights = torch.randn(n_targets, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    wanted = arguments[3:8]
    ours = torch.autograd.grad((sums * weights).sum(), wanted)
    theirs = torch.autograd.grad((expected * weights).sum(), wanted, materialize_grads=True, allow_unused=True)
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("width", [8, 32, 64])
def test_gradients_equal_finite_differences(width):
    offsets, sources, values, *tensors, epsilon = differentiable(random_arguments(width, n_targets=3, n_sources=4, n_edges=6, seed=width))
    assert torch.autograd.gradcheck(lambda *parts: halfconv_sum(offsets, sources, values, *parts, epsilon), tensors)


def test_the_operator_keeps_the_rules_of_torch_library():
    for arguments in (random_arguments(8), differentiable(random_arguments(32, dtype=torch.float32))):
        torch.library.opcheck(halfconv_sum, arguments)
    assert torch.ops.revibranch.halfconv_sum.default is not None


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_half_convolution_is_one_graph_with_the_same_gradients(backend):
    torch.manual_seed(0)
    half = HalfConvolution(16)
    edges = random_edges(np.random.default_rng(0), 6, 5, 20, torch.float32)
    targets, sources = torch.randn(6, 16, requires_grad=True), torch.randn(5, 16, requires_grad=True)
    wanted = [targets, sources, *half.parameters()]
    torch.compiler.reset()
    compiled = torch.compile(half, backend=backend, fullgraph=True)
    expected = half(targets, sources, edges)
    found = compiled(targets, sources, edges)
    torch.testing.assert_close(found, expected)
    for mine, its in zip(torch.autograd.grad(found.sum(), wanted), torch.autograd.grad(expected.sum(), wanted), strict=True):
        torch.testing.assert_close(mine, its)


def test_a_second_derivative_is_refused_not_wrong():
    arguments = differentiable(random_arguments(8))
    (gradient,) = torch.autograd.grad(halfconv_sum(*arguments).sum(), arguments[3], create_graph=True)
    with pytest.raises(RuntimeError):
        gradient.sum().backward()


def test_the_same_bits_every_time():
    arguments = differentiable(random_arguments(32, n_targets=50, n_sources=40, n_edges=900, dtype=torch.float32))

    def once():
        sums = halfconv_sum(*arguments)
        return [sums, *torch.autograd.grad(sums.square().sum(), arguments[3:8])]

    first = once()
    for _ in range(3):
        assert all(torch.equal(mine, its) for mine, its in zip(once(), first, strict=True))


def test_nan_is_not_swallowed():
    arguments = differentiable(random_arguments(8, n_targets=2, n_edges=6))
    with torch.no_grad():
        arguments[4][1, 3] = torch.nan
    sums = halfconv_sum(*arguments)
    assert sums[1].isnan().all()
    assert sums[0].isfinite().all()
    (gradient,) = torch.autograd.grad(sums.sum(), arguments[4])
    assert gradient[1].isnan().all()
    assert gradient[0].isfinite().all()


def test_strided_inputs_and_gradients_are_taken():
    arguments = random_arguments(8)
    strided = list(differentiable(arguments))
    wide = torch.randn(5, 16, dtype=torch.float64)
    wide[:, ::2] = arguments[3]
    strided[3] = wide[:, ::2].requires_grad_()
    sums = halfconv_sum(*strided)
    torch.testing.assert_close(sums, halfconv_sum(*arguments))
    (gradient,) = torch.autograd.grad(sums.sum(), strided[3])  # the gradient of a sum is one number, expanded
    plain = differentiable(arguments)
    torch.testing.assert_close(gradient, torch.autograd.grad(halfconv_sum(*plain).sum(), plain[3])[0])


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (0, lambda offsets: offsets[:0], "offsets"),
        (0, lambda offsets: offsets + 1, "offsets must run from 0"),
        (0, lambda offsets: torch.cat([offsets[:1], offsets[1:2] + 10**9, offsets[2:]]), "never fall"),
        (0, lambda offsets: torch.cat([offsets[:-1], offsets[-1:] - 1]), "number of edges"),
        (0, lambda offsets: offsets[:-1], "target has shape"),
        (0, lambda offsets: offsets.int(), "Buffer dtype mismatch|matching signature"),
        (1, lambda sources: torch.where(sources == sources.max(), 5, sources), "source that does not exist"),
        (1, lambda sources: torch.where(sources == sources.max(), -1, sources), "source that does not exist"),
        (2, lambda values: values[:-1], "values has length 29, expected 30"),
        (4, lambda target: target[:, :4].contiguous(), "target has shape"),
        (5, lambda edge: edge[:-1], "edge has length 7, expected 8"),
        (6, lambda gamma: gamma[:-1], "gamma has length"),
        (7, lambda beta: torch.cat([beta, beta]), "beta has length"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_before_anything_is_read(place, change, message):
    arguments = list(random_arguments(8))
    arguments[place] = change(arguments[place])
    with pytest.raises((ValueError, TypeError), match=message):
        halfconv_sum(*arguments)
    gradients = [part.numpy().copy() for part in random_arguments(8)[3:8]]
    with pytest.raises((ValueError, TypeError), match=message):
        _halfconv.backward(*(part.numpy() for part in arguments[:8]), EPSILON, gradients[1].copy(), *gradients)


@pytest.mark.parametrize("width", [12, 0, 520])
def test_widths_that_the_kernels_do_not_take_are_refused(width):
    with pytest.raises(ValueError, match="multiple of 8, at most 512"):
        halfconv_sum(*random_arguments(width))


@pytest.mark.parametrize("place", range(5))
def test_output_arrays_that_do_not_fit_are_refused(place):
    offsets, sources, values, *tensors, epsilon = (part.numpy() if isinstance(part, torch.Tensor) else part for part in random_arguments(8))
    outputs = [np.empty_like(part) for part in tensors]
    outputs[place] = np.empty_like(outputs[place][:-1])
    name = ("d_source", "d_target", "d_edge", "d_gamma", "d_beta")[place]
    with pytest.raises(ValueError, match=name):
        _halfconv.backward(offsets, sources, values, *tensors, epsilon, np.ones_like(tensors[1]), *outputs)
    with pytest.raises(ValueError, match="out has shape"):
        _halfconv.forward(offsets, sources, values, *tensors, epsilon, np.empty((3, 8)))


def module(width: int, seed: int = 0) -> HalfConvolution:
    torch.manual_seed(seed)
    half = HalfConvolution(width)
    half.edge_mean.fill_(0.3)
    half.edge_scale.fill_(1.7)
    half.norm.weight.data.uniform_(0.5, 1.5)
    half.norm.bias.data.uniform_(-0.5, 0.5)
    return half


def both_ways(half: HalfConvolution, targets: torch.Tensor, sources: torch.Tensor, edges: Edges) -> list[list[torch.Tensor]]:
    """Result and gradients, fused and eager."""
    found = []
    for half.fuse in (True, False):
        result = half(targets, sources, edges)
        weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).reshape(result.shape)
        wanted = [targets, sources, *half.parameters()]
        found.append([result, *torch.autograd.grad((result * weights).sum(), wanted)])
    return found


@pytest.mark.parametrize("width", [8, 12, 32, 48, 64])
def test_the_module_gives_the_same_numbers_fused_and_eager(width):
    half = module(width)
    states = [random_state(seed, n_variables=10 + seed, n_rows=6 + seed, n_edges=30) for seed in range(3)]
    batch = GraphBatch.from_states(states)
    n, m = len(batch.variable_features), len(batch.row_features)
    rows, variables = torch.randn(m, width, requires_grad=True), torch.randn(n, width, requires_grad=True)
    for targets, sources, edges in ((rows, variables, batch.structure.by_row), (variables, rows, batch.structure.by_variable)):
        for fused, eager in zip(*both_ways(half, targets, sources, edges), strict=True):
            torch.testing.assert_close(fused, eager, rtol=1e-5, atol=1e-5 * float(eager.detach().abs().max().clamp(min=1)))


def test_the_module_in_double_precision_agrees_to_the_last_digits():
    half = module(32).double()
    edges = random_edges(np.random.default_rng(1), 9, 6, 40)
    targets, sources = (torch.randn(n, 32, dtype=torch.float64, requires_grad=True) for n in (9, 6))
    for fused, eager in zip(*both_ways(half, targets, sources, edges), strict=True):
        torch.testing.assert_close(fused, eager, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("n_targets", "n_sources"), [(0, 4), (4, 0), (0, 0), (4, 3)])
def test_graphs_without_rows_or_edges(n_targets, n_sources):
    half = module(8)
    edges = Edges(torch.zeros(n_targets + 1, dtype=torch.int64), torch.zeros(0, dtype=torch.int32), torch.zeros(0))
    targets, sources = torch.randn(n_targets, 8, requires_grad=True), torch.randn(n_sources, 8, requires_grad=True)
    for fused, eager in zip(*both_ways(half, targets, sources, edges), strict=True):
        assert torch.equal(fused, eager)


@pytest.mark.parametrize(("width", "fuse", "fused"), [(8, True, True), (64, True, True), (12, True, False), (8, False, False)])
def test_which_way_the_module_takes(monkeypatch, width, fuse, fused):
    half = module(width)
    half.fuse = fuse
    calls = []
    monkeypatch.setattr(half, "message_and_aggregate", lambda *_, **tensors: calls.append("fused") or tensors["pre_target"])
    monkeypatch.setattr(half, "propagate", lambda *_, **tensors: calls.append("eager") or tensors["pre_target"])
    half(torch.randn(4, width), torch.randn(3, width), random_edges(np.random.default_rng(0), 4, 3, 9, torch.float32))
    assert calls == ["fused" if fused else "eager"]


def test_what_the_operator_does_not_take_is_known_beforehand():
    tensors = torch.zeros(2, 8), torch.zeros(3, 8), torch.zeros(4)
    assert supports(*tensors)
    assert supports(*(part.double() for part in tensors))
    assert not supports(*(part.half() for part in tensors))
    assert not supports(tensors[0].double(), *tensors[1:])
    assert not supports(*(part.to("meta") for part in tensors))
    assert not supports(*tensors[:2], torch.zeros(4, requires_grad=True))
    assert not supports(torch.zeros(2, 12), torch.zeros(3, 12), tensors[2])


def test_parameters_and_their_names_do_not_depend_on_the_way():
    names = set(module(8).state_dict())
    assert names == set(module(12).state_dict())
    assert {"source.weight", "target.bias", "edge", "norm.weight", "edge_mean", "sum_scale"} <= names


def test_autocast_goes_the_plain_way():
    torch.manual_seed(0)
    convolution = HalfConvolution(16)
    edges = random_edges(np.random.default_rng(0), 7, 5, 30, torch.float32)
    targets, sources = torch.randn(7, 16), torch.randn(5, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = convolution(targets, sources, edges)
    torch.testing.assert_close(cast.float(), convolution(targets, sources, edges), rtol=0.1, atol=0.1)
