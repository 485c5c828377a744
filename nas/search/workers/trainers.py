"""Who trains for `nas confirm` and `nas table`: processes of this machine, or, for a run on many machines, whoever
works for it.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from nas.errors import EXIT_DONE, EXIT_LOST, EXIT_WRONG_USE, LostError, RunError, UserError
from nas.machine.folders import WorkFolder, write_atomically
from nas.machine.pool import last_line
from nas.machine.pulse import FAILED_STARTS
from nas.search.search import Search
from nas.search.sharing.address import Address, read_address
from nas.search.sharing.postgres import Database
from nas.search.workers.queue import Queue, finished, lend, name_of
from nas.training.several import Failure, OnEpoch, Trainers
from nas.training.training import Training, is_finished, metrics_file, read_metrics


def trainers_of(folder: WorkFolder[Search], workers: int, device: str, patience: float) -> "Trainers | SharedTrainers":
    """Those of a run, of which so many processes are of this machine; storage and files may be out of reach for so many
    seconds. Raises UserError where that leaves nobody."""
    address = read_address(folder)
    if address is not None and address.files is not None:
        return SharedTrainers(address, folder, workers, device, patience)
    if workers == 0:
        raise UserError("workers 0 is for a run with --storage and --files, for which other machines train")
    return Trainers(workers, device)


class SharedTrainers:
    """Hands trainings out to the machines of a run, of which this is one, with so many processes. The same calls as
    `Trainers`."""

    def __init__(
        self, address: Address, folder: WorkFolder[Search], workers: int, device: str, patience: float
    ) -> None:
        self._address, self._folder, self._workers, self._device = address, folder, workers, device
        self._patience = patience
        self._connected = ExitStack()
        self._own: subprocess.Popen[bytes] | None = None
        self._ends = 0

    def __enter__(self) -> Self:
        self._connect()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._own is not None:
            self._own.terminate()
            self._own.wait()
        self._connected.close()

    def _connect(self) -> None:
        self._connected.close()
        self._database = Database(self._address, self._folder, works=False)
        self._connected.callback(self._database.close)
        self._connected.enter_context(self._database.handing_out())

    def train(self, folders: Sequence[WorkFolder[Training]], on_epoch: OnEpoch | None = None) -> dict[Path, Failure]:
        """As `Trainers.train`. Raises LostError where storage or files stay out of reach, UserError where the processes
        of this machine cannot do it, RunError where they end again and again or a teacher is no longer what it was."""
        waiting = {name_of(folder): folder for folder in folders if not is_finished(folder)}
        failures: dict[Path, Failure] = {}
        shown, lost_at, is_handed_out = dict.fromkeys(waiting, ""), 0.0, False
        while waiting:
            try:
                if lost_at:
                    self._connect()
                if not is_handed_out:
                    self._hand_out({name: folder.read() for name, folder in waiting.items()})
                    is_handed_out = True
                self._keep_own_alive()
                failures |= self._look(waiting, shown, on_epoch)
                lost_at = 0.0
            except LostError:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > self._patience:
                    raise
            time.sleep(self._database.polls if waiting else 0)
        return failures

    def _hand_out(self, trainings: dict[str, Training]) -> None:
        assert self._database.store is not None
        for teacher in {training.teacher for training in trainings.values() if training.teacher}:
            lend(teacher, self._database.store)
        Queue(self._database).add(trainings)

    def _look(
        self, waiting: dict[str, WorkFolder[Training]], shown: dict[str, str], on_epoch: OnEpoch | None
    ) -> dict[Path, Failure]:
        """Shows what has come to those that wait, of whom the finished are taken, and returns why others failed."""
        failures: dict[Path, Failure] = {}
        for name, standing in Queue(self._database).standings().items():
            if name not in waiting:
                continue
            folder = waiting[name]
            if standing.metrics != shown[name]:
                shown[name] = standing.metrics
                self._ends = 0
                write_atomically(metrics_file(folder), standing.metrics + "\n")
                if on_epoch:
                    on_epoch(folder, read_metrics(folder))
            if standing.state == "failed":
                failures[folder.path] = Failure(standing.failure, is_wrong_use=False)
            elif standing.state == "done":
                assert self._database.store is not None
                finished(folder, self._database.store, standing)
            if standing.state in ("failed", "done"):
                del waiting[name]
        return failures

    def _keep_own_alive(self) -> None:
        """Starts the processes of this machine, again where they had nothing to do for a moment."""
        code = None if self._own is None else self._own.poll()
        log = self._folder / "workers" / "confirm.log"
        if code == EXIT_WRONG_USE:
            raise UserError(last_line(log, otherwise=f"the processes of this machine ended with {code}; see {log}"))
        if code not in (None, EXIT_DONE, EXIT_LOST):
            self._ends += 1
            if self._ends == FAILED_STARTS:
                said = last_line(log, otherwise="they said nothing")
                times = f"{FAILED_STARTS} times without an epoch done (exit {code})"
                raise RunError(f"the processes of this machine ended {times}: {said}; see {log}")
        if self._workers and (self._own is None or code is not None):
            options = ["--workers", str(self._workers), "--device", self._device]
            options += ["--dataset", self._folder.read().dataset, "--patience", f"{self._patience}s"]
            with open(log, "ab") as file:
                self._own = subprocess.Popen(
                    [sys.executable, "-m", "nas.cli", "worker", str(self._address), *options],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                )
