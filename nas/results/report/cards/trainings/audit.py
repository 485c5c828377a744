"""The card on whether predictions held."""

import math
from collections import defaultdict
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from nas.results.pages.theme import PERCENT, Card, Figure, View, axis, trace
from nas.results.report.gather import Gathered
from nas.results.report.trials import points
from nas.search.judging.audit import LEVELS, audit
from nas.search.search import BASELINES

PLACE = 50

MOST_CHECKED = 4_000
"""Predictions drawn against what came of them."""

COUNTS = ("stopped", "resumed", "audited", "false_stops", "epochs_spent", "epochs_in_full", "predictions")
"""What is added up over the searches."""


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
    total = {key: sum(each[key] for each in found) for key in COUNTS}
    full = total["epochs_in_full"]
    if not full:
        return Card(name, heading, sentence, empty="No network has been trained yet.")
    html = (
        f"<p>Rule <b>{escape(gathered.search.stop)}</b>: {total['stopped']} trainings stopped, {total['resumed']} went "
        f"on later; {total['epochs_spent']:,} of {full:,} epochs were spent ({total['epochs_spent'] / full:.0%}). "
        f"Audited: {total['audited']} given up went on all the same, and {total['false_stops']} of them beat what they "
        "had to beat.</p>"
    )
    if not total["predictions"]:
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
    measured, predicted = [trial.record.accuracy for trial, _ in every], [p.mean for _, p in every]
    bar = {"title": {"text": "epoch"}, "thickness": 10, "len": 0.8, "outlinewidth": 0}
    bar["dtick"] = math.ceil(gathered.search.epochs / 8)
    marker: dict[str, Any] = {"size": 6, "opacity": 0.75, "colorscale": "Viridis", "showscale": True, "colorbar": bar}
    marker["color"] = [p.epoch for _, p in every]
    ends = [min(*measured, *predicted), max(*measured, *predicted)]
    line = {"dash": "dot", "width": 1, "color": "$muted"}
    data = [
        trace("as predicted", ends, ends, mode="lines", hoverinfo="skip", line=line, showlegend=False),
        points("predictions", [trial for trial, _ in every], predicted, measured, marker=marker, showlegend=False),
    ]
    layout = {"xaxis": axis("predicted", **PERCENT), "yaxis": axis("measured at the last epoch", **PERCENT)}
    return Figure("audit-checked", "Predicted against measured accuracy", data, layout, 380)


def _coverage(found: Sequence[dict[str, Any]]) -> Figure:
    """Over several searches, weighted by their predictions."""
    known = [each for each in found if each["predictions"]]
    weights = [each["predictions"] for each in known]
    held = [float(np.average([each["coverage"][str(level)] for each in known], weights=weights)) for level in LEVELS]
    names = [f"{level} %" for level in LEVELS]
    style: dict[str, Any] = {
        "type": "bar", "marker": {"color": "$s0"}, "width": 0.55, "text": [f"{share:.0%}" for share in held],
        "textposition": "inside", "insidetextanchor": "start", "insidetextfont": {"color": "$paper"},
        "hovertemplate": "%{x} interval: %{y:.1%}<extra></extra>",
    }  # fmt: skip
    marker = {"symbol": "line-ew-open", "size": 46, "color": "$ink", "line": {"width": 2}}
    should = trace("should", names, [level / 100 for level in LEVELS], mode="markers", marker=marker, hoverinfo="skip")
    layout = {"xaxis": axis("interval", type="category"), "yaxis": PERCENT | {"range": [0, 1.02]}}
    data = [trace("held the outcome", names, held, **style), should]
    return Figure("audit-coverage", "How often intervals held the outcome", data, layout, 380)


def _ranks(found: Sequence[dict[str, Any]]) -> Figure:
    """Means over the searches in which there were enough."""
    data, epochs = [], [1]
    for key, name, shade, dash in (
        ("prediction", "prediction", "$s0", "solid"),
        ("last_value", "accuracy so far", "$muted", "dot"),
    ):
        known = defaultdict[int, list[float]](list)
        for at in (at for each in found for at in each["rank_correlation"] if at[key] is not None):
            known[at["epoch"]].append(at[key])
        means = [float(np.mean(values)) for _, values in sorted(known.items())]
        style = {"line": {"color": shade, "dash": dash}, "hovertemplate": "epoch %{x}: %{y:.2f}"}
        data.append(trace(name, sorted(known), means, mode="lines+markers", **style))
        epochs += known
    layout = {
        "xaxis": axis("after epoch", dtick=math.ceil(max(epochs) / 8)),
        "yaxis": axis("rank correlation with the outcome"),
        "hovermode": "x",
    }
    return Figure("audit-ranks", "Rank correlation of prediction and outcome by epoch", data, layout, 380)
