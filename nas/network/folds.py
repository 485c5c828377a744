"""What can be known of a network without building it: parameters, multiply-adds, shapes, memory, a table of its layers.

Each function is a fold over the layer tree. A kind of layer that a fold does not know is a type error, never a zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import assert_never

from nas.network import layers
from nas.network.layers import Layer, Shape


class ShapeError(ValueError):
    """A layer cannot be applied to the shape that reaches it."""


def parameters(layer: Layer) -> int:
    """Number of parameters, trainable or not; what `sum(p.numel() for p in module.parameters())` gives.

    >>> parameters(layers.Conv(3, 8, 3, bias=True))
    224
    """
    match layer:
        case layers.Conv():
            return layer.outputs * (layer.inputs // layer.groups * layer.kernel * layer.kernel + layer.bias)
        case layers.BatchNorm():
            return 2 * layer.channels
        case layers.Sequence():
            once = {id(inner): inner for inner in layer.layers}  # a block that is repeated is counted once
            if len(once) == len(layer.layers):
                return sum(map(parameters, layer.layers))
            counted = {key: parameters(inner) for key, inner in once.items()}
            return sum(counted[id(inner)] for inner in layer.layers)
        case layers.Activation() | layers.Identity() | layers.Subsample() | layers.Dropout():
            return 0
        case layers.Pool() | layers.GlobalPool() | layers.Flatten():
            return 0
        case layers.Residual():
            return parameters(layer.body) + parameters(layer.shortcut)
        case layers.SqueezeExcitation():
            return 2 * layer.channels * layer.squeezed + layer.squeezed + layer.channels
        case layers.Linear():
            return layer.outputs * (layer.inputs + layer.bias)
        case _:
            assert_never(layer)


def output_shape(layer: Layer, shape: Shape) -> Shape:
    """Shape behind the layer. Raises ShapeError where the layer does not fit the shape."""
    return _forward(layer, shape)[1]


def macs(layer: Layer, shape: Shape) -> int:
    """Multiply-adds of a forward pass on one image: convolutions, linear layers and gates; sums and norms are none."""
    return _forward(layer, shape)[0]


def _forward(layer: Layer, shape: Shape) -> tuple[int, Shape]:
    """Multiply-adds of the layer, and the shape behind it."""
    match layer:
        case layers.Conv():
            after = layer.outputs, *_window(layer, shape, layer.dilation * (layer.kernel - 1) + 1)
            return prod(after) * (layer.inputs // layer.groups) * layer.kernel * layer.kernel, after
        case layers.BatchNorm():
            _expect_image(layer, shape, layer.channels)
            return 0, shape
        case layers.Activation() | layers.Identity() | layers.Dropout():
            return 0, shape
        case layers.Sequence():
            total = 0
            known: dict[tuple[int, Shape], tuple[int, Shape]] = {}
            for inner in layer.layers:
                key = (id(inner), shape)
                if key not in known:
                    known[key] = _forward(inner, shape)
                part, shape = known[key]
                total += part
            return total, shape
        case layers.Residual():
            body, after_body = _forward(layer.body, shape)
            shortcut, after_shortcut = _forward(layer.shortcut, shape)
            if after_body != after_shortcut:
                raise ShapeError(f"a residual's body gives {after_body} but its shortcut {after_shortcut}: {layer}")
            return body + shortcut, after_body
        case layers.SqueezeExcitation():
            _expect_image(layer, shape, layer.channels)
            return 2 * layer.channels * layer.squeezed, shape
        case layers.Subsample():
            _expect_image(layer, shape, layer.inputs)
            return 0, (layer.outputs, -(-shape[1] // layer.stride), -(-shape[2] // layer.stride))
        case layers.Pool():
            return 0, (shape[0], *_window(layer, shape, layer.size))
        case layers.GlobalPool():
            _expect_image(layer, shape)
            return 0, (shape[0], 1, 1)
        case layers.Flatten():
            return 0, (prod(shape),)
        case layers.Linear():
            if shape != (layer.inputs,):
                raise ShapeError(f"{layer} needs the shape ({layer.inputs},) but gets {shape}")
            return layer.inputs * layer.outputs, (layer.outputs,)
        case _:
            assert_never(layer)


def _expect_image(layer: Layer, shape: Shape, channels: int | None = None) -> None:
    if len(shape) != 3:
        raise ShapeError(f"{layer} needs (channels, height, width) but gets {shape}")
    if channels is not None and shape[0] != channels:
        raise ShapeError(f"{layer} needs {channels} channels but gets {shape}")


def _window(layer: layers.Conv | layers.Pool, shape: Shape, extent: int) -> tuple[int, int]:
    """(height, width) behind a sliding window that covers `extent` positions."""
    if isinstance(layer, layers.Conv):
        _expect_image(layer, shape, layer.inputs)
        if layer.inputs % layer.groups or layer.outputs % layer.groups:
            raise ShapeError(f"{layer} cannot divide its channels into {layer.groups} groups")
    else:
        _expect_image(layer, shape)
        if 2 * layer.padding > layer.size:
            raise ShapeError(f"{layer} pads more than half of its window")
    height, width = ((side + 2 * layer.padding - extent) // layer.stride + 1 for side in shape[1:])
    if height < 1 or width < 1:
        raise ShapeError(f"{layer} leaves nothing of the shape {shape}")
    return height, width


@dataclass(frozen=True)
class Row:
    """One leaf of the tree in the order of computation. `path` names the sequences it lies in, outermost first."""

    path: tuple[str, ...]
    layer: Layer
    input: Shape
    output: Shape
    parameters: int
    macs: int


def rows(layer: Layer, shape: Shape, path: tuple[str, ...] = ()) -> Iterator[Row]:
    """The leaves in the order of computation: body before shortcut. Raises ShapeError where shapes do not fit."""
    match layer:
        case layers.Sequence():
            inside = (*path, layer.name) if layer.name else path
            for inner in layer.layers:
                yield from rows(inner, shape, inside)
                shape = output_shape(inner, shape)
        case layers.Residual():
            output_shape(layer, shape)
            yield from rows(layer.body, shape, path)
            yield from rows(layer.shortcut, shape, (*path, "shortcut"))
        case _:
            count, after = _forward(layer, shape)
            yield Row(path, layer, shape, after, parameters(layer), count)


def depth(layer: Layer) -> int:
    """Convolutions and linear layers on the longest way from input to output.

    >>> depth(layers.Residual(layers.Sequence((layers.Conv(8, 8, 3), layers.Conv(8, 8, 3))), layers.Identity()))
    2
    """
    match layer:
        case layers.Sequence():
            return sum(map(depth, layer.layers))
        case layers.Residual():
            return max(depth(layer.body), depth(layer.shortcut))
        case layers.Conv() | layers.Linear():
            return 1
        case _:
            return 0


def peak_activation(layer: Layer, shape: Shape) -> int:
    """The most values alive at once in inference on one image (4 bytes each in fp32).

    Each layer holds its input and its output, except that element-wise layers work in place unless their input is
    still wanted by a residual sum around them. A residual holds its input until its shortcut has used it.
    """
    return _peak(layer, shape, kept=0, wanted=False)


def _peak(layer: Layer, shape: Shape, kept: int, wanted: bool) -> int:
    """`kept`: values alive besides the input; `wanted`: the input must outlive this layer."""
    size = prod(shape)
    match layer:
        case layers.Sequence():
            peak = kept + size
            for inner in layer.layers:
                peak = max(peak, _peak(inner, shape, kept, wanted))
                shape = output_shape(inner, shape)
                if wanted:
                    kept, wanted = kept + size, False
            return peak
        case layers.Residual():
            after = prod(output_shape(layer.body, shape))
            body = _peak(layer.body, shape, kept, wanted=True)
            return max(body, _peak(layer.shortcut, shape, kept + after, wanted))
        case layers.Identity() | layers.Flatten():
            return kept + size
        case layers.Activation() | layers.BatchNorm() | layers.Dropout() | layers.SqueezeExcitation():
            return kept + size * (2 if wanted else 1)
        case _:
            return kept + size + prod(output_shape(layer, shape))


@dataclass(frozen=True)
class Cost:
    """What a network takes: parameters, and multiply-adds of one forward pass on one image."""

    parameters: int
    macs: int


def cost(layer: Layer, shape: Shape) -> Cost:
    """Both costs; raises ShapeError where the network does not fit the shape."""
    return Cost(parameters(layer), macs(layer, shape))
