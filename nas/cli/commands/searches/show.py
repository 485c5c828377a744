"""The command `nas show`."""

import argparse

from nas.cli.console import say, terminal_console
from nas.errors import EXIT_DONE

SUMMARY = "show a finished or running search"
EXAMPLE = "nas show runs/digits-mixed-100000-200x3-seed0"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder, or its address")
    parser.add_argument("--strategy", metavar="NAME", help="tell what this strategy did, step by step (greedy)")


def run(flags: argparse.Namespace) -> int:
    from nas.search.sharing.mirror import at_hand

    console = terminal_console()
    if flags.strategy is None:
        from nas.cli.run_tables import print_run
        from nas.results.confirming.content import read_confirmed
        from nas.results.words import verdict_lines

        folder = at_hand(flags.run)
        print_run(folder, console)
        for line in verdict_lines(read_confirmed(folder) or {}):
            say(console, f"confirmed {line}")
        return EXIT_DONE
    from nas.api import explain

    for line in explain(at_hand(flags.run), flags.strategy):
        say(console, line)
    return EXIT_DONE
