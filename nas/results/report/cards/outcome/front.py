"""The card on accuracy against parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.results.pages.markup import Kind, table
from nas.results.pages.theme import BASELINE, PERCENT, Card, Figure, View, axis, colour, error_bars, pointed, trace
from nas.results.report.gather import Gathered, Trial, wilson
from nas.results.report.published import REPORT, Published, published
from nas.results.report.trials import opener, points, title
from nas.results.words import describe, interval_text, mean_text
from nas.search.search import BASELINES

PLACE = 10

REACH = 12
"""Published networks are shown that are at most this many times larger or smaller than those of the search."""


def card(gathered: Gathered) -> Card:
    """Accuracy against parameters."""
    sentence = (
        "Every measured network, by its size and validation accuracy. The line is the Pareto front: no network on it "
        "is beaten by one that is as small. Dashed lines are budgets. Click a point for its layers."
    )
    name = "front"
    shown = [trial for trial in gathered.trials if trial.record.network and trial.record.accuracies]
    if not shown:
        return Card(name, "Accuracy and size", sentence, empty="No network has been trained for an epoch yet.")
    images = gathered.search.validation_images
    if images:
        sentence += (
            f" Bars on the front are 95 % intervals for the {images:,} validation images alone (Wilson); the best of "
            "many is flattered by its choice, which only <code>nas confirm</code> tells."
        )
    space = gathered.runs[0].space
    sizes = [trial.record.parameters for trial in shown]
    others = published(gathered.search, space.classes if space else None)
    others = [one for one in others if min(sizes) / REACH <= one.parameters <= max(sizes) * REACH]
    if others:
        sentence += " Published figures are test accuracies of trainings that were mostly longer."
    measured = gathered.by_strategy(trial for trial in shown if trial.record.is_measured)
    baselines = measured.pop(BASELINES, [])
    data = [*_clouds(gathered, measured, shown), *_fronts(gathered, images)]
    if baselines:
        diamond = {"symbol": "diamond", "size": 10, "color": BASELINE, "line": {"width": 1, "color": "$paper"}}
        data.append(_cloud("scaled baselines", baselines, marker=diamond))
    data += [*_published_traces(others), *_confirmed(gathered)]
    sizes += [one.parameters for one in others]
    low, high = min(sizes), max(*sizes, *gathered.search.budgets)
    ends, step = [np.log10(low / 1.3), np.log10(high * 1.3)], "D2" if high / low < 60 else 1
    layout = {
        "xaxis": axis("parameters", type="log", range=ends, tickformat="~s", dtick=step),
        "yaxis": axis("accuracy", **PERCENT),
        "shapes": [_budget_line(budget) for budget in gathered.search.budgets],
        "annotations": [_budget_label(budget) for budget in gathered.search.budgets],
        "margin": {"t": 44},
    }
    figure = Figure(name, "Accuracy against parameters, with the Pareto front", data, layout, 560)
    return Card(name, "Accuracy and size", sentence, (View((figure,), _front_table(gathered, images)),))


def _clouds(gathered: Gathered, measured: Mapping[str, Sequence[Trial]], shown: Sequence[Trial]) -> list[Any]:
    faint = {"size": 6, "symbol": "circle-open", "color": "$faint"}
    stopped = [trial for trial in shown if trial.record.stopped]
    traces = [_cloud("stopped, predicted", stopped, marker=faint)] if stopped else []
    for strategy, own in measured.items():
        marker = {"size": 7, "color": colour(gathered.strategies, strategy), "opacity": 0.6}
        traces.append(_cloud(f"{strategy}, measured", own, marker=marker))
    return traces


def _cloud(name: str, own: Sequence[Trial], **look: Any) -> Any:
    return points(name, own, [t.record.parameters for t in own], [t.record.value for t in own], **look)


def _fronts(gathered: Gathered, images: int) -> list[Any]:
    style: dict[str, Any] = {"mode": "lines", "hoverinfo": "skip", "legendgroup": "seeds"}
    style["line"] = {"shape": "hv", "width": 1, "color": "$faint"}
    traces = []
    for run in gathered.runs if gathered.has_seeds else ():
        own, is_first = Gathered((run,)).front, run is gathered.runs[0]
        x, y = [t.record.parameters for t in own], [t.record.accuracy for t in own]
        traces.append(trace("front of each seed", x, y, showlegend=is_first, **style))
    front = gathered.front
    style = {"mode": "lines+markers", "marker": {"size": 8, "color": "$ink"}}
    style["line"] = {"shape": "hv", "width": 2, "color": "$ink"}
    if images:
        accuracies = [t.record.accuracy for t in front]
        ends = [wilson(accuracy, images) for accuracy in accuracies]
        style["error_y"] = error_bars(accuracies, ends, thickness=1, width=3, color="$muted")
    return [*traces, _cloud("Pareto front", front, **style)] if front else traces


def _published_traces(others: Sequence[Published]) -> list[Any]:
    traces = []
    kinds = (("earlier reports (test)", True, "x", "$s4"), ("published (test)", False, "star", "$s5"))
    for name, is_report, symbol, shade in kinds:
        if own := [one for one in others if (one.source == REPORT) == is_report]:
            words = [
                [o.label, f"{o.parameters:,} parameters", f"{o.accuracy:.2%} test accuracy", o.source] for o in own
            ]
            marker = {"symbol": symbol, "size": 9, "color": shade}
            x, y = [one.parameters for one in own], [one.accuracy for one in own]
            traces.append(trace(name, x, y, mode="markers", marker=marker, **pointed(words)))
    return traces


def _confirmed(gathered: Gathered) -> list[Any]:
    """The trace of test accuracies with their intervals; none where nothing was tested."""
    rows = [row for row in gathered.confirmed if row.get("test")]
    if not rows:
        return []
    tests = [row["test"] for row in rows]
    means = [test["mean"] for test in tests]
    ends = [(test["mean"],) * 2 if test["low"] is None else (test["low"], test["high"]) for test in tests]
    style = {
        "error_y": error_bars(means, ends, thickness=1.5, width=4, color="$good"),
        "marker": {"symbol": "square", "size": 9, "color": "$good"},
    }
    words = [[r["label"], f"{mean_text(r['test'], '%')} test accuracy, n = {r['test']['n']}"] for r in rows]
    sizes = [row["parameters"] for row in rows]
    return [trace("confirmed (test)", sizes, means, mode="markers", **style, **pointed(words))]


def _budget_line(budget: int) -> Any:
    line = {"dash": "dash", "width": 1, "color": "$muted"}
    return {"type": "line", "xref": "x", "yref": "paper", "x0": budget, "x1": budget, "y0": 0, "y1": 1, "line": line}


def _budget_label(budget: int) -> Any:
    return {
        "xref": "x", "yref": "paper", "x": np.log10(budget), "y": 0.02, "text": f"{budget:,}", "showarrow": False,
        "textangle": -90, "xanchor": "right", "yanchor": "bottom", "font": {"size": 11, "color": "$muted"},
    }  # fmt: skip


def _front_table(gathered: Gathered, images: int) -> str:
    if not gathered.front:
        return "<p class=quiet>No searched network has been measured to its last epoch yet.</p>"
    rows = []
    for trial in reversed(gathered.front):
        r = trial.record
        within = [interval_text(*wilson(r.accuracy, images), 1, unit="%", between=" – ")] if images else []
        size = opener(trial, f"{r.parameters:,}")
        rows.append([size, f"{r.accuracy:.2%}", *within, r.macs, title(trial, gathered), describe(r)])
    columns: list[tuple[str, Kind]] = [("parameters", ""), ("accuracy", "n")]
    columns += [("95 %", "n")] if images else []
    return table([*columns, ("multiply-adds", "n"), ("found by", ""), ("network", "words")], rows)
