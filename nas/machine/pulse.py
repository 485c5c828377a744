"""Where each worker is, on disk before every step: what kills workers again and again can be told and failed."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

DEATHS_AT_ONE_STEP = 3
DEATHS_IN_ONE_EPOCH = 10

KILLS_AT_ONE_STEP = 10
KILLS_IN_ONE_EPOCH = 30
"""The same of workers that were killed by signal 9, and not by the kernel for memory: most likely from outside. Of 340
short trainings that an attack killed 425 times, 4 were hit three times at one step. Killers for memory other than the
kernel's do not tell that it was they, so that a network is failed in the end."""

FAILED_STARTS = 5
KILLED_STARTS = 20
"""Times in a row that a process may end, by itself or killed, with no epoch done between, before that is the end."""

KILLED = "killed"
"""What is noted behind the place of such a death."""

_KERNEL = Path("/proc/vmstat")


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
    """Why a trial with workers dead at these places ("epoch step", and `KILLED` where that was so) is failed; None if
    it may be tried again.

    Three times at one step of training is no accident, nor are ten deaths in one epoch. Workers that are killed from
    outside die at different steps, mostly.
    """
    if not deaths:
        return None
    epoch, step, *how = deaths[-1].split()
    places = [death.split()[:2] for death in deaths]
    at_step, in_epoch = places.count([epoch, step]), sum(place[0] == epoch for place in places)
    most = (KILLS_AT_ONE_STEP, KILLS_IN_ONE_EPOCH) if how else (DEATHS_AT_ONE_STEP, DEATHS_IN_ONE_EPOCH)
    if at_step < most[0] and in_epoch < most[1]:
        return None
    return f"it killed its worker {in_epoch} times, last in epoch {epoch} at step {step}"


class KernelKills:
    """Tells workers that were killed from outside from those that the kernel may have killed for their memory, by the
    number of processes to which it has done so since it began, in any container."""

    def __init__(self) -> None:
        self._before = self._count()

    def is_from_outside(self, code: int) -> bool:
        """Whether a worker that ended with this code just now was killed, and not by the kernel; False where that does
        not tell."""
        before, self._before = self._before, self._count()
        return code == -signal.SIGKILL and before is not None and before == self._before

    def _count(self) -> int | None:
        try:
            words = _KERNEL.read_text().split()
            return int(words[words.index("oom_kill") + 1])
        except (OSError, ValueError):
            return None
