"""The card on which knobs matter."""

import math
import random
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from nas.results.pages.markup import plotly_text
from nas.results.pages.theme import PERCENT, Card, Figure, View, colour, merged
from nas.results.report.gather import Gathered, Trial, importances
from nas.results.report.trials import of_trials
from nas.search.search import BASELINES
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
    shown = [
        trial
        for trial in gathered.trials
        if trial.record.strategy != BASELINES and trial.record.is_finished and trial.record.accuracies
    ]
    if not shown:
        return Card(name, heading, sentence, empty="No trial is finished yet.")
    views = []
    for budget in gathered.search.budgets:
        if own := [trial for trial in shown if trial.record.budget == budget]:
            ranked, words = _importances(gathered, budget)
            figures = (_parallel(gathered, own, budget), *ranked)
            views.append(View(figures, f"<p class=quiet>{words}</p>" if words else "", f"{budget:,}"))
    return Card(name, heading, sentence, tuple(views))


def _knobs(gathered: Gathered, trials: Sequence[Trial]) -> list[tuple[str, Knob | None]]:
    """Names, with the knobs of the space where it is known."""
    space = gathered.runs[0].space
    if space is not None:
        return [(knob.name, knob) for knob in space.knobs]
    return [(name, None) for name in dict.fromkeys(name for trial in trials for name in trial.record.knobs)]


def _parallel(gathered: Gathered, own: Sequence[Trial], budget: int) -> Figure:
    rows = [("accuracy", _scaled([trial.record.value for trial in own], "{:.1%}"))]
    rows.append(("parameters", _scaled([math.log(max(1, t.record.parameters)) for t in own], "{:,.0f}", math.exp)))
    for name, knob in _knobs(gathered, own):
        values = [trial.record.knobs.get(name) for trial in own]
        if len(set(values)) > 1:
            rows.append((name, _placed(values, knob)))
    noise = random.Random(0)
    shifts = [noise.uniform(-0.016, 0.016) for _ in own]
    order = sorted(range(len(own)), key=lambda i: own[i].record.value)
    groups = _grouped(order)
    data = []
    for label, shade, width, opacity, members in groups:
        owners: list[Trial | None] = []
        x: list[float | None] = []
        y: list[int | None] = []
        for i in members:
            owners += [*[own[i]] * len(rows), None]
            exact = (True, True, *(False for _ in rows[2:]))
            places = [column[0][i] for _, column in rows]
            x += [*(round(p + (0 if e else shifts[i]), 4) for p, e in zip(places, exact, strict=True)), None]
            y += [*range(len(rows)), None]
        line = {"color": shade, "width": width}
        data.append(of_trials(owners, x, y, label, mode="lines", line=line, opacity=opacity))
    labels = [(at, row, text) for row, (_, (_, marks)) in enumerate(rows) for at, text in marks]
    data.append(
        {
            "type": "scatter", "mode": "text", "hoverinfo": "skip", "showlegend": False, "textposition": "top center",
            "x": [at for at, _, _ in labels], "y": [row for _, row, _ in labels],
            "text": [plotly_text([text]) for _, _, text in labels], "textfont": {"size": 10, "color": "$ink"},
            "cliponaxis": False,
        }
    )  # fmt: skip
    names = [plotly_text([name]) for name, _ in rows]
    layout = {
        "xaxis": {"visible": False, "range": [-0.06, 1.06], "fixedrange": True},
        "yaxis": {
            "tickvals": list(range(len(rows))), "ticktext": names, "range": [len(rows) - 0.6, -0.8], "fixedrange": True,
        },
    }  # fmt: skip
    return Figure(
        f"knobs-{budget}", f"Parallel coordinates of the knobs at {budget:,}", data, layout, 90 + 36 * len(rows)
    )


def _grouped(order: Sequence[int]) -> list[tuple[str, str, float, float, list[int]]]:
    """(name, colour, width, opacity, members), the worst first, of trials in ascending order."""
    groups = []
    above = len(order)
    for share, label, shade, width, opacity in SHARES:
        below = len(order) - max(1, round(share * len(order)))
        members = list(order[below:above])
        above = min(above, below)
        groups.append((label, shade, width, opacity, members))
    groups.append(("others", "$faint", 0.6, 0.35, list(order[:above])))
    return [group for group in reversed(groups) if group[4]]


def _scaled(values: Sequence[float], shown: str, back: Any = lambda value: value) -> Column:
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    marks = [
        (share, shown.format(back(low + share * (high - low)))) for share in ((0.0, 0.5, 1.0) if high > low else (0.0,))
    ]
    return [(value - low) / width for value in values], marks


def _placed(values: Sequence[Value | None], knob: Knob | None) -> Column:
    """The options that occur in their order; widths on a ratio scale."""
    if knob is not None and knob.role == "width" and all(isinstance(value, int | float) for value in values):
        places, marks = _scaled([math.log(float(value or 1)) for value in values], "{:.0f}", math.exp)
        return places, marks
    options = [option for option in knob.options if option in values] if knob else sorted({str(v) for v in values})
    keys = [value if knob else str(value) for value in values]
    step = 1 / max(1, len(options) - 1)
    every = math.ceil(len(options) / MOST_LABELS)
    marks = [(place * step, str(option)) for place, option in enumerate(options) if place % every == 0]
    place_of = {option: place * step for place, option in enumerate(options)}
    return [place_of.get(key, 0.0) if key is not None else 0.0 for key in keys], marks


def _importances(gathered: Gathered, budget: int) -> tuple[tuple[Figure, ...], str]:
    """Importances by strategy, means over the seeds; and which strategies have too few trials."""
    found: dict[str, list[dict[str, float]]] = {}
    lacking = []
    for strategy in gathered.strategies:
        studies = [run.studies[strategy, budget] for run in gathered.runs if (strategy, budget) in run.studies]
        known = [ranked for study in studies if (ranked := importances(study))]
        if known:
            found[strategy] = known
        else:
            lacking.append(strategy)
    words = f"Too few trials to rank the knobs: {', '.join(map(escape, lacking))}." if lacking else ""
    if not found:
        return (), words
    means = {strategy: _mean(known) for strategy, known in found.items()}
    names = sorted(
        {name for mean in means.values() for name in mean}, key=lambda n: sum(m.get(n, 0) for m in means.values())
    )
    data = [
        {
            "type": "bar", "orientation": "h", "y": [plotly_text([name]) for name in names],
            "x": [round(mean.get(name, 0.0), 5) for name in names],
            "name": f"{strategy} (n = {len(found[strategy])})" if gathered.has_seeds else strategy,
            "marker": {"color": colour(gathered.strategies, strategy)},
            "hovertemplate": "%{y}: %{x:.1%}",
        }
        for strategy, mean in means.items()
    ]  # fmt: skip
    layout = {
        "xaxis": merged({"title": {"text": "importance"}}, PERCENT),
        "yaxis": {"type": "category"},
        "bargap": 0.25,
    }
    height = 110 + (14 + 9 * len(means)) * len(names)
    return (Figure(f"importance-{budget}", f"Importance of the knobs at {budget:,}", data, layout, height),), words


def _mean(known: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([ranked.get(name, 0.0) for ranked in known])) for name in known[0]}
