"""The command `nas compare`."""

import argparse
import sys
from pathlib import Path

from nas.cli.console import print_json, terminal_console
from nas.cli.flags import add_json
from nas.errors import EXIT_DONE, EXIT_NO_ANSWER
from nas.machine.folders import check_file

SUMMARY = "compare strategies over independent searches"
EXAMPLE = "nas compare runs/digits-mixed-100000-200x3-seed* --html comparison.html"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folders that differ in their seed, or a folder of such run folders"
    )
    parser.add_argument(
        "--html", metavar="FILE", help="write best-so-far curves as a page that opens without a network"
    )
    add_json(parser)


def run(flags: argparse.Namespace) -> int:
    from nas.cli.run_tables import folders_in, print_comparison

    if flags.html:
        check_file(Path(flags.html), "--html", ".html")
    folders = folders_in(flags.runs)
    compared = print_comparison(folders, terminal_console())
    if flags.html:
        from nas.results.pages.comparison import write_comparison_page

        write_comparison_page(folders, Path(flags.html))
    if flags.json:
        print_json(compared)
    if any(at["pairs"] or (at["against_default"] or {}).get("is_confirmed") for at in compared):
        return EXIT_DONE
    print(
        "nas: nothing to compare yet: two strategies with a trained network and the same seed are needed",
        file=sys.stderr,
    )
    return EXIT_NO_ANSWER
