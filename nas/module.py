"""The torch module of a layer tree."""

from typing import assert_never

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
    """body(x) + shortcut(x)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        result: Tensor = self.body(x) + self.shortcut(x)
        return result


class SubsampleModule(nn.Module):
    """Every `stride`-th position, channels padded with zeros or cut to `outputs`."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inputs, self.outputs, self.stride = inputs, outputs, stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, ceil(H / stride), ceil(W / stride)]."""
        x = x[:, : self.outputs, :: self.stride, :: self.stride]
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


class GlobalPoolModule(nn.Module):
    """Maximum or mean over all positions."""

    def __init__(self, statistic: str) -> None:
        super().__init__()
        self.statistic = statistic

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, 1, 1]."""
        return x.mean((2, 3), keepdim=True) if self.statistic == "average" else x.amax((2, 3), keepdim=True)


def to_module(layer: Layer) -> nn.Module:
    """The module that computes the tree, freshly initialised from torch's global generator (torch's own defaults)."""
    match layer:
        case Conv():
            return nn.Conv2d(
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
            return nn.Sequential(*map(to_module, layer.layers))
        case Residual():
            return ResidualModule(to_module(layer.body), to_module(layer.shortcut))
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
