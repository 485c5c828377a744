"""The parent of a search: starts the workers, replaces the dead, writes pareto.json, shows, and never trains."""

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

from optuna.study import Study

from nas.errors import EXIT_WRONG_USE, RunError, UserError
from nas.machine.folders import WorkFolder
from nas.machine.pool import Pool, last_line
from nas.machine.pulse import Pulse
from nas.search.journal import note_death
from nas.search.judging.forecasts import Forecast, Forecaster, no_forecast
from nas.search.judging.judge import Judge
from nas.search.records import Record, RecordReader
from nas.search.result.front import sweep_weights, write_front
from nas.search.search import Search, worker_file
from nas.space.space import Space

POLL_SECONDS = 0.2

PAUSE = 9.0
"""Times as long as pareto.json took to write it is not written again: of thousands of trials, that takes a while."""

FAILED_STARTS = 5
KILLED_STARTS = 20

Ending = Literal["complete", "interrupted", "time limit"]


@dataclass(frozen=True)
class Snapshot:
    """What there is to show of a run at one moment."""

    search: Search
    records: list[Record]
    seconds: float
    finished_before: int
    time_limit: float | None = None
    """Seconds after which it is to stop."""
    forecast: Callable[[Sequence[Record]], Forecast] = lambda _: no_forecast
    """What the workers' judges hear of the networks, by the records."""

    @property
    def total(self) -> int:
        """Trials of the whole search."""
        return self.search.all_trials

    @property
    def finished(self) -> int:
        """Trials trained, stopped, replayed or failed."""
        return sum(record.is_finished for record in self.records)

    @property
    def told(self) -> int:
        """Networks of which something was told, those included whose stopped training has gone on since."""
        return sum(record.is_finished or record.resumed > 0 for record in self.records)

    @cached_property
    def is_complete(self) -> bool:
        """Whether every trial is told and no stopped training should go on."""
        if self.finished < self.total or len(self.records) > self.finished:
            return False
        judge = Judge(self.search, self.records, self.forecast(self.records))
        return judge.to_resume(self.records, nothing_new=True)[0] is None and judge.to_audit(self.records) is None

    @property
    def epochs(self) -> int:
        """Epochs trained so far, replays aside."""
        return sum(len(record.accuracies) for record in self.records if record.state != "replayed")


class View(Protocol):
    """Shows the search while it runs."""

    def begin(self, folder: WorkFolder[Search], search: Search, workers: int) -> None:
        """Says what begins, and where."""

    def update(self, snapshot: Snapshot) -> None:
        """Shows this moment."""

    def tell(self, line: str) -> None:
        """Says something beside that."""


@dataclass
class Supervisor:
    """Runs the workers of one run folder to the end of the search."""

    search: Search
    folder: WorkFolder[Search]
    space: Space
    studies: Mapping[tuple[str, int], Study]
    workers: int
    device: str
    view: View | None = None
    time_limit: float | None = None
    _deaths: dict[int, tuple[int, int]] = field(default_factory=dict)
    """How often the workers of a slot died in a row, while the search had come no further than so many epochs."""
    _stopping: Ending | None = None
    _write_again: float = 0.0
    """When pareto.json may be written again."""

    def __post_init__(self) -> None:
        self._reader = RecordReader(self.search, self.studies)

    def run(self) -> Ending:
        """Returns when every trial is told, at the time limit, or at the next epoch after Ctrl-C.

        Raises RunError if another search holds the folder or workers cannot be kept alive, UserError if a worker
        cannot carry out the search.
        """
        with self.folder.lock("run", wait=False) as held:
            if not held:
                raise RunError(f"another search is running in {self.folder.path}; wait for it or give another --out")
            before_all = self._look(0, 0)
            write_front(self.folder, before_all.records, self.search, self.space)
            if before_all.is_complete:
                return "complete"
            if self.view:
                self.view.begin(self.folder, self.search, self.workers)
            for slot in range(self.workers):
                Pulse(worker_file(self.folder, slot, "pulse")).clear()
            on_main_thread = threading.current_thread() is threading.main_thread()
            before = signal.signal(signal.SIGTERM, signal.default_int_handler) if on_main_thread else None
            try:
                with Pool(self._command) as pool:
                    return self._supervise(pool, before_all.finished)
            finally:
                if before is not None:
                    signal.signal(signal.SIGTERM, before)

    def _command(self, slot: int) -> Sequence[str]:
        return "nas.search.workers.worker", str(self.folder.path), str(slot), self.device

    def _supervise(self, pool: Pool, finished_before: int) -> Ending:
        started = time.monotonic()
        for slot in range(self.workers):
            pool.start(slot, worker_file(self.folder, slot, "log"))
        written = finished_before
        while True:
            try:
                snapshot = self._look(time.monotonic() - started, finished_before)
                alive = self._keep_alive(pool, snapshot)
                if not alive:  # what the last worker told since
                    snapshot = self._look(snapshot.seconds, finished_before)
                if not alive or (snapshot.finished != written and time.monotonic() >= self._write_again):
                    self._write(snapshot.records)
                    written = snapshot.finished
                if self.view:
                    self.view.update(snapshot)
                if not alive and self._stopping:
                    return self._stopping
                if not alive:
                    sweep_weights(self.folder, snapshot.records, all_stopped=snapshot.is_complete)
                    return "complete"
                if self.time_limit and time.monotonic() - started > self.time_limit:
                    self._stop(pool, "time limit")
                time.sleep(POLL_SECONDS)
            except KeyboardInterrupt:
                if self._stopping:
                    pool.kill()
                self._stop(pool, "interrupted")

    def _write(self, records: list[Record]) -> None:
        started = time.monotonic()
        write_front(self.folder, records, self.search, self.space)
        sweep_weights(self.folder, records)
        self._write_again = time.monotonic() + PAUSE * (time.monotonic() - started)

    def _look(self, seconds: float, finished_before: int) -> Snapshot:
        records = self._reader.read()
        return Snapshot(self.search, records, seconds, finished_before, self.time_limit, self._forecaster.forecast)

    @cached_property
    def _forecaster(self) -> Forecaster:
        return Forecaster(self.space)

    def _keep_alive(self, pool: Pool, snapshot: Snapshot) -> bool:
        """Replaces dead workers unless nothing is left to do or we are stopping; whether any is alive."""
        for slot, code in pool.ended().items():
            if code and not snapshot.is_complete and not self._stopping:
                self._note_death(slot, code, snapshot.epochs + snapshot.finished)
                pool.start(slot, worker_file(self.folder, slot, "log"))
        return len(pool) > 0

    def _note_death(self, slot: int, code: int, progress: int) -> None:
        """Raises UserError where the worker could not carry out the search, RunError after too many deaths in a row."""
        pulse = Pulse(worker_file(self.folder, slot, "pulse"))
        if place := pulse.read():
            note_death(self.studies, *place)
        pulse.clear()
        log = worker_file(self.folder, slot, "log")
        said = last_line(log, otherwise="it said nothing")
        if code == EXIT_WRONG_USE:
            raise UserError(said)
        before, progress_then = self._deaths.get(slot, (0, -1))
        in_a_row = before + 1 if progress == progress_then else 1
        self._deaths[slot] = in_a_row, progress
        if in_a_row >= (FAILED_STARTS if code > 0 else KILLED_STARTS):
            raise RunError(
                f"worker {slot} died {in_a_row} times without an epoch done (exit {code}): {said}; see {log}"
            )

    def _stop(self, pool: Pool, why: Ending) -> None:
        self._stopping = self._stopping or why
        pool.ask_to_stop()
