"""The command `nas list`."""

import argparse
from pathlib import Path

from nas.cli.console import say, terminal_console
from nas.errors import EXIT_DONE, UserError

SUMMARY = "list the searches in a folder"
EXAMPLE = "nas list runs"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", default="runs", metavar="DIR", help="folder of run folders (default: runs)"
    )


def run(flags: argparse.Namespace) -> int:
    from nas.cli.run_tables import run_table, snapshot

    folder = Path(flags.folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {flags.folder!r}; run a search first or name another folder")
    runs = sorted(path.parent for path in folder.glob("*/settings.json"))
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
