"""The operations of a network as ONNX in fp32, in the form in which onnxruntime's tools quantise it best."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from nas.network import layers
from nas.network.layers import Shape
from nas.results.export.int8.operations import Floats, Operation

QUANTISED = (
    *("Conv", "Gemm", "Relu", "HardSwish", "HardSigmoid", "Mul", "Add", "Concat"),
    *("MaxPool", "GlobalAveragePool", "Slice", "Pad", "Flatten"),
)
"""Kinds of nodes whose values are quantised, what is inside a SiLU aside."""


def value_name(value: int) -> str:
    """Name of a value in the graph."""
    return f"value{value}" if value else "images"


def not_quantised(operations: Sequence[Operation]) -> list[str]:
    """Names of the nodes between whose values none is quantised: those of a SiLU, x times its sigmoid."""
    silus = [o for o in operations if isinstance(o.layer, layers.Activation) and o.layer.function == "silu"]
    return [value_name(operation.writes) for operation in silus]


def part_name(operation: Operation, part: str) -> str:
    """Name of a value inside a gate."""
    return f"{value_name(operation.writes)}.{part}"


def float_graph(operations: Sequence[Operation], shapes: Sequence[Shape], opset: int) -> Any:
    """onnx.ModelProto of "images" [batch, *shape] to "scores" [batch, classes]."""
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph(shapes)
    for operation in operations:
        graph.add(operation)
    last = operations[-1]
    classes = prod(shapes[last.writes])
    graph.node("Flatten", [value_name(last.writes)], "scores", axis=1)
    floating = TensorProto.FLOAT
    body = helper.make_graph(
        graph.nodes,
        "network",
        [helper.make_tensor_value_info("images", floating, ["batch", *shapes[0]])],
        [helper.make_tensor_value_info("scores", floating, ["batch", classes])],
        graph.constants,
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], producer_name="nas")
    model.ir_version = min(model.ir_version, 10)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """Nodes and constants, in the making."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self.shapes = shapes
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, reads: Sequence[str], writes: str, **attributes: Any) -> str:
        """Adds one; returns the name of its result, which is its own too."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, reads, [writes], name=writes, **attributes))
        return writes

    def constant(self, name: str, values: Any) -> str:
        """Adds one; returns its name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, operation: Operation) -> None:
        """The nodes of an operation."""
        layer, shape = operation.layer, self.shapes[operation.reads[0]]
        reads, to = [value_name(value) for value in operation.reads], value_name(operation.writes)
        if found := _as_convolution(operation, shape):
            self.conv(reads[0], to, *found)
            return
        match layer:
            case layers.Linear() | layers.SignLinear() | layers.QuadraticLinear():
                flat = self.node("Flatten", reads, f"{to}.flat", axis=1)
                weight, bias = operation.weights[0]
                terms = [self.constant(f"{to}.weight", weight), self.constant(f"{to}.bias", bias)]
                self.node("Gemm", [flat, *terms], to, transB=1)
            case layers.Activation():
                self.activation(layer, reads[0], to)
            case layers.SqueezeExcitation():
                self.gate(operation, reads[0], to)
            case layers.Residual() | layers.Product():
                self.node("Add" if isinstance(layer, layers.Residual) else "Mul", reads, to)
            case layers.Concat():
                self.node("Concat", reads, to, axis=1)
            case layers.Slice():
                self.channels(reads[0], to, layer.first, layer.first + layer.outputs)
            case layers.Subsample():
                self.subsample(layer, reads[0], to)
            case layers.Pool():
                self.pool(reads[0], to, (layer.size, layer.size), layer.stride, layer.padding)
            case layers.GlobalPool() if layer.statistic == "max":
                self.pool(reads[0], to, shape[1:])
            case layers.GlobalPool():
                self.node("GlobalAveragePool", reads, to)
            case _:
                raise AssertionError(f"{type(layer).__name__} is no operation")

    def conv(self, read: str, to: str, weight: Floats, bias: Floats, attributes: Mapping[str, Any]) -> str:
        """A convolution; also what else is a sum of products a channel."""
        terms = [self.constant(f"{to}.weight", weight), self.constant(f"{to}.bias", bias)]
        return self.node("Conv", [read, *terms], to, kernel_shape=weight.shape[2:], **attributes)

    def pool(self, read: str, to: str, window: Shape, stride: int = 1, padding: int = 0) -> str:
        """The largest of each window."""
        geometry = {"strides": 2 * [stride], "pads": 4 * [padding]}
        return self.node("MaxPool", [read], to, kernel_shape=window, **geometry)

    def activation(self, layer: layers.Activation, read: str, to: str) -> None:
        """An element-wise function."""
        if layer.function == "silu":
            self.node("Mul", [read, self.node("Sigmoid", [read], f"{to}.sigmoid")], to)
        else:
            self.node({"relu": "Relu", "hardswish": "HardSwish"}[layer.function], [read], to)

    def gate(self, operation: Operation, read: str, to: str) -> None:
        """A squeeze and excitation."""
        mean = self.node("GlobalAveragePool", [read], part_name(operation, "mean"))
        (squeeze, excite) = operation.weights
        squeezed = self.conv(mean, part_name(operation, "linear"), *squeeze, {})
        rectified = self.node("Relu", [squeezed], part_name(operation, "squeezed"))
        excited = self.conv(rectified, part_name(operation, "excited"), *excite, {})
        gate = self.node("HardSigmoid", [excited], part_name(operation, "gate"), alpha=1 / 6, beta=0.5)
        self.node("Mul", [read, gate], to)

    def channels(self, read: str, to: str, first: int, last: int) -> str:
        """Some of the channels."""
        ends = [self.constant(f"{to}.{name}", np.array([at])) for name, at in (("first", first), ("last", last))]
        return self.node("Slice", [read, *ends, self.constant(f"{to}.axis", np.array([1]))], to)

    def subsample(self, layer: layers.Subsample, read: str, to: str) -> None:
        """Every `stride`-th position, zero channels appended or channels cut."""
        is_same = layer.outputs == layer.inputs
        kept = self.pool(read, to if is_same else f"{to}.kept", (1, 1), layer.stride)
        if layer.outputs < layer.inputs:
            self.channels(kept, to, 0, layer.outputs)
        elif not is_same:
            pads = np.array([0, 0, 0, 0, 0, layer.outputs - layer.inputs, 0, 0])
            self.node("Pad", [kept, self.constant(f"{to}.pads", pads)], to)


