"""What every command says before it begins."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


WIDE = 160
"""Columns of a wide table where there is no terminal to say."""


def terminal_console(width: int | None = None) -> "Console":
    """Writes to stderr; stdout is for data. `width` in columns: by default the terminal's, 80 where there is none."""
    from rich.console import Console

    return Console(stderr=True, width=width)


def default_dataset(asked: str | None, console: "Console") -> str:
    """The data set asked for, or the default with its notice."""
    if asked:
        return asked
    from rich.panel import Panel

    from nas.data import choose_default

    name, notice = choose_default()
    if notice:
        console.print(Panel(notice, title="no CIFAR-100 here", border_style="bold yellow"))
    return name
