"""The parent of trainings: gives them to processes, several at a time, and shows how they go. It never trains."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nas.errors import EXIT_WRONG_USE, RunError
from nas.machine.folders import WorkFolder
from nas.machine.pool import Pool, last_line
from nas.machine.process import pick_device
from nas.training.training import Metrics, Training, is_finished, log_file, read_metrics

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Failure:
    """Why a training failed, in one line, and whether it was asked for in a wrong way."""

    reason: str
    is_wrong_use: bool


OnEpoch = Callable[[WorkFolder[Training], Metrics], None]


def train_all(
    folders: Sequence[WorkFolder[Training]], *, workers: int, device: str, on_epoch: OnEpoch | None = None
) -> dict[Path, Failure]:
    """Trains every folder from where it was left, `workers` at a time, and returns why trainings failed, by folder.

    A process takes one folder after another; one that dies fails the training at hand alone, and another takes its
    place. torch's threads (the cores, or $OMP_NUM_THREADS) are shared out among the processes; with one worker, a
    training has them all. If we are interrupted or killed the processes end too, and the same call goes on, with as
    many threads a process as before: sums over other threads would be taken in another order.
    """
    waiting = [folder for folder in folders if not is_finished(folder)]
    threads = max(1, torch.get_num_threads() // max(1, min(workers, len(folders))))
    running: dict[int, WorkFolder[Training]] = {}
    shown: dict[Path, int] = {}
    failures: dict[Path, Failure] = {}

    def command(slot: int) -> Sequence[str]:
        return "nas.training.worker", str(pick_device(device, slot)), str(threads)

    with Pool(command) as pool:
        while waiting or running:
            for slot in range(workers):
                if slot not in running and waiting:
                    folder = running[slot] = waiting.pop(0)
                    pool.give(slot, json.dumps(str(folder.path)), log_file(folder))
            ended = pool.ended(within=POLL_SECONDS)
            for slot, folder in list(running.items()):
                _show(folder, shown, on_epoch)
                if slot in ended:
                    del running[slot]
                    if code := ended[slot]:
                        failures[folder.path] = Failure(_reason(folder, code), code == EXIT_WRONG_USE)
    return failures


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
