"""The looks of a page: two palettes, what every plot has in common, and what cards are made of.

A figure is what Plotly takes as JSON: `data` and `layout`. Colours are names of a palette after a "$", so that the page
can change them. The points of a trace whose `meta` is "trials" have the index of their trial as `customdata`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.results.pages.markup import plotly_text

SHADES = {
    "ink": ("#1c2024", "#eceef1"), "muted": ("#60666d", "#a3aab3"), "faint": ("#a9b0b8", "#6d757f"),
    "grid": ("#e7eaee", "#2b3038"), "paper": ("#ffffff", "#181b20"), "page": ("#f6f7f9", "#0f1115"),
    "edge": ("#dfe3e8", "#2e343d"), "accent": ("#0b62c4", "#74b0ff"), "good": ("#18794e", "#4cc38a"),
    "bad": ("#c2311f", "#ff7b66"), "s0": ("#0072b2", "#4fb3ee"), "s1": ("#d55e00", "#ff9a52"),
    "s2": ("#009e73", "#35c79a"), "s3": ("#b5578f", "#ea9bc8"), "s4": ("#a87900", "#e8bd3d"),
    "s5": ("#5b5bd6", "#a5a5ff"), "s6": ("#7a6a5a", "#c4b29f"),
}  # fmt: skip
"""The colours of a page by their names: light, dark."""

LIGHT = {name: light for name, (light, _) in SHADES.items()}
DARK = {name: dark for name, (_, dark) in SHADES.items()}
SERIES = 7
BASELINE = "$muted"

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif'

AXIS = {
    "gridcolor": "$grid", "zeroline": False, "linecolor": "$faint", "tickcolor": "$faint", "ticks": "outside",
    "ticklen": 4, "automargin": True, "title": {"standoff": 8},
}  # fmt: skip
BASE: dict[str, Any] = {
    "font": {"family": FONT, "size": 13, "color": "$ink"},
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "margin": {"l": 56, "r": 14, "t": 26, "b": 44},
    "hovermode": "closest",
    "hoverlabel": {"bgcolor": "$paper", "bordercolor": "$edge", "font": {"color": "$ink", "size": 12}, "align": "left"},
    "legend": {
        "orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "font": {"size": 12},
        "traceorder": "normal",
    },
    "modebar": {"orientation": "v", "bgcolor": "rgba(0,0,0,0)", "color": "$faint", "activecolor": "$accent"},
    "xaxis": AXIS,
    "yaxis": AXIS,
}  # fmt: skip
"""The layout of every plot, before its own."""

PERCENT = {"tickformat": ".2~%"}


@dataclass(frozen=True)
class Figure:
    """A plot: its name in the page, what a screen reader says of it, traces, layout, height in pixels."""

    name: str
    label: str
    data: Sequence[Mapping[str, Any]] = field(hash=False)
    layout: Mapping[str, Any] = field(hash=False)
    height: int = 420


@dataclass(frozen=True)
class View:
    """What a card shows at once: plots side by side, then HTML. A card with several views has a tab for each."""

    figures: tuple[Figure, ...] = ()
    html: str = ""
    label: str = ""


@dataclass(frozen=True)
class Card:
    """A part of a page: `sentence` (HTML) says what one sees, `empty` (HTML) why there is nothing to see."""

    name: str
    title: str
    sentence: str
    views: tuple[View, ...] = ()
    empty: str = ""


def trace(name: str, x: Iterable[Any], y: Iterable[Any], **own: Any) -> dict[str, Any]:
    """A trace of Plotly, by default of a scatter plot; `own` are its other properties. Its numbers are `rounded`."""
    return {"type": "scatter", "name": plotly_text([name]), "x": rounded(x), "y": rounded(y)} | own


def error_bars(values: Sequence[float], ends: Iterable[tuple[float, float]], **own: Any) -> dict[str, Any]:
    """Bars at the points of a trace, from the low to the high end of each."""
    reach = [(high - value, value - low) for value, (low, high) in zip(values, ends, strict=True)]
    above, below = ([max(0.0, round(each[side], 5)) for each in reach] for side in (0, 1))
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below} | own


def pointed(words: Iterable[Sequence[str]]) -> dict[str, Any]:
    """The property of a trace by which each point has its lines of text at the pointer."""
    return {"hovertext": [plotly_text(lines) for lines in words], "hoverinfo": "text"}


def axis(title: str, **own: Any) -> dict[str, Any]:
    """An axis with its title."""
    return {"title": {"text": plotly_text([title])}} | own


def rounded(values: Iterable[Any]) -> list[Any]:
    """The values, of numbers that are not whole five digits: the page is to be small."""
    return [round(value, 5) if isinstance(value, float) else value for value in values]


def colour(strategies: Sequence[str], strategy: str) -> str:
    """The name of the colour of a strategy: that of its place among the strategies."""
    return f"$s{strategies.index(strategy) % SERIES}" if strategy in strategies else BASELINE


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The base with what is the figure's own put over it, also inside dictionaries."""
    result = dict(base)
    for name, value in own.items():
        inner = result.get(name)
        result[name] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return result


def coloured(value: Any, palette: Mapping[str, str]) -> Any:
    """The figure with the colours of the palette in place of their names."""
    if isinstance(value, str):
        return palette.get(value[1:], value) if value.startswith("$") else value
    if isinstance(value, Mapping):
        return {name: coloured(inner, palette) for name, inner in value.items()}
    return [coloured(inner, palette) for inner in value] if isinstance(value, list | tuple) else value
