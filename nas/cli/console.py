"""What every command says before it begins."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


WIDE = 160
"""Columns of a wide table where there is no terminal to say."""


def terminal_console() -> "Console":
    """Writes to stderr; stdout is for data. As wide as the terminal, or WIDE where there is none ($COLUMNS wins)."""
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(stderr=True, width=WIDE)


def default_dataset(asked: str | None, console: "Console") -> str:
    """The data set asked for, or the default with its notice."""
    if asked:
        return asked
    from rich.panel import Panel

    from nas.data.load import choose_default

    name, notice = choose_default()
    if notice:
        console.print(Panel(notice, title="no CIFAR-100 here", border_style="bold yellow"))
    return name
