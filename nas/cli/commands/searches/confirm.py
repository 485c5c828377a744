"""The command `nas confirm`."""

import argparse
import shlex
from dataclasses import replace
from pathlib import Path

from nas.cli.console import print_json, say, saying_epochs, terminal_console
from nas.cli.flags import add_json, add_options, read_options
from nas.errors import EXIT_DONE, EXIT_NO_ANSWER
from nas.results.options import ConfirmOptions

SUMMARY = "race the best networks of a search in full, tell what they gain over the default, test them once"
EXAMPLE = "nas confirm runs/digits-mixed-10000-100000-20x4-seed0 --epochs 20 --seeds 3"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_options(parser, ConfirmOptions)
    add_json(parser)


def run(flags: argparse.Namespace) -> int:
    from nas.cli.network_tables import confirmed_table
    from nas.results.confirming.confirm import confirm
    from nas.search.sharing.mirror import at_hand

    asked, console = read_options(ConfirmOptions, flags), terminal_console()
    asked = replace(asked, run=at_hand(asked.run))
    content = confirm(asked, saying_epochs(console, several=True))
    if flags.json:
        print_json(content)
    console.print(confirmed_table(content))
    say(console, f"result: {Path(asked.run) / 'confirmed.json'}")
    say(console, f"next: nas export {shlex.quote(str(asked.run))} --to DIR")
    return EXIT_DONE if any(entry["test"] for entry in content["networks"]) else EXIT_NO_ANSWER
