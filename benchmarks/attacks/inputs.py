"""Inputs that nobody meant: files and flags made from good ones by mutation, given to the command that reads them.

Every input must end with exit code 0, or with 1 or 2 and a line of nas's own; in time; with nothing executed that a
result file says, and nothing written outside of the folder that was asked for.
"""

import contextlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import Figures, say
from PIL import Image

from attacks import mutations
from nas import api
from nas.cli.main import build_parser, main

LONGEST = 60
SEARCHED = "run"
TRAINED = "trained"

SPACE = """
from dataclasses import dataclass
from nas import Architecture, Layer, Sequence, Shape, knob, width_knob
from nas.network.blocks import stage
from nas.network.heads import classifier

@dataclass(frozen=True)
class Tiny(Architecture):
    kind: str = knob("conv", "basic", "inverted")
    blocks: int = knob(1, 2)
    width: int = width_knob(4, 6, 8, 12)
    kernel: int = knob(3, 5)

    def network(self, shape: Shape, classes: int) -> Layer:
        body = stage(self.kind, self.blocks, shape[0], self.width, kernel=self.kernel, stride=2, expansion=2)
        return Sequence((body, classifier(self.width, classes)))
"""
RECIPE = """extends = "search"
epochs = 1
batch_size = 64
optimiser = "nesterov"
learning_rate = 0.1
augmentation = ["crop", "flip"]
mixup = 0.1
"""

Change = Callable[[random.Random, Path], list[str]]
"""Spoils something in the folder and returns the arguments of the command that reads it."""


class _Payload:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def _space_file(rng: random.Random, at: Path) -> list[str]:
    source = mutations.text(rng, SPACE)
    (at / "tiny.py").write_bytes(source.encode("utf-8", "surrogatepass"))
    return ["space", "tiny.py", "--dataset", "data.npz", "--budget", rng.choice(["500", "2K", "1M"])]


def _recipe_file(rng: random.Random, at: Path) -> list[str]:
    (at / "mine.toml").write_bytes(mutations.text(rng, RECIPE).encode("utf-8", "surrogatepass"))
    return ["train", "plain", "--dataset", "data.npz", "--recipe", "mine.toml", "--epochs", "1", "--out", "new"]


def _json_file(name: str, folder: str, *readers: list[str]) -> Change:
    def change(rng: random.Random, at: Path) -> list[str]:
        file = at / folder / name
        if rng.random() < 0.7:
            spoiled = json.loads(file.read_text())
            for _ in range(rng.randint(1, 3)):
                spoiled = mutations.value(rng, spoiled)
            file.write_text(json.dumps(spoiled))
        else:
            file.write_bytes(mutations.text(rng, file.read_text()).encode("utf-8", "surrogatepass"))
        return rng.choice(readers)

    return change


def _journal(rng: random.Random, at: Path) -> list[str]:
    file = at / SEARCHED / "journal.log"
    file.write_bytes(mutations.lines(rng, file.read_bytes()))
    return rng.choice([["show", SEARCHED], ["report", SEARCHED], ["compare", SEARCHED], ["scaling", SEARCHED]])


def _weights(rng: random.Random, at: Path) -> list[str]:
    folder = at / rng.choice([SEARCHED, TRAINED])
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".pt", ".safetensors", ".ckpt"))
    for file in files:
        if rng.random() < 0.3:
            torch.save({"model": _Payload()}, file)
        else:
            file.write_bytes(mutations.content(rng, file.read_bytes()))
    return ["export", folder.name, "--to", "models"]


def _arrays(rng: random.Random, at: Path) -> list[str]:
    kind = rng.randrange(3)
    if kind == 0:
        (at / "data.npz").write_bytes(mutations.content(rng, (at / "data.npz").read_bytes()))
        return ["data", "--dataset", "data.npz"]
    with np.load(at / "data.npz") as file:
        arrays = dict(file)
    for _ in range(rng.randint(1, 2)):
        name = rng.choice(sorted(arrays))
        arrays[name] = _other_array(rng, arrays[name])
    if kind == 2:
        arrays.pop(rng.choice(sorted(arrays)))
        arrays[rng.choice([*mutations.WORDS[2:5], "x_val", "classes"])] = np.arange(3)
    with contextlib.suppress(ValueError, UnicodeEncodeError):
        np.savez(at / "data.npz", allow_pickle=True, **arrays)
    return ["data", "--dataset", "data.npz"]


