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

    runs = _runs(flags.folder)
    if not runs:
        raise UserError(f"{flags.folder} holds no runs")
    console, readable = terminal_console(), []
    for run in runs:
        try:
            readable.append((run, snapshot(run)))
        except UserError as error:
            say(console, f"passed over: {error}")
    console.print(run_table(readable))
    return EXIT_DONE


def _runs(place: str) -> Sequence[Path]:
    from nas.search.sharing.address import is_storage
    from nas.search.sharing.mirror import all_at_hand

    if is_storage(place):
        return all_at_hand(place)
    if not Path(place).is_dir():
        raise UserError(f"there is no folder {place!r}; run a search first or name another folder")
    return sorted(path.parent for path in Path(place).glob("*/settings.json"))
