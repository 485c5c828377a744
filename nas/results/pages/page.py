"""One HTML page: cards, their plots as data, the panel, and a policy by which nothing else can run or load.

Everything is in the one file, its data compressed: of thousands of trials they are several times as large as all else.
Scripts run by their hashes only, so that no text of a run folder can become one.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from nas.results.pages.theme import BASE, DARK, LIGHT, Card, View

NO_TRIALS: Mapping[str, Any] = {"trials": (), "tables": {}, "words": ()}


def page(
    title: str, lead: str, cards: Sequence[Card], trials: Mapping[str, Any] = NO_TRIALS, *, stamp: str | None = None
) -> str:
    """The page. `lead` is HTML; `trials` are what the panel shows of a trial, as in `nas.results.report.trials`. With a
    `stamp` the page asks its server now and then for the current one, and loads itself anew when it has changed."""
    from plotly.offline import get_plotlyjs

    figures = [figure for card in cards for view in card.views for figure in view.figures]
    drawn = {figure.name: {"data": figure.data, "layout": figure.layout} for figure in figures}
    palettes = {"light": LIGHT, "dark": DARK}
    content = {**trials, "figures": drawn, "base": BASE, "palettes": palettes, "stamp": stamp}
    data = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    own, plotly = asset("page.js"), get_plotlyjs()
    connect = "'none'" if stamp is None else "'self'"
    policy = (
        f"default-src 'none'; script-src {script_hash(plotly)} {script_hash(own)}; style-src 'unsafe-inline'; "
        f"img-src data: blob:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    return Template(asset("page.html")).substitute(
        policy=policy,
        title=escape(title),
        palettes=palettes_as_css(),
        style=asset("page.css"),
        links="".join(f'<a href="#{card.name}">{escape(card.title)}</a>' for card in cards),
        lead=lead,
        cards="".join(map(_card, cards)),
        data=packed(data.encode()),
        plotly=plotly,
        own=own,
    )


def _card(card: Card) -> str:
    tabs = ""
    if len(card.views) > 1:
        buttons = "".join(
            f'<button type="button" role="tab" aria-selected="{"false" if place else "true"}" data-view="{place}">'
            f"{escape(view.label)}</button>"
            for place, view in enumerate(card.views)
        )
        tabs = f'<div class="tabs" role="tablist" aria-label="budget">{buttons}</div>'
    views = "".join(_view(view, hidden=place > 0) for place, view in enumerate(card.views))
    empty = f"<p class=empty>{card.empty}</p>" if card.empty else ""
    head = f"<h2>{escape(card.title)}</h2><p class=lead>{card.sentence}</p>"
    return f'<section id="{card.name}">{head}{tabs}{views}{empty}</section>\n'


def _view(view: View, *, hidden: bool) -> str:
    plots = "".join(
        f'<div class="plot" role="img" aria-label="{escape(figure.label)}" data-figure="{escape(figure.name)}" '
        f'style="height:{figure.height}px"></div>'
        for figure in view.figures
    )
    columns = f'<div class="plots of{len(view.figures)}">{plots}</div>' if plots else ""
    return f'<div class="view"{" hidden" if hidden else ""}>{columns}{view.html}</div>'


def palettes_as_css() -> str:
    """The palettes as CSS variables: by the system's preference, or by the button."""
    light, dark = (" ".join(f"--{name}: {shade};" for name, shade in p.items()) for p in (LIGHT, DARK))
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ color-scheme: dark; {dark} }} }}\n"
        f":root[data-theme=light] {{ color-scheme: light; {light} }}\n"
        f":root[data-theme=dark] {{ color-scheme: dark; {dark} }}"
    )


def asset(name: str, package: str = "nas.results.pages") -> str:
    """A file that lies beside the modules of a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def script_hash(script: str) -> str:
    """The source of a policy that lets this script run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def packed(content: bytes) -> str:
    """Compressed, in letters that cannot end the element they stand in."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()
