"""The files of the C program."""

from importlib.resources import files
from math import prod
from string import Template

from nas.results.export.c.program import Program
from nas.results.export.c.text import floating, quoted
from nas.results.export.card import ModelCard
from nas.results.export.int8.network import QuantisedNetwork

_KERNEL = "/* kernel: "


def c_sources(network: QuantisedNetwork, card: ModelCard, parameters: int) -> dict[str, str]:
    """What model.h, model.c and main.c hold. Raises CannotQuantiseError for a network that cannot be written so."""
    program = Program(network)
    program.read_image(card.preprocessing)
    for operation in network.arena.operations:
        program.add(operation)
    last = network.operations[-1].writes
    channels, height, width = card.preprocessing.shape
    about = {
        "parameters": f"{parameters:,}",
        "bytes": f"{channels * height * width:,}",
        "height": height,
        "width": width,
        "channels": channels,
        "classes": prod(network.shapes[last]),
        "arena": network.arena.size,
        "step": floating(program.scale(last).step),
        "zero": program.scale(last).zero,
        "names": ",\n".join(f"    {quoted(name)}" for name in card.class_names),
    }
    written = {name: Template(_resource(name)).substitute(about) for name in ("model.h", "main.c")}
    return written | {"model.c": _model(program, program.place(last))}


def _model(program: Program, scores: str) -> str:
    head, *kernels = _resource("kernels.c").split(_KERNEL)
    needed = [text for name, text in (kernel.split(" */\n", 1) for kernel in kernels) if name in program.kernels]
    calls = "\n".join(f"    {call}" for call in program.calls)
    run = f"const int8_t *model_run(const uint8_t *image) {{\n{calls}\n    return {scores};\n}}\n"
    return '#include "model.h"\n\n' + head + "".join(needed) + "\n" + "\n".join(program.constants) + "\n\n" + run


def _resource(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text(encoding="utf-8")
