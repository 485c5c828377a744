"""The card on whether predictions held."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from nas.results.pages.theme import PERCENT, Card, Figure, View, merged
from nas.results.report.gather import Gathered
from nas.results.report.trials import of_trials
from nas.search.judging.audit import LEVELS, audit
from nas.search.search import BASELINES

PLACE = 50

MOST_CHECKED = 4_000
"""Predictions drawn against what came of them."""


def card(gathered: Gathered) -> Card:
    """Whether the predictions held."""
    name, heading = "audit", "Audit of the predictions"
    sentence = (
        "Whether trainings were stopped rightly: predictions as they were made, against what the last epoch showed. "
        "Known for trainings that came to their last epoch: those that went on, and a share of those given up that "
        "went on all the same to check."
    )
    if gathered.search.stop == "none":
        return Card(name, heading, sentence, empty="Every training ran to its last epoch (<code>--stop none</code>).")
    found = [audit(run.search, run.records) for run in gathered.runs]
    spent, full = (sum(each[key] for each in found) for key in ("epochs_spent", "epochs_in_full"))
    if not full:
        return Card(name, heading, sentence, empty="No network has been trained yet.")
    stopped, resumed, audited, wrong = (
        sum(each[key] for each in found) for key in ("stopped", "resumed", "audited", "false_stops")
    )
    html = (
        f"<p>Rule <b>{escape(gathered.search.stop)}</b>: {stopped} trainings stopped, {resumed} went on later; "
        f"{spent:,} of {full:,} epochs were spent ({spent / full:.0%}). Audited: {audited} given up went on all the "
        f"same, and {wrong} of them beat what they had to beat.</p>"
    )
    if not sum(each["predictions"] for each in found):
        html += "<p class=quiet>No prediction can be checked yet: no predicted training has come to its last epoch.</p>"
        return Card(name, heading, sentence, (View(html=html),))
    figures = (_checked(gathered), _coverage(found), _ranks(found))
    return Card(name, heading, sentence, (View(figures, html),))


def _checked(gathered: Gathered) -> Figure:
    every = [
        (trial, predicted)
        for trial in gathered.trials
        if trial.record.strategy != BASELINES and trial.record.state == "trained" and trial.record.is_measured
        for predicted in trial.record.predictions
    ]
    every = every[:: max(1, len(every) // MOST_CHECKED)]
    measured = [round(trial.record.accuracy, 5) for trial, _ in every]
    predicted = [round(p.mean, 5) for _, p in every]
    marker = {
        "size": 6,
        "opacity": 0.75,
        "color": [p.epoch for _, p in every],
        "colorscale": "Viridis",
        "showscale": True,
        "colorbar": {
            "title": {"text": "epoch"},
            "thickness": 10,
            "len": 0.8,
            "dtick": math.ceil(gathered.search.epochs / 8),
            "outlinewidth": 0,
        },
    }
    low, high = min((*measured, *predicted)), max((*measured, *predicted))
    diagonal = {
        "type": "scatter", "mode": "lines", "x": [low, high], "y": [low, high], "hoverinfo": "skip",
        "line": {"dash": "dot", "width": 1, "color": "$muted"}, "showlegend": False,
    }  # fmt: skip
    points = of_trials(
        [trial for trial, _ in every], predicted, measured, "predictions", marker=marker, showlegend=False
    )
    layout = {
        "xaxis": merged({"title": {"text": "predicted"}}, PERCENT),
        "yaxis": merged({"title": {"text": "measured at the last epoch"}}, PERCENT),
    }
    return Figure("audit-checked", "Predicted against measured accuracy", [diagonal, points], layout, 380)


def _coverage(found: Sequence[dict[str, Any]]) -> Figure:
    """Over several searches, weighted by their predictions."""
    held = []
    for level in LEVELS:
        known = [(each["coverage"][str(level)], each["predictions"]) for each in found if each["predictions"]]
        held.append(float(np.average([share for share, _ in known], weights=[count for _, count in known])))
    names = [f"{level} %" for level in LEVELS]
    bars = {
        "type": "bar", "x": names, "y": held, "marker": {"color": "$s0"}, "width": 0.55, "name": "held the outcome",
        "text": [f"{share:.0%}" for share in held], "textposition": "inside", "insidetextanchor": "start",
        "insidetextfont": {"color": "$paper"},
        "hovertemplate": "%{x} interval: %{y:.1%}<extra></extra>",
    }  # fmt: skip
    nominal = {
        "type": "scatter", "mode": "markers", "x": names, "y": [level / 100 for level in LEVELS], "name": "should",
        "marker": {"symbol": "line-ew-open", "size": 46, "color": "$ink", "line": {"width": 2}}, "hoverinfo": "skip",
    }  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "interval"}, "type": "category"},
        "yaxis": merged({"range": [0, 1.02]}, PERCENT),
    }
    return Figure("audit-coverage", "How often intervals held the outcome", [bars, nominal], layout, 380)


def _ranks(found: Sequence[dict[str, Any]]) -> Figure:
    """Means over the searches in which there were enough."""
    by_epoch: dict[int, dict[str, list[float]]] = {}
    for each in found:
        for at in each["rank_correlation"]:
            for key in ("prediction", "last_value"):
                if at[key] is not None:
                    by_epoch.setdefault(at["epoch"], {}).setdefault(key, []).append(at[key])
    data = []
    for key, name, shade, dash in (
        ("prediction", "prediction", "$s0", "solid"),
        ("last_value", "accuracy so far", "$muted", "dot"),
    ):
        known = [(epoch, float(np.mean(values[key]))) for epoch, values in sorted(by_epoch.items()) if key in values]
        data.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": name, "line": {"color": shade, "dash": dash},
                "x": [epoch for epoch, _ in known], "y": [round(value, 4) for _, value in known],
                "hovertemplate": "epoch %{x}: %{y:.2f}",
            }
        )  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "after epoch"}, "dtick": math.ceil(max(by_epoch, default=1) / 8)},
        "yaxis": {"title": {"text": "rank correlation with the outcome"}},
        "hovermode": "x",
    }
    return Figure("audit-ranks", "Rank correlation of prediction and outcome by epoch", data, layout, 380)
