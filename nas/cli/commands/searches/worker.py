"""The command `nas worker`."""

import argparse

from nas.cli.console import say, terminal_console
from nas.cli.flags import add_options, read_options
from nas.errors import EXIT_DONE, EXIT_INTERRUPTED
from nas.search.options import WorkerOptions

SUMMARY = "train on this machine for a search that another one leads"
EXAMPLE = "nas worker postgresql://nas@db.example.org/nas --run first --workers 2"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_options(parser, WorkerOptions)


def run(flags: argparse.Namespace) -> int:
    from nas.api import run_worker
    from nas.cli.live import LiveView, PlainView

    asked, console = read_options(WorkerOptions, flags), terminal_console()
    with (LiveView if console.is_terminal else PlainView)(console) as view:
        ending = run_worker(asked, view)
    if ending == "interrupted":
        say(console, "left; others, or this command again, go on from here")
        return EXIT_INTERRUPTED
    say(console, "nothing is left to do")
    return EXIT_DONE
