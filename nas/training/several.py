"""The parent of trainings: gives them to processes, several at a time, and shows how they go. It never trains."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from nas.errors import EXIT_MACHINE, EXIT_WRONG_USE, RunError
from nas.machine.folders import WorkFolder
from nas.machine.pool import Pool, last_line
from nas.machine.process import pick_device
from nas.training.training import Metrics, Training, is_finished, log_file, read_metrics

POLL_SECONDS = 0.2

DEATHS = 3
"""Processes that a training may have killed before it has failed: one that is killed from outside is no fault of it."""


@dataclass(frozen=True)
class Failure:
    """Why a training failed, in one line, and whether it was asked for in a wrong way."""

    reason: str
    is_wrong_use: bool


OnEpoch = Callable[[WorkFolder[Training], Metrics], None]


class Trainers:
    """Processes that train, kept from one list of folders to the next until the `with` block is left.

    `workers` train at a time, each on a device of its own where there are several. torch's threads (the cores, or
    $OMP_NUM_THREADS) are shared out among them; with one worker, a training has them all.
    """

    def __init__(self, workers: int, device: str) -> None:
        self._workers = max(1, workers)
        threads = max(1, torch.get_num_threads() // self._workers)
        self._pool = Pool(lambda slot: ("nas.training.worker", str(pick_device(device, slot)), str(threads)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.kill()

    def train(self, folders: Sequence[WorkFolder[Training]], on_epoch: OnEpoch | None = None) -> dict[Path, Failure]:
        """Trains every folder from where it was left and returns why trainings failed, by folder. A process takes one
        folder after another; where one is killed another goes on, and the training has failed when it has killed
        `DEATHS` of them. Raises RunError where the machine gave out: no training is to blame for that."""
        waiting = [folder for folder in folders if not is_finished(folder)]
        running: dict[int, WorkFolder[Training]] = {}
        shown: dict[Path, int] = {}
        failures: dict[Path, Failure] = {}
        deaths = Counter[Path]()
        while waiting or running:
            for slot in range(self._workers):
                if slot not in running and waiting:
                    folder = running[slot] = waiting.pop(0)
                    self._pool.give(slot, json.dumps(str(folder.path)), log_file(folder))
            ended = self._pool.ended(within=POLL_SECONDS)
            for slot, folder in list(running.items()):
                _show(folder, shown, on_epoch)
                if slot in ended:
                    del running[slot]
                    code = ended[slot]
                    if code == EXIT_MACHINE:
                        raise RunError(_reason(folder, code))
                    deaths[folder.path] += code < 0
                    if code < 0 and deaths[folder.path] < DEATHS:
                        waiting.insert(0, folder)
                    elif code:
                        failures[folder.path] = Failure(_reason(folder, code), code == EXIT_WRONG_USE)
        return failures


def train_all(
    folders: Sequence[WorkFolder[Training]], *, workers: int, device: str, on_epoch: OnEpoch | None = None
) -> dict[Path, Failure]:
    """Trains every folder, `workers` at a time (see `Trainers`), and returns why trainings failed, by folder.

    If we are interrupted or killed the processes end too, and the same call goes on, with as many threads a process as
    before: sums over other threads would be taken in another order.
    """
    with Trainers(min(workers, len(folders)), device) as trainers:
        return trainers.train(folders, on_epoch)


def _show(folder: WorkFolder[Training], shown: dict[Path, int], on_epoch: OnEpoch | None) -> None:
    """Tells of an epoch that has come since the last look."""
    if on_epoch is None:
        return
    try:
        metrics = read_metrics(folder)
    except RunError:  # no epoch yet
        return
    if len(metrics.epochs) > shown.get(folder.path, 0):
        shown[folder.path] = len(metrics.epochs)
        on_epoch(folder, metrics)


def _reason(folder: WorkFolder[Training], code: int) -> str:
    log = log_file(folder)
    if code < 0:
        return f"the process was killed by signal {-code}; see {log}"
    return last_line(log, otherwise=f"the process ended with code {code}; see {log}")
