"""The parent of a search: starts the workers, replaces the dead, writes pareto.json, shows, and never trains."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from optuna.study import Study

from nas.errors import EXIT_WRONG_USE, RunError, UserError
from nas.machine.folders import WorkFolder
from nas.machine.process import ALLOCATOR
from nas.machine.pulse import Pulse
from nas.search.front import sweep_weights, write_front
from nas.search.journal import note_death
from nas.search.judging.judge import Judge
from nas.search.records import Record, read_records
from nas.search.search import Search, worker_file
from nas.space.space import Space

POLL_SECONDS = 0.2
FAILED_STARTS = 5
KILLED_STARTS = 20

Ending = Literal["complete", "interrupted", "time limit"]


@dataclass(frozen=True)
class Snapshot:
    """What there is to show of a run at one moment."""

    search: Search
    records: list[Record]
    workers: int
    seconds: float
    finished_before: int

    @property
    def total(self) -> int:
        """Trials of the whole search."""
        return self.search.all_trials

    @property
    def finished(self) -> int:
        """Trials trained, stopped, replayed or failed."""
        return sum(record.is_finished for record in self.records)

    @property
    def is_complete(self) -> bool:
        """Whether every trial is told and no stopped training should go on."""
        if self.finished < self.total or len(self.records) > self.finished:
            return False
        judge = Judge(self.search, self.records)
        return judge.to_resume(self.records, nothing_new=True)[0] is None and judge.to_audit(self.records) is None

    @property
    def epochs(self) -> int:
        """Epochs trained so far, replays aside."""
        return sum(len(record.accuracies) for record in self.records if record.state != "replayed")

    @property
    def seconds_left(self) -> float | None:
        """At the rate since this process began; None before its first trial."""
        done_here = self.finished - self.finished_before
        return self.seconds / done_here * (self.total - self.finished) if done_here else None


class View(Protocol):
    """Shows the search while it runs."""

    def begin(self, folder: WorkFolder[Search], search: Search, workers: int) -> None:
        """Says what begins, and where."""

    def update(self, snapshot: Snapshot) -> None:
        """Shows this moment."""


@dataclass
class _Slot:
    """One worker process after another."""

    number: int
    process: subprocess.Popen[bytes]
    deaths_in_a_row: int = 0
    progress_at_death: int = -1


@dataclass
class Supervisor:
    """Runs the workers of one run folder to the end of the plan."""

    search: Search
    folder: WorkFolder[Search]
    space: Space
    studies: Mapping[tuple[str, int], Study]
    workers: int
    device: str
    view: View
    time_limit: float | None = None
    _slots: list[_Slot] = field(default_factory=list)
    _stopping: Ending | None = None

    def run(self) -> Ending:
        """Returns when every trial is told, at the time limit, or at the next epoch after Ctrl-C.

        Raises RunError if another search holds the folder or workers cannot be kept alive, UserError if a worker
        cannot carry out the plan.
        """
        with self.folder.lock("run", wait=False) as held:
            if not held:
                raise RunError(f"another search is running in {self.folder.path}; wait for it or give another --out")
            records = read_records(self.search, self.studies)
            before_all = Snapshot(self.search, records, self.workers, 0, 0)
            write_front(self.folder, records, self.search, self.space)
            if before_all.is_complete:
                return "complete"
            self.view.begin(self.folder, self.search, self.workers)
            for number in range(self.workers):
                Pulse(worker_file(self.folder, number, "pulse")).clear()
            on_main_thread = threading.current_thread() is threading.main_thread()
            before = signal.signal(signal.SIGTERM, signal.default_int_handler) if on_main_thread else None
            try:
                return self._supervise(before_all.finished)
            finally:
                self._kill()
                if before is not None:
                    signal.signal(signal.SIGTERM, before)

    def _supervise(self, finished_before: int) -> Ending:
        started = time.monotonic()
        self._slots = [_Slot(number, self._start(number)) for number in range(self.workers)]
        written = finished_before
        while True:
            try:
                snapshot = self._look(time.monotonic() - started, finished_before)
                alive = self._keep_alive(snapshot)
                if not alive:  # what the last worker told since
                    snapshot = self._look(snapshot.seconds, finished_before)
                if snapshot.finished != written or not alive:
                    write_front(self.folder, snapshot.records, self.search, self.space)
                    sweep_weights(self.folder, snapshot.records)
                    written = snapshot.finished
                self.view.update(snapshot)
                if not alive:
                    return self._ended(snapshot)
                if self.time_limit and time.monotonic() - started > self.time_limit:
                    self._stop("time limit")
                time.sleep(POLL_SECONDS)
            except KeyboardInterrupt:
                if self._stopping:
                    self._kill()
                self._stop("interrupted")

    def _ended(self, snapshot: Snapshot) -> Ending:
        """How the search ended. Of a complete one no training can go on: stopped ones' weights are not needed."""
        if self._stopping:
            return self._stopping
        sweep_weights(self.folder, snapshot.records, all_stopped=snapshot.is_complete)
        return "complete"

    def _look(self, seconds: float, finished_before: int) -> Snapshot:
        return Snapshot(
            self.search, read_records(self.search, self.studies), len(self._slots), seconds, finished_before
        )

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        """A worker in a session of its own, so that Ctrl-C reaches it only through us; it ends if our pipe closes."""
        with open(worker_file(self.folder, number, "log"), "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "nas.search.workers.worker", str(self.folder.path), str(number), self.device],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | ALLOCATOR,
                start_new_session=True,
            )

    def _keep_alive(self, snapshot: Snapshot) -> bool:
        """Replaces dead workers unless nothing is left to do or we are stopping; whether any is alive."""
        for slot in list(self._slots):
            code = slot.process.poll()
            if code is None:
                continue
            assert slot.process.stdin is not None
            slot.process.stdin.close()
            if code == 0 or snapshot.is_complete or self._stopping:
                self._slots.remove(slot)
            else:
                self._replace(slot, code, snapshot.epochs + snapshot.finished)
        return bool(self._slots)

    def _replace(self, slot: _Slot, code: int, progress: int) -> None:
        pulse = Pulse(worker_file(self.folder, slot.number, "pulse"))
        if place := pulse.read():
            note_death(self.studies, *place)
        pulse.clear()
        last_line = self._last_line(slot.number)
        if code == EXIT_WRONG_USE:
            raise UserError(last_line)
        slot.deaths_in_a_row = slot.deaths_in_a_row + 1 if progress == slot.progress_at_death else 1
        slot.progress_at_death = progress
        if slot.deaths_in_a_row >= (FAILED_STARTS if code > 0 else KILLED_STARTS):
            raise RunError(
                f"worker {slot.number} died {slot.deaths_in_a_row} times without an epoch done (exit {code}): "
                f"{last_line}; see {worker_file(self.folder, slot.number, 'log')}"
            )
        slot.process = self._start(slot.number)

    def _last_line(self, number: int) -> str:
        lines = worker_file(self.folder, number, "log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _stop(self, why: Ending) -> None:
        self._stopping = self._stopping or why
        for slot in self._slots:
            slot.process.terminate()

    def _kill(self) -> None:
        for slot in self._slots:
            with slot.process:  # waits for it and closes its pipe
                slot.process.kill()
