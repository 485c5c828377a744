"""The card on accuracy against parameters."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.results.pages.markup import Kind, plotly_text, table
from nas.results.pages.theme import BASELINE, PERCENT, Card, Figure, View, colour, merged
from nas.results.report.gather import Gathered, Trial, wilson
from nas.results.report.published import Published, known_dataset, of_others, of_reports
from nas.results.report.trials import of_trials, opener, title
from nas.results.words import describe, interval_text, with_spread
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
    published = _published(gathered)
    if published:
        sentence += " Published figures are test accuracies of trainings that were mostly longer."
    sizes = [trial.record.parameters for trial in shown]
    data = [*_clouds(gathered, shown), *_fronts(gathered, images), *_baselines(gathered), *_published_traces(published)]
    data += _confirmed(gathered)
    high = max([*sizes, *gathered.search.budgets, *(network.parameters for network in published)])
    low = min([*sizes, *(network.parameters for network in published)])
    layout = {
        "xaxis": {
            "type": "log",
            "title": {"text": "parameters"},
            "range": [np.log10(low / 1.3), np.log10(high * 1.3)],
            "tickformat": "~s",
            "dtick": "D2" if high / low < 60 else 1,
        },
        "yaxis": merged({"title": {"text": "accuracy"}}, PERCENT),
        "shapes": [_budget_line(budget) for budget in gathered.search.budgets],
        "annotations": [_budget_label(budget) for budget in gathered.search.budgets],
        "margin": {"t": 44},
    }
    figure = Figure(name, "Accuracy against parameters, with the Pareto front", data, layout, 560)
    return Card(name, "Accuracy and size", sentence, (View((figure,), _front_table(gathered, images)),))


def _clouds(gathered: Gathered, shown: Sequence[Trial]) -> list[Any]:
    traces = []
    for strategy in gathered.strategies:
        own = [trial for trial in shown if trial.record.strategy == strategy and trial.record.is_measured]
        if own:
            marker = {"size": 7, "color": colour(gathered.strategies, strategy), "opacity": 0.6}
            traces.append(_cloud(own, f"{strategy}, measured", marker=marker))
    if stopped := [trial for trial in shown if trial.record.stopped]:
        marker = {"size": 6, "symbol": "circle-open", "color": "$faint"}
        traces.insert(0, _cloud(stopped, "stopped, predicted", marker=marker))
    return traces


def _cloud(own: Sequence[Trial], name: str, **trace: Any) -> Any:
    return of_trials(own, [t.record.parameters for t in own], [t.record.value for t in own], name, **trace)


def _fronts(gathered: Gathered, images: int) -> list[Any]:
    traces = []
    for run in gathered.runs if gathered.has_seeds else ():
        of_run = Gathered((run,)).front
        points = [(t.record.parameters, t.record.accuracy) for t in of_run]
        line = {"shape": "hv", "width": 1, "color": "$faint"}
        traces.append(
            {
                "type": "scatter", "mode": "lines", "hoverinfo": "skip", "name": "front of each seed", "line": line,
                "x": [x for x, _ in points], "y": [y for _, y in points],
                "legendgroup": "seeds", "showlegend": run is gathered.runs[0],
            }
        )  # fmt: skip
    front = gathered.front
    bars = None
    if images:
        ends = [wilson(trial.record.accuracy, images) for trial in front]
        above = [high - trial.record.accuracy for trial, (_, high) in zip(front, ends, strict=True)]
        below = [trial.record.accuracy - low for trial, (low, _) in zip(front, ends, strict=True)]
        bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
        bars |= {"thickness": 1, "width": 3, "color": "$muted"}
    if front:
        line, marker = {"shape": "hv", "width": 2, "color": "$ink"}, {"size": 8, "color": "$ink"}
        extra = {"error_y": bars} if bars else {}
        name = "Pareto front"
        traces.append(_cloud(front, name, mode="lines+markers", line=line, marker=marker, **extra))
    return traces


def _baselines(gathered: Gathered) -> list[Any]:
    own = [t for t in gathered.trials if t.record.strategy == BASELINES and t.record.is_measured]
    marker = {"symbol": "diamond", "size": 10, "color": BASELINE, "line": {"width": 1, "color": "$paper"}}
    return [_cloud(own, "scaled baselines", marker=marker)] if own else []


def _published(gathered: Gathered) -> list[Published]:
    space = gathered.runs[0].space
    dataset = known_dataset(gathered.search, space.classes if space else None)
    sizes = [record.parameters for run in gathered.runs for record in run.records if record.network]
    if dataset is None or not sizes:
        return []
    low, high = min(sizes) / REACH, max(sizes) * REACH
    return [one for one in (*of_reports(dataset), *of_others(dataset)) if low <= one.parameters <= high]


def _published_traces(published: Sequence[Published]) -> list[Any]:
    traces = []
    kinds = (("earlier reports (test)", True, "x", "$s4"), ("published (test)", False, "star", "$s5"))
    for name, is_report, symbol, shade in kinds:
        own = [one for one in published if (one.source == "an earlier report") == is_report]
        words = [
            plotly_text([one.label, f"{one.parameters:,} parameters", f"{one.accuracy:.2%} test accuracy", one.source])
            for one in own
        ]
        marker = {"symbol": symbol, "size": 9, "color": shade}
        x, y = [one.parameters for one in own], [one.accuracy for one in own]
        trace = {"type": "scatter", "mode": "markers", "name": name, "x": x, "y": y, "marker": marker}
        if own:
            traces.append(trace | {"hovertext": words, "hoverinfo": "text"})
    return traces


def _confirmed(gathered: Gathered) -> list[Any]:
    """The trace of test accuracies with their intervals; none where nothing was tested."""
    rows = [row for row in gathered.confirmed if row.get("test")]
    if not rows:
        return []
    tests = [row["test"] for row in rows]
    ends = [(test["mean"], test["mean"]) if test.get("low") is None else (test["low"], test["high"]) for test in tests]
    bars = {
        "type": "data", "symmetric": False, "thickness": 1.5, "width": 4, "color": "$good",
        "array": [high - test["mean"] for test, (_, high) in zip(tests, ends, strict=True)],
        "arrayminus": [test["mean"] - low for test, (low, _) in zip(tests, ends, strict=True)],
    }  # fmt: skip
    shown = [with_spread(test["mean"], test["deviation"], unit="%") for test in tests]
    words = [
        plotly_text([str(row["label"]), f"{mean} test accuracy, n = {row['test']['n']}"])
        for row, mean in zip(rows, shown, strict=True)
    ]
    return [
        {
            "type": "scatter", "mode": "markers", "name": "confirmed (test)", "error_y": bars,
            "x": [row["parameters"] for row in rows], "y": [test["mean"] for test in tests],
            "marker": {"symbol": "square", "size": 9, "color": "$good"}, "hovertext": words, "hoverinfo": "text",
        }
    ]  # fmt: skip


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
        record = trial.record
        within = [interval_text(*wilson(record.accuracy, images), 1, unit="%", between=" – ")] if images else []
        rows.append(
            [
                opener(trial, f"{record.parameters:,}"),
                f"{record.accuracy:.2%}",
                *within,
                f"{record.macs:,}",
                title(trial, gathered),
                describe(record),
            ]
        )
    columns: list[tuple[str, Kind]] = [("parameters", ""), ("accuracy", "n")]
    columns += [("95 %", "n")] if images else []
    return table([*columns, ("multiply-adds", "n"), ("found by", ""), ("network", "words")], rows)
