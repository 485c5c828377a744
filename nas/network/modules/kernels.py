"""Operations of a training step in the forms that a CPU computes fastest; results are torch's up to rounding.

torch leaves some gradients to loops that take many times longer than the sum needs (benchmarks/README.md has the
figures of every block). Which form is used depends on the shapes, the precision and the device alone, never on a
timing, so that a training gives the same numbers each time. On a GPU all of them are torch's own.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

WIDEST_FAST = 3
"""Columns of a depthwise kernel up to which oneDNN sums the gradient of its weights in registers."""

FEWEST_POSITIONS = 2**14
"""Positions of all images from which a batch norm by rows is worth the operations that it takes more."""

MOST_CHANNELS = 31
"""Channels up to which it is."""

ROW = 128
"""Values that a row of a batch norm should have."""

LEAST_PRODUCTS = 2**21
"""Products from which a linear layer is worth the casts that bf16 takes."""

Pair = tuple[int, int]


class Forms(NamedTuple):
    """In which forms the gradients of a convolution are computed; torch's own where neither is asked for."""

    strips: bool
    """That of the weights in strips of at most `WIDEST_FAST` columns of the kernel."""
    fp32: bool
    """That of the images in fp32."""


def gradient_forms(x: Tensor, weight: Tensor, stride: Pair, dilation: Pair, groups: int, dtype: torch.dtype) -> Forms:
    """The forms that are fastest for a convolution of x [N, inputs, H, W] in that precision: those of torch but for
    depthwise kernels."""
    depthwise = groups == x.shape[1] == weight.shape[0] > 1
    if x.device.type != "cpu" or dilation != (1, 1) or not depthwise:
        return Forms(strips=False, fp32=False)
    return Forms(strips=weight.shape[3] > WIDEST_FAST, fp32=max(stride) > 1 and dtype == torch.bfloat16)


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """`torch.nn.functional.conv2d`, with gradients in the fastest forms."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    forms = gradient_forms(x, weight, stride, dilation, groups, dtype)
    if torch.is_grad_enabled() and any(forms):
        cast = None if bias is None else bias.to(dtype)
        result: Tensor = _DepthwiseConv2d.apply(x.to(dtype), weight.to(dtype), cast, stride, padding, forms)
        return result
    return nn.functional.conv2d(x, weight, bias, stride, padding, dilation, groups)


class _DepthwiseConv2d(torch.autograd.Function):
    """A depthwise convolution without dilation."""

    @staticmethod
    def forward(
        context: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, forms: Forms
    ) -> Tensor:
        context.save_for_backward(x, weight)
        context.stride, context.padding, context.forms = stride, padding, forms
        return nn.functional.conv2d(x, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = context.saved_tensors
        forms, settings = context.forms, (context.stride, context.padding)
        images, weights, biases = context.needs_input_grad[:3]
        of_x = of_weight = of_bias = None
        if images and forms.fp32:
            shape_alone = torch.empty_like(x, dtype=torch.float32)
            of = shape_alone, weight.float(), gradient.float()
            of_x, images = _gradients(*of, *settings, [True, False, False])[0], False
        if forms.strips:  # torch's gradient of the bias brings that of the weights with it
            of_weight = _weight_gradient(x, weight, gradient, *settings) if weights else None
            of_bias = gradient.sum((0, 2, 3)) if biases else None
            weights = biases = False
        found = _gradients(x, weight, gradient, *settings, [images, weights, biases])
        return (
            found[0] if of_x is None else of_x.to(x.dtype),
            found[1] if of_weight is None else of_weight,
            found[2] if of_bias is None else of_bias,
            None,
            None,
            None,
        )


def _gradients(
    x: Tensor, weight: Tensor, gradient: Tensor, stride: Pair, padding: Pair, asked: list[bool]
) -> Sequence[Tensor | None]:
    """torch's own gradients of the images, the weights and the bias, those that are asked for."""
    if not any(asked):
        return None, None, None
    sizes = [len(weight)] if asked[2] else None
    found: Sequence[Tensor | None] = torch.ops.aten.convolution_backward(
        gradient, x, weight, sizes, stride, padding, (1, 1), False, (0, 0), len(weight), asked
    )
    return found


