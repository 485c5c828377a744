"""Tables as HTML, and text as Plotly takes it: nothing from outside becomes markup."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Literal

from nas.results.words import cell

Kind = Literal["", "n", "words"]
"""What a column holds: text in one line, numbers (flush right), or text in several lines."""


class Html(str):
    """Text that is HTML already."""


def table(columns: Sequence[tuple[str, Kind]], rows: Iterable[Sequence[Any]], foot: Sequence[Any] = ()) -> str:
    """A table of cells (see `nas.results.words.cell`), which are text unless they are `Html`. It has no head where no
    column has a name."""
    classes = [f" class={kind}" if kind else "" for _, kind in columns]

    def line(tag: str, cells: Sequence[Any]) -> str:
        shown = [value if isinstance(value, Html) else escape(cell(value)) for value in cells]
        inner = (f"<{tag}{kind}>{text}</{tag}>" for kind, text in zip(classes, shown, strict=True))
        return f"<tr>{''.join(inner)}</tr>"

    names = [name for name, _ in columns]
    head = f"<thead>{line('th', names)}</thead>" if any(names) else ""
    last = f"<tfoot>{line('td', foot)}</tfoot>" if foot else ""
    return f"<div class=wide><table>{head}<tbody>{''.join(line('td', row) for row in rows)}</tbody>{last}</table></div>"


def plotly_text(lines: Sequence[str]) -> str:
    """Lines as Plotly takes them: it reads some HTML, of which nothing is to come from outside."""
    return "<br>".join(escape(line, quote=False) for line in lines)
