"""What a trained network computes in deployment, operation by operation: norms and factors folded into the
convolutions before them, dropouts and flattenings gone."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nas.errors import RunError
from nas.network import layers
from nas.network.folds import branches, is_tied, output_shape
from nas.network.layers import Layer, Shape
from nas.network.modules.parts import quadratic, signs

NORM_EPSILON = 1e-5
"""That of torch's batch norms."""

LEVELS = 64
"""Weights in int8 lie from -64 to 64: processors without dot products of int8 (VNNI) add two products in 16 bits, which
larger weights overflow."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation: what `layer` it is of, the values that it reads, and the value that it writes, by number; value 0
    is the image. Convolutions and linear layers have a `weight` as torch has it and a `bias`; of a norm or factor that
    stands alone, they are a factor and a summand a channel; gates have two pairs of them. `place` is the name of its
    module in `nas.network.modules.module.to_module(network)`, `stored` where its weights are in the state_dict: layers
    that have theirs in common have the same."""

    layer: Layer
    reads: tuple[int, ...]
    writes: int
    place: str
    stored: str
    weights: tuple[tuple[Floats, Floats], ...] = field(default=())


class CannotQuantiseError(RunError):
    """The network has no form in int8."""


def operations(network: Layer, shape: Shape, weights: Mapping[str, Tensor]) -> tuple[list[Operation], list[Shape]]:
    """The operations in the order of computation (body before shortcut), and the shape of each value.

    `weights` is a state_dict of `nas.network.modules.module.to_module(network)`. Flattened values keep the shape that
    they had before: they are the same values. Raises CannotQuantiseError where branches join values that are flattened
    and values that are not.
    """
    found, shapes = unfolded(network, shape)
    arrays = {name: value.detach().double().numpy() for name, value in weights.items()}
    return list(_folded(found, arrays)), shapes


def unfolded(network: Layer, shape: Shape) -> tuple[list[Operation], list[Shape]]:
    """The operations before anything is folded, without their weights, and the shape of each value: the same values by
    the same numbers. Raises CannotQuantiseError as `operations` does."""
    flow = _Flow([shape])
    last = flow.follow(network, 0, "", "")
    if not flow.found:
        raise CannotQuantiseError("a network that computes nothing has no form in int8")
    assert last == flow.found[-1].writes
    return flow.found, flow.shapes


class _Flow:
    """Follows the values through a network, whose operations it finds."""

    def __init__(self, shapes: list[Shape]) -> None:
        self.shapes = shapes
        self.found: list[Operation] = []

    def follow(self, layer: Layer, value: int, own: str, tied: str) -> int:
        """The number of the layer's result. `own` is its place in the state_dict, `tied` that of the weights which
        it has in common with others."""
        match layer:
            case layers.Identity() | layers.Dropout() | layers.Flatten():
                return value
            case layers.Sequence():
                for place, inner in enumerate(layer.layers):
                    value = self.follow(inner, value, f"{own}{place}.", f"{tied}{place}.")
                return value
            case layers.Tied():
                for time in range(layer.times):
                    value = self.follow(layer.block, value, f"{own}{time}.", f"{tied}0.")
                return value
            case layers.Residual() | layers.Product() | layers.Concat():
                places = {"Residual": ("body", "shortcut"), "Product": ("body", "gate")}.get(type(layer).__name__)
                names = places or [f"branches.{place}" for place in range(len(branches(layer)))]
                every = zip(branches(layer), names, strict=True)
                reads = [self.follow(branch, value, f"{own}{name}.", f"{tied}{name}.") for branch, name in every]
                return self.write(layer, tuple(reads), own, own)
            case _:
                return self.write(layer, (value,), own, tied if is_tied(layer) else own)

    def write(self, layer: Layer, reads: tuple[int, ...], own: str, stored: str) -> int:
        """The number of a new value."""
        self.shapes.append(self.shape_of(layer, [self.shapes[value] for value in reads]))
        self.found.append(Operation(layer, reads, len(self.shapes) - 1, own.removesuffix("."), stored))
        return len(self.shapes) - 1

    def shape_of(self, layer: Layer, given: list[Shape]) -> Shape:
        """Shape of what the layer makes of the given."""
        match layer:
            case layers.Concat():
                return sum(shape[0] for shape in given), *given[0][1:]
            case layers.Residual() | layers.Product():
                if given[0] != given[1]:
                    raise CannotQuantiseError("the network joins values that are flattened with others; it stays fp32")
                return given[0]
            case layers.Linear() | layers.SignLinear() | layers.QuadraticLinear():
                return output_shape(layer, (prod(given[0]),))
            case _:
                return output_shape(layer, given[0])