def _other_array(rng: random.Random, array: np.ndarray) -> np.ndarray:
    changes: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda a: a[:0],
        lambda a: a[: rng.randint(1, 5)],
        lambda a: a.astype(
            rng.choice(["float64", "float16", "int8", "complex64", "bool", "U4", "object", "datetime64[s]"])
        ),
        lambda a: a[..., None],
        lambda a: a.reshape(-1),
        lambda a: a.T,
        lambda a: a.astype("float64") * rng.choice([np.nan, np.inf, -1.0, 1e30, 1 / 255]),
        lambda a: np.array([_Payload()], dtype=object),
        lambda a: np.array(rng.choice([0, "x", None])),
        lambda a: np.repeat(a, 3, axis=0),
        lambda a: np.zeros_like(a),
        lambda a: a.astype("int64") + rng.choice([-1, 1, 10**6]),
    ]
    with np.errstate(all="ignore"), contextlib.suppress(ValueError, TypeError, IndexError):
        return rng.choice(changes)(array)
    return np.atleast_1d(array)[:1]


def _pictures(rng: random.Random, at: Path) -> list[str]:
    """A folder of pictures of all modes and formats, with names of all kinds and, in half of them, some that nobody can
    read, of other sizes, or in classes that have none."""
    odd = rng.random() < 0.5
    parts = rng.sample(["train", "Test", "valid", "Training", "x"], k=rng.choice([1, 2, 2, 2, 3]))
    names = rng.sample(["a", "b", "ü", "c'\"<b>", ".hidden", "-x", "..."], k=rng.randint(1, 3))
    for part in parts if odd else rng.choice([["train", "Test"], ["Training", "valid", "test"]]):
        for name in names if odd else ("c'\"<b>", "-x", "ü"):
            folder = at / "pictures" / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(rng.choice([0, 1, 4, 12]) if odd else 4):
                suffix = rng.choice([".png", ".PNG", ".jpg", ".tif", *([".gif", ".txt", ""] if odd else [])])
                _picture(rng, folder / f"{index}{suffix}", odd)
    sizes = ["8", "0", "x", "1"] if odd else ["8", "4", "9"]
    return ["data", "--dataset", "pictures", *rng.choice([[], ["--image-size", rng.choice(sizes)]])]


def _picture(rng: random.Random, file: Path, odd: bool) -> None:
    common, rare = ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LA"], ["LAB", "HSV", "I", "F", "I;16"]
    mode = rng.choice([*common, *(rare if odd else [])])
    size = rng.choice([(8, 8), (8, 8), (8, 8), (1, 1), (3, 9), (200, 1)]) if odd else (8, 8)
    noise = rng.randbytes(len(Image.new(mode, size).tobytes()))
    stream = io.BytesIO()
    for kind in (rng.choice(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]), "PNG", "TIFF"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            Image.frombytes(mode, size, noise).save(stream, kind)
            break
    content = stream.getvalue()
    file.write_bytes(mutations.content(rng, content) if odd and rng.random() < 0.3 and content else content)


def _flags(rng: random.Random, at: Path) -> list[str]:
    """A command with some of its flags and values of the wrong kind. Nothing that would train for long."""
    commands: dict[str, Any] = build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr,assignment]
    name = rng.choice(sorted(set(commands) - {"table", "confirm"}))
    arguments = [name]
    for action in rng.sample(commands[name]._actions, k=min(len(commands[name]._actions), rng.randint(1, 4))):
        if action.option_strings:
            arguments.append(action.option_strings[-1])
        if action.nargs != 0:
            arguments.append(rng.choice([*mutations.EXTREMES, *mutations.WORDS, "digits", "10K", SEARCHED, "data.npz"]))
    if "--watch" in arguments:
        arguments.remove("--watch")
    small = {"search": ["--trials", "1", "--epochs", "1", "--time-limit", "5s"], "train": ["--epochs", "1"]}
    return [word.replace("\x00", "0").replace("\ud800", "d") for word in [*arguments, *small.get(name, [])]]


KINDS: dict[str, Change] = {
    "space file": _space_file,
    "recipe": _recipe_file,
    "pareto.json": _json_file(
        "pareto.json",
        SEARCHED,
        ["show", SEARCHED],
        ["report", SEARCHED],
        ["export", SEARCHED, "--to", "models"],
        ["compare", SEARCHED],
        ["count", f"{SEARCHED}/pareto.json"],
        ["list", "."],
    ),
    "settings.json": _json_file("settings.json", SEARCHED, ["show", SEARCHED], ["report", SEARCHED], ["list", "."]),
    "settings.json of a training": _json_file(
        "settings.json", TRAINED, ["export", TRAINED, "--to", "models"], ["count", TRAINED]
    ),
    "metrics.json": _json_file("metrics.json", TRAINED, ["export", TRAINED, "--to", "models"]),
    "confirmed.json": _json_file(
        "confirmed.json", SEARCHED, ["report", SEARCHED], ["show", SEARCHED], ["export", SEARCHED, "--to", "models"]
    ),
    "journal": _journal,
    "weights": _weights,
    "arrays": _arrays,
    "pictures": _pictures,
    "flags": _flags,
}
"""What is spoiled, and what then reads it."""


