"""Where each worker is, on disk before every step: what kills workers again and again can be told and failed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

DEATHS_AT_ONE_STEP = 3
DEATHS_WHILE_DRAWN = 3  # before the first step the place says little: whoever kills workers from outside hits it too
DEATHS_IN_ONE_EPOCH = 10


@dataclass
class Pulse:
    """The position of the worker in one slot. Written by the worker, read and cleared by whoever sees it die."""

    path: Path

    @cached_property
    def _file(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT)

    def write(self, trial: str, epoch: int, step: int) -> None:
        """Overwrites the position. Epoch 0 is the drawing of the network."""
        os.pwrite(self._file, f"{trial} {epoch} {step}".ljust(64).encode(), 0)

    def clear(self) -> None:
        """No trial is in the works."""
        os.pwrite(self._file, b" " * 64, 0)

    def read(self) -> tuple[str, str] | None:
        """(trial, "epoch step"), None if no trial is in the works."""
        words = self.path.read_text().split() if self.path.exists() else []
        return (words[0], " ".join(words[1:])) if len(words) == 3 else None


def fatal(deaths: Sequence[str]) -> str | None:
    """Why a trial with workers dead at these places ("epoch step") is failed; None if it may be tried again.

    Three times at one step of training is no accident, nor are ten deaths in one epoch. Workers that are killed from
    outside die at different steps.
    """
    if not deaths:
        return None
    epoch, step = deaths[-1].split()
    in_epoch = sum(death.split()[0] == epoch for death in deaths)
    most = DEATHS_WHILE_DRAWN if epoch == "0" else DEATHS_AT_ONE_STEP
    if deaths.count(deaths[-1]) < most and in_epoch < DEATHS_IN_ONE_EPOCH:
        return None
    return f"it killed its worker {in_epoch} times, last in epoch {epoch} at step {step}"
