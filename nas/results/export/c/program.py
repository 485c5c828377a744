"""A quantised network as C: constants, and the calls of kernels that compute it."""

from typing import assert_never

import numpy as np
import numpy.typing as npt

from nas.network import layers
from nas.network.layers import Layer
from nas.network.modules.parts import signs
from nas.results.export.c.arithmetic import Terms, check_sums, factors, product_terms, sum_terms, table
from nas.results.export.c.text import array, floating, struct
from nas.results.export.card import Preprocessing
from nas.results.export.int8.graph import part_name, value_name
from nas.results.export.int8.network import QuantisedNetwork
from nas.results.export.int8.operations import Operation
from nas.results.export.int8.quantise import Scale


class Program:
    """The constants and calls of a network, in the making: every number is that of the int8 ONNX, computed as
    onnxruntime computes it. Raises CannotQuantiseError for a network whose sums do not fit 32 bits."""

    def __init__(self, network: QuantisedNetwork) -> None:
        self.shapes, self.known, self.arena = network.shapes, network.quantities, network.arena
        self.kernels: list[str] = []
        self.constants: list[str] = []
        self.calls: list[str] = []
        self._arrays: dict[tuple[str, bytes], str] = {}
        self._copied = {o.writes: o.reads[0] for o in network.operations if _copies(o.layer)}
        self._cut: dict[int, int] = {}
        for operation in reversed(network.operations):
            read, to = operation.reads[0], operation.writes
            if operation.layer == layers.Activation("relu") and not self.known.knows(value_name(read)):
                self._cut[read] = self._cut.get(to, to)

    def scale(self, value: int) -> Scale:
        """Scale of a value: that of what it is a copy of. Where a ReLU follows and its zero is int8's smallest number,
        cutting off is saturating: the value before it has the scale of the one behind."""
        while value in self._copied:
            value = self._copied[value]
        return self.known.scale(value_name(self._cut.get(value, value)))

    def place(self, value: int) -> str:
        """Where a value lies, in C."""
        return f"arena + {self.arena.offsets[value]}"

    def size(self, value: int) -> int:
        """How many numbers a value has."""
        return int(np.prod(self.shapes[value]))

    def positions(self, value: int) -> int:
        """Rows times columns of a value."""
        return int(np.prod(self.shapes[value][1:]))

    def call(self, kernel: str, *arguments: object) -> None:
        """Adds a call."""
        if kernel not in self.kernels:
            self.kernels.append(kernel)
        self.calls.append(f"{kernel}({', '.join(map(_argument, arguments))});")

    def array(self, kind: str, name: str, values: npt.ArrayLike) -> str:
        """Name of a constant array of these values; of equal ones there is one."""
        flat = np.asarray(values, np.float64).reshape(-1)
        key = kind, flat.tobytes()
        if key not in self._arrays:
            self._arrays[key] = name
            self.constants.append(array(kind, name, flat))
        return self._arrays[key]

    def struct(self, kind: str, name: str, **fields: object) -> str:
        """Address of a constant struct."""
        self.constants.append(struct(kind, name, {field: _argument(value) for field, value in fields.items()}))
        return f"&{name}"

    def read_image(self, preprocessing: Preprocessing) -> None:
        """What makes value 0 of the bytes of an image."""
        scale = self.scale(0)
        mean = self.array("float", "image_mean", preprocessing.mean)
        deviation = self.array("float", "image_deviation", preprocessing.deviation)
        self.call("read_image", "image", self.place(0), mean, deviation, scale.step, scale.zero)

    def add(self, operation: Operation) -> None:
        """The calls of an operation."""
        layer, read, to = operation.layer, operation.reads[0], operation.writes
        match layer:
            case layers.Conv():
                self._convolve(layer, read, to)
            case layers.Activation():
                self._activate(layer, read, to)
            case layers.SqueezeExcitation():
                self._gate(layer, operation)
            case layers.Pool() | layers.GlobalPool():
                self._pool(layer, read, to)
            case layers.Residual() | layers.Product() | layers.Concat():
                self._join(layer, operation.reads, to)
            case _:
                kernel, terms = self._map(layer, read, to)
                self.call(kernel, self.place(read), self.place(to), *terms)

    def _map(self, layer: Layer, read: int, to: int) -> tuple[str, Terms]:
        """The kernel, and what it is given besides the places of its value and of its result."""
        before, after, shape = self.scale(read), self.scale(to), self.shapes[read]
        match layer:
            case layers.BatchNorm() | layers.Scale():
                matrix = self._matrix(value_name(to), before, after)
                return "affine", (layer.channels, self.positions(read), *matrix)
            case layers.Linear() | layers.QuadraticLinear():
                return "connect", (layer.inputs, layer.outputs, *self._matrix(value_name(to), before, after))
            case layers.SignLinear():
                return "connect_signs", (
                    layer.inputs,
                    layer.outputs,
                    *self._signs(layer, value_name(to), before, after),
                )
            case layers.Subsample():
                return "subsample", (*shape, layer.outputs, layer.stride, after.zero)
            case layers.Shift():
                return "move", (*shape, layer.kernel, *self._kept(value_name(to), before, after))
            case layers.Sequence() | layers.Tied() | layers.Identity() | layers.Dropout() | layers.Flatten():
                raise AssertionError(f"{type(layer).__name__} is no operation")
            case layers.Slice():
                raise AssertionError("a slice is a part of what is there")
            case (
                layers.Conv()
                | layers.Activation()
                | layers.SqueezeExcitation()
                | layers.Pool()
                | layers.GlobalPool()
                | layers.Residual()
                | layers.Product()
                | layers.Concat()
            ):
                raise AssertionError(f"{type(layer).__name__} has calls of its own")
            case _:
                assert_never(layer)

    def _matrix(self, name: str, before: Scale, after: Scale) -> Terms:
        """(weights, biases, factors) as names of arrays, and the zeros before and behind.

        Each output's first weight that is not 0 is made positive, and what goes with it turned too: blocks that share
        their weights have equal ones then, whatever the norms behind them."""
        found = self.known.matrix(name)
        rows = found.weight.astype(np.int64).reshape(len(found.weight), -1)
        check_sums(rows, found)
        turned = np.where(rows[np.arange(len(rows)), (rows != 0).argmax(1)] < 0, -1, 1)
        c = _c_name(name)
        return (
            self.array("int8_t", f"{c}_weight", rows * turned[:, None]),
            self.array("int32_t", f"{c}_bias", turned * found.bias),
            self.array("float", f"{c}_factor", turned * factors(found, before, after)),
            before.zero,
            after.zero,
        )

    def _signs(self, layer: layers.SignLinear, name: str, before: Scale, after: Scale) -> Terms:
        """The same of a layer of signs, of which only the levels are stored."""
        found = self.known.matrix(name)
        check_sums(found.weight.astype(np.int64), found)
        levels = found.weight[:, 0] * signs(layer.inputs, layer.outputs)[:, 0].numpy()
        return (
            self.array("int8_t", f"{name}_level", levels),
            self.array("int32_t", f"{name}_bias", found.bias),
            self.array("float", f"{name}_factor", factors(found, before, after)),
            before.zero,
            after.zero,
        )

    def _kept(self, name: str, before: Scale, after: Scale) -> Terms:
        """The weight, the factor and the zeros of what ONNX has as a convolution that moves or averages values."""
        found = self.known.matrix(name)
        return int(found.weight.max()), factors(found, before, after)[0], before.zero, after.zero

    def _convolve(self, layer: layers.Conv, read: int, to: int) -> None:
        (in_channels, in_height, in_width), (channels, height, width) = self.shapes[read], self.shapes[to]
        weight, bias, factor, in_zero, zero = self._matrix(value_name(to), self.scale(read), self.scale(to))
        about = self.struct(
            "convolution",
            value_name(to),
            **{"weight": weight, "bias": bias, "factor": factor, "in_zero": in_zero, "zero": zero},
            **{"in_channels": in_channels, "in_height": in_height, "in_width": in_width},
            **{"channels": channels, "height": height, "width": width, "groups": layer.groups},
            **{"kernel": layer.kernel, "stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation},
        )
        self.call("convolve", about, self.place(read), self.place(to))

    def _activate(self, layer: layers.Activation, read: int, to: int) -> None:
        """A table; a ReLU that happened where its value was written is none."""
        if read not in self._cut:
            name = self._table(layer.function, self.scale(read), self.scale(to), value_name(to))
            self.call("look_up", self.place(read), self.place(to), self.size(to), name)
        elif (self.scale(read), self.place(read)) != (self.scale(to), self.place(to)):
            self._convert(read, self.place(to), self.scale(to))

    def _table(self, function: str, before: Scale, after: Scale, name: str) -> str:
        """Name of an array with the function of each of the 256 values, from -128 on."""
        return self.array("int8_t", f"{name}_table", table(function, before, after))

    def _join(self, layer: layers.Residual | layers.Product | layers.Concat, reads: tuple[int, ...], to: int) -> None:
        after = self.scale(to)
        if isinstance(layer, layers.Concat):
            offset = self.arena.offsets[to]
            for read in reads:
                self._convert(read, f"arena + {offset}", after)
                offset += self.size(read)
            return
        kernel, terms = "add", sum_terms(self.scale(reads[0]), self.scale(reads[1]), after)
        if isinstance(layer, layers.Product):
            kernel, terms = "multiply", product_terms(self.scale(reads[0]), self.scale(reads[1]), after)
        self.call(kernel, *map(self.place, (*reads, to)), self.size(to), *terms)

    def _convert(self, read: int, to: str, after: Scale) -> None:
        """A value written elsewhere, in other steps."""
        before = self.scale(read)
        terms = before.step, after.step, before.zero, after.zero
        self.call("convert", self.place(read), to, self.size(read), *terms)

    def _pool(self, layer: layers.Pool | layers.GlobalPool, read: int, to: int) -> None:
        before, after = self.scale(read), self.scale(to)
        window, stride, padding = self.shapes[read][1:], 1, 0
        if isinstance(layer, layers.Pool):
            window, stride, padding = (layer.size, layer.size), layer.stride, layer.padding
        terms: Terms = (0, 0.0, before.zero, after.zero)
        if layer.statistic == "average":
            is_matrix = isinstance(layer, layers.Pool)
            terms = self._kept(value_name(to), before, after) if is_matrix else self._mean(read, after)
        self._windows(value_name(to), read, self.shapes[to], window, terms, stride, padding)
        self.call("pool", f"&{value_name(to)}", self.place(read), self.place(to))

    def _mean(self, read: int, after: Scale) -> Terms:
        """The weight, the factor and the zeros of the mean over all positions."""
        before = self.scale(read)
        return 1, before.step / (after.step * np.float32(self.positions(read))), before.zero, after.zero

    def _windows(
        self,
        name: str,
        read: int,
        shape: tuple[int, ...],
        window: tuple[int, ...],
        terms: Terms,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        (channels, in_height, in_width), (weight, factor, in_zero, zero) = self.shapes[read], terms
        self.struct(
            "windows",
            name,
            **{"channels": channels, "in_height": in_height, "in_width": in_width},
            **{"height": shape[1], "width": shape[2], "kernel_height": window[0], "kernel_width": window[1]},
            **{"stride": stride, "padding": padding},
            **{"weight": weight, "factor": factor, "in_zero": in_zero, "zero": zero},
        )

    def _gate(self, layer: layers.SqueezeExcitation, operation: Operation) -> None:
        """Its scratch has the means and then, in their place, the gate; behind them what they are squeezed to."""
        read, to, name = operation.reads[0], operation.writes, value_name(operation.writes)
        parts = [part_name(operation, part) for part in ("mean", "squeezed", "excited", "gate")]
        mean, squeezed, excited, gate = map(self.known.scale, parts)
        first = self.arena.scratch[to]
        means, between = f"arena + {first}", f"arena + {first + layer.channels}"
        self._windows(f"{name}_mean", read, (layer.channels, 1, 1), self.shapes[read][1:], self._mean(read, mean))
        self.call("pool", f"&{name}_mean", self.place(read), means)
        squeeze = self._matrix(part_name(operation, "linear"), mean, squeezed)
        self.call("connect", means, between, layer.channels, layer.squeezed, *squeeze)
        excite = self._matrix(part_name(operation, "excited"), squeezed, excited)
        self.call("connect", between, means, layer.squeezed, layer.channels, *excite)
        self.call("look_up", means, means, layer.channels, self._table("hardsigmoid", excited, gate, name))
        terms = layer.channels, self.positions(read), *product_terms(self.scale(read), gate, self.scale(to))
        self.call("scale_channels", self.place(read), means, self.place(to), *terms)


def _copies(layer: Layer) -> bool:
    """Whether the layer only chooses among values: its result has their scale."""
    if isinstance(layer, layers.Pool | layers.GlobalPool):
        return layer.statistic == "max"
    return isinstance(layer, layers.Slice | layers.Subsample)


def _argument(value: object) -> str:
    return floating(value) if isinstance(value, float | np.floating) else str(value)


def _c_name(name: str) -> str:
    return name.replace(".", "_")
