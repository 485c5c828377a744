"""The C program compiled here: how large it is, how fast, and whether it computes what onnxruntime does."""

import resource
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.errors import RunError
from nas.results.export.difference import MismatchError
from nas.results.export.measuring import RUNS, SECONDS, Floats

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror")
"""What every C99 compiler should have nothing to say to."""

SOURCES = ("model.c", "main.c")


@dataclass(frozen=True)
class Compiled:
    """Bytes of `code` and of `constants` of model.c at -Os, and milliseconds an image of the program at -O2."""

    code: int
    constants: int
    milliseconds: float


def compiler() -> str | None:
    """gcc, where it is."""
    return shutil.which("gcc") if shutil.which("size") else None


def compiled(folder: Path, images: npt.NDArray[np.uint8], scores: Floats) -> Compiled:
    """The sources of the folder, run on images uint8 [N, height, width, channels], whose scores are compared with those
    of onnxruntime. Raises MismatchError for others, RunError where gcc fails."""
    gcc = compiler()
    assert gcc
    with tempfile.TemporaryDirectory() as place:
        small, program = Path(place) / "model.o", Path(place) / "model"
        _call(gcc, *STRICT, "-Os", "-fno-pie", "-c", str(folder / "model.c"), "-o", str(small))
        _call(gcc, *STRICT, "-O2", *(str(folder / name) for name in SOURCES), "-o", str(program))
        check_scores(run(program, images), scores)
        return Compiled(*_sizes(small), _milliseconds(program, images[:1]))


def _call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = " ".join(done.stderr.split())
        raise RunError(f"{command[0]} cannot compile the C program: {told:.300}; mend that, or leave out --c")
    return done.stdout


def run(program: Path, images: npt.NDArray[np.uint8]) -> Floats:
    """The scores [N, classes] that a compiled program prints for images. Raises MismatchError where it fails."""
    done = subprocess.run([program], input=images.tobytes(), capture_output=True, check=False)
    if done.returncode:
        raise MismatchError(f"the C program ends with {done.returncode}: {done.stderr.decode():.300}")
    return np.array([line.split() for line in done.stdout.decode().splitlines()[1::2]], np.float32)


def check_scores(found: Floats, expected: Floats) -> None:
    """Raises MismatchError where more than one likeliest class in a hundred differs."""
    differ = len(expected)
    if found.shape == expected.shape:
        differ = int((found.argmax(1) != expected.argmax(1)).sum())
    if differ > max(1, len(expected) // 100):
        raise MismatchError(
            f"the C program gives {differ} of {len(expected)} images other classes than onnxruntime does; nothing was "
            "written"
        )


def _sizes(compiled_file: Path) -> tuple[int, int]:
    """Bytes of .text and of .rodata in an object file."""
    found = {"text": 0, "rodata": 0}
    for line in _call("size", "-A", str(compiled_file)).splitlines():
        kind, *rest = line.split()[:2] or [""]
        name = kind.split(".")[1] if kind.startswith(".") else ""
        if name in found:
            found[name] += int(rest[0])
    return found["text"], found["rodata"]


def _milliseconds(program: Path, image: npt.NDArray[np.uint8]) -> float:
    """Processor time of one image among many, what the start of the program takes aside."""

    def seconds(count: int) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([program], input=image.tobytes() * count, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    alone = min(seconds(1) for _ in range(3))
    count = max(2, min(RUNS, int(SECONDS / max(alone, 0.001))))
    return max(0.0, 1000 * (seconds(count) - alone) / (count - 1))
