"""Static quantisation after training, by onnxruntime's own tools."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.errors import in_one_line, is_of_the_machine
from nas.network.layers import Shape
from nas.results.export.int8.graph import QUANTISED, float_graph, not_quantised
from nas.results.export.int8.operations import CannotQuantiseError, Floats, Operation

CALIBRATION_BATCH = 64

UNSIGNED = 128
"""What a value has more in uint8 than in int8."""


def quantised(operations: Sequence[Operation], shapes: Sequence[Shape], images: Floats, opset: int) -> Any:
    """onnx.ModelProto in the QDQ format, of "images" [batch, *shape] to "scores" [batch, classes].

    Weights are int8, symmetric, with a scale a channel. Values are uint8 with a scale and a zero point, by the smallest
    and the largest that `images` [N, *shape], as the network takes them, give: with int8, onnxruntime fuses only part
    of a network on x86-64, and takes twice as long. Raises CannotQuantiseError where its tools cannot do it.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder, _quietly():
        before, after = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(float_graph(operations, shapes, opset), before)
        try:
            quantize_static(
                before,
                after,
                _Batches(images),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                reduce_range=True,
                per_channel=True,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_exclude=not_quantised(operations),
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"ForceQuantizeNoInputCheck": True},
            )
        except Exception as error:  # whatever its tools stumble over
            if is_of_the_machine(error):
                raise
            told = f"onnxruntime cannot quantise this network: {in_one_line(error):.200}"
            raise CannotQuantiseError(told) from error
        model = onnx.load(after)
    model.producer_version = ""
    return model


class _Batches:
    """The images as onnxruntime's tools want them."""

    def __init__(self, images: Floats) -> None:
        starts = range(0, len(images), CALIBRATION_BATCH)
        self.batches: Iterator[Floats] = (images[start : start + CALIBRATION_BATCH] for start in starts)

    def get_next(self) -> dict[str, Floats] | None:
        """The next batch, or None."""
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the advice that its tools print and log to the root of all logs."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)


@dataclass(frozen=True)
class Scale:
    """A value q, in int8, stands for `step` * (q - `zero`)."""

    step: np.float32
    zero: int


@dataclass(frozen=True, eq=False)
class Matrix:
    """Weights int8 as torch has them, what one step of each output channel is, and biases int32 in steps of that times
    the input's."""

    weight: npt.NDArray[np.int8]
    steps: Floats
    bias: npt.NDArray[np.int32]


class Quantities:
    """The numbers of a quantised model, by the names of its values: of uint8, as int8 has them, 128 less."""

    def __init__(self, model: Any) -> None:
        from onnx import numpy_helper

        constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        nodes = {node.output[0]: node for node in model.graph.node}
        self._scales = {
            node.input[0]: Scale(np.float32(constants[node.input[1]]), int(constants[node.input[2]]) - UNSIGNED)
            for node in model.graph.node
            if node.op_type == "QuantizeLinear"
        }
        self._matrices = {}
        for node in model.graph.node:
            if node.op_type in ("Conv", "Gemm"):
                weight, bias = (nodes[name].input for name in node.input[1:])
                steps = np.broadcast_to(constants[weight[1]].astype(np.float32), len(constants[weight[0]]))
                self._matrices[node.name] = Matrix(constants[weight[0]], steps, constants[bias[0]])

    def knows(self, name: str) -> bool:
        """Whether the value is there and quantised: those before a ReLU that only cuts what lies below zero are not."""
        return name in self._scales

    def scale(self, name: str) -> Scale:
        """Scale of a value. Raises CannotQuantiseError where onnxruntime's tools gave it none."""
        if name not in self._scales:
            raise CannotQuantiseError(f"onnxruntime's tools left {name} of this network in fp32")
        return self._scales[name]

    def matrix(self, name: str) -> Matrix:
        """What a convolution or a linear layer has."""
        return self._matrices[name]
