"""The parent of trainings: starts a process for each, several at a time, and shows how they go. It never trains."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nas.errors import EXIT_WRONG_USE, RunError
from nas.machine.folders import WorkFolder
from nas.machine.process import ALLOCATOR, pick_device
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

    torch's threads (the cores, or $OMP_NUM_THREADS) are shared out among the processes; with one worker, a training has
    them all. If we are interrupted or killed the processes end too, and the same call goes on, with as many threads a
    process as before: sums over other threads would be taken in another order.
    """
    waiting = [folder for folder in folders if not is_finished(folder)]
    threads = max(1, torch.get_num_threads() // max(1, min(workers, len(folders))))
    running: dict[int, tuple[WorkFolder[Training], subprocess.Popen[bytes]]] = {}
    shown: dict[Path, int] = {}
    failures: dict[Path, Failure] = {}
    try:
        while waiting or running:
            for slot in range(workers):
                if slot not in running and waiting:
                    folder = waiting.pop(0)
                    running[slot] = folder, _start(folder, str(pick_device(device, slot)), threads)
            time.sleep(POLL_SECONDS)
            for slot, (folder, process) in list(running.items()):
                ended = process.poll() is not None
                _show(folder, shown, on_epoch)
                if ended:
                    _end(process)
                    del running[slot]
                    if process.returncode:
                        failures[folder.path] = Failure(
                            _reason(folder, process.returncode), process.returncode == EXIT_WRONG_USE
                        )
    finally:
        for _, process in running.values():
            _end(process)
    return failures


def _start(folder: WorkFolder[Training], device: str, threads: int) -> "subprocess.Popen[bytes]":
    with open(log_file(folder), "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "nas.training.worker", str(folder.path), device, str(threads)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=ALLOCATOR | os.environ,
            start_new_session=True,
        )


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kills it if it still runs, waits for it and closes its pipe."""
    with process:
        process.kill()


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
    if code < 0:
        return f"the process was killed by signal {-code}; see {log_file(folder)}"
    lines = log_file(folder).read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"the process ended with code {code}; see {log_file(folder)}"
