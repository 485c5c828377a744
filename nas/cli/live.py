"""A search while it runs: a view that redraws itself in a terminal, and one that prints a line a trial."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from nas.cli.run_tables import summary
from nas.machine.folders import WorkFolder
from nas.results.words import counted, describe
from nas.search.front import best_within, pareto_front
from nas.search.records import Record
from nas.search.search import Search
from nas.search.workers.supervisor import Snapshot


def finished_line(record: Record, snapshot: Snapshot) -> str:
    """One finished trial in one line, for logs."""
    outcome = f"{record.accuracy:.2%}" if record.state != "failed" else f"failed: {record.failure}"
    if record.stopped:
        outcome += f" after {counted(record.stopped, 'epoch')}, stopped: {record.value:.2%} predicted"
    if record.state == "replayed":
        outcome += " (replayed)"
    best = best_within(pareto_front(snapshot.records), record.budget)
    return (
        f"[{snapshot.finished}/{snapshot.total}] {record.strategy} #{record.number} of {record.budget:,}: "
        f"{record.parameters:,} parameters, {describe(record)}: {outcome}"
        + (f" (best {best.accuracy:.2%})" if best else "")
    )


def _say_beginning(console: Console, folder: WorkFolder[Search], search: Search, workers: int) -> None:
    processes = counted(workers, "worker")
    line = f"searching {Path(search.dataset).name} with {processes} in {folder.path} (nas report {folder.path} --watch)"
    console.print(line, highlight=False, markup=False, soft_wrap=True)


@dataclass
class LiveView:
    """A view that redraws itself in a terminal. Use as a context manager."""

    console: Console

    def __enter__(self) -> "LiveView":
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._live.__exit__(*exception)

    def begin(self, folder: WorkFolder[Search], search: Search, workers: int) -> None:
        """Says what begins, and where."""
        _say_beginning(self.console, folder, search, workers)

    def update(self, snapshot: Snapshot) -> None:
        """Redraws."""
        self._live.update(summary(snapshot), refresh=True)


@dataclass
class PlainView:
    """A view that prints a line for every finished trial."""

    console: Console
    _printed: set[tuple[str, int, int, int]] | None = field(default=None)

    def __enter__(self) -> "PlainView":
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def begin(self, folder: WorkFolder[Search], search: Search, workers: int) -> None:
        """Says what begins, and where."""
        _say_beginning(self.console, folder, search, workers)

    def update(self, snapshot: Snapshot) -> None:
        """Prints what has finished since the last update; trials of an earlier process are passed over."""
        finished = {
            (record.strategy, record.budget, record.number, record.latest): record
            for record in snapshot.records
            if record.is_finished
        }
        first = self._printed is None
        printed = self._printed or set()
        if first and snapshot.finished_before:
            self.console.print(
                f"continuing after {snapshot.finished_before} of {snapshot.total} trials", highlight=False
            )
            printed = set(finished)
        for key in finished.keys() - printed if not first or not snapshot.finished_before else ():
            self.console.print(finished_line(finished[key], snapshot), highlight=False, markup=False, soft_wrap=True)
        self._printed = printed | set(finished)
