"""What commands say to people: on stderr, since stdout is for data."""

import errno
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

from nas.errors import written_out

if TYPE_CHECKING:
    from rich.console import Console

    from nas.results.trainings import OnEpoch

WIDE = 160
"""Columns of a wide table where there is no terminal to say."""

NARROW = 20
"""Columns below which $COLUMNS is taken to be a mistake."""


class _LeavableStream(io.TextIOWrapper):
    """Where nobody reads any more (a pipe whose reader has ended, a terminal that was closed, a log on a full disk),
    what is said goes nowhere from there on, and the work goes on."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._leave(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._leave(error)

    def _leave(self, error: OSError) -> None:
        if error.errno not in (errno.EPIPE, errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise error
        lead_nowhere(self)


def lead_nowhere(stream: TextIO) -> None:
    """From here on, what is written into the stream's file is dropped."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def outlive_readers_of_stderr() -> None:
    """From here on, that whoever reads what is said has left ends nothing."""
    if (stream := sys.stderr) is sys.__stderr__ and isinstance(stream, io.TextIOWrapper):
        own = open(stream.fileno(), "wb", closefd=False)  # noqa: SIM115 - for as long as the process
        sys.stderr = _LeavableStream(own, encoding=stream.encoding, errors=stream.errors, line_buffering=True)


def terminal_console() -> "Console":
    """Writes to stderr. As wide as the terminal, or WIDE where there is none ($COLUMNS wins)."""
    from rich.console import Console

    if not (columns := os.environ.get("COLUMNS", "")).isdecimal() or int(columns) < NARROW:
        os.environ.pop("COLUMNS", None)  # of which rich would make a width of nothing, or its own
    console = Console(stderr=True)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(stderr=True, width=WIDE)


def say(console: "Console", line: str) -> None:
    """Prints a line as it is, however long; signs in it that steer terminals are written out."""
    line = "\n".join(map(written_out, line.split("\n")))
    console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def stdout_for_data() -> Iterator[None]:
    """Meanwhile what is printed, as by the code of a space, goes to stderr, and `print_json` alone writes to stdout."""
    token = _stdout.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _stdout.reset(token)


_stdout: ContextVar[TextIO | None] = ContextVar("_stdout", default=None)


def print_json(content: Any) -> None:
    """Prints JSON to stdout."""
    print(json.dumps(content, indent=2), file=_stdout.get())


def saying_epochs(console: "Console", *, several: bool = False) -> "OnEpoch":
    """What tells of every epoch of a training in a line, and, but for `several`, how long it will take yet."""
    from nas.cli.network_tables import training_line

    return lambda label, metrics, epochs: say(console, f"{label}: {training_line(metrics, epochs, alone=not several)}")


def default_dataset(asked: str | None, console: "Console") -> str:
    """The data set asked for, or the default with its notice."""
    if asked is not None:
        return asked
    from rich.panel import Panel

    from nas.data.load import choose_default

    name, notice = choose_default()
    if notice:
        console.print(Panel(notice, title="no CIFAR-100 here", border_style="bold yellow"))
    return name
