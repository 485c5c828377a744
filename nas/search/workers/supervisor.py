"""The parent of a search: starts the workers, replaces the dead, writes pareto.json, shows, and never trains."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from nas.errors import EXIT_LOST, EXIT_WRONG_USE, LostError, RunError, UserError
from nas.machine.folders import WorkFolder
from nas.machine.pool import Pool, last_line
from nas.machine.pulse import FAILED_STARTS, KILLED, KILLED_STARTS, KernelKills, Pulse
from nas.search.journal import note_death
from nas.search.judging.forecasts import Forecaster
from nas.search.records import Record, RecordReader
from nas.search.result.front import pareto_front, sweep_weights, write_front
from nas.search.search import Search, worker_file
from nas.search.sharing.open import open_shared
from nas.search.studies import open_studies
from nas.search.workers.queue import queue_of
from nas.search.workers.snapshot import Ending, Snapshot, View
from nas.space.space import Space

LONGEST_PAUSE = 15.0
"""Seconds between two tries to reach what is out of reach."""

LASTING = 60.0
"""Seconds for which a worker has to reach the others to have reached them again."""

SILENCE = 600.0
"""Seconds after which a worker that says nothing is taken to hang: a training worker says something every `BEAT`."""

PAUSE = 9.0
"""Times as long as pareto.json took to write it is not written again: of thousands of trials, that takes a while."""


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM is as Ctrl-C meanwhile, where signals reach us at all."""
    on_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if on_main_thread else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


