"""The commands: a module in a topic in here is one, by its name. It imports little, and has

SUMMARY            what it does, in a line
EXAMPLE            a command that works when it is pasted
add_flags(parser)  its flags, mostly derived from the options it takes
run(flags)         does it and returns the exit code
"""

import argparse
from typing import Protocol, cast

from nas.machine.registry import Registry


class Command(Protocol):
    """What a module of a command has."""

    SUMMARY: str
    EXAMPLE: str

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        """Adds its flags."""

    def run(self, flags: argparse.Namespace) -> int:
        """Runs it and returns the exit code."""


COMMANDS: Registry[Command] = Registry("nas.cli.commands", lambda module: cast(Command, module))
