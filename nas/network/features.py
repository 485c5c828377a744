"""Numbers that describe a network whatever its space calls them: what models of accuracy learn beside the knobs."""

import math
from math import prod

from nas.network import layers
from nas.network.folds import Row, branches, depth, parameters, rows
from nas.network.layers import Layer, Shape


def features(network: Layer, shape: Shape) -> tuple[float, ...]:
    """Describes a network on images of that shape: logarithms (base 2) of its parameters, multiply-adds and values
    computed an image, of the channels behind its first layer and before its last, of its receptive field (pixels);
    its weighted layers on the longest way; the shares of its parameters in linear layers and in depthwise ones, and of
    its multiply-adds before the resolution first falls.

    Raises ShapeError where the network does not fit the shape."""
    every = list(rows(network, shape))
    leaves = [row for row in every if isinstance(row.layer, layers.Conv | layers.Linear | layers.SignLinear)]
    counted, work = parameters(network), sum(row.macs for row in every)
    return (
        math.log2(1 + counted),
        math.log2(1 + work),
        math.log2(1 + sum(prod(row.output) for row in leaves)),
        math.log2(leaves[0].output[0]) if leaves else 0.0,
        math.log2(leaves[-1].input[0]) if leaves else 0.0,
        math.log2(_receptive_field(network)),
        float(depth(network)),
        sum(row.parameters for row in leaves if not isinstance(row.layer, layers.Conv)) / max(counted, 1),
        sum(row.parameters for row in leaves if _is_depthwise(row)) / max(counted, 1),
        sum(row.macs for row in leaves if row.input[1:] == shape[1:]) / max(work, 1),
    )


def _is_depthwise(row: Row) -> bool:
    return isinstance(row.layer, layers.Conv) and row.layer.groups == row.layer.inputs > 1


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
