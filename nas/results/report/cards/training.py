"""Cards on the trainings: every curve, whether stopping them was right, what the workers did when."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from nas.results.pages.theme import BASELINE, PERCENT, Card, Figure, View, colour, merged, of_trials
from nas.results.report.gather import Gathered, Trial
from nas.results.report.trials import interval
from nas.results.words import duration
from nas.search.judging.audit import LEVELS, audit
from nas.search.search import BASELINES

MOST_CHECKED = 4_000
"""Predictions drawn against what came of them."""

STATES = {
    "trained": "$s0",
    "stopped": "$s4",
    "running": "$s2",
    "failed": "$bad",
}
"""Colours of the timeline."""


def curves_card(gathered: Gathered) -> Card:
    """Every training."""
    name, heading = "curves", "Training curves"
    sentence = (
        "Validation accuracy after each epoch of every training. Grey ones were stopped at the cross; the dotted line "
        "leads to the accuracy that was predicted for the last epoch, its bar is the 95 % interval. Click a curve for "
        "all the predictions made of it."
    )
    shown = [trial for trial in gathered.trials if trial.record.accuracies and trial.record.state != "replayed"]
    if not shown:
        return Card(name, heading, sentence, empty="No network has been trained for an epoch yet.")
    views = []
    for budget in gathered.search.budgets:
        if own := [trial for trial in shown if trial.record.budget == budget]:
            views.append(View((_curves(gathered, own, budget),), label=f"{budget:,}"))
    return Card(name, heading, sentence, tuple(views))


def _curves(gathered: Gathered, own: Sequence[Trial], budget: int) -> Figure:
    data = []
    stopped = [trial for trial in own if trial.record.stopped]
    if stopped:
        data += _stopped_curves(stopped)
    for strategy in (*gathered.strategies, BASELINES):
        mine = [trial for trial in own if trial.record.strategy == strategy and not trial.record.stopped]
        if mine:
            is_baseline = strategy == BASELINES
            shade = BASELINE if is_baseline else colour(gathered.strategies, strategy)
            line = {"width": 1.5, "color": shade, "dash": "dot" if is_baseline else "solid"}
            data.append(_lines(mine, strategy, line=line, opacity=0.65))
    layout = {
        "xaxis": {
            "title": {"text": "epoch"},
            "dtick": math.ceil(gathered.search.epochs / 15),
            "range": [0.7, gathered.search.epochs + 0.6],
        },
        "yaxis": PERCENT,
    }
    return Figure(f"curves-{budget}", f"Curves of every training within {budget:,} parameters", data, layout, 480)


def _lines(trials: Sequence[Trial], name: str, **trace: Any) -> Any:
    """Many curves as one trace, with gaps between them."""
    owners: list[Trial | None] = []
    x: list[int | None] = []
    y: list[float | None] = []
    for trial in trials:
        accuracies = trial.record.accuracies
        owners += [*[trial] * len(accuracies), None]
        x += [*range(1, len(accuracies) + 1), None]
        y += [*(round(accuracy, 5) for accuracy in accuracies), None]
    mode = "lines+markers" if any(len(trial.record.accuracies) == 1 for trial in trials) else "lines"
    return of_trials(owners, x, y, name, **{"mode": mode, "marker": {"size": 4}, "connectgaps": False, **trace})


def _stopped_curves(stopped: Sequence[Trial]) -> list[Any]:
    grey = {"width": 1, "color": "$faint"}
    lines = _lines(stopped, "stopped", line=grey, mode="lines")
    at_stop = [len(trial.record.accuracies) for trial in stopped]
    crosses = of_trials(
        stopped,
        at_stop,
        [round(trial.record.accuracy, 5) for trial in stopped],
        "stopped here",
        marker={"symbol": "x", "size": 6, "color": "$muted"},
    )
    owners: list[Trial | None] = []
    x: list[float | None] = []
    y: list[float | None] = []
    last = [trial.run.search.epochs for trial in stopped]
    for trial, stop, end in zip(stopped, at_stop, last, strict=True):
        owners += [trial, trial, None]
        x += [stop, end, None]
        y += [round(trial.record.accuracy, 5), round(trial.record.value, 5), None]
    dotted = of_trials(owners, x, y, "to the prediction", mode="lines", line={**grey, "dash": "dot"}, opacity=0.7)
    ends = [interval(trial.record) or (trial.record.value, trial.record.value) for trial in stopped]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [
            max(0.0, round(high - trial.record.value, 5)) for trial, (_, high) in zip(stopped, ends, strict=True)
        ],
        "arrayminus": [
            max(0.0, round(trial.record.value - low, 5)) for trial, (low, _) in zip(stopped, ends, strict=True)
        ],
        "thickness": 0.75,
        "width": 0,
        "color": "$faint",
    }
    predicted = of_trials(
        stopped,
        [end + 0.15 + 0.35 * place / len(stopped) for place, end in enumerate(last)],
        [round(trial.record.value, 5) for trial in stopped],
        "predicted, 95 %",
        marker={"symbol": "circle-open", "size": 5, "color": "$muted"},
        error_y=bars,
    )
    return [lines, dotted, crosses, predicted]


def audit_card(gathered: Gathered) -> Card:
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


def timeline_card(gathered: Gathered) -> Card:
    """What the workers did when."""
    name, heading = "workers", "Workers"
    sentence = (
        "What each worker trained when, from the beginning of the search. A training that was interrupted lasts until "
        "it was taken up again and done; gaps are times in which nothing was trained."
    )
    spans = [(run, span) for run in gathered.runs for span in run.spans]
    if not spans:
        return Card(name, heading, sentence, empty="No worker has begun a trial yet.")
    longest = max(span.end for _, span in spans)
    unit, seconds = next(
        (u, s) for u, s in (("hours", 3600), ("minutes", 60), ("seconds", 1)) if longest >= 3 * s or s == 1
    )

    def row(run: Any, worker: int) -> str:
        worker_name = f"worker {worker}" if worker >= 0 else "no worker"
        return f"seed {run.search.seed} · {worker_name}" if gathered.has_seeds else worker_name

    rows = sorted({(run.search.seed, span.worker): row(run, span.worker) for run, span in spans}.items())
    data = []
    for state, shade in STATES.items():
        own = [(run, span) for run, span in spans if _shown_state(span.state) == state]
        if own:
            indices = [gathered.index.get((run.search.seed, *span.trial)) for run, span in own]
            data.append(
                {
                    "type": "bar", "orientation": "h", "name": state, "meta": "trials", "hoverinfo": "text",
                    "y": [row(run, span.worker) for run, span in own],
                    "base": [round(span.start / seconds, 4) for _, span in own],
                    "x": [round((span.end - span.start) / seconds, 4) for _, span in own],
                    "customdata": indices, "textposition": "none", "width": 0.62,
                    "marker": {"color": shade, "line": {"width": 0.5, "color": "$paper"}},
                }
            )  # fmt: skip
    layout = {
        "barmode": "overlay",
        "xaxis": {"title": {"text": unit}, "rangemode": "tozero"},
        "yaxis": {"type": "category", "categoryarray": [label for _, label in reversed(rows)], "showgrid": False},
    }
    busy = sum(
        run_seconds
        for run in gathered.runs
        for run_seconds in (record.seconds for record in run.records if record.state != "replayed")
    )
    sentence += f" {duration(busy)} of training in all."
    figure = Figure(name, "Timeline of the workers", data, layout, 130 + 34 * len(rows))
    return Card(name, heading, sentence, (View((figure,)),))


def _shown_state(state: str) -> str:
    return {"replayed": "trained", "waiting": "running"}.get(state, state)
