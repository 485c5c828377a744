"""Numbers that describe a network whatever its space calls them: what models of accuracy learn beside the knobs."""

import math
from collections.abc import Iterable
from math import prod
from typing import NamedTuple

from nas.network import layers
from nas.network.folds import branches, depth, macs, output_shape, parameters, rows
from nas.network.layers import Layer, Shape
from nas.network.remembered import Remembered


def features(network: Layer, shape: Shape) -> tuple[float, ...]:
    """Describes a network on images of that shape: logarithms (base 2) of its parameters, multiply-adds and values
    computed an image, of the channels behind its first layer and before its last, of its receptive field (pixels);
    its weighted layers on the longest way; the shares of its parameters in linear layers and in depthwise ones, and of
    its multiply-adds before the resolution first falls.

    Raises ShapeError where the network does not fit the shape."""
    weighted = _weighted(network, shape)
    counted, work = parameters(network), macs(network, shape)
    return (
        math.log2(1 + counted),
        math.log2(1 + work),
        math.log2(1 + weighted.values),
        math.log2(max(weighted.first, 1)),
        math.log2(max(weighted.last, 1)),
        math.log2(_receptive_field(network)),
        float(depth(network)),
        weighted.linear / max(counted, 1),
        weighted.depthwise / max(counted, 1),
        weighted.early / max(work, 1),
    )


class _Weighted(NamedTuple):
    """The convolutions and linear layers of a part of a network together."""

    values: int = 0
    """Computed an image."""
    linear: int = 0
    """Parameters in linear layers."""
    depthwise: int = 0
    """Parameters in depthwise convolutions."""
    early: int = 0
    """Multiply-adds at the resolution that enters the part."""
    first: int = 0
    """Channels behind the first of them."""
    last: int = 0
    """Channels before the last of them."""


_WEIGHTED = Remembered[_Weighted]()


def _weighted(layer: Layer, shape: Shape) -> _Weighted:
    match layer:
        case layers.Conv() | layers.Linear() | layers.SignLinear() | layers.QuadraticLinear():
            row = next(rows(layer, shape))
            linear = 0 if isinstance(layer, layers.Conv) else row.parameters
            depthwise = row.parameters if isinstance(layer, layers.Conv) and layer.groups == layer.inputs > 1 else 0
            return _Weighted(prod(row.output), linear, depthwise, row.macs, row.output[0], shape[0])
        case layers.Sequence():
            parts = []
            resolution = shape[1:]
            for inner in layer.layers:
                part = _WEIGHTED.of(inner, _weighted, shape)
                parts.append(part if shape[1:] == resolution else _late(part))
                shape = output_shape(inner, shape)
            return _together(parts)
        case layers.Residual() | layers.Product() | layers.Concat():
            return _together(_weighted(branch, shape) for branch in branches(layer))
        case layers.Tied():
            return _together([_weighted(layer.block, shape)] * layer.times)
        case _:
            return _Weighted()


def _late(part: _Weighted) -> _Weighted:
    return _Weighted(part.values, part.linear, part.depthwise, 0, part.first, part.last)


def _together(parts: Iterable[_Weighted]) -> _Weighted:
    values = linear = depthwise = early = first = last = 0
    for part in parts:
        values, linear, depthwise = values + part.values, linear + part.linear, depthwise + part.depthwise
        early, first, last = early + part.early, first or part.first, part.last or last
    return _Weighted(values, linear, depthwise, early, first, last)


def _receptive_field(network: Layer) -> float:
    """Side of the square that a value behind the last window sees, shortcuts aside."""
    return 1.0 + _window(network)[0]


def _window(layer: Layer) -> tuple[float, float]:
    """How far a value behind the layer sees beyond one position before it, and how many positions one step of it is:
    the sum of (extent - 1) times the stride so far, and the product of the strides."""
    match layer:
        case layers.Conv():
            return layer.dilation * (layer.kernel - 1), layer.stride
        case layers.Pool():
            return layer.size - 1, layer.stride
        case layers.Shift():
            return layer.kernel - 1, 1
        case layers.Residual():
            return _window(layer.body)
        case layers.Product() | layers.Concat():
            windows = [_window(branch) for branch in branches(layer)]
            return max(extent for extent, _ in windows), max(strides for _, strides in windows)
        case layers.Tied():
            return _window(layers.Sequence((layer.block,) * layer.times))
        case layers.Sequence():
            seen, stride = 0.0, 1.0
            for inner in layer.layers:
                further, steps = _window(inner)
                seen, stride = seen + further * stride, stride * steps
            return seen, stride
        case _:
            return 0.0, 1.0