@dataclass
class Supervisor:
    """Runs the workers of one run folder to the end of the search."""

    search: Search
    folder: WorkFolder[Search]
    space: Space
    workers: int
    device: str
    view: View | None = None
    time_limit: float | None = None
    leads: bool = True
    """Whether it is the one process that writes pareto.json and deletes weights; others add workers elsewhere."""
    patience: float = 600.0
    """Seconds for which storage and files may be out of reach."""
    _deaths: dict[int, tuple[int, int]] = field(default_factory=dict)
    """How often the workers of a slot died in a row, while the search had come no further than so many epochs."""
    _losses: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Since when the workers of a slot have been out of reach of the others, and when that was last seen."""
    _kernel: KernelKills = field(default_factory=KernelKills)
    _stopping: Ending | None = None
    _write_again: float = 0.0
    """When pareto.json may be written again."""
    _written: int = 0
    """Trials that were finished when it was written."""
    _end_hung_again: float = 0.0
    _lost_at: float | None = None
    """When storage or files were found out of reach, and were not seen since."""

    def run(self) -> Ending:
        """Returns when every trial is told, at the time limit, or at the next epoch after Ctrl-C.

        Raises RunError if another search holds the folder or workers cannot be kept alive, UserError if a worker
        cannot carry out the search, LostError where storage or files stay out of reach.
        """
        with ExitStack() as joined, ExitStack() as leading:
            self._leading = leading
            self._join()
            joined.callback(lambda: self._shared.close())
            self._lead(RunError(f"another search is running in {self.folder.path}; wait for it or give another --out"))
            before_all = self._look(0, 0)
            if self.leads:
                self._write(before_all.records)
            if self._is_over(before_all):
                self._end(before_all)
                return "complete"
            for slot in range(self.workers):
                Pulse(worker_file(self.folder, slot, "pulse")).clear()
            with _interrupted_by_sigterm(), Pool(self._command) as pool:
                if self.view:
                    self.view.begin(self.folder, self.search, self.workers)
                return self._supervise(pool, before_all.finished)

    def _join(self) -> None:
        """Opens what the workers share."""
        self._shared = open_shared(self.folder, leads=self.leads)
        self._studies = open_studies(self.search, self.folder, None, self._shared.storage)
        self._reader = RecordReader(self.search, self._studies)

    def _lead(self, refusal: RunError) -> None:
        """Raises the refusal where another process leads."""
        if self.leads and not self._leading.enter_context(self._shared.alone()):
            raise refusal

    def _command(self, slot: int) -> Sequence[str]:
        return "nas.search.workers.worker", str(self.folder.path), str(slot), self.device

    def _supervise(self, pool: Pool, finished_before: int) -> Ending:
        started = time.monotonic()
        for slot in range(self.workers):
            pool.start(slot, worker_file(self.folder, slot, "log"))
        self._written = finished_before
        while True:
            try:
                if ending := self._step(pool, started, finished_before):
                    return ending
                time.sleep(self._shared.polls)
            except LostError as error:
                self._keep_time(pool, started)
                self._lose(error, pool)
            except KeyboardInterrupt:
                if self._stopping:
                    pool.kill()
                self._stop(pool, "interrupted")

    def _step(self, pool: Pool, started: float, finished_before: int) -> Ending | None:
        """One look at the workers and at what they told; how it ended, if it has."""
        if self._lost_at is not None:
            time.sleep(min(max(1.0, (time.monotonic() - self._lost_at) / 4), LONGEST_PAUSE))
            self._rejoin()
        snapshot = self._look(time.monotonic() - started, finished_before)
        alive = self._keep_alive(pool, snapshot)
        if not alive:  # what the last worker told since
            snapshot = self._look(snapshot.seconds, finished_before)
        if self.leads and (not alive or (snapshot.finished != self._written and time.monotonic() >= self._write_again)):
            self._write(snapshot.records)
            self._written = snapshot.finished
        if self.view:
            self.view.update(snapshot)
        self._end_hung()
        if self._lost_at is not None:
            self._lost_at = None
            if self.view:
                self.view.tell("the storage is there again")
        if not alive and self._stopping:
            return self._stopping
        if not alive and (self.workers or snapshot.is_over):
            self._end(snapshot)
            return "complete"
        self._keep_time(pool, started)
        return None

    def _keep_time(self, pool: Pool, started: float) -> None:
        if self.time_limit and time.monotonic() - started > self.time_limit:
            self._stop(pool, "time limit")

    def _lose(self, error: LostError, pool: Pool) -> None:
        """Notes that storage or files are out of reach. Raises the error when patience is at its end, or we are to stop
        and no worker is left; workers have kept what they trained by then."""
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            if self.view:
                self.view.tell(f"{error}; trying again for {self.patience:.0f} seconds")
        if self._stopping:
            pool.ended()
        if (self._stopping and not len(pool)) or time.monotonic() - self._lost_at > self.patience:
            raise error

    def _rejoin(self) -> None:
        self._shared.close()
        self._join()
        self._leading.close()
        self._lead(LostError(f"the session in which this machine led {self.folder.path.name} has not ended yet"))

    def _end_hung(self) -> None:
        if time.monotonic() >= self._end_hung_again:
            self._end_hung_again = time.monotonic() + LONGEST_PAUSE
            self._shared.end_hung(SILENCE)

    def _end(self, snapshot: Snapshot) -> None:
        """Leaves the weights of the front alone, in the folder of who leads, wherever they were trained."""
        if self.leads:
            sweep_weights(self._shared.weights, snapshot.records, all_stopped=snapshot.is_complete)
            for record in pareto_front(snapshot.records):
                self._shared.weights.fetch(record.network)

    def _is_over(self, snapshot: Snapshot) -> bool:
        """Whether workers have nothing to do, neither for the search nor beside it."""
        queue = queue_of(self._shared)
        return snapshot.is_complete and (self.leads or queue is None or not queue.is_open())

    def _write(self, records: Sequence[Record]) -> None:
        started = time.monotonic()
        write_front(self.folder, records, self.search, self.space)
        self._shared.show((self.folder / "pareto.json").read_text())
        sweep_weights(self._shared.weights, records)
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
            if code and not self._stopping and not self._is_over(snapshot):
                if code == EXIT_LOST:
                    self._note_loss(slot)
                else:
                    self._note_death(slot, code, snapshot.epochs + snapshot.finished)
                pool.start(slot, worker_file(self.folder, slot, "log"))
        return len(pool) > 0

    def _note_loss(self, slot: int) -> None:
        """Pauses before the worker is started again, whose storage or files were out of reach: longer where that goes
        on, which is where it did not last after the last time. Raises LostError when patience is at its end."""
        now = time.monotonic()
        since, last = self._losses.get(slot, (now, now))
        since = since if now - last < LASTING else now
        self._losses[slot] = since, now
        if now - since > self.patience:
            raise LostError(last_line(worker_file(self.folder, slot, "log"), otherwise="the storage cannot be reached"))
        time.sleep(min((now - since) / 4, LONGEST_PAUSE))

    def _note_death(self, slot: int, code: int, progress: int) -> None:
        """Raises UserError where the worker could not carry out the search, RunError after too many deaths in a row."""
        pulse = Pulse(worker_file(self.folder, slot, "pulse"))
        if place := pulse.read():
            trial, where = place
            note_death(self._studies, trial, f"{where} {KILLED}" if self._kernel.is_from_outside(code) else where)
            if queue := queue_of(self._shared):
                queue.note_death(trial)
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
