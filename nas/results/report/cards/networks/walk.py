"""The card on the greedy walk: its trials in order, its steps in words."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from nas.errors import UserError
from nas.results.pages.theme import PERCENT, SERIES, Card, Figure, View, colour
from nas.results.report.gather import Gathered
from nas.results.report.trials import of_trials
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
        own = [
            trial
            for trial in gathered.trials
            if trial.run is run
            and (trial.record.strategy, trial.record.budget) == (walker, budget)
            and trial.record.is_finished
            and trial.record.accuracies
        ]
        if not own:
            continue
        numbers, values = [t.record.number for t in own], [round(t.record.value, 5) for t in own]
        best = np.maximum.accumulate([trial.record.accuracy if trial.record.is_measured else 0.0 for trial in own])
        shade = f"$s{len(data) // 2 % SERIES}" if gathered.has_seeds else colour(gathered.strategies, walker)
        label = f"seed {run.search.seed}" if gathered.has_seeds else walker
        symbols = ["circle-open" if trial.record.stopped else "circle" for trial in own]
        marker = {"size": 7, "color": shade, "symbol": symbols}
        line = {"width": 0.5, "color": shade}
        data.append(
            of_trials(own, numbers, values, label, mode="lines+markers", line=line, marker=marker, opacity=0.75)
        )
        data.append(
            {
                "type": "scatter", "mode": "lines", "x": numbers, "y": [round(float(v), 5) or None for v in best],
                "line": {"shape": "hv", "width": 2, "color": shade}, "hoverinfo": "skip",
                "name": f"{label}, best so far",
            }
        )  # fmt: skip
    layout = {"xaxis": {"title": {"text": f"trial of {walker}"}}, "yaxis": PERCENT}
    return Figure(f"walk-{walker}-{budget}", f"The walk of {walker} at {budget:,}", data, layout, 360) if data else None


def _told(gathered: Gathered, walkers: Sequence[str], budget: int) -> str:
    parts = []
    for run in gathered.runs:
        for walker in walkers:
            study = run.studies.get((walker, budget))
            if study is None or not isinstance(study.sampler, FeasibleSampler):
                continue
            try:
                lines = study.sampler.explain(study) or []
            except UserError as error:
                lines = [str(error)]
            seed = f", seed {run.search.seed}" if gathered.has_seeds else ""
            items = "".join(f"<li>{escape(line)}</li>" for line in lines)
            summary = f"<summary>{escape(walker)}{seed}: {len(lines)} steps in words</summary>"
            parts.append(f"<details>{summary}<ol>{items}</ol></details>")
    return "".join(parts)
