"""The command line: a command and its flags to the function that runs it, and errors to exit codes.

Exit codes: 0 done; 1 ran but has no answer; 2 wrong use; 130 interrupted. JSON goes to stdout, all else to stderr.
"""

import argparse
import os
import select
import sys
from collections.abc import Sequence

from nas import __version__
from nas.cli.commands import COMMANDS
from nas.cli.console import lead_nowhere, outlive_readers_of_stderr, stdout_for_data
from nas.cli.flags import Parser
from nas.errors import (
    EXIT_INTERRUPTED,
    EXIT_NO_ANSWER,
    EXIT_WRONG_USE,
    UserError,
    is_of_the_machine,
    told_of_the_machine,
)
from nas.space.files import without_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    _open_closed_streams()
    outlive_readers_of_stderr()
    try:
        flags = build_parser().parse_args(arguments)
        _check_place()
        with stdout_for_data(), without_arguments():
            code = COMMANDS[flags.command].run(flags)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _reader_has_left():
            raise
        lead_nowhere(sys.stdout)  # for the last flush, of the interpreter
        return EXIT_NO_ANSWER
    except UserError as error:
        print(f"nas: {error}", file=sys.stderr)
        return EXIT_WRONG_USE
    except KeyboardInterrupt:
        exec("")  # forgets that it came through an exec, as of a dataclass, for which Python would end by the signal
        return EXIT_INTERRUPTED
    except Exception as error:
        if not is_of_the_machine(error):  # a full disk, too many open files, …
            raise
        print(f"nas: {told_of_the_machine(error)}", file=sys.stderr)
        return EXIT_WRONG_USE


def _check_place() -> None:
    """Raises UserError in a folder that was deleted, in which libraries fail in words of their own."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the current folder is gone; change to one that is there") from None


def _open_closed_streams() -> None:
    """What was closed before we began leads nowhere: a file opened later would take its place, and be printed into."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115


def build_parser() -> argparse.ArgumentParser:
    """Every command with its flags and an example."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="nas",
        description="Finds the best small image classifiers under a hard parameter budget.",
        epilog="example:\n  nas search --budget 100000 --trials 200",
        formatter_class=plain,
    )
    parser.add_argument("--version", action="version", version=f"nas {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        says = command.SUMMARY[0].upper() + command.SUMMARY[1:] + "."
        example = f"example:\n  {command.EXAMPLE}"
        own = commands.add_parser(name, help=command.SUMMARY, description=says, epilog=example, formatter_class=plain)
        command.add_flags(own)
    return parser


def _reader_has_left() -> bool:
    """Whether nobody reads the output any more, as after `| head`."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return bool(poll.poll(0))  # which tells of broken ones, whatever it is asked for
