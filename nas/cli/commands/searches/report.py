"""The command `nas report`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.console import say, terminal_console
from nas.cli.flags import add_options, read_options
from nas.errors import EXIT_DONE
from nas.results.options import ReportOptions

if TYPE_CHECKING:
    from rich.console import Console

SUMMARY = "write a finished or running search as one HTML file that opens without a network"
EXAMPLE = "nas report runs/digits-mixed-100000-200x3-seed0"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_options(parser, ReportOptions)
    parser.add_argument("--watch", action="store_true", help="serve it on this machine instead, always up to date")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port of --watch (default: a free one)")


def run(flags: argparse.Namespace) -> int:
    asked, console = read_options(ReportOptions, flags), terminal_console()
    if flags.watch:
        from nas.search.sharing.mirror import at_hand

        return _watch(at_hand(asked.run), flags.port, console)
    from nas.api import run_report

    written = run_report(asked)
    say(console, f"report: {written.file}")
    if asked.png:
        say(console, f"{len(written.pictures)} pictures: {asked.png}")
    return EXIT_DONE


def _watch(run: Path, port: int, console: "Console") -> int:
    """Until it is interrupted."""
    from nas.results.report.watch import server

    with server(run, port) as made:
        say(console, f"watching {run} at http://127.0.0.1:{made.server_port}/ (Ctrl-C ends it)")
        made.serve_forever()
    return EXIT_DONE
