"""Numbers that describe a network whatever its space calls them: what models of accuracy learn beside the knobs."""

import math
from math import prod

from nas.network import layers
from nas.network.folds import Row, depth, parameters, rows
from nas.network.layers import Layer, Shape


def features(network: Layer, shape: Shape) -> tuple[float, ...]:
    """Of a network on images of that shape: the logarithms (base 2) of its parameters, multiply-adds and values
    computed an image, of the channels behind its first layer and before its last, of its receptive field (pixels);
    its weighted layers on the longest way; the shares of its parameters in linear layers and in depthwise ones, and of
    its multiply-adds before the resolution first falls.

    Raises ShapeError where the network does not fit the shape."""
    every = list(rows(network, shape))
    leaves = [row for row in every if isinstance(row.layer, layers.Conv | layers.Linear)]
    counted, work = parameters(network), sum(row.macs for row in every)
    return (
        math.log2(1 + counted),
        math.log2(1 + work),
        math.log2(1 + sum(prod(row.output) for row in leaves)),
        math.log2(leaves[0].output[0]) if leaves else 0.0,
        math.log2(leaves[-1].input[0]) if leaves else 0.0,
        math.log2(_receptive_field(every)),
        float(depth(network)),
        sum(row.parameters for row in leaves if isinstance(row.layer, layers.Linear)) / max(counted, 1),
        sum(row.parameters for row in leaves if _is_depthwise(row)) / max(counted, 1),
        sum(row.macs for row in leaves if row.input[1:] == shape[1:]) / max(work, 1),
    )


def _is_depthwise(row: Row) -> bool:
    return isinstance(row.layer, layers.Conv) and row.layer.groups == row.layer.inputs > 1


def _receptive_field(every: list[Row]) -> float:
    """Side of the square that a value behind the last window sees, shortcuts aside: 1 + sum of (extent - 1) times the
    stride so far."""
    seen, stride = 1.0, 1.0
    for row in every:
        if isinstance(row.layer, layers.Conv) and "shortcut" not in row.path:
            seen += row.layer.dilation * (row.layer.kernel - 1) * stride
            stride *= row.layer.stride
        elif isinstance(row.layer, layers.Pool):
            seen += (row.layer.size - 1) * stride
            stride *= row.layer.stride
    return seen
