"""What can be known of a network without building it: parameters, multiply-adds, shapes, memory, a table of its layers.

Each function is a fold over the layer tree. A kind of layer that a fold does not know is a type error, never a zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod

from nas.network import layers
from nas.network.checked import ShapeError, check_fields, check_nested, checked_shape, listed, not_a_layer
from nas.network.layers import Layer, Leaf, Shape
from nas.network.remembered import Remembered

_PARAMETERS = Remembered[int]()
_FORWARD = Remembered[tuple[int, int, Shape, int]]()


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
            return sum(_PARAMETERS.of(inner, parameters) for inner in layer.layers)
        case layers.Activation() | layers.Identity() | layers.Subsample() | layers.Dropout():
            return 0
        case layers.Pool() | layers.GlobalPool() | layers.Flatten() | layers.Slice() | layers.Shift():
            return 0
        case layers.Residual() | layers.Product() | layers.Concat():
            return sum(map(parameters, branches(layer)))
        case layers.Tied():
            return layer.times * parameters(layer.block) - (layer.times - 1) * _tied_parameters(layer.block)
        case layers.Scale():
            return layer.channels
        case layers.SignLinear():
            return layer.outputs * (1 + layer.bias)
        case layers.QuadraticLinear():
            return layer.outputs * layer.rank
        case layers.SqueezeExcitation():
            return 2 * layer.channels * layer.squeezed + layer.squeezed + layer.channels
        case layers.Linear():
            return layer.outputs * (layer.inputs + layer.bias)
        case _:
            raise not_a_layer(layer)


def branches(layer: layers.Residual | layers.Product | layers.Concat) -> tuple[Layer, ...]:
    """What the layer's input goes through side by side, in the order of computation."""
    match layer:
        case layers.Residual():
            return layer.body, layer.shortcut
        case layers.Product():
            return layer.body, layer.gate
        case layers.Concat():
            return listed(layer)


def children(layer: Layer) -> tuple[Layer, ...]:
    """The layers that the layer consists of; of a leaf, none."""
    match layer:
        case layers.Sequence():
            return layer.layers
        case layers.Tied():
            return (layer.block,)
        case layers.Residual() | layers.Product() | layers.Concat():
            return branches(layer)
        case _:
            return ()


def is_tied(layer: Layer) -> bool:
    """Whether blocks that are `Tied` have the layer's weights in common."""
    return isinstance(layer, layers.SqueezeExcitation) or (
        isinstance(layer, layers.Conv) and layer.kernel == layer.groups == 1
    )


def _tied_parameters(layer: Layer) -> int:
    return parameters(layer) if is_tied(layer) else sum(map(_tied_parameters, children(layer)))


def output_shape(layer: Layer, shape: Shape) -> Shape:
    """Shape behind the layer. Raises ShapeError where the layer does not fit the shape."""
    return _forward(layer, checked_shape(shape))[2]


def macs(layer: Layer, shape: Shape) -> int:
    """Multiply-adds of a forward pass on one image: convolutions, linear layers and gates; sums and norms are none.
    Raises ShapeError where the layer does not fit the shape."""
    return _forward(layer, checked_shape(shape))[1]


def _forward(layer: Layer, shape: Shape) -> tuple[int, int, Shape, int]:
    """Parameters, multiply-adds, the shape behind the layer, layers one in another: one pass, asked most often."""
    match layer:
        case layers.Sequence():
            counted = work = deepest = 0
            for inner in listed(layer):
                more, part, shape, nested = _FORWARD.of(inner, _forward, shape)
                counted, work, deepest = counted + more, work + part, nested if nested > deepest else deepest
            return counted, work, shape, deepest + 1
        case layers.Residual() | layers.Product() | layers.Concat():
            every = [_forward(branch, shape) for branch in branches(layer)]
            after = _joined(layer, [each[2] for each in every])
            return sum(each[0] for each in every), sum(each[1] for each in every), after, max(e[3] for e in every) + 1
        case layers.Tied():
            work, nested = _forward_tied(layer, shape)
            return parameters(layer), work, shape, nested + 1
        case _:
            check_fields(layer)
            return parameters(layer), *_forward_leaf(layer, shape), 1