def prepare(at: Path) -> None:
    """Good files of every kind: data, a search that was confirmed, a training."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 4
    images = rng.integers(0, 256, (120, 8, 8), dtype=np.uint8)
    np.savez(at / "data.npz", x_train=images[:80], y_train=labels[:80], x_test=images[80:], y_test=labels[80:])
    (at / "tiny.py").write_text(SPACE)
    data = str(at / "data.npz")
    api.search(
        dataset=data, space=str(at / "tiny.py"), budget=(500, 2000), trials=2, epochs=1, workers=1, out=at / SEARCHED
    )
    _done("confirm", str(at / SEARCHED), "--epochs", "1", "--seeds", "1", "--top", "1", "--workers", "1")
    _done("train", "plain", "--dataset", data, "--epochs", "1", "--out", str(at / TRAINED))


def load_modules(good: Path, place: Path) -> None:
    """What commands import late is loaded here, once for all of them."""
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (place / "pictures" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), number).save(place / "pictures" / name / f"{number}.png")
    _done("data", "--dataset", str(place / "pictures"))
    _done("export", str(good / TRAINED), "--to", str(place / "models"))
    _done("report", str(good / SEARCHED), "--out", str(place / "report.html"))


def _done(*arguments: str) -> None:
    """The command, which must do well."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = main([*arguments])
    if code:
        raise RuntimeError(f"{' '.join(arguments)} ended with {code}: {said.getvalue()[-500:]}")


@dataclass(frozen=True)
class Ending:
    """How the command ended: its exit code (None: it hung), what it said, what else it did."""

    code: int | None
    said: str
    elsewhere: list[str]

    @property
    def fault(self) -> str | None:
        """What is wrong with it."""
        last = self.said.strip().splitlines()[-1:] or [""]
        if self.code is None:
            return f"hung for {LONGEST} s"
        if "Traceback" in self.said or self.code not in (0, 1, 2):
            return f"exit {self.code}: {last[0][:300]}"
        if self.code and not last[0].strip():
            return f"exit {self.code} without a word"
        return f"wrote {self.elsewhere}" if self.elsewhere else None


def run(arguments: list[str], at: Path, *, is_code: bool = False) -> Ending:
    """The command in a process of its own that has all modules loaded, working in the folder. What the input executes
    is no harm where it is code."""
    outside = _beside(at)
    said = at.parent / "said"
    child = os.fork()
    if child == 0:
        _become(arguments, at, said)
    deadline = time.monotonic() + LONGEST
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.005)
    code = None
    if ended[0] == 0:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    else:
        code = os.waitstatus_to_exitcode(ended[1])
    has_executed = (at / "executed").exists() and not is_code
    elsewhere = sorted(_beside(at) - outside) + (["executed"] if has_executed else [])
    return Ending(code, said.read_text(errors="replace"), elsewhere)


def _beside(at: Path) -> set[str]:
    around = [path for folder in (at.parent, at.parent.parent) for path in folder.iterdir()]
    return {str(path) for path in around if path.name not in ("at", "said")}


def _become(arguments: list[str], at: Path, said: Path) -> None:
    """Never returns."""
    code = 99
    try:
        os.setsid()
        os.chdir(at)
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = (
            os.fdopen(1, "w", closefd=False),
            os.fdopen(2, "w", errors="backslashreplace", closefd=False),
        )
        code = main(arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 99
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def attack(count: int | None, seed: int) -> Figures:
    """So many inputs, of each kind in turn, and those that did harm."""
    count, codes, faults, slowest = count or 10_000, Counter[str](), [], 0.0
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        good, at = Path(place) / "good", Path(place) / "b" / "c" / "at"
        good.mkdir()
        prepare(good)
        load_modules(good, Path(place) / "loaded")
        for index, (kind, change) in zip(range(count), itertools.cycle(KINDS.items()), strict=False):
            rng = random.Random(f"{seed} {index}")
            shutil.rmtree(at.parent, ignore_errors=True)
            shutil.copytree(good, at, symlinks=True)
            arguments = change(rng, at)
            started = time.monotonic()
            ending = run(arguments, at, is_code=kind == "space file")
            slowest = max(slowest, time.monotonic() - started)
            codes[f"{kind}: exit {ending.code}"] += 1
            if ending.fault:
                faults.append({"index": index, "kind": kind, "arguments": arguments, "fault": ending.fault})
                say(f"{index}: {kind}: {arguments} {ending.fault}")
            if index % 200 == 199:
                say(f"{index + 1} of {count} inputs; {len(faults)} faults")
    return {"inputs": count, "endings": dict(sorted(codes.items())), "slowest": round(slowest, 1), "faults": faults}
