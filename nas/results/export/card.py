"""What is told of an exported network: how images become its input, how good it is, how it came to be."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

from nas.machine.options import text
from nas.network.deployment.numbers import BYTES
from nas.network.deployment.weights import generated
from nas.network.folds import cost, parameters
from nas.network.layers import Layer, Shape
from nas.space.budget import counted
from nas.space.caps import CAPS


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input.

    8-bit values of `channels` channels; scaled bilinearly to cover `height` x `width`, the middle cut out; minus
    `mean`, divided by `deviation` (of values 0–255, a channel each, of the training split); and where `input_size` is
    not 0, scaled bilinearly to that side.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    input_size: int = 0

    @property
    def shape(self) -> Shape:
        """(channels, height, width) of the network's input."""
        return self.channels, self.input_size or self.height, self.input_size or self.width


@dataclass(frozen=True)
class Measured:
    """Accuracies (0–1) on a split, one for each training that was measured on it; `images` of the split, if known;
    what to bear in mind, in sentences."""

    split: Literal["validation", "test"]
    values: tuple[float, ...]
    images: int | None
    note: str = ""


@dataclass(frozen=True)
class ModelCard:
    """All that is known of a network besides its layers and weights. `class_names` are in the order of its scores,
    `recipe` is what `nas.training.recipe.recipe_values` gives, `commands` lead from the data set to the exported
    folder, `teacher` says who taught it, if anyone did, `found` what else is to be known of how it was chosen."""

    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    dataset: str
    data_checksum: str
    measured: tuple[Measured, ...]
    recipe: dict[str, Any]
    commands: tuple[str, ...]
    teacher: str = ""
    found: str = ""


@dataclass(frozen=True)
class Deployed:
    """A program of the folder as it was run on the machine that exported it: one `file` of it, the numbers that it
    computes in, its `bytes` (of a file, or of compiled code and constants), accuracy (0–1) on so many validation
    `images`, milliseconds of an image on one thread of the `processor`, and bytes of memory that its values take. None
    where that was not measured, which the `note` explains."""

    file: str
    numbers: Literal["fp32", "int8"]
    processor: str
    bytes: int | None = None
    accuracy: float | None = None
    images: int | None = None
    milliseconds: float | None = None
    memory: int | None = None
    note: str = ""


def card_text(network: Layer, card: ModelCard, versions: Mapping[str, str], deployed: Sequence[Deployed] = ()) -> str:
    """The card as Markdown."""
    count, shape = parameters(network), card.preprocessing.shape
    taken = cost(network, shape)
    caps = [
        (cap.title, ", ".join(f"{cap.brief(counted(taken, name, numbers))} in {numbers}" for numbers in BYTES))
        for name, cap in CAPS.items()
        if cap.is_deployed
    ]
    sizes = [
        ("parameters", f"{count:,}"),
        ("multiply-adds an image", f"{taken.macs:,}"),
        *caps,
        ("input", f"float32 [batch, {', '.join(map(str, shape))}]"),
        ("output", f"float32 [batch, {len(card.class_names)}], scores before the softmax"),
    ]
    parts = [
        f"# Image classifier of {count:,} parameters, {card.dataset}",
        _table(("", ""), sizes),
        *_generated(network),
        "Weights are those that `model.onnx` holds and, in int8, a byte a weight with a bias and a scale a channel. "
        "Memory is that of all values held at once for one image, in the best order.",
        "## Accuracy",
        _table(("split", "accuracy", "n", "spread"), map(_measured_row, card.measured)),
        *dict.fromkeys(measured.note for measured in card.measured if measured.note),
        *_deployed(deployed),
        "## Data set and preprocessing",
        f"Trained on `{card.dataset}` (checksum `{card.data_checksum[:16]}`), {len(card.class_names)} classes.",
        _preprocessing(card.preprocessing),
        "## Recipe",
        ", ".join(
            f"{name} {text(value, unset='as suits the data set', between=', ')}" for name, value in card.recipe.items()
        )
        + ".",
        *([card.teacher] if card.teacher else []),
        "## How it came to be",
        *([card.found] if card.found else []),
        "\n".join(f"    {command}" for command in card.commands),
        "Exported with " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        "## Use",
        "    python predict.py IMAGE        # torch or onnxruntime, whichever is installed",
        "`model.py` needs torch alone: `load()` is the trained network.",
    ]
    return "\n\n".join(parts) + "\n"


def _generated(network: Layer) -> list[str]:
    """Which numbers are no parameters, for that can be disputed."""
    if not (numbers := generated(network)):
        return []
    return [
        f"Not counted are {numbers:,} numbers of the classifier that follow from a formula, as fixed signs or as "
        "products of its parameters: `model.py` computes them and `weights.safetensors` does not hold them; "
        "`model.onnx`, where they are constants, does."
    ]


def _deployed(programs: Sequence[Deployed]) -> list[str]:
    """What the programs of the folder take and give."""
    if not programs:
        return []
    head = ("", "numbers", "bytes", "validation accuracy", "ms an image", "bytes of values")
    processors = " and ".join(dict.fromkeys(program.processor for program in programs))
    return [
        "## What it takes to run",
        _table(head, map(_deployed_row, programs)),
        f"Times are processor time of single images, on one thread of {processors}. Accuracies are of these "
        "weights, on images by which they may have been chosen; those above say what to expect of new ones.",
        *(program.note for program in programs if program.note),
    ]


def deployed_in_words(program: Deployed) -> str:
    """One line: what a program takes and gives."""
    known = (
        (program.bytes, "{:,} bytes"),
        (program.memory, "{:,} bytes of values"),
        (program.accuracy, "{:.2%} of the validation images"),
        (program.milliseconds, "{:.3g} ms an image"),
    )
    told = [form.format(value) for value, form in known if value is not None]
    return f"{program.file}: {', '.join(told)}" + (f"; {program.note}" if program.note else "")


def _deployed_row(program: Deployed) -> tuple[str, ...]:
    def told(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    judged = f" of {program.images:,} images" if program.images else ""
    return (
        f"`{program.file}`",
        program.numbers,
        told(program.bytes, ","),
        told(program.accuracy, ".4f") + judged,
        told(program.milliseconds, ".3g"),
        told(program.memory, ","),
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))


def _measured_row(measured: Measured) -> tuple[str, ...]:
    """The spread is that of the trainings; of a single one only the sampling error of its images is known."""
    mean = statistics.mean(measured.values)
    if len(measured.values) > 1:
        spread = f"standard deviation {statistics.stdev(measured.values):.4f}"
    elif measured.images:
        error = sqrt(mean * (1 - mean) / measured.images)
        spread = f"standard error {error:.4f}, of {measured.images:,} images; between seeds unknown"
    else:
        spread = "unknown"
    return measured.split, f"{mean:.4f}", str(len(measured.values)), spread


def _preprocessing(preprocessing: Preprocessing) -> str:
    mean, deviation = (", ".join(f"{v:.3f}" for v in vs) for vs in (preprocessing.mean, preprocessing.deviation))
    side = preprocessing.input_size
    return (
        f"8-bit images (channels: {preprocessing.channels}), scaled bilinearly until they cover "
        f"{preprocessing.height} x {preprocessing.width} (height x width), of that the middle; then "
        f"(value - mean) / deviation with mean {mean} and deviation {deviation}, those of the training split"
        + (f"; then scaled bilinearly to {side} x {side}." if side else ".")
        + " `predict.py` does this; the exact numbers are in `architecture.json`."
    )
