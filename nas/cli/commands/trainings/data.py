"""The command `nas data`."""

import argparse
from dataclasses import asdict

from nas.cli.console import default_dataset, print_json, say, terminal_console
from nas.cli.flags import add_json, add_options
from nas.data.options import DataOptions
from nas.errors import EXIT_DONE, written_out

SUMMARY = "check a data set, both splits, and count images that they share"
EXAMPLE = "nas data --dataset digits"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_options(parser, DataOptions, without=("validation_share",))
    add_json(parser)


def run(flags: argparse.Namespace) -> int:
    from rich.markup import escape

    from nas.data.inspection import describe

    console = terminal_console()
    dataset = default_dataset(flags.dataset, console)
    report = describe(dataset, image_size=flags.image_size)
    for doubt in report.doubts:
        console.print(f"[bold yellow]warning:[/] {escape(doubt)}", highlight=False, soft_wrap=True)
    if flags.json:
        print_json(asdict(report))
        return EXIT_DONE
    for name, value in asdict(report).items():
        if name == "doubts":
            continue
        shown = f"{value:,}" if isinstance(value, int) else value
        if name == "class_names":
            shown = ", ".join(value[:10]) + (" …" if len(value) > 10 else "")
        say(console, f"{name.replace('_', ' '):>16}  {written_out(str(shown))}")
    return EXIT_DONE
