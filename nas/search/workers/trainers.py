"""Who trains for `nas confirm`: processes of this machine, or, for a run on many machines, whoever works for it."""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from nas.errors import UserError
from nas.machine.folders import WorkFolder, write_atomically
from nas.search.search import Search
from nas.search.sharing.address import Address, read_address
from nas.search.sharing.postgres import Database
from nas.search.workers.queue import Queue, finished
from nas.training.several import Failure, OnEpoch, Trainers
from nas.training.training import Training, is_finished, metrics_file, read_metrics


def trainers_of(folder: WorkFolder[Search], workers: int, device: str) -> "Trainers | SharedTrainers":
    """Those of a run, of which so many processes are of this machine. Raises UserError where that leaves nobody."""
    address = read_address(folder)
    if address is not None and address.files is not None:
        return SharedTrainers(address, folder, workers, device)
    if workers == 0:
        raise UserError("workers 0 is for a run with --storage and --files, for which other machines train")
    return Trainers(workers, device)


class SharedTrainers:
    """Hands trainings out to the machines of a run, of which this is one, with so many processes. The same calls as
    `Trainers`. Where a teacher teaches, who lies in a folder of this machine, this machine trains alone."""

    def __init__(self, address: Address, folder: WorkFolder[Search], workers: int, device: str) -> None:
        self._address, self._folder, self._workers, self._device = address, folder, workers, device
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._database = Database(self._address, self._folder, works=False)
        self._stack.callback(self._database.close)
        self._stack.enter_context(self._database.handing_out())
        if self._workers:
            self._stack.callback(self._end, self._worker())
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _worker(self) -> "subprocess.Popen[bytes]":
        options = ["--workers", str(self._workers), "--device", self._device, "--dataset", self._folder.read().dataset]
        with open(self._folder / "workers" / "confirm.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "nas.cli", "worker", str(self._address), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _end(self, worker: "subprocess.Popen[bytes]") -> None:
        worker.terminate()
        worker.wait()

    def train(self, folders: Sequence[WorkFolder[Training]], on_epoch: OnEpoch | None = None) -> dict[Path, Failure]:
        """As `Trainers.train`. Raises LostError where storage or files are out of reach."""
        waiting = {folder.path.name: folder for folder in folders if not is_finished(folder)}
        taught = [folder for folder in waiting.values() if folder.read().teacher is not None]
        failures: dict[Path, Failure] = {}
        if taught:
            with Trainers(max(1, self._workers), self._device) as trainers:
                failures |= trainers.train(taught, on_epoch)
        waiting = {name: folder for name, folder in waiting.items() if folder not in taught}
        queue, shown = Queue(self._database), dict.fromkeys(waiting, "")
        queue.add({name: folder.read() for name, folder in waiting.items()})
        while waiting:
            for name, progress in queue.progress().items():
                if name not in waiting:
                    continue
                if progress.metrics != shown[name]:
                    shown[name] = progress.metrics
                    write_atomically(metrics_file(waiting[name]), progress.metrics + "\n")
                    if on_epoch:
                        on_epoch(waiting[name], read_metrics(waiting[name]))
                if progress.state == "failed":
                    failures[waiting.pop(name).path] = Failure(progress.failure, is_wrong_use=False)
                elif progress.state == "done":
                    assert self._database.store is not None
                    finished(waiting.pop(name), self._database.store, progress)
            time.sleep(self._database.polls if waiting else 0)
        return failures
