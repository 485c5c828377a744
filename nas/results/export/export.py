"""A network to take away: a folder that needs nas no more.

DIR/model.py                the network as plain torch source
    weights.safetensors     its weights
    model.onnx              the same network, compared with torch
    architecture.json       layer tree, preprocessing, class names, accuracies, how it came to be
    card.md                 the same for people
    predict.py              an image file in, the likeliest classes out
"""

import importlib.util
import json
import os
import platform
import runpy
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas import __version__
from nas.errors import UserError
from nas.network.folds import macs, parameters, peak_activation
from nas.network.layers import Layer, Shape
from nas.network.module import to_module
from nas.network.serial import fingerprint, to_json
from nas.network.source import torch_source
from nas.results.export.card import Card, card_text

SCHEMA_VERSION = 1
OPSET = 20
PACKAGES = ("onnx", "onnxruntime", "onnxscript", "safetensors")
FILES = ("model.py", "weights.safetensors", "model.onnx", "architecture.json", "card.md", "predict.py")
TOLERANCE = 1e-4
"""Largest difference between two programs of one network, as a share of their largest score."""

BATCHES = (1, 7)
"""Sizes of the random batches on which they are compared."""


class MismatchError(ArithmeticError):
    """An exported program computes something else than the network."""


@dataclass(frozen=True)
class Exported:
    """A folder that was written. `difference` between ONNX and torch is a share of the largest score."""

    path: Path
    parameters: int
    difference: float


def export_network(network: Layer, weights: dict[str, Tensor], card: Card, to: Path) -> Exported:
    """Writes the folder, or leaves what was there: all is written and compared beside it and then moved.

    `weights` is a state_dict of `nas.network.module.to_module(network)`. An earlier export is replaced. Raises
    UserError for a package that is missing or a place that cannot be used, MismatchError if a program in the folder is
    wrong.
    """
    check_packages()
    check_place(to)
    to = to.resolve()
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{to.name}.", dir=to.parent) as beside:
            (Path(beside) / "new").mkdir()
            difference = _write(network, weights, card, Path(beside) / "new")
            _move(Path(beside), to)
    except OSError as error:
        raise UserError(f"{to} cannot be written: {error.strerror}; give --to another folder") from error
    return Exported(to, parameters(network), difference)


def check_packages() -> None:
    """Raises UserError naming the packages that are missing."""
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        names = " ".join(missing)
        raise UserError(f"nas export needs packages that are not installed; install them: pip install {names}")


def check_place(to: Path) -> None:
    """Raises UserError unless there is nothing, an empty folder, or an earlier export."""
    nearest = next(place for place in (to, *to.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise UserError(f"{nearest} is a file; give --to a folder")
    if to.is_dir() and any(to.iterdir()) and not _is_export(to):
        raise UserError(f"{to} is not empty and holds more than an earlier export; give --to another folder")


def _is_export(folder: Path) -> bool:
    """Whether a folder holds an export, of which Python may have compiled the sources, and nothing else."""
    try:
        architecture = json.loads((folder / "architecture.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    is_ours = isinstance(architecture, dict) and {"schema_version", "fingerprint"} <= set(architecture)
    return is_ours and {entry.name for entry in folder.iterdir()} <= {*FILES, "__pycache__"}


def _move(beside: Path, to: Path) -> None:
    """`beside`/new to its place; what was there goes into `beside`, where it lies between the two renames."""
    replaces = to.exists()
    if replaces:
        os.rename(to, beside / "previous")
    try:
        os.rename(beside / "new", to)
    except OSError:
        if replaces:
            os.rename(beside / "previous", to)
        raise


def _write(network: Layer, weights: dict[str, Tensor], card: Card, folder: Path) -> float:
    """Every file; returns the difference between ONNX and torch."""
    from safetensors.torch import save

    shape = card.preprocessing.shape
    versions = {"nas": __version__, "python": platform.python_version()}
    versions |= {package: version(package) for package in ("torch", "onnx", "onnxruntime")} | {"opset": str(OPSET)}
    (folder / "model.py").write_text(torch_source(network, shape), encoding="utf-8")
    stored = save({name: value.contiguous().clone() for name, value in weights.items()})
    (folder / "weights.safetensors").write_bytes(stored)  # the package's own file is for its owner's eyes only
    shutil.copyfile(Path(__file__).with_name("predict.py"), folder / "predict.py")
    architecture = json.dumps(_architecture(network, card, versions), indent=1, ensure_ascii=False)
    (folder / "architecture.json").write_text(architecture + "\n", encoding="utf-8")
    (folder / "card.md").write_text(card_text(network, card, versions), encoding="utf-8")
    return _write_onnx(network, weights, shape, folder)


def _architecture(network: Layer, card: Card, versions: dict[str, str]) -> dict[str, Any]:
    shape = card.preprocessing.shape
    return {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": fingerprint(network, shape),
        "parameters": parameters(network),
        "macs": macs(network, shape),
        "peak_activation": peak_activation(network, shape),
        "shape": list(shape),
        **asdict(card),
        "versions": versions,
        "network": to_json(network),
    }


def _write_onnx(network: Layer, weights: dict[str, Tensor], shape: Shape, folder: Path) -> float:
    """model.onnx, made of model.py and compared with it, after model.py was compared with nas's own module."""
    import onnx
    from onnxruntime import InferenceSession

    own = to_module(network)
    own.load_state_dict(weights)
    written: nn.Module = runpy.run_path(str(folder / "model.py"))["load"](folder / "weights.safetensors")
    difference(own.eval(), written, shape, "model.py")
    onnx.save(onnx_model(written, shape), folder / "model.onnx")
    session = InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    return difference(written, run, shape, "model.onnx")


def onnx_model(module: nn.Module, shape: Shape) -> Any:
    """The module in evaluation as onnx.ModelProto: "images" [batch, *shape] to "scores" [batch, classes].

    Without what the exporter notes for its own debugging, most of the file of a small network.
    """
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about its own deprecated calls
        program = torch.onnx.export(
            module,
            (torch.zeros(2, *shape),),  # of a batch of 1 it would take the 1 for fixed
            input_names=["images"],
            output_names=["scores"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
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


@torch.inference_mode()
def difference(
    expected: Callable[[Tensor], Tensor], found: Callable[[Tensor], Tensor], shape: Shape, name: str
) -> float:
    """Largest difference of scores on random images, as a share of the largest score. MismatchError above TOLERANCE."""
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch in BATCHES:
        images = torch.randn(batch, *shape, generator=generator)
        wanted = expected(images)
        apart = ((found(images) - wanted).abs().max() / wanted.abs().max()).item()
        if not apart <= TOLERANCE:
            raise MismatchError(
                f"{name} gives other scores than the network on {batch} random images: they differ by {apart:.2g} of "
                f"the largest, at most {TOLERANCE:g} is allowed; nothing was written"
            )
        worst = max(worst, apart)
    return worst
