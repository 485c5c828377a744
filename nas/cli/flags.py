"""Flags of the command line, derived from the options that a command takes."""

import argparse
from collections.abc import Callable
from dataclasses import MISSING, Field
from typing import Any, NoReturn, TypeVar

from nas.errors import EXIT_WRONG_USE, UserError
from nas.machine.options import Option, described, explained, is_listed, kinds

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """Complains in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Ends with the message and exit code 2."""
        self.exit(EXIT_WRONG_USE, f"{self.prog}: {message}; see {self.prog} --help\n")


def number(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A flag's parser whose complaint argparse shows in one line."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def add_options(parser: argparse.ArgumentParser, kind: type, without: tuple[str, ...] = ()) -> None:
    """A flag or a positional argument for each option of the dataclass, those aside that are `without` or have none;
    those that have to be given come first."""
    needed_first = sorted(described(kind).items(), key=lambda item: item[1][0].default is not MISSING)
    for name, (described_field, about) in needed_first:
        if about.flag is None or name in without:
            continue
        if about.positional:
            _add_positional(parser, name, described_field, about)
        else:
            _add_flag(parser, name, described_field, about)


def read_options(kind: type[T], flags: argparse.Namespace) -> T:
    """The options that the flags say. Raises UserError for what cannot be."""
    found = {name: getattr(flags, name) for name in described(kind) if hasattr(flags, name)}
    return kind(**found)


def add_json(parser: argparse.ArgumentParser) -> None:
    """The flag --json."""
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")


def _add_positional(parser: argparse.ArgumentParser, name: str, described_field: Field[Any], about: Option) -> None:
    how: dict[str, Any] = {"metavar": about.metavar or name.upper(), "help": _help(described_field, about)}
    if is_listed(described_field.type):
        parser.add_argument(name, nargs="*", **how)
    elif described_field.default is MISSING:
        parser.add_argument(name, **how)
    else:
        parser.add_argument(name, nargs="?", default=described_field.default, **how)


def _add_flag(parser: argparse.ArgumentParser, name: str, described_field: Field[Any], about: Option) -> None:
    flag, default = f"--{(about.flag or name).replace('_', '-')}", described_field.default
    how: dict[str, Any] = {"dest": name, "help": _help(described_field, about)}
    if default is MISSING:
        how["required"] = True
    else:
        how["default"] = default
    if bool in kinds(described_field.type):
        action: Any = "store_true" if default is False else argparse.BooleanOptionalAction
        parser.add_argument(flag, action=action, **how)
        return
    how["metavar"] = about.metavar or "N"
    if about.gathers == "words":
        parser.add_argument(flag, nargs="+", action="extend", **how | {"default": []})
    elif about.gathers == "again":
        parser.add_argument(flag, action="append", **how | {"default": []})
    else:
        parser.add_argument(flag, type=_parse(described_field, about), **how)


def _parse(described_field: Field[Any], about: Option) -> Callable[[str], Any]:
    if about.parse:
        return number(about.parse)
    if is_listed(described_field.type):
        return _names
    return next((kind for kind in kinds(described_field.type) if kind in (int, float)), str)


def _names(text: str) -> tuple[str, ...]:
    """Names separated by commas, each once; "none" is no name."""
    names = dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    return tuple(name for name in names if name != "none")


def _help(described_field: Field[Any], about: Option) -> str:
    return explained(described_field, about).replace("%", "%%")
