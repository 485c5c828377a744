"""The command `nas data`."""

import argparse
from dataclasses import asdict

from nas.cli.console import default_dataset, print_json, terminal_console
from nas.cli.flags import add_json, add_options
from nas.data.options import DataOptions
from nas.errors import EXIT_DONE

SUMMARY = "check a data set, both splits, and count images that they share"
EXAMPLE = "nas data --dataset digits"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_options(parser, DataOptions, without=("validation_share",))
    add_json(parser)


def run(flags: argparse.Namespace) -> int:
    from nas.data.load import describe

    console = terminal_console()
    report = describe(default_dataset(flags.dataset, console), image_size=flags.image_size)
    if flags.json:
        print_json(asdict(report))
        return EXIT_DONE
    for name, value in asdict(report).items():
        shown = f"{value:,}" if isinstance(value, int) else value
        if name == "class_names":
            shown = ", ".join(value[:10]) + (" …" if len(value) > 10 else "")
        console.print(f"{name.replace('_', ' '):>16}  {shown}", highlight=False, markup=False)
    if report.shared_images:
        warning = f"[bold yellow]warning:[/] {report.shared_images} test images are also training images"
        console.print(warning, highlight=False)
    return EXIT_DONE
