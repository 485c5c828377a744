"""A search while it runs: a view that redraws itself in a terminal, and one that prints a line a trial.

Both say how much of the work is done, by the epochs that are left, and how long the rest will take.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.live import Live

from nas.cli.console import say
from nas.cli.run_tables import progress_words, summary
from nas.machine.folders import WorkFolder
from nas.results.words import counted, named
from nas.search.records import Record
from nas.search.result.front import best_within, pareto_front
from nas.search.search import Search
from nas.search.workers.progress import Progress
from nas.search.workers.snapshot import Snapshot

QUIET_SECONDS = 30.0
"""Seconds without a finished trial after which the plain view says how far it is."""


def finished_line(record: Record, snapshot: Snapshot, progress: Progress) -> str:
    """One finished trial in one line, for logs."""
    outcome = f"{record.accuracy:.2%}" if record.state != "failed" else f"failed: {record.failure}"
    if record.stopped:
        outcome += f" after {counted(record.stopped, 'epoch')}, stopped: {record.value:.2%} predicted"
    if record.state == "replayed":
        outcome += " (replayed)"
    best = best_within(pareto_front(snapshot.records), record.budget)
    return (
        f"[{', '.join(progress_words(snapshot, progress))}] {record.strategy} #{record.number} of {record.budget:,}: "
        f"{record.parameters:,} parameters, {named(record)}: {outcome}"
        + (f" (best {best.accuracy:.2%})" if best else "")
    )


@dataclass
class PlainView:
    """A view that prints a line for every finished trial. Use as a context manager."""

    console: Console
    _printed: set[tuple[str, int, int, int]] = field(default_factory=set)
    _said_at: float = 0.0
    """When the last line was printed, in seconds of the search."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def begin(self, folder: WorkFolder[Search], search: Search, workers: int) -> None:
        """Says what begins, and where."""
        self._progress = Progress(search, workers)
        data, place = Path(search.dataset).name, folder.path
        say(self.console, f"searching {data} with {counted(workers, 'worker')} in {place} (nas report {place} --watch)")

    def tell(self, line: str) -> None:
        """Prints the line."""
        say(self.console, line)

    def update(self, snapshot: Snapshot) -> None:
        """Prints what has finished since the last update (trials of an earlier process are passed over); where nothing
        has for long, how far it is."""
        self._progress.look(snapshot.records, snapshot.seconds)
        finished = {(r.strategy, r.budget, r.number, r.latest): r for r in snapshot.records if r.is_finished}
        if snapshot.finished_before and not self._printed:
            say(self.console, f"continuing after {snapshot.finished_before} of {snapshot.total} trials")
            self._printed = set(finished)
        lines = [finished_line(finished[key], snapshot, self._progress) for key in finished.keys() - self._printed]
        if not lines and snapshot.seconds - self._said_at >= QUIET_SECONDS:
            lines = [f"[{', '.join(progress_words(snapshot, self._progress))}]"]
        for line in lines:
            say(self.console, line)
            self._said_at = snapshot.seconds
        self._printed |= set(finished)


class LiveView(PlainView):
    """A view that redraws itself in a terminal. Use as a context manager."""

    def __enter__(self) -> Self:
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._live.__exit__(*exception)

    def update(self, snapshot: Snapshot) -> None:
        """Redraws."""
        self._progress.look(snapshot.records, snapshot.seconds)
        self._live.update(summary(snapshot, self._progress), refresh=True)
