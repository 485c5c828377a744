"""The card on which knobs matter."""

import math
import random
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from nas.results.pages.markup import plotly_text
from nas.results.pages.theme import PERCENT, Card, Figure, View, axis, colour, trace
from nas.results.report.gather import Gathered, Trial, importances
from nas.results.report.trials import lines
from nas.space.space import Knob, Value

PLACE = 60

SHARES = (
    (0.05, "best 5 %", "$s1", 2.0, 0.95),
    (0.2, "best 20 %", "$s0", 1.2, 0.6),
    (0.5, "best half", "$s2", 0.8, 0.35),
)
"""Lines of the parallel coordinates: best share, name, colour, width, opacity. The others are grey."""

MOST_LABELS = 8

Column = tuple[list[float], list[tuple[float, str]]]
"""Places of the trials from 0 to 1, and the labels along the row."""


def card(gathered: Gathered) -> Card:
    """Parallel coordinates and importances."""
    name, heading = "knobs", "Knobs"
    sentence = (
        "Each line is a network and crosses every knob at its option; the best are on top. Where the best meet, the "
        "choice matters; hide the others by a click on their name in the legend. Bars are the importance of each knob "
        "for being among the best tenth of a strategy's trials (PED-ANOVA, Watanabe et al. 2023, as Optuna computes it "
        "from what the strategy was told)."
    )
    views = []
    for budget in gathered.search.budgets:
        if own := gathered.shown(budget):
            ranked, words = _importances(gathered, budget)
            figures = (_parallel(gathered, own, budget), *ranked)
            views.append(View(figures, f"<p class=quiet>{words}</p>" if words else "", f"{budget:,}"))
    return Card(name, heading, sentence, tuple(views), "" if views else "No trial is finished yet.")


def _knobs(gathered: Gathered, trials: Sequence[Trial]) -> dict[str, Knob | None]:
    """The knobs of the space by their names; the names alone where it is not known."""
    if space := gathered.runs[0].space:
        return {knob.name: knob for knob in space.knobs}
    return {name: None for trial in trials for name in trial.record.knobs}


def _parallel(gathered: Gathered, own: Sequence[Trial], budget: int) -> Figure:
    rows = {"accuracy": _scaled([trial.record.value for trial in own], "{:.1%}")}
    rows["parameters"] = _scaled([math.log(max(1, t.record.parameters)) for t in own], "{:,.0f}", math.exp)
    for name, knob in _knobs(gathered, own).items():
        values = [trial.record.knobs.get(name) for trial in own]
        if len(set(values)) > 1:
            rows[name] = _placed(values, knob)
    noise = random.Random(0)
    shifts = [noise.uniform(-0.016, 0.016) for _ in own]
    places = np.array([places for places, _ in rows.values()])
    places[2:] += shifts
    data = []
    for label, shade, width, opacity, members in _grouped(sorted(range(len(own)), key=lambda i: own[i].record.value)):
        drawn = ((own[i], places[:, i].tolist(), range(len(rows))) for i in members)
        data.append(lines(label, drawn, line={"color": shade, "width": width}, opacity=opacity))
    marks = [(at, row, text) for row, (_, labels) in enumerate(rows.values()) for at, text in labels]
    style: dict[str, Any] = {
        "mode": "text", "hoverinfo": "skip", "showlegend": False, "textposition": "top center", "cliponaxis": False,
        "text": [plotly_text([text]) for _, _, text in marks], "textfont": {"size": 10, "color": "$ink"},
    }  # fmt: skip
    data.append(trace("options", [at for at, _, _ in marks], [row for _, row, _ in marks], **style))
    names = [plotly_text([name]) for name in rows]
    ticks = {"tickvals": list(range(len(rows))), "ticktext": names, "range": [len(rows) - 0.6, -0.8]}
    layout = {
        "xaxis": {"visible": False, "range": [-0.06, 1.06], "fixedrange": True},
        "yaxis": ticks | {"fixedrange": True},
    }
    label = f"Parallel coordinates of the knobs at {budget:,}"
    return Figure(f"knobs-{budget}", label, data, layout, 90 + 36 * len(rows))


def _grouped(order: Sequence[int]) -> list[tuple[str, str, float, float, Sequence[int]]]:
    """(name, colour, width, opacity, members), the worst first, of trials in ascending order."""
    groups = []
    above = len(order)
    for share, label, shade, width, opacity in SHARES:
        below = min(above, len(order) - max(1, round(share * len(order))))
        groups.append((label, shade, width, opacity, order[below:above]))
        above = below
    groups.append(("others", "$faint", 0.6, 0.35, order[:above]))
    return [group for group in reversed(groups) if group[4]]


def _scaled(values: Sequence[float], shown: str, back: Any = lambda value: value) -> Column:
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    shares = (0.0, 0.5, 1.0) if high > low else (0.0,)
    marks = [(share, shown.format(back(low + share * (high - low)))) for share in shares]
    return [(value - low) / width for value in values], marks


def _placed(values: Sequence[Value | None], knob: Knob | None) -> Column:
    """The options that occur in their order; widths on a ratio scale."""
    if knob is not None and knob.role == "width" and all(isinstance(value, int | float) for value in values):
        return _scaled([math.log(float(value or 1)) for value in values], "{:.0f}", math.exp)
    options = [option for option in knob.options if option in values] if knob else sorted({str(v) for v in values})
    step = 1 / max(1, len(options) - 1)
    places: dict[Any, float] = {option: place * step for place, option in enumerate(options)}
    marks = [(place, str(option)) for option, place in places.items()][:: math.ceil(len(options) / MOST_LABELS) or 1]
    return [places.get(value if knob else str(value), 0.0) for value in values], marks


def _importances(gathered: Gathered, budget: int) -> tuple[tuple[Figure, ...], str]:
    """Importances by strategy, means over the seeds; and which strategies have too few trials."""
    found: dict[str, list[dict[str, float]]] = {}
    lacking = []
    for strategy in gathered.strategies:
        studies = [run.studies[strategy, budget] for run in gathered.runs if (strategy, budget) in run.studies]
        if known := [ranked for study in studies if (ranked := importances(study))]:
            found[strategy] = known
        else:
            lacking.append(strategy)
    words = f"Too few trials to rank the knobs: {', '.join(map(escape, lacking))}." if lacking else ""
    if not found:
        return (), words
    means = {
        strategy: {name: float(np.mean([ranked.get(name, 0.0) for ranked in known])) for name in known[0]}
        for strategy, known in found.items()
    }
    every = {name for mean in means.values() for name in mean}
    names = sorted(every, key=lambda name: sum(mean.get(name, 0) for mean in means.values()))
    labels, data = [plotly_text([name]) for name in names], []
    for strategy, mean in means.items():
        label = f"{strategy} (n = {len(found[strategy])})" if gathered.has_seeds else strategy
        style: dict[str, Any] = {"type": "bar", "orientation": "h", "hovertemplate": "%{y}: %{x:.1%}"}
        marker = {"color": colour(gathered.strategies, strategy)}
        data.append(trace(label, [mean.get(name, 0.0) for name in names], labels, marker=marker, **style))
    layout = {"xaxis": axis("importance", **PERCENT), "yaxis": {"type": "category"}, "bargap": 0.25}
    height = 110 + (14 + 9 * len(means)) * len(names)
    return (Figure(f"importance-{budget}", f"Importance of the knobs at {budget:,}", data, layout, height),), words
