"""The network as ONNX, made of its torch source and compared with it."""

import warnings
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.network.layers import Shape
from nas.results.export.card import Deployed
from nas.results.export.difference import difference
from nas.results.export.formats import Contents, Format
from nas.results.options import OPSET, FormatOptions


def onnx_model(module: nn.Module, shape: Shape, opset: int = OPSET) -> Any:
    """The module in evaluation as onnx.ModelProto: "images" [batch, *shape] to "scores" [batch, classes].

    Without what the exporter notes for its own debugging, most of the file of a small network.
    """
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about its own deprecated calls
        program = torch.onnx.export(
            module,
            (torch.zeros(2, *shape),),  # of a batch of 1 it would take the 1 for fixed; the model takes it all the same
            input_names=["images"],
            output_names=["scores"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=2)},),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for noted in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        noted.ClearField("metadata_props")
    for tensor in model.graph.initializer:
        tensor.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    onnx.checker.check_model(model)
    return model


@lru_cache(maxsize=1)
def onnx_file(contents: Contents) -> bytes:
    """What model.onnx holds; for other formats too."""
    serialized: bytes = onnx_model(_plain_module(contents), contents.shape, contents.opset).SerializeToString()
    return serialized


def _write(contents: Contents, folder: Path) -> float:
    from onnxruntime import InferenceSession

    module, file, model = _plain_module(contents), folder / "model.onnx", onnx_file(contents)
    file.write_bytes(model)
    session = InferenceSession(model, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    return difference(module, run, contents.shape, file.name)


def _plain_module(contents: Contents) -> nn.Module:
    """The network as its torch source builds it: nas's own module computes some layers in ways of its own."""
    names: dict[str, Any] = {"__file__": "model.py"}
    exec(compile(contents.source, "model.py", "exec"), names)
    module: nn.Module = names["network"]()
    module.load_state_dict(contents.weights)
    return module.eval()


def _measure(contents: Contents, folder: Path) -> Deployed:
    from nas.results.export.measuring import measured

    return measured(folder / "model.onnx", "fp32", contents.card.preprocessing, contents.sample)


def _versions(asked: FormatOptions) -> dict[str, str]:
    return {name: version(name) for name in ("onnx", "onnxruntime")} | {"opset": str(asked.opset or OPSET)}


FORMAT = Format(
    title="ONNX",
    meaning="the same network, compared with torch",
    files=("model.onnx",),
    write=_write,
    packages=("onnx", "onnxruntime", "onnxscript"),
    versions=_versions,
    measure=_measure,
)
