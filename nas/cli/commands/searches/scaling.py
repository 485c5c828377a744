"""The command `nas scaling`."""

import argparse

from nas.cli.console import print_json, terminal_console
from nas.cli.flags import add_json
from nas.errors import EXIT_DONE, UserError

SUMMARY = "fit how the shape of the best networks moves with the budget"
EXAMPLE = "nas scaling runs/digits-mixed-1000-10000-100000-20x3-seed0"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder of a search with several budgets")
    parser.add_argument(
        "--top", type=int, default=3, metavar="N", help="best networks of each budget that are fitted (default: 3)"
    )
    add_json(parser)


def run(flags: argparse.Namespace) -> int:
    from nas.cli.network_tables import scaling_table
    from nas.results.scaling import scaling_laws
    from nas.search.sharing.mirror import at_hand

    if flags.top < 1:
        raise UserError(f"--top must be at least 1 but got {flags.top}")
    found = scaling_laws(at_hand(flags.run), flags.top)
    if flags.json:
        print_json(found)
    else:
        terminal_console().print(scaling_table(found))
    return EXIT_DONE
