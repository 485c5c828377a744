"""Operations in forms of our own are those of torch up to rounding, for every shape."""

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from nas.network.modules.kernels import (
    batch_norm,
    conv2d,
    gradient_forms,
    judged_batch_norm,
    linear,
    positions_a_row,
    subsampled,
)

ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float64: 1e-12}


def images(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Normal values in channels_last layout that want a gradient."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return values.contiguous(memory_format=torch.channels_last).requires_grad_()


def assert_close(ours: Tensor | None, theirs: Tensor | None, rounding: float) -> None:
    assert ours is not None
    assert theirs is not None
    assert ours.shape == theirs.shape
    error = (ours.double() - theirs.double()).norm() / (theirs.double().norm() + 1e-9)
    assert error < rounding, f"{error} is more than rounding"


sides = st.integers(1, 12)
pairs = st.tuples


@given(
    channels=st.integers(2, 9),
    side=pairs(sides, sides),
    kernel=pairs(st.integers(1, 9), st.integers(1, 9)),
    stride=pairs(st.integers(1, 3), st.integers(1, 3)),
    padding=pairs(st.integers(0, 5), st.integers(0, 5)),
    with_bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_a_depthwise_convolution_and_its_gradients_are_those_of_torch(
    channels: int,
    side: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    with_bias: bool,
    dtype: torch.dtype,
) -> None:
    outputs = [(side[axis] + 2 * padding[axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1)]
    assume(min(outputs) >= 1 and all(padding[axis] <= kernel[axis] // 2 for axis in (0, 1)))
    assume(dtype == torch.float32 or min(outputs) > 1)  # oneDNN's own results are garbage there, see LeanConv2d
    x, weight = images((3, channels, *side), dtype), images((channels, 1, *kernel), dtype, seed=1)
    bias = torch.randn(channels).to(dtype).requires_grad_() if with_bias else None
    ours = conv2d(x, weight, bias, stride, padding, (1, 1), channels)
    gradient = torch.randn_like(ours)
    ours.backward(gradient)  # type: ignore[no-untyped-call]
    exact = [None if each is None else each.detach().double().requires_grad_() for each in (x, weight, bias)]
    theirs = nn.functional.conv2d(exact[0], exact[1], exact[2], stride, padding, 1, channels)  # type: ignore[arg-type]
    theirs.backward(gradient.double())  # type: ignore[no-untyped-call]
    assert_close(ours, theirs, ROUNDING[dtype])
    for mine, true in zip((x, weight, bias), exact, strict=True):
        forms = gradient_forms(x, weight, stride, (1, 1), channels, dtype)
        if mine is not None and true is not None and (mine is not weight or forms.strips):
            assert_close(mine.grad, true.grad, ROUNDING[dtype])


@pytest.mark.parametrize(
    ("inputs", "outputs", "groups", "kernel", "stride", "dtype", "strips", "fp32"),
    [
        (8, 8, 8, 3, 1, torch.bfloat16, False, False),
        (8, 8, 8, 5, 1, torch.bfloat16, True, False),
        (8, 8, 8, 5, 1, torch.float32, True, False),
        (8, 8, 8, 3, 2, torch.bfloat16, False, True),
        (8, 8, 8, 7, 2, torch.bfloat16, True, True),
        (8, 8, 8, 3, 2, torch.float32, False, False),
        (8, 8, 1, 5, 2, torch.bfloat16, False, False),  # not depthwise
        (8, 16, 8, 5, 2, torch.bfloat16, False, False),  # two outputs a channel
    ],
)
def test_what_decides_the_form_of_a_gradient_is_the_shape_and_the_precision(
    inputs: int, outputs: int, groups: int, kernel: int, stride: int, dtype: torch.dtype, strips: bool, fp32: bool
) -> None:
    x, weight = images((2, inputs, 8, 8)), images((outputs, inputs // groups, kernel, kernel))
    assert gradient_forms(x, weight, (stride, stride), (1, 1), groups, dtype) == (strips, fp32)
    on_gpu = torch.empty(2, inputs, 8, 8, device="meta")
    assert not any(gradient_forms(on_gpu, weight, (stride, stride), (1, 1), groups, dtype))


def test_a_depthwise_convolution_is_computed_in_bf16_where_autocast_asks_for_it() -> None:
    x, weight = images((4, 8, 9, 9)), images((8, 1, 5, 5), seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        ours = conv2d(x, weight, None, (2, 2), (2, 2), (1, 1), 8)
    assert ours.dtype == torch.bfloat16
    ours.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.dtype == torch.float32
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32


@given(
    batch=st.integers(64, 80),
    channels=st.integers(1, 40),
    side=pairs(st.integers(14, 17), st.integers(14, 17)),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_a_batch_norm_and_its_gradients_are_those_of_torch(
    batch: int, channels: int, side: tuple[int, int], dtype: torch.dtype
) -> None:
    found: list[list[Any]] = []
    x = (images((batch, channels, *side), dtype) * 2 + 0.7).detach()
    gradient = (images((batch, channels, *side), dtype, seed=1) + 0.3 * x).detach()
    for precision in (dtype, torch.float64):
        values = x.to(precision, copy=True).requires_grad_()
        of_weights = torch.float64 if precision == torch.float64 else torch.float32
        weight = torch.linspace(0.5, 1.5, channels, dtype=of_weights).requires_grad_()
        bias = torch.linspace(-1, 1, channels, dtype=of_weights).requires_grad_()
        mean, variance = torch.zeros(channels, dtype=of_weights), torch.ones(channels, dtype=of_weights)
        with torch.no_grad():
            judged = judged_batch_norm(values, mean + 0.5, variance * 2, weight, bias, 1e-5)
        result = batch_norm(values, mean, variance, weight, bias, 0.1, 1e-5)
        result.backward(gradient.to(precision))  # type: ignore[no-untyped-call]
        found.append([judged, result.detach(), values.grad, weight.grad, bias.grad, mean, variance])
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs, ROUNDING[dtype])


@pytest.mark.parametrize(
    ("shape", "dtype", "positions"),
    [
        ((128, 5, 32, 32), torch.bfloat16, 32),
        ((128, 8, 16, 16), torch.bfloat16, 16),
        ((128, 8, 8, 8), torch.bfloat16, 0),
        ((128, 16, 32, 32), torch.bfloat16, 8),
        ((128, 16, 32, 32), torch.float32, 0),
        ((128, 16, 8, 8), torch.bfloat16, 0),
        ((128, 32, 32, 32), torch.bfloat16, 0),
        ((32, 5, 8, 8), torch.bfloat16, 0),
        ((129, 5, 31, 31), torch.bfloat16, 0),  # an odd number of positions
    ],
)
def test_what_decides_the_form_of_a_batch_norm_is_the_shape_and_the_precision(
    shape: tuple[int, ...], dtype: torch.dtype, positions: int
) -> None:
    x = torch.empty(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
    assert positions_a_row(x) == positions
    assert math.prod(shape) % (shape[1] * max(1, positions)) == 0
    assert positions_a_row(torch.empty(shape, dtype=dtype)) == 0


@given(side=pairs(sides, sides), stride=pairs(st.integers(1, 3), st.integers(1, 3)))
def test_every_other_position_is_a_slice_in_the_layout_of_the_images(
    side: tuple[int, int], stride: tuple[int, int]
) -> None:
    x = images((2, 3, *side))
    ours = subsampled(x, stride)
    theirs = x.detach()[:, :, :: stride[0], :: stride[1]]
    assert torch.equal(ours, theirs)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    gradient = torch.randn_like(ours)
    ours.backward(gradient)  # type: ignore[no-untyped-call]
    expected = torch.zeros_like(x)
    expected[:, :, :: stride[0], :: stride[1]] = gradient
    assert x.grad is not None
    assert torch.equal(x.grad, expected)


@pytest.mark.parametrize("products", ["few", "many"])
def test_a_small_linear_layer_is_computed_in_fp32_and_a_large_one_as_autocast_asks(products: str) -> None:
    inputs = 20 if products == "few" else 2_000
    layer = nn.Linear(inputs, 100)
    x = torch.randn(32, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        ours = linear(x, layer.weight, layer.bias)
    assert ours.dtype == (torch.float32 if products == "few" else torch.bfloat16)
    assert_close(ours, layer(x), 1e-6 if products == "few" else 1e-2)
