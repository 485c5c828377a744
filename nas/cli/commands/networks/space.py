"""The command `nas space`."""

import argparse
from dataclasses import asdict

from nas.cli.console import print_json, terminal_console
from nas.cli.flags import add_json, add_options, number, read_options
from nas.cli.shapes import add_shape_flags, shape_and_classes
from nas.errors import EXIT_DONE, EXIT_NO_ANSWER
from nas.space.budget import CapOptions, parse_count

SUMMARY = "describe a search space: knobs, sizes, what is feasible"
EXAMPLE = "nas space mixed --budget 100000 --dataset digits"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("space", nargs="?", default="mixed", metavar="SPACE", help="name or .py file (default: mixed)")
    parser.add_argument("--budget", type=number(parse_count), metavar="N", help="most parameters of a network")
    add_options(parser, CapOptions)
    add_shape_flags(parser)
    add_json(parser)


def run(flags: argparse.Namespace) -> int:
    from nas.cli.network_tables import survey_table
    from nas.space.files import named_space
    from nas.space.named import SMALL_IMAGES
    from nas.space.space import bind
    from nas.space.survey import survey

    shape, classes = shape_and_classes(flags)
    space = bind(named_space(flags.space), shape or SMALL_IMAGES, classes or 100)
    asked = read_options(CapOptions, flags)
    found = survey(space, asked.limit(flags.budget), asked.numbers)
    if flags.json:
        print_json(asdict(found))
    else:
        terminal_console().print(survey_table(found))
    return EXIT_DONE if found.satisfiable is not False else EXIT_NO_ANSWER