def _forward_leaf(layer: Leaf, shape: Shape) -> tuple[int, Shape]:
    """Multiply-adds of the layer, and the shape behind it."""
    match layer:
        case layers.Conv():
            after = layer.outputs, *_window(layer, shape, layer.dilation * (layer.kernel - 1) + 1)
            return prod(after) * (layer.inputs // layer.groups) * layer.kernel * layer.kernel, after
        case layers.BatchNorm() | layers.Scale() | layers.Shift() | layers.SqueezeExcitation():
            _expect_image(layer, shape, layer.channels)
            return 2 * layer.channels * layer.squeezed if isinstance(layer, layers.SqueezeExcitation) else 0, shape
        case layers.Activation() | layers.Identity() | layers.Dropout():
            return 0, shape
        case layers.Slice():
            _expect_image(layer, shape, layer.inputs)
            if not 0 <= layer.first <= layer.inputs - layer.outputs:
                raise ShapeError(f"{layer} reaches beyond its {layer.inputs} channels")
            return 0, (layer.outputs, *shape[1:])
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
        case layers.Linear() | layers.SignLinear() | layers.QuadraticLinear():
            if shape != (layer.inputs,):
                raise ShapeError(f"{layer} needs the shape ({layer.inputs},) but gets {shape}")
            return layer.inputs * layer.outputs, (layer.outputs,)
        case _:
            raise not_a_layer(layer)


def _forward_tied(layer: layers.Tied, shape: Shape) -> tuple[int, int]:
    """Multiply-adds of all blocks, and how many layers lie one in another there."""
    check_fields(layer)
    _, work, behind, nested = _forward(layer.block, shape)
    if behind != shape:
        raise ShapeError(f"a tied block must keep the shape {shape} but gives {behind}: {layer}")
    return layer.times * work, nested


def _joined(layer: layers.Residual | layers.Product | layers.Concat, shapes: list[Shape]) -> Shape:
    """Shape of what the branches give together."""
    if not shapes:
        raise ShapeError(f"{layer} has nothing to concatenate")
    first = shapes[0]
    if isinstance(layer, layers.Concat):
        for shape in shapes:
            _expect_image(layer, shape)
            if shape[1:] != first[1:]:
                raise ShapeError(f"branches to be concatenated give {first} and {shape}: {layer}")
        return sum(shape[0] for shape in shapes), *first[1:]
    if shapes[1] != first:
        body, other = ("residual's", "shortcut") if isinstance(layer, layers.Residual) else ("product's", "gate")
        raise ShapeError(f"a {body} body gives {first} but its {other} {shapes[1]}: {layer}")
    return first


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
                _, _, shape, _ = _FORWARD.of(inner, _forward, shape)
        case layers.Tied():
            output_shape(layer, shape)
            block = tuple(rows(layer.block, shape, path))
            yield from block
            for row in block * (layer.times - 1):
                yield replace(row, parameters=0) if is_tied(row.layer) else row
        case layers.Residual() | layers.Product() | layers.Concat():
            output_shape(layer, shape)
            for number, branch in enumerate(branches(layer)):
                is_shortcut = isinstance(layer, layers.Residual) and number == 1
                yield from rows(branch, shape, (*path, "shortcut") if is_shortcut else path)
        case _:
            counted, work, after, _ = _forward(layer, shape)
            yield Row(path, layer, shape, after, counted, work)


def depth(layer: Layer) -> int:
    """Convolutions and linear layers on the longest way from input to output.

    >>> depth(layers.Residual(layers.Sequence((layers.Conv(8, 8, 3), layers.Conv(8, 8, 3))), layers.Identity()))
    2
    """
    match layer:
        case layers.Sequence():
            return sum(map(depth, layer.layers))
        case layers.Tied():
            return layer.times * depth(layer.block)
        case layers.Residual() | layers.Product() | layers.Concat():
            return max(map(depth, branches(layer)))
        case layers.Conv() | layers.Linear() | layers.SignLinear() | layers.QuadraticLinear():
            return 1
        case _:
            return 0


@dataclass(frozen=True)
class Cost:
    """What a network takes: parameters, and multiply-adds of one forward pass on one image. What else it takes is
    counted of the `network` on images of `shape` where it is asked for, and then `known`."""

    parameters: int
    macs: int
    network: Layer | None = field(default=None, compare=False, repr=False)
    shape: Shape = field(default=(), compare=False, repr=False)
    known: dict[tuple[str, str], int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def deployed(self) -> tuple[Layer, Shape]:
        """The network and the shape of its images. Raises ValueError where only its cost is known."""
        if self.network is None:
            raise ValueError("only parameters and multiply-adds of this network are known")
        return self.network, self.shape


def cost(layer: Layer, shape: Shape) -> Cost:
    """Both costs; raises ShapeError where the network does not fit the shape."""
    return cost_and_shape(layer, shape)[0]


def cost_and_shape(layer: Layer, shape: Shape) -> tuple[Cost, Shape]:
    """Both costs, and the shape behind the layer. Raises ShapeError where the network does not fit the shape."""
    counted, work, after, nested = _forward(layer, shape)
    check_nested(nested)
    return Cost(counted, work, layer, shape), after
