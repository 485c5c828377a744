"""The command `nas export`."""

import argparse

from nas.cli.console import say, terminal_console
from nas.cli.flags import add_options, read_options
from nas.errors import EXIT_DONE
from nas.results.options import ExportOptions

SUMMARY = "write trained networks as folders that need nas no more: torch source, weights, ONNX, a card, predict.py"
EXAMPLE = "nas export runs/digits-mixed-10000-100000-20x4-seed0 --budget 10K --to exported"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_options(parser, ExportOptions)


def run(flags: argparse.Namespace) -> int:
    from nas.api import run_export
    from nas.results.export.card import deployed_in_words

    console = terminal_console()
    for to, exported, origin in run_export(read_options(ExportOptions, flags)):
        compared = "".join(f"; {title} within {apart:.0e} of torch" for title, apart in exported.differences.items())
        say(console, f"{to}: {exported.parameters:,} parameters; {origin}{compared}")
        for line in (*map(deployed_in_words, exported.deployed), *exported.left_out):
            say(console, f"  {line}")
    return EXIT_DONE
