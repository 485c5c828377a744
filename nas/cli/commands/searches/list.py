"""The command `nas list`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nas.cli.console import say, terminal_console
from nas.errors import EXIT_DONE, UserError

SUMMARY = "list the searches in a folder"
EXAMPLE = "nas list runs"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        nargs="?",
        default="runs",
        metavar="DIR|URL",
        help="folder of run folders, or a database (default: runs)",
    )


def run(flags: argparse.Namespace) -> int:
    from nas.cli.run_tables import run_table, snapshot
    from nas.search.sharing.address import hidden
    from nas.search.sharing.mirror import at_hand

    runs = _runs(flags.folder)
    if not runs:
        raise UserError(f"{hidden(flags.folder)} holds no runs")
    console, readable = terminal_console(), []
    for run in runs:
        try:
            folder = at_hand(run)
            readable.append((folder, snapshot(folder)))
        except UserError as error:
            say(console, f"passed over: {error}")
    console.print(run_table(readable))
    return EXIT_DONE


def _runs(place: str) -> Sequence[str | Path]:
    from nas.search.sharing.address import is_storage
    from nas.search.sharing.mirror import addresses

    if is_storage(place):
        return addresses(place)
    if not Path(place).is_dir():
        raise UserError(f"there is no folder {place!r}; run a search first or name another folder")
    return sorted(path.parent for path in Path(place).glob("*/settings.json"))
