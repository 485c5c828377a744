"""Real searches on tiny data in real processes, for the tests."""

import contextlib
import importlib
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from nas.api import search
from nas.cli.main import main

SPACE = """
from dataclasses import dataclass
from nas import Architecture, Layer, Sequence, Shape, knob, width_knob
from nas.network.blocks import stage
from nas.network.heads import classifier

@dataclass(frozen=True)
class Tiny(Architecture):
    kind: str = knob("conv", "basic", "inverted", "depthwise")
    blocks: int = knob(1, 2)
    width: int = width_knob(*range(2, 40))
    kernel: int = knob(3, 5)

    def network(self, shape: Shape, classes: int) -> Layer:
        body = stage(self.kind, self.blocks, shape[0], self.width, kernel=self.kernel, stride=2, expansion=2)
        return Sequence((body, classifier(self.width, classes)))
"""


def write_space(folder: Path, code: str = SPACE) -> Path:
    """The space as a file."""
    path = folder / "tiny.py"
    path.write_text(code)
    return path


def write_data(folder: Path, images: int = 240) -> Path:
    """Four classes told apart by the position of a bright square in noise: uint8 [N, 8, 8]."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, count in (("train", images), ("test", 40)):
        labels = np.arange(count) % 4
        x = rng.integers(0, 120, (count, 8, 8), dtype=np.uint8)
        for image, label in zip(x, labels, strict=True):
            image[4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 60
        arrays |= {f"x_{split}": x, f"y_{split}": labels}
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def command(folder: Path, out: Path, *flags: str, trials: int = 6, epochs: int = 2) -> list[str]:
    """A search of the tiny space on the tiny data."""
    data, space = folder / "data.npz", folder / "tiny.py"
    if not data.exists():
        write_data(folder)
    if not space.exists():
        write_space(folder)
    settings = ["--dataset", str(data), "--space", str(space), "--out", str(out), "--device", "cpu"]
    counts = ["--trials", str(trials), "--epochs", str(epochs)]
    budget = [] if "--budget" in flags else ["--budget", "2000"]
    strategies = [] if "--strategies" in flags else ["--strategies", "tpe"]
    return [sys.executable, "-m", "nas.cli", "search", *settings, *counts, *budget, *strategies, *flags]


def digits_searched(out: Path, *budgets: int) -> Path:
    """A finished search on the digits: two trainings of one epoch for each budget."""
    search(
        dataset="digits",
        budget=budgets,
        trials=2,
        epochs=1,
        strategies=("random",),
        stop="none",
        workers=1,
        device="cpu",
        out=out,
    )
    return out


def run(arguments: list[str], timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """The command to its end."""
    return subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


def run_cli(arguments: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """A `command` of nas to its end in this process, which has imported already what another would import for seconds.
    Its workers are processes all the same."""
    words = list(map(str, arguments))
    assert words[:3] == [sys.executable, "-m", "nas.cli"]
    return _here(lambda: main(words[3:]), words)


def run_here(script: Path, arguments: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """A script to its end in this process, likewise; for one that forks none."""
    words = [str(script), *map(str, arguments)]
    with patch.object(sys, "argv", words), patch.object(sys, "path", [str(script.parent), *sys.path]):
        return _here(lambda: importlib.import_module(script.stem).main(), words)


def _here(program: Callable[[], Any], words: list[str]) -> subprocess.CompletedProcess[str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = program()
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def listen_to_interrupts() -> None:
    """For a process to be interrupted: tests run in the background of a shell inherit that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def result(out: Path) -> dict[str, Any]:
    """pareto.json of a run."""
    content: dict[str, Any] = json.loads((out / "pareto.json").read_text())
    return content


def wait_for_trials(out: Path, count: int, timeout: float = 120) -> None:
    """Until that many trials of the run are trained."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if (out / "pareto.json").exists() and result(out)["counts"]["trained"] >= count:
            return
        time.sleep(0.1)
    raise TimeoutError(f"{out} has not trained {count} networks in {timeout} s")
