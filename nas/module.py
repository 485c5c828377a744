"""The torch module of a layer tree."""

from typing import NamedTuple, assert_never

import torch
from torch import Tensor, nn

from nas.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    Function,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Pool,
    Residual,
    Sequence,
    SqueezeExcitation,
    Subsample,
)

_ACTIVATIONS: dict[Function, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "hardswish": nn.Hardswish}


class ResidualModule(nn.Module):
    """body(x) + shortcut(x), added into the body's result where `overwrites` says that nobody else reads it."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, *, overwrites: bool) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.overwrites = overwrites

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        result: Tensor = self.body(x)
        return result.add_(self.shortcut(x)) if self.overwrites else result + self.shortcut(x)


class SubsampleModule(nn.Module):
    """Every `stride`-th position, channels padded with zeros or cut to `outputs`."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inputs, self.outputs, self.stride = inputs, outputs, stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, ceil(H / stride), ceil(W / stride)]."""
        x = _strided(x[:, : self.outputs], (self.stride, self.stride))
        return nn.functional.pad(x, (0, 0, 0, 0, 0, max(0, self.outputs - self.inputs)))


class SqueezeExcitationModule(nn.Module):
    """x times a gate a channel."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        gate = torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))
        return x * nn.functional.hardsigmoid(self.excite(gate))


def _strided(x: Tensor, stride: tuple[int, int]) -> Tensor:
    """Every `stride`-th position. Pooling windows of one does what a slice does, and keeps the gradient in the layout
    of x, where a slice's comes row by row."""
    return x if stride == (1, 1) else nn.functional.avg_pool2d(x, 1, stride)


def _keep_layout_of_gradient(x: Tensor) -> None:
    """What comes back from a mean has no layout of its own, and residual blocks would hand it on row by row."""
    if x.requires_grad and x.is_contiguous(memory_format=torch.channels_last):
        x.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: gradient.contiguous(memory_format=torch.channels_last)
        )


class GlobalPoolModule(nn.Module):
    """Maximum or mean over all positions."""

    def __init__(self, statistic: str) -> None:
        super().__init__()
        self.statistic = statistic

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, 1, 1]."""
        _keep_layout_of_gradient(x)
        return x.mean((2, 3), keepdim=True) if self.statistic == "average" else x.amax((2, 3), keepdim=True)


class LeanConv2d(nn.Conv2d):
    """A convolution that computes only what reaches its output. Weights and results are those of nn.Conv2d.

    Taps of the kernel that only ever meet padding are left out: on a 2 x 2 image a 7 x 7 kernel reaches no further than
    its inner 3 x 3. Where there is one position alone, its padding and stride are left out as well, and positions that
    a 1 x 1 kernel's stride skips are dropped first.

    That also keeps clear of two faults of oneDNN's backward pass, which are garbage in the gradient, now and then: of
    strided 1 x 1 kernels, below a block of input channels in channels_last layout, it writes past its workspace
    (https://github.com/uxlfoundation/oneDNN/issues/6035, open in 2026); of strided kernels on images one pixel wide, in
    bf16, it reads weights of taps that meet padding alone.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H', W']."""
        if self.dilation != (1, 1) and self.kernel_size != (1, 1):
            return super().forward(x)
        rows, columns = self._axis(0, x.shape[2]), self._axis(1, x.shape[3])
        weight = self.weight
        if (rows.taps, columns.taps) != self.kernel_size:
            weight = weight[:, :, rows.first : rows.first + rows.taps, columns.first : columns.first + columns.taps]
        if (rows.side, columns.side) != x.shape[2:]:
            x = x[:, :, : rows.side, : columns.side]
        stride, padding = (rows.stride, columns.stride), (rows.padding, columns.padding)
        if weight.shape[2:] == (1, 1) and padding == (0, 0):
            x, stride = _strided(x, stride), (1, 1)
        return nn.functional.conv2d(x, weight, self.bias, stride, padding, 1, self.groups)

    def _axis(self, axis: int, side: int) -> "_Axis":
        kernel, padding, stride = self.kernel_size[axis], int(self.padding[axis]), self.stride[axis]
        last = (side + 2 * padding - kernel) // stride * stride
        if last == 0 and padding < kernel:
            reached = min(kernel - padding, side)
            return _Axis(padding, reached, reached, 0, 1)
        dead = max(0, min(padding - last, kernel - padding - side))
        return _Axis(dead, kernel - 2 * dead, side, padding - dead, stride)


class _Axis(NamedTuple):
    """What a convolution computes along one axis: `taps` taps of its kernel over the first `side` pixels."""

    first: int
    taps: int
    side: int
    padding: int
    stride: int


def lean(module: nn.Module) -> nn.Module:
    """The module, its convolutions made LeanConv2d, which has the same state."""
    for inner in module.modules():
        if type(inner) is nn.Conv2d and inner.padding_mode == "zeros" and not isinstance(inner.padding, str):
            inner.__class__ = LeanConv2d
    return module


def to_module(layer: Layer) -> nn.Module:
    """The module that computes the tree, freshly initialised from torch's global generator (torch's own defaults)."""
    match layer:
        case Conv():
            return LeanConv2d(
                layer.inputs,
                layer.outputs,
                layer.kernel,
                layer.stride,
                layer.padding,
                layer.dilation,
                layer.groups,
                bias=layer.bias,
            )
        case BatchNorm():
            return nn.BatchNorm2d(layer.channels)
        case Activation():
            return _ACTIVATIONS[layer.function]()
        case Sequence():
            return nn.Sequential(*map(_element, layer.layers, (None, *layer.layers)))
        case Residual():
            return ResidualModule(
                to_module(layer.body), to_module(layer.shortcut), overwrites=_may_be_overwritten(layer.body)
            )
        case SqueezeExcitation():
            return SqueezeExcitationModule(layer.channels, layer.squeezed)
        case Identity():
            return nn.Identity()
        case Subsample():
            return SubsampleModule(layer.inputs, layer.outputs, layer.stride)
        case Pool():
            pool = nn.MaxPool2d if layer.statistic == "max" else nn.AvgPool2d
            return pool(layer.size, layer.stride, layer.padding)
        case GlobalPool():
            return GlobalPoolModule(layer.statistic)
        case Flatten():
            return nn.Flatten()
        case Linear():
            return nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
        case Dropout():
            return nn.Dropout(layer.rate)
        case _:
            assert_never(layer)


def _element(layer: Layer, before: Layer | None) -> nn.Module:
    """The module of a layer inside a sequence: a ReLU works in place where it may."""
    in_place = layer == Activation("relu") and before is not None and _may_be_overwritten(before)
    return nn.ReLU(inplace=True) if in_place else to_module(layer)


def _may_be_overwritten(layer: Layer) -> bool:
    """Whether the layer's result is a tensor of its own that its backward pass does not read.

    A batch norm's is: its gradient needs its input only. So is a sum's. Saves memory and a tenth of the time.
    """
    if isinstance(layer, Sequence):
        return bool(layer.layers) and _may_be_overwritten(layer.layers[-1])
    return isinstance(layer, BatchNorm | Residual)