def _folded(found: list[Operation], arrays: Mapping[str, npt.NDArray[np.float64]]) -> Iterator[Operation]:
    """The operations with their weights; what stands behind a convolution and can be folded into it is.

    Weights that blocks have in common are rounded to the grid of int8 first: the norms behind them, which differ, then
    only change the scale of each channel, and one copy of them serves all blocks.
    """
    readers = Counter(value for operation in found for value in operation.reads)
    waiting = list(found)
    while waiting:
        operation = waiting.pop(0)
        layer = operation.layer
        shared = sum(other.stored == operation.stored for other in found if is_tied(other.layer)) > 1
        pairs = [_rounded(*pair) if shared else pair for pair in _pairs(layer, operation.stored, arrays)]
        while isinstance(layer, layers.Conv) and waiting and _folds(operation, waiting[0], readers):
            ((factor, summand),) = _pairs(waiting[0].layer, waiting[0].stored, arrays)
            weight, bias = pairs[0]
            pairs = [(weight * factor[:, None, None, None], bias * factor + summand)]
            operation = replace(operation, writes=waiting.pop(0).writes)
        made = tuple((weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in pairs)
        yield replace(operation, weights=made)


def _folds(operation: Operation, after: Operation, readers: Mapping[int, int]) -> bool:
    """Whether what comes after is a factor and a summand a channel that nobody else's value is."""
    is_affine = isinstance(after.layer, layers.BatchNorm | layers.Scale)
    return is_affine and after.reads == (operation.writes,) and readers[operation.writes] == 1


def _rounded(
    weight: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Each output channel's weights as whole multiples of a 64th of its largest."""
    step = np.abs(weight).max((1, 2, 3), keepdims=True) / LEVELS
    step[step == 0] = 1
    return np.rint(weight / step) * step, bias


def _pairs(
    layer: Layer, path: str, arrays: Mapping[str, npt.NDArray[np.float64]]
) -> list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """(weight, bias) of each matrix or affine map that the layer is."""
    match layer:
        case layers.Conv() | layers.Linear():
            return [(arrays[f"{path}weight"], arrays.get(f"{path}bias", np.zeros(layer.outputs)))]
        case layers.SignLinear():
            matrix = signs(layer.inputs, layer.outputs).double().numpy() * arrays[f"{path}scale"][:, None]
            return [(matrix, arrays.get(f"{path}bias", np.zeros(layer.outputs)))]
        case layers.QuadraticLinear():
            points = torch.from_numpy(arrays[f"{path}weight"])
            return [(quadratic(points).numpy(), np.zeros(layer.outputs))]
        case layers.BatchNorm():
            factor = arrays[f"{path}weight"] / np.sqrt(arrays[f"{path}running_var"] + NORM_EPSILON)
            return [(factor, arrays[f"{path}bias"] - factor * arrays[f"{path}running_mean"])]
        case layers.Scale():
            return [(arrays[f"{path}weight"], np.zeros(layer.channels))]
        case layers.SqueezeExcitation():
            return [(arrays[f"{path}{part}.weight"], arrays[f"{path}{part}.bias"]) for part in ("squeeze", "excite")]
        case _:
            return []
