"""The torch module of a layer tree."""

from dataclasses import astuple
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nas.network import layers
from nas.network.checked import not_a_layer
from nas.network.layers import Function, Layer
from nas.network.modules import parts
from nas.network.modules.kernels import batch_norm, conv2d, judged_batch_norm, linear, subsampled

_ACTIVATIONS: dict[Function, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "hardswish": nn.Hardswish}


class LeanResidual(parts.Residual):
    """Adds the shortcut's result into the body's where `overwrites` says that nobody else reads it."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, *, overwrites: bool) -> None:
        super().__init__(body, shortcut)
        self.overwrites = overwrites

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        if not self.overwrites:
            return super().forward(x)
        result: Tensor = self.body(x)
        return result.add_(self.shortcut(x))


class LeanSubsample(parts.Subsample):
    """Its gradient has the layout of the images."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, ceil(H / stride), ceil(W / stride)]."""
        x = subsampled(x[:, : self.outputs], (self.stride, self.stride))
        return nn.functional.pad(x, (0, 0, 0, 0, 0, max(0, self.outputs - self.inputs)))


class LeanConcat(parts.Concat):
    """Branches that begin with slices of all channels in turn have them from one split, whose gradient is one
    concatenation: each slice's own would fill a tensor of all channels."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W'], C' the sum of the branches'."""
        return torch.cat(_of_each(tuple(self.branches), x), 1)


class LeanProduct(parts.Product):
    """See `LeanConcat`."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        body, gate = _of_each((self.body, self.gate), x)
        return body * gate


def _of_each(branches: tuple[nn.Module, ...], x: Tensor) -> list[Tensor]:
    """The results of all branches."""
    slices = [branch[0] if isinstance(branch, nn.Sequential) and len(branch) else branch for branch in branches]
    sizes, reached = [], 0
    for piece in slices:
        if not isinstance(piece, parts.Slice) or piece.first != reached:
            return [branch(x) for branch in branches]
        sizes.append(piece.outputs)
        reached += piece.outputs
    if reached != x.shape[1]:
        return [branch(x) for branch in branches]
    return [_behind_slice(branch, piece) for branch, piece in zip(branches, torch.split(x, sizes, 1), strict=True)]


def _behind_slice(branch: nn.Module, x: Tensor) -> Tensor:
    for module in list(branch)[1:] if isinstance(branch, nn.Sequential) else ():
        x = module(x)
    return x


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

    Taps that only ever meet padding are left out, as many at either end of the kernel: on a 2 x 2 image a 7 x 7 kernel
    reaches no further than its inner 3 x 3. Along an axis with one position alone, all such taps are, and with them
    padding, stride and dilation. Positions that a 1 x 1 kernel's stride skips are dropped first.

    That also keeps clear of two faults of oneDNN, which leave garbage in results now and then: its backward pass of
    strided 1 x 1 kernels, below a block of input channels in channels_last layout, writes past its workspace
    (https://github.com/uxlfoundation/oneDNN/issues/6035, open in 2026); and in bf16, where the output is one position
    wide and the kernel strided or dilated, outputs and gradients of weights are garbage.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H', W']."""
        rows, columns = (
            _axis(
                self.kernel_size[axis],
                self.stride[axis],
                self.dilation[axis],
                int(self.padding[axis]),
                x.shape[2 + axis],
            )
            for axis in (0, 1)
        )
        weight, dilation = self.weight, (rows.dilation, columns.dilation)
        if (rows.taps, columns.taps) != self.kernel_size:
            weight = weight[:, :, rows.first : rows.first + rows.taps, columns.first : columns.first + columns.taps]
        if (rows.pixels, columns.pixels) != x.shape[2:]:
            _keep_layout_of_gradient(x)
            x = x[:, :, rows.start : rows.start + rows.pixels, columns.start : columns.start + columns.pixels]
        stride, padding = (rows.stride, columns.stride), (rows.padding, columns.padding)
        if weight.shape[2:] == (1, 1) and padding == (0, 0):
            x, stride = subsampled(x, stride), (1, 1)
        compute = conv2d if self.training else nn.functional.conv2d
        return compute(x, weight, self.bias, stride, padding, dilation, self.groups)


class _Axis(NamedTuple):
    """What a convolution computes along one axis: `taps` of its kernel from `first` on, over `pixels` from `start`."""

    first: int
    taps: int
    start: int
    pixels: int
    padding: int = 0
    stride: int = 1
    dilation: int = 1


