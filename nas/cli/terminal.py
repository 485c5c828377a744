"""What a person sees: the live view of a search, its summary, tables. It reads records only, and writes to stderr."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.machine.folders import WorkFolder
from nas.results.words import describe, duration
from nas.search.front import best_within, count, pareto_front
from nas.search.records import Record
from nas.search.search import BASELINES, Search
from nas.search.workers.supervisor import Snapshot

if TYPE_CHECKING:
    pass

BARS = "▁▂▃▄▅▆▇█"
LEADERS = 3


def sparkline(values: Sequence[float]) -> str:
    """The values as a row of bars between the smallest and the largest.

    >>> sparkline([0.1, 0.2, 0.4])
    '▁▃█'
    """
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0
    return "".join(BARS[int((value - low) * scale)] for value in values)


def summary(snapshot: Snapshot) -> RenderableType:
    """The whole picture: progress, counts, workers, leaders by budget."""
    running = any(record.state == "running" for record in snapshot.records)
    parts = [_progress(snapshot), *([_workers(snapshot)] if running else []), leaders(snapshot)]
    return Group(*parts, baselines_table(snapshot))


def _progress(snapshot: Snapshot) -> RenderableType:
    best = max((record.accuracy for record in pareto_front(snapshot.records)), default=None)
    left = snapshot.seconds_left
    line = Table.grid(padding=(0, 2))
    line.add_row(
        ProgressBar(total=snapshot.total, completed=snapshot.finished, width=30),
        f"{snapshot.finished}/{snapshot.total} trials" + (" with baselines" if snapshot.search.baselines else ""),
        f"{duration(left)} left" if left else "",
        f"best {best:.2%}" if best is not None else "no network yet",
    )
    return Group(line, Text(counts_line(snapshot), style="dim"))


def counts_line(snapshot: Snapshot) -> str:
    """The counts in words."""
    counts = asdict(count(snapshot.records, snapshot.search))
    return " · ".join(f"{name.replace('_', ' ')} {value}" for name, value in counts.items())


def _workers(snapshot: Snapshot) -> Table:
    table = _table(("worker", 6), ("trial", 8), ("parameters", -10), ("epoch", -5), ("accuracy", -8), ("curve", 8))
    for record in snapshot.records:
        if record.state == "running":
            table.add_row(
                str(record.worker),
                f"{record.strategy} #{record.number}",
                f"{record.parameters:,}",
                f"{len(record.accuracies)}/{snapshot.search.epochs}",
                f"{record.accuracy:.2%}" if record.accuracies else "",
                sparkline(record.accuracies),
                describe(record),
            )
    return table


def _table(*columns: tuple[str, int]) -> Table:
    """Columns of a least width (negative: flush right) and, last, the network, which gives way in a narrow terminal."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, width in columns:
        table.add_column(name, justify="right" if width < 0 else "left", no_wrap=True, min_width=abs(width))
    table.add_column("network", no_wrap=True)
    return table


def leaders(snapshot: Snapshot) -> Table:
    """The best networks of each budget."""
    table = _table(("budget", -9), ("accuracy", -8), ("parameters", -10), ("of budget", -9), ("multiply-adds", -13))
    for budget in snapshot.search.budgets:
        within = [record for record in pareto_front(snapshot.records) if record.parameters <= budget]
        for place, record in enumerate(reversed(within[-LEADERS:])):
            table.add_row(
                f"{budget:,}" if place == 0 else "",
                f"{record.accuracy:.2%}",
                f"{record.parameters:,}",
                f"{record.parameters / budget:.1%}",
                f"{record.macs:,}",
                describe(record),
            )
    table.caption = "a network is told by the kind, width × blocks of its stages"
    table.caption_justify = "left"
    return table


def baselines_table(snapshot: Snapshot) -> RenderableType:
    """The scaled designs beside which a search is judged; nothing where none is trained."""
    rows = [r for r in snapshot.records if r.strategy == BASELINES and r.is_finished]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("baseline", "budget", "accuracy", "parameters"):
        table.add_column(name, justify="left" if name == "baseline" else "right", no_wrap=True)
    for record in rows:
        accuracy = f"{record.accuracy:.2%}" if record.state != "failed" else f"failed: {record.failure}"
        table.add_row(
            str(record.knobs.get("network", "")), f"{record.budget:,}", Text(accuracy), f"{record.parameters:,}"
        )
    return table if rows else Group()


def stopping(audited: Mapping[str, Any]) -> RenderableType:
    """What stopping trainings saved and whether its predictions held; nothing where none may be stopped."""
    if audited["rule"] == "none" or not audited["epochs_in_full"]:
        return Group()
    spent, full = audited["epochs_spent"], audited["epochs_in_full"]
    lines = [
        f"stopped early ({audited['rule']}): {audited['stopped']} trainings; {spent:,} of {full:,} epochs spent "
        f"({spent / full:.0%}); {audited['resumed']} went on later",
        f"audit: {audited['audited']} given up went on all the same, {audited['false_stops']} joined the front",
    ]
    if audited["predictions"]:
        shares = ", ".join(f"{share:.0%} in the {level} % interval" for level, share in audited["coverage"].items())
        lines.append(f"{audited['predictions']} predictions checked: {shares}")
    ranks = [
        f"epoch {at['epoch']} {at['prediction']:.2f} ({at['last_value']:.2f})"
        for at in audited["rank_correlation"]
        if at["prediction"] is not None and at["last_value"] is not None
    ]
    if ranks:
        lines.append(
            f"rank correlation with the last epoch, of the prediction (of the value so far): {', '.join(ranks)}"
        )
    return Text("\n".join(lines), style="dim")


