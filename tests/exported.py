"""Networks as exported files have them."""

import onnx
import torch
from onnxruntime import InferenceSession
from torch import Tensor, nn

from nas.network.layers import Layer
from nas.network.modules.source import torch_source
from nas.results.export.formats.onnx import onnx_model


def plain_module(network: Layer, shape: tuple[int, ...]) -> nn.Module:
    """The module that the network's source builds."""
    names: dict[str, object] = {"__file__": "model.py"}
    exec(compile(torch_source(network, shape), "model.py", "exec"), names)
    module = names["network"]()  # type: ignore[operator]
    assert isinstance(module, nn.Module)
    return module.eval()


def scores_in_onnx(module: nn.Module, shape: tuple[int, ...], images: Tensor) -> Tensor:
    """What the module's ONNX computes of images [N, *shape]."""
    model: onnx.ModelProto = onnx_model(module, shape)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