@lru_cache(maxsize=10_000)
def _axis(kernel: int, stride: int, dilation: int, padding: int, side: int) -> _Axis:
    span = dilation * (kernel - 1) + 1
    last = (side + 2 * padding - span) // stride * stride
    first = -(-padding // dilation)
    start = first * dilation - padding
    reached = min(kernel, (padding + side - 1) // dilation + 1) - first
    if last == 0 and kernel > 1 and reached > 0:
        return _Axis(first, reached, start, dilation * (reached - 1) + 1, dilation=dilation)
    dead = max(0, min(padding - last, kernel - padding - side)) if dilation == 1 and last >= 0 else 0
    return _Axis(dead, kernel - 2 * dead, 0, side, padding - dead, stride, dilation)


class LeanBatchNorm2d(nn.BatchNorm2d):
    """A batch norm in the fastest form. Its state and results are those of nn.BatchNorm2d, but that it does not count
    its batches, which serve no purpose where the momentum is fixed."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        mean, variance, momentum = self.running_mean, self.running_var, self.momentum
        if momentum is None or mean is None or variance is None or (torch.is_grad_enabled() and not self.training):
            return super().forward(x)
        if not self.training:
            return judged_batch_norm(x, mean, variance, self.weight, self.bias, self.eps)
        return batch_norm(x, mean, variance, self.weight, self.bias, momentum, self.eps)


class LeanLinear(nn.Linear):
    """A linear layer in the fastest form, with the state and results of nn.Linear."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs] to [N, outputs]."""
        return linear(x, self.weight, self.bias)


def lean(module: nn.Module) -> nn.Module:
    """The module, its convolutions made LeanConv2d, which has the same state."""
    for inner in module.modules():
        if type(inner) is nn.Conv2d and inner.padding_mode == "zeros" and not isinstance(inner.padding, str):
            inner.__class__ = LeanConv2d
    return module


def to_module(layer: Layer) -> nn.Module:
    """The module that computes the tree, freshly initialised from torch's global generator (torch's own defaults)."""
    match layer:
        case layers.Conv():
            return LeanConv2d(*astuple(layer))  # its fields stand in the order of torch's arguments
        case layers.BatchNorm():
            return LeanBatchNorm2d(layer.channels)
        case layers.Activation():
            return _ACTIVATIONS[layer.function]()
        case layers.Sequence():
            return nn.Sequential(*map(_element, layer.layers, (None, *layer.layers)))
        case layers.Residual():
            overwrites = _may_be_overwritten(layer.body)
            return LeanResidual(to_module(layer.body), to_module(layer.shortcut), overwrites=overwrites)
        case layers.Product():
            return LeanProduct(to_module(layer.body), to_module(layer.gate))
        case layers.Concat():
            return LeanConcat(*map(to_module, layer.branches))
        case layers.Tied():
            return parts.Tied(*(to_module(layer.block) for _ in range(layer.times)))
        case layers.SqueezeExcitation():
            return parts.SqueezeExcitation(layer.channels, layer.squeezed)
        case layers.Slice():
            return parts.Slice(layer.outputs, layer.first)
        case layers.Scale():
            return parts.Scale(layer.channels)
        case layers.Shift():
            return parts.Shift(layer.channels, layer.kernel)
        case layers.Identity():
            return nn.Identity()
        case layers.Subsample():
            return LeanSubsample(layer.inputs, layer.outputs, layer.stride)
        case layers.Pool():
            pool = nn.MaxPool2d if layer.statistic == "max" else nn.AvgPool2d
            return pool(layer.size, layer.stride, layer.padding)
        case layers.GlobalPool():
            return GlobalPoolModule(layer.statistic)
        case layers.Flatten():
            return nn.Flatten()
        case layers.Linear():
            return LeanLinear(layer.inputs, layer.outputs, bias=layer.bias)
        case layers.SignLinear():
            return parts.SignLinear(layer.inputs, layer.outputs, layer.bias)
        case layers.QuadraticLinear():
            return parts.QuadraticLinear(layer.rank, layer.outputs)
        case layers.Dropout():
            return nn.Dropout(layer.rate)
        case _:
            raise not_a_layer(layer)


def _element(layer: Layer, before: Layer | None) -> nn.Module:
    """The module of a layer inside a sequence: a ReLU works in place where it may."""
    in_place = layer == layers.Activation("relu") and before is not None and _may_be_overwritten(before)
    return nn.ReLU(inplace=True) if in_place else to_module(layer)


def _may_be_overwritten(layer: Layer) -> bool:
    """Whether the layer's result is a tensor of its own that its backward pass does not read.

    A batch norm's is: its gradient needs its input only. So is a sum's. Saves memory and a tenth of the time.
    """
    if isinstance(layer, layers.Sequence):
        return bool(layer.layers) and _may_be_overwritten(layer.layers[-1])
    if isinstance(layer, layers.Tied):
        return _may_be_overwritten(layer.block)
    return isinstance(layer, layers.BatchNorm | layers.Residual | layers.Product | layers.Concat)