def _weight_gradient(x: Tensor, weight: Tensor, gradient: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of the weights, each strip of the kernel's columns as that of a narrow kernel on shifted images."""
    rows, columns = weight.shape[2:]
    bottom = (gradient.shape[2] - 1) * stride[0] + rows - x.shape[2] - padding[0]
    strips = -(-columns // WIDEST_FAST)
    edges = [round(strip * columns / strips) for strip in range(strips + 1)]
    result = torch.zeros_like(weight)
    for first, end in pairwise(edges):
        left = padding[1] - first
        right = (gradient.shape[3] - 1) * stride[1] + end - x.shape[3] - padding[1]
        if min(left, right) <= -x.shape[3]:
            continue  # these taps meet margins alone
        if left == right >= 0 and padding[0] < WIDEST_FAST:  # no wider margins either, where strided
            shifted, margins = x, (padding[0], left)
        else:
            shifted, margins = nn.functional.pad(x, (left, right, padding[0], bottom)), (0, 0)
        asked = [False, True, False]
        found = _gradients(shifted, weight[..., first:end], gradient, stride, margins, asked)[1]
        assert found is not None
        result[..., first:end] = found
    return result


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`torch.nn.functional.linear` of x [N, inputs]; a small one in fp32, where the weights are cast for longer than
    anything is computed."""
    if x.device.type == "cpu" and len(x) * weight.numel() < LEAST_PRODUCTS and weight.dtype == torch.float32:
        with torch.autocast("cpu", enabled=False):
            return nn.functional.linear(x.float(), weight, bias)
    return nn.functional.linear(x, weight, bias)


def subsampled(x: Tensor, stride: Pair) -> Tensor:
    """Every `stride`-th position of x [N, C, H, W], in its layout, and so its gradient."""
    if stride == (1, 1):
        return x
    result: Tensor = _Subsampled.apply(x, stride)
    return result


class _Subsampled(torch.autograd.Function):
    """A slice, whose gradient would come row by row by itself."""

    @staticmethod
    def forward(x: Tensor, stride: Pair) -> Tensor:
        return x[:, :, :: stride[0], :: stride[1]].contiguous(memory_format=torch.channels_last)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        context.shape, context.stride = inputs[0].shape, inputs[1]

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        result = torch.empty(
            context.shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last
        ).zero_()
        result[:, :, :: context.stride[0], :: context.stride[1]] = gradient
        return result, None


def batch_norm(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, momentum: float, epsilon: float
) -> Tensor:
    """`torch.nn.functional.batch_norm` in training: x [N, C, H, W] normalised by its own mean and variance, of which
    the running ones [C] take up a share of `momentum`. A single value a channel has no variance: it is normalised by
    the running ones, which stay."""
    if x.numel() == x.shape[1]:
        return nn.functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, epsilon)
    positions = positions_a_row(x)
    if positions and weight.dtype == torch.float32:
        result: Tensor = _BatchNormByRows.apply(x, weight, bias, mean, variance, momentum, epsilon, positions)
        return result
    return nn.functional.batch_norm(x, mean, variance, weight, bias, True, momentum, epsilon)


def judged_batch_norm(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, epsilon: float
) -> Tensor:
    """`torch.nn.functional.batch_norm` of x [N, C, H, W] with fixed mean and variance, without a gradient."""
    if positions := positions_a_row(x):
        return _normalised(x, positions, weight, bias, mean, variance, epsilon)
    return nn.functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, epsilon)


def positions_a_row(x: Tensor) -> int:
    """How many positions are normalised together; 0 where torch's own form is as fast.

    torch goes over the channels of one position after another, which leaves a vector of the processor mostly empty
    where there are few: neighbouring positions of an image, with a mean and a variance each, are one position with
    many channels.
    """
    channels, positions = x.shape[1], x.shape[0] * x.shape[2] * x.shape[3]
    if x.device.type != "cpu" or channels > MOST_CHANNELS or not x.is_contiguous(memory_format=torch.channels_last):
        return 0
    fills_vectors = channels in (16, 24)
    if positions < (2 if fills_vectors else 1) * FEWEST_POSITIONS or (fills_vectors and x.dtype == torch.float32):
        return 0
    together = 1
    while together * channels < ROW and positions % (2 * together) == 0:
        together *= 2
    return together if together > 1 else 0


class _BatchNormByRows(torch.autograd.Function):
    """Batch norm of x [N, C, H, W] in channels_last layout, `positions` of which are one row of positions * C values.

    The mean of a channel is that of the means of its places in a row, its variance the mean of their variances and the
    variance of their means. The gradient of x is a * (gradient - sum(gradient) / n - x' * sum(gradient * x') / n), with
    x' normalised, n values a channel and a = weight / deviation (Ioffe & Szegedy 2015).
    """

    @staticmethod
    def forward(
        context: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_variance: Tensor,
        momentum: float,
        epsilon: float,
        positions: int,
    ) -> Tensor:
        channels = x.shape[1]
        count = x.numel() // channels
        rows = _rows(x, positions)
        unused = weight.new_zeros(2, positions * channels)
        found = torch.batch_norm_update_stats(rows, unused[0], unused[1], 0.0)
        means, variances = (each.view(positions, channels) for each in found)
        of_means, mean = torch.var_mean(means, 0, correction=0)
        variance = variances.mean(0).add_(of_means)
        running_mean.lerp_(mean, momentum)
        running_variance.lerp_(variance * (count / (count - 1)), momentum)
        context.save_for_backward(x, weight, mean, variance)
        context.positions, context.epsilon = positions, epsilon
        return _normalised(x, positions, weight, bias, mean, variance, epsilon)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = context.saved_tensors
        positions, epsilon, channels = context.positions, context.epsilon, len(weight)
        rows = _rows(x, positions)
        scale, middle, spread = torch.stack((weight, mean, variance)).repeat(1, positions)
        scaled, *sums = torch.ops.aten.native_batch_norm_backward(
            _rows(gradient, positions), rows, scale, middle, spread, None, None, False, epsilon, [True, True, True]
        )
        of_weight, of_bias = (each.view(positions, channels).sum(0) for each in sums)
        share = weight * (variance + epsilon).rsqrt() * (-channels / x.numel())
        row = torch.stack((share * of_weight, share * of_bias)).repeat(1, positions)
        scaled.add_(torch.batch_norm(rows, row[0], row[1], middle, spread, False, 0.0, epsilon, False))
        return _positions(scaled, x.shape), of_weight, of_bias, None, None, None, None, None


def _normalised(
    x: Tensor, positions: int, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, epsilon: float
) -> Tensor:
    result = torch.empty_like(x)
    row = torch.stack((weight, bias, mean, variance)).repeat(1, positions)
    unused = weight.new_empty(2, 0)
    torch.ops.aten.native_batch_norm.out(
        _rows(x, positions),
        *row,
        False,
        0.0,
        epsilon,
        out=_rows(result, positions),
        save_mean=unused[0],
        save_invstd=unused[1],
    )
    return result


def _rows(x: Tensor, positions: int) -> Tensor:
    """[N, C, H, W] in channels_last layout as [N * H * W / positions, positions * C, 1, 1]."""
    pixels = x.permute(0, 2, 3, 1)
    return pixels.reshape(-1, positions * x.shape[1], 1, 1)


def _positions(rows: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of `_rows`."""
    count, channels, height, width = shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)