def comparison(compared: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Strategies at equal trials, epochs and seconds, and the verdicts in words; nothing of a single strategy."""
    parts: list[RenderableType] = []
    for at in compared:
        if len(at["strategies"]) < 2:
            continue
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in (
            "strategy",
            "best",
            "over random",
            *(f"equal {cost}" for cost in at["strategies"][0]["at_equal"]),
        ):
            table.add_column(name, justify="left" if name == "strategy" else "right", no_wrap=True)
        for found in at["strategies"]:
            gain = found["gain_over_average_random"]
            equal = [f"{statistics.fmean(values):.2%}" if values else "" for values in found["at_equal"].values()]
            best = _mean_and_deviation(found["best_accuracies"])
            table.add_row(found["strategy"], best, "" if gain is None else f"{gain:+.2f}", *equal)
        parts += ["", Text(f"strategies within {at['budget']:,} parameters, {_searches(at['searches'])}"), table]
        limits: dict[str, list[str]] = {}
        for pair in at["pairs"]:
            shown = duration(pair["limit"]) if pair["cost"] == "seconds" else f"{pair['limit']:,.0f} {pair['cost']}"
            limits.setdefault(pair["verdict"], []).append(shown)
        parts += [Text(f"after {' or '.join(shown)}: {verdict}") for verdict, shown in limits.items()]
    return Group(*parts)


def _searches(count: int) -> str:
    return "one search each" if count == 1 else f"{count} searches each"


def _mean_and_deviation(accuracies: Sequence[float]) -> str:
    if not accuracies:
        return ""
    mean = f"{statistics.fmean(accuracies):.2%}"
    return mean if len(accuracies) == 1 else f"{mean} ± {100 * statistics.stdev(accuracies):.2f}"


def finished_line(record: Record, snapshot: Snapshot) -> str:
    """One finished trial in one line, for logs."""
    outcome = f"{record.accuracy:.2%}" if record.state != "failed" else f"failed: {record.failure}"
    if record.stopped:
        outcome += (
            f" after {record.stopped} epoch{'s' if record.stopped > 1 else ''}, stopped: {record.value:.2%} predicted"
        )
    if record.state == "replayed":
        outcome += " (replayed)"
    best = best_within(pareto_front(snapshot.records), record.budget)
    return (
        f"[{snapshot.finished}/{snapshot.total}] {record.strategy} #{record.number} of {record.budget:,}: "
        f"{record.parameters:,} parameters, {describe(record)}: {outcome}"
        + (f" (best {best.accuracy:.2%})" if best else "")
    )


def _say_beginning(console: Console, folder: WorkFolder[Search], search: Search, workers: int) -> None:
    processes = f"{workers} worker{'s' if workers > 1 else ''}"
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


def front_plot(records: Sequence[Record], width: int = 60, height: int = 10) -> str:
    """The front as text: parameters (log) to the right, accuracy upwards."""
    front = pareto_front(records)
    if len(front) < 2:
        return ""
    xs = [math.log10(record.parameters) for record in front]
    ys = [record.accuracy for record in front]
    grid = [[" "] * width for _ in range(height)]
    for x, y in zip(xs, ys, strict=True):
        column = round((x - xs[0]) / (xs[-1] - xs[0]) * (width - 1))
        grid[height - 1 - round((y - ys[0]) / (ys[-1] - ys[0]) * (height - 1))][column] = "●"
    labels = [f"{ys[-1]:6.1%} ", *["       "] * (height - 2), f"{ys[0]:6.1%} "]
    lines = [label + "│" + "".join(row).rstrip() for label, row in zip(labels, grid, strict=True)]
    ends = f"{front[0].parameters:,}", f"{front[-1].parameters:,} parameters"
    return "\n".join([*lines, "       └" + "─" * width, f"        {ends[0]}{ends[1]:>{width - len(ends[0])}}"])


def run_table(folders: Sequence[tuple[Path, Snapshot]]) -> Table:
    """One row a run."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "data", "space", "budgets", "trials", "best"):
        table.add_column(name, overflow="fold", no_wrap=name != "run")
    for path, snapshot in folders:
        search = snapshot.search
        best = best_within(pareto_front(snapshot.records), max(search.budgets))
        table.add_row(
            str(path),
            Path(search.dataset).name,
            Path(search.space).stem,
            ", ".join(f"{budget:,}" for budget in search.budgets),
            f"{snapshot.finished}/{snapshot.total}",
            f"{best.accuracy:.2%} with {best.parameters:,}" if best else "",
        )
    return table
