"""What a person sees of searches, as text and tables for a terminal. It reads records only."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.cli.console import say
from nas.cli.network_tables import plain_table
from nas.results.confirming.against import Against, against_default
from nas.results.words import about, counted, duration, legend, named, refusal_lines, sparkline, with_spread
from nas.search.judging.audit import audit
from nas.search.records import Record, read_run, run_folders
from nas.search.result.compare import average_random, compare, compare_runs, courses
from nas.search.result.front import best_within, count, pareto_front
from nas.search.result.merit import APART, noise_of
from nas.search.search import BASELINES, run_folder
from nas.search.sharing.mirror import at_hand
from nas.search.workers.progress import Progress
from nas.search.workers.refused import read_refusals
from nas.search.workers.snapshot import Snapshot
from nas.space.caps import CAPS

LEADERS = 3


def summary(snapshot: Snapshot, progress: Progress) -> RenderableType:
    """The whole picture: progress, counts, workers, leaders by budget."""
    running = any(record.state == "running" for record in snapshot.records)
    parts = [_progress(snapshot, progress), *([_workers(snapshot)] if running else []), leaders(snapshot)]
    return Group(*parts, baselines_table(snapshot))


def _progress(snapshot: Snapshot, progress: Progress) -> RenderableType:
    best = max((record.accuracy for record in pareto_front(snapshot.records)), default=None)
    line = Table.grid(padding=(0, 2))
    line.add_row(
        ProgressBar(total=100, completed=_percent(snapshot, progress), width=30),
        *progress_words(snapshot, progress),
        f"best {best:.2%}" if best is not None else "no network yet",
    )
    counts = asdict(count(snapshot.records, snapshot.search)).items()
    return Group(line, Text(" · ".join(f"{name.replace('_', ' ')} {value}" for name, value in counts), style="dim"))


def progress_words(snapshot: Snapshot, progress: Progress) -> tuple[str, ...]:
    """How much of the work is done, of how many networks something is known, and how long it will take yet: the time
    limit if that is sooner. Once no new network is left to try, how many stopped ones will go on."""
    words = [f"{_percent(snapshot, progress)} %", f"{snapshot.told}/{snapshot.total} networks"]
    if snapshot.told == snapshot.total and progress.workload and progress.workload.going_on:
        words.append(f"{counted(progress.workload.going_on, 'stopped training')} to go on")
    left = progress.seconds_left
    if snapshot.time_limit is not None:
        until = max(snapshot.time_limit - snapshot.seconds, 0.0)
        left = until if left is None else min(left, until)
    if left is not None and not snapshot.is_complete:
        words.append(f"{about(left)} left")
    return tuple(words)


def _percent(snapshot: Snapshot, progress: Progress) -> int:
    """The share in whole per cent; 100 is the end and nothing else."""
    return 100 if snapshot.is_complete else min(int(100 * progress.share), 99)


def _workers(snapshot: Snapshot) -> Table:
    rows = [
        (
            str(record.worker),
            f"{record.strategy} #{record.number}",
            record.parameters,
            f"{len(record.accuracies)}/{snapshot.search.epochs}",
            f"{record.accuracy:.2%}" if record.accuracies else "",
            sparkline(record.accuracies),
            named(record),
        )
        for record in snapshot.records
        if record.state == "running"
    ]
    names = ("worker", "trial", "parameters", "epoch", "accuracy", "curve", "network")
    return plain_table(*names, rows=rows, left=("worker", "trial", "curve", "network"), wraps="network")


def leaders(snapshot: Snapshot) -> Table:
    """The best networks of each budget."""
    rows = []
    for budget in snapshot.search.budgets:
        for place, r in enumerate(_leading(snapshot, budget)):
            use = f"{r.parameters / budget:.1%}"
            rows.append((None if place else budget, f"{r.accuracy:.2%}", r.parameters, use, r.macs, named(r)))
    names = ("budget", "accuracy", "parameters", "of budget", "multiply-adds", "network")
    table = plain_table(*names, rows=rows, left=("network",), wraps="network")
    table.caption = _caption(snapshot)
    table.caption_justify = "left"
    return table


def _caption(snapshot: Snapshot) -> str:
    """What the accuracies are of and how far chance may move the best, and how a network is told."""
    words, front = [], pareto_front(snapshot.records)
    if (images := snapshot.search.validation_images) and front:
        best = max(record.accuracy for record in front)
        chance = 100 * APART * math.sqrt(noise_of(best, images))
        words.append(f"accuracy on {images:,} validation images, ± {chance:.1f} points by chance")
    if told := legend(snapshot.records):
        words.append(f"a network is told by {told}")
    return "; ".join(words)


def _leading(snapshot: Snapshot, budget: int) -> list[Record]:
    within = [record for record in pareto_front(snapshot.records) if record.parameters <= budget]
    return within[-LEADERS:][::-1]


def deployed(snapshot: Snapshot) -> RenderableType:
    """What the best networks of each budget take where they are deployed, and of what is capped the share used; nothing
    where no trial has noted it."""
    search, rows = snapshot.search, []
    names = [name for name, cap in CAPS.items() if cap.is_deployed]
    for budget in search.budgets:
        caps = dict(search.budget(budget).caps)
        for place, r in enumerate(_leading(snapshot, budget)):
            if all(name in r.counted for name in names):
                uses = (f" ({r.counted[name] / caps[name]:.0%})" if name in caps else "" for name in names)
                taken = (CAPS[name].brief(r.counted[name]) + use for name, use in zip(names, uses, strict=True))
                rows.append((None if place else budget, f"{r.accuracy:.2%}", r.parameters, *taken))
    columns = ("budget", "accuracy", "parameters", *(CAPS[name].column(search.numbers) for name in names))
    return plain_table(*columns, rows=rows) if rows else Group()


def baselines_table(snapshot: Snapshot) -> RenderableType:
    """The scaled designs beside which a search is judged; nothing where none is trained."""
    rows = [
        (
            record.knobs.get("network"),
            record.budget,
            f"{record.accuracy:.2%}" if record.state != "failed" else f"failed: {record.failure}",
            record.parameters,
        )
        for record in snapshot.records
        if record.strategy == BASELINES and record.is_finished
    ]
    names = ("baseline", "budget", "accuracy", "parameters")
    return plain_table(*names, rows=rows, left=("baseline",)) if rows else Group()


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
        rows = []
        for found in at["strategies"]:
            gain = found["gain_over_average_random"]
            equal = found["at_equal"].values()
            means = [f"{statistics.fmean(values):.2%}" if values and min(values) > 0 else "" for values in equal]
            best = with_spread(found["mean"], found["sd"], unit="%")
            rows.append((found["strategy"], best, "" if gain is None else f"{gain:+.2f}", *means))
        efforts = (f"equal {effort}" for effort in at["strategies"][0]["at_equal"])
        names = ("strategy", "best", "over random", *efforts)
        searches = "one search" if at["searches"] == 1 else f"{at['searches']} searches"
        parts += ["", Text(f"strategies within {at['budget']:,} parameters, {searches} each")]
        parts.append(plain_table(*names, rows=rows, left=("strategy",)))
        limits: dict[str, list[str]] = {}
        for pair in at["pairs"]:
            shown = duration(pair["limit"]) if pair["cost"] == "seconds" else f"{pair['limit']:,.0f} {pair['cost']}"
            limits.setdefault(pair["verdict"], []).append(shown)
        parts += [Text(f"after {' or '.join(shown)}: {verdict}") for verdict, shown in limits.items()]
    return Group(*parts)


def _cell(value: float, ascending: Sequence[float], cells: int) -> int:
    """Which of so many cells a value falls into that spread from the first to the last; the first where these are
    equal, as the logarithms of large numbers may be."""
    spread = ascending[-1] - ascending[0]
    return round((value - ascending[0]) / spread * (cells - 1)) if spread else 0


def front_plot(records: Sequence[Record], width: int = 60, height: int = 10) -> str:
    """The front as text: parameters (log) to the right, accuracy upwards."""
    front = pareto_front(records)
    if len(front) < 2:
        return ""
    xs = [math.log10(record.parameters) for record in front]
    ys = [record.accuracy for record in front]
    grid = [[" "] * width for _ in range(height)]
    for x, y in zip(xs, ys, strict=True):
        grid[height - 1 - _cell(y, ys, height)][_cell(x, xs, width)] = "●"
    labels = [f"{ys[-1]:6.1%} ", *["       "] * (height - 2), f"{ys[0]:6.1%} "]
    lines = [label + "│" + "".join(row).rstrip() for label, row in zip(labels, grid, strict=True)]
    ends = f"{front[0].parameters:,}", f"{front[-1].parameters:,} parameters"
    return "\n".join([*lines, "       └" + "─" * width, f"        {ends[0]}{ends[1]:>{max(0, width - len(ends[0]))}}"])


def run_table(folders: Sequence[tuple[Path, Snapshot]]) -> Table:
    """One row a run."""
    rows = []
    for path, snapshot in folders:
        search = snapshot.search
        best = best_within(pareto_front(snapshot.records), max(search.budgets))
        rows.append(
            (
                path,
                search.data_name,
                search.space_name,
                ", ".join(f"{budget:,}" for budget in search.budgets),
                f"{snapshot.finished}/{snapshot.total}",
                f"{best.accuracy:.2%} with {best.parameters:,}" if best else "",
            )
        )
    names = ("run", "data", "space", "budgets", "trials", "best")
    return plain_table(*names, rows=rows, left=names, wraps="run")


def snapshot(folder: Path) -> Snapshot:
    """A run as it is now. Raises RunError where there is none."""
    search, records = read_run(run_folder(folder))
    return Snapshot(search, records, 0.0, len(records))


def print_run(folder: Path, console: Console) -> None:
    """Prints what a run came to so far."""
    now = snapshot(folder)
    search, records = now.search, now.records
    progress = Progress(search, workers=1)
    progress.look(records, 0.0)
    console.print(summary(now, progress))
    console.print(deployed(now))
    for line in refusal_lines(read_refusals(run_folder(folder))):
        say(console, line)
    if plot := front_plot(records):
        console.print(plot, highlight=False, markup=False)
    console.print(stopping(audit(search, records)))
    console.print(comparison(compare(courses(search, records), average_random(search, records))))
    say(console, f"result: {folder / 'pareto.json'}")


def print_comparison(folders: Sequence[Path], console: Console) -> list[dict[str, Any]]:
    """Prints the comparison over the runs, and what they gained over the default, and returns both, a budget each."""
    read = [(folder, *read_run(run_folder(folder))) for folder in folders]
    compared = compare_runs([(search, records) for _, search, records in read])
    console.print(comparison(compared))
    against = {found.budget: found for found in against_default(read)}
    for found in against.values():
        say(console, f"within {found.budget:,} parameters, {found.words}")
    return [at | {"against_default": _as_json(against.get(at["budget"]))} for at in compared]


def _as_json(found: Against | None) -> dict[str, Any] | None:
    return asdict(found) if found else None


def folders_in(paths: Sequence[str]) -> list[Path]:
    """The run folders named, or inside the folders named."""
    return [folder for path in paths for folder in run_folders(at_hand(path))]
