"""The command `nas search`."""

import argparse
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.console import default_dataset, say, terminal_console
from nas.cli.flags import add_options, read_options
from nas.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NO_ANSWER, UserError
from nas.machine.folders import check_no_work
from nas.search.options import SearchOptions

if TYPE_CHECKING:
    from rich.console import Console

SUMMARY = "search for the most accurate networks within a budget"
EXAMPLE = "nas search --dataset digits --budget 10K,100K --trials 20 --epochs 4"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_options(parser, SearchOptions)
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="independent searches, of this seed and those that follow, each a run of its own in --out (default: 1)",
    )


def run(flags: argparse.Namespace) -> int:
    if flags.seeds < 1:
        raise UserError(f"--seeds must be at least 1 but got {flags.seeds}")
    asked, console = read_options(SearchOptions, flags), terminal_console()
    if asked.out and flags.seeds > 1:
        check_no_work(Path(asked.out), "--out")
    asked = replace(asked, dataset=default_dataset(asked.dataset, console))
    folders = []
    for seed in range(asked.seed, asked.seed + flags.seeds):
        out = Path(asked.out) / f"seed{seed}" if asked.out and flags.seeds > 1 else asked.out
        run = asked.run
        if asked.storage and flags.seeds > 1 and (name := asked.run or (asked.out and Path(asked.out).name)):
            run = f"{name}-seed{seed}"
        code, folder = _search(replace(asked, seed=seed, out=out, run=run), console)
        if code != EXIT_DONE:
            return code
        folders.append(folder)
    if len(folders) > 1:
        from nas.cli.run_tables import print_comparison

        print_comparison(folders, console)
        if asked.out:
            _write_report(Path(asked.out), console)
    return EXIT_DONE


def _search(asked: SearchOptions, console: "Console") -> tuple[int, Path]:
    """Exit code and run folder of one search."""
    from nas.api import run_search
    from nas.cli.live import LiveView, PlainView
    from nas.cli.run_tables import print_run

    with (LiveView if console.is_terminal else PlainView)(console) as view:
        result = run_search(asked, view)
    print_run(result.folder, console)
    if result.ending != "interrupted":
        _write_report(result.folder, console)
    if result.failure:
        console.print(f"[bold red]every trial failed:[/] {result.failure}", highlight=False)
        return EXIT_NO_ANSWER, result.folder
    if result.ending == "interrupted":
        say(console, "interrupted; the same command goes on from here")
        return EXIT_INTERRUPTED, result.folder
    if result.ending == "time limit":
        say(console, "time limit reached; the same command goes on from here")
    if result.front.networks:
        _say_what_comes_next(result.folder, console)
    return EXIT_DONE if result.front.networks else EXIT_NO_ANSWER, result.folder


def _write_report(folder: Path, console: "Console") -> None:
    """Writes report.html; that it cannot be written is no failure of the search."""
    from nas.results.report.whole import write_report

    try:
        said = f"report: {write_report(folder)}"
    except UserError as error:
        said = f"report not written: {error}"
    except Exception as error:  # whatever a card stumbles over: the search is done, and `nas report` shows where
        said = f"report not written: {type(error).__name__}: {' '.join(str(error).split())}; nas report shows where"
    say(console, said)


def _say_what_comes_next(folder: Path, console: "Console") -> None:
    run = shlex.quote(str(folder))
    for command, what in (
        (f"nas confirm {run}", "trains the winners in full and tests them once"),
        (f"nas report {run}", "writes the report anew, with what was confirmed"),
        (f"nas export {run} --to DIR", "writes the best network to use it elsewhere"),
    ):
        say(console, f"next: {command}  # {what}")