def _as_convolution(operation: Operation, shape: Shape) -> tuple[Floats, Floats, dict[str, Any]] | None:
    """Weight, bias and attributes of what is a convolution in the graph, because convolutions have scales a channel and
    exact sums: norms and factors that stand alone, shifts, and means of windows too."""
    match layer := operation.layer:
        case layers.Conv():
            weight, bias = operation.weights[0]
            return weight, bias, {**_geometry(layer), "dilations": 2 * [layer.dilation], "group": layer.groups}
        case layers.BatchNorm() | layers.Scale():
            factor, summand = operation.weights[0]
            return factor[:, None, None, None], summand, {"group": layer.channels}
        case layers.Shift():
            pads = {"pads": 4 * [layer.kernel // 2]}
            return _moves(layer), np.zeros(layer.channels, np.float32), {**pads, "group": layer.channels}
        case layers.Pool() if layer.statistic == "average":
            window = np.full((shape[0], 1, layer.size, layer.size), 1 / layer.size**2, np.float32)
            return window, np.zeros(shape[0], np.float32), {**_geometry(layer), "group": shape[0]}
        case _:
            return None


def _geometry(layer: layers.Conv | layers.Pool) -> dict[str, Any]:
    return {"strides": 2 * [layer.stride], "pads": 4 * [layer.padding]}


def _moves(layer: layers.Shift) -> Floats:
    """The shifts as kernels of a depthwise convolution, each with a single 1."""
    moves = layer.kernel**2
    kernels = np.zeros((layer.channels, 1, moves), np.float32)
    for move in range(moves):
        kernels[move * layer.channels // moves : (move + 1) * layer.channels // moves, 0, move] = 1
    return kernels.reshape(layer.channels, 1, layer.kernel, layer.kernel)
