"""What the flags of several commands share: how values are read, flags that recur."""

import argparse
from collections.abc import Callable
from typing import Any

from nas.errors import UserError


def command(commands: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    """A command with its summary and an example that works when pasted."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def number(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A flag's parser whose complaint argparse shows in one line."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def counts(text: str) -> tuple[int, ...]:
    """Numbers of parameters, "1K,10K"."""
    from nas.space.budget import parse_counts

    return parse_counts(text)


def count_flag(text: str) -> int:
    """A number of parameters or multiply-adds, "15M"."""
    from nas.space.budget import parse_count

    return parse_count(text)


def seconds_flag(text: str) -> float:
    """A time, "90s" or "2h", in seconds."""
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError as error:
        raise UserError(f"a time must be like 90, 90s, 30m or 2h but got {text!r}") from error
    if not 0 < seconds < float("inf"):
        raise UserError(f"a time must be above 0 seconds but got {text!r}")
    return seconds


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Which data set, and the size of its images."""
    parser.add_argument(
        "--dataset",
        metavar="NAME|PATH",
        help="cifar100, cifar10, fashion-mnist, digits, a .npz file, or a folder of images a class "
        "(default: cifar100 if it is on disk or can be downloaded, else digits)",
    )
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="scale images to this many pixels a side")
