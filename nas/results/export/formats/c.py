"""The network in int8 as plain C99."""

import platform
from pathlib import Path

from nas.network.folds import parameters
from nas.results.export.card import Deployed
from nas.results.export.formats import Contents, Format

COMPARED = 200
"""Images on which the program is compared with onnxruntime."""


def _write(contents: Contents, folder: Path) -> None:
    from nas.results.export.c.sources import c_sources

    found = contents.quantised
    for name, text in c_sources(found, contents.card, parameters(contents.network)).items():
        (folder / name).write_text(text, encoding="utf-8")


def _measure(contents: Contents, folder: Path) -> Deployed:
    from nas.results.export.c.compiled import compiled, compiler
    from nas.results.export.measuring import pictures, prepared, processor, session

    found, card = contents.quantised, contents.card
    assert contents.sample
    if not compiler():
        note = "model.c was not compiled, nor compared: there is no gcc here"
        return Deployed("model.c", "int8", processor(), memory=found.arena.size, note=note)
    images = pictures(contents.sample.training[:COMPARED], contents.shape)
    running = session(found.model.SerializeToString())
    known = compiled(folder, images, running.run(None, {"images": prepared(images, card.preprocessing)})[0])
    return Deployed(
        "model.c",
        "int8",
        processor(),
        bytes=known.code + known.constants,
        milliseconds=known.milliseconds,
        memory=found.arena.size,
        note=f"model.c has {known.code:,} bytes of code and {known.constants:,} of constants, by gcc -Os for "
        f"{platform.machine()}.",
    )


FORMAT = Format(
    title="C",
    meaning="with --c: plain C99 in int8 without dependencies; its one buffer is exactly the peak memory",
    files=("model.h", "model.c", "main.c"),
    write=_write,
    packages=("onnx", "onnxruntime"),
    is_asked=lambda asked: asked.c,
    measure=_measure,
)
