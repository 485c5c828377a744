"""What commands print of runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.cli.console import say
from nas.cli.terminal import comparison, front_plot, stopping, summary
from nas.results.report.folders import run_folders
from nas.search.compare import average_random, compare, compare_runs, courses
from nas.search.judging.audit import audit
from nas.search.records import read_run
from nas.search.search import run_folder
from nas.search.workers.supervisor import Snapshot


def snapshot(folder: Path) -> Snapshot:
    """A run as it is now. Raises RunError where there is none."""
    search, records = read_run(run_folder(folder))
    return Snapshot(search, records, 0, 0.0, len(records))


def print_run(folder: Path, console: Console) -> None:
    """Prints what a run came to so far."""
    now = snapshot(folder)
    search, records = now.search, now.records
    console.print(summary(now))
    if plot := front_plot(records):
        console.print(plot, highlight=False, markup=False)
    console.print(stopping(audit(search, records)))
    console.print(comparison(compare(courses(search, records), average_random(search, records))))
    say(console, f"result: {folder / 'pareto.json'}")


def print_comparison(folders: Sequence[Path], console: Console) -> list[dict[str, Any]]:
    """Prints the comparison over the runs and returns it."""
    compared = compare_runs([(now.search, now.records) for now in map(snapshot, folders)])
    console.print(comparison(compared))
    return compared


def folders_in(paths: Sequence[str]) -> list[Path]:
    """The run folders named, or inside the folders named."""
    return [folder for path in paths for folder in run_folders(Path(path))]
