"""The network as ONNX in int8, quantised by onnxruntime's tools."""

from dataclasses import replace
from pathlib import Path

from nas.results.export.card import Deployed
from nas.results.export.formats import Contents, Format, LeftOutError


def _write(contents: Contents, folder: Path) -> None:
    import onnx

    from nas.results.export.int8.operations import CannotQuantiseError

    try:
        model = contents.quantised.model
    except CannotQuantiseError as error:
        if contents.asked.numbers or contents.asked.c or contents.asked.finetune_epochs:
            raise
        raise LeftOutError(str(error)) from error
    onnx.save(model, folder / "model.int8.onnx")


def _measure(contents: Contents, folder: Path) -> Deployed:
    from nas.results.export.measuring import measured

    found = measured(folder / "model.int8.onnx", "int8", contents.card.preprocessing, contents.sample)
    return replace(found, note=contents.quantised.note)


FORMAT = Format(
    title="int8 ONNX",
    meaning="the network quantised by onnxruntime's tools, calibrated on training images",
    files=("model.int8.onnx",),
    write=_write,
    packages=("onnx", "onnxruntime"),
    is_asked=lambda asked: asked.numbers != "fp32",
    measure=_measure,
)
