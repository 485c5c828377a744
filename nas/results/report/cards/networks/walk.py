"""The card on the greedy walk: its trials in order, its steps in words."""

import itertools
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from nas.errors import UserError
from nas.results.pages.theme import PERCENT, SERIES, Card, Figure, View, axis, colour, trace
from nas.results.report.gather import Gathered
from nas.results.report.trials import points, seed_words
from nas.search.sampling.feasible import FeasibleSampler
from nas.search.strategies import STRATEGIES

PLACE = 80


def card(gathered: Gathered) -> Card:
    """The greedy walk."""
    name, heading = "walk", "The greedy walk"
    sentence = (
        "How the strategies that climb along the projected gradient went: their trials in order with the best so far, "
        "and each step in words, as <code>nas show RUN --strategy greedy</code> tells it."
    )
    walkers = [name for name in gathered.strategies if name in STRATEGIES and STRATEGIES[name].keeps_log()]
    if not walkers:
        return Card(name, heading, sentence, empty="No strategy of this search keeps a log of its walk; greedy does.")
    views = []
    for budget in gathered.search.budgets:
        figures = tuple(figure for walker in walkers if (figure := _steps(gathered, walker, budget)))
        if figures:
            views.append(View(figures, _told(gathered, walkers, budget), f"{budget:,}"))
    if not views:
        return Card(name, heading, sentence, empty="No trial of the walk is finished yet.")
    return Card(name, heading, sentence, tuple(views))


def _steps(gathered: Gathered, walker: str, budget: int) -> Figure | None:
    data: list[Any] = []
    for run in gathered.runs:
        own = [t for t in gathered.shown(budget) if t.run is run and t.record.strategy == walker]
        if not own:
            continue
        numbers = [trial.record.number for trial in own]
        best = np.maximum.accumulate([trial.record.accuracy if trial.record.is_measured else 0.0 for trial in own])
        shade = f"$s{len(data) // 2 % SERIES}" if gathered.has_seeds else colour(gathered.strategies, walker)
        label = f"seed {run.search.seed}" if gathered.has_seeds else walker
        symbols = ["circle-open" if trial.record.stopped else "circle" for trial in own]
        style: dict[str, Any] = {"mode": "lines+markers", "line": {"width": 0.5, "color": shade}, "opacity": 0.75}
        style["marker"] = {"size": 7, "color": shade, "symbol": symbols}
        data.append(points(label, own, numbers, [trial.record.value for trial in own], **style))
        style = {"mode": "lines", "line": {"shape": "hv", "width": 2, "color": shade}, "hoverinfo": "skip"}
        data.append(trace(f"{label}, best so far", numbers, [float(value) or None for value in best], **style))
    layout = {"xaxis": axis(f"trial of {walker}"), "yaxis": PERCENT}
    return Figure(f"walk-{walker}-{budget}", f"The walk of {walker} at {budget:,}", data, layout, 360) if data else None


def _told(gathered: Gathered, walkers: Sequence[str], budget: int) -> str:
    parts = []
    for run, walker in itertools.product(gathered.runs, walkers):
        study = run.studies.get((walker, budget))
        if study is None or not isinstance(study.sampler, FeasibleSampler):
            continue
        try:
            lines = study.sampler.explain(study) or []
        except UserError as error:
            lines = [str(error)]
        items = "".join(f"<li>{escape(line)}</li>" for line in lines)
        summary = f"{escape(walker)}{seed_words(run, gathered)}: {len(lines)} steps in words"
        parts.append(f"<details><summary>{summary}</summary><ol>{items}</ol></details>")
    return "".join(parts)
