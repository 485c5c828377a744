"""The card on accuracy against size."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nas.results.pages.markup import Kind, table
from nas.results.pages.theme import BASELINE, PERCENT, Card, Figure, View, axis, colour, error_bars, pointed, trace
from nas.results.report.gather import Gathered, Trial, wilson
from nas.results.report.published import REPORT, Published, published
from nas.results.report.trials import opener, points, title
from nas.results.words import describe, interval_text, mean_text
from nas.search.search import BASELINES
from nas.space.caps import CAPS

PLACE = 10

SIZE = "parameters"
"""What the first view is drawn against."""

REACH = 12
"""Published networks are shown that are at most this many times larger or smaller than those of the search."""


def card(gathered: Gathered) -> Card:
    """Accuracy against parameters and, a tab each, all else that can be capped."""
    sentence = (
        "Every measured network, by its size and validation accuracy. The line is the Pareto front: no network on it "
        "is beaten by one that is as small. Dashed lines are budgets. Click a point for its layers."
    )
    name, heading = "front", "Accuracy and size"
    shown = [trial for trial in gathered.trials if trial.record.network and trial.record.accuracies]
    if not shown:
        return Card(name, heading, sentence, empty="No network has been trained for an epoch yet.")
    if images := gathered.search.validation_images:
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
    views = [_view(gathered, SIZE, shown, others)]
    views += [_view(gathered, cap, shown, ()) for cap in CAPS if cap != SIZE and all(t.record.has(cap) for t in shown)]
    return Card(name, heading, sentence, tuple(views))


def _view(gathered: Gathered, size: str, shown: Sequence[Trial], others: Sequence[Published]) -> View:
    """Accuracy against one of the `CAPS`."""
    images = gathered.search.validation_images
    measured = gathered.by_strategy(trial for trial in shown if trial.record.is_measured)
    baselines = measured.pop(BASELINES, [])
    front = gathered.front_by(size)
    data = [*_clouds(gathered, size, measured, shown), *_fronts(gathered, size, front, images)]
    if baselines:
        diamond = {"symbol": "diamond", "size": 10, "color": BASELINE, "line": {"width": 1, "color": "$paper"}}
        data.append(_cloud("scaled baselines", size, baselines, marker=diamond))
    data += [*_published_traces(others), *_confirmed(gathered, size)]
    budgets = [gathered.search.budget(budget) for budget in gathered.search.budgets]
    caps = sorted({most for budget in budgets for name, most in budget.caps if name == size})
    sizes = [*_sizes(shown, size), *caps, *(one.parameters for one in others)]
    low, high = max(1, min(sizes)), max(sizes)
    ends, step = [np.log10(low / 1.3), np.log10(high * 1.3)], "D2" if high / low < 60 else 1
    layout = {
        "xaxis": axis(CAPS[size].noun, type="log", range=ends, tickformat="~s", dtick=step),
        "yaxis": axis("accuracy", **PERCENT),
        "shapes": [_budget_line(most) for most in caps],
        "annotations": [_budget_label(most) for most in caps],
        "margin": {"t": 44},
    }
    name = "front" if size == SIZE else f"front-{size}"
    figure = Figure(name, f"Accuracy against {CAPS[size].noun}, with the Pareto front", data, layout, 560)
    return View((figure,), _front_table(gathered, size, front, images), CAPS[size].title)


def _sizes(trials: Iterable[Trial], size: str) -> list[int]:
    return [trial.record.has(size) or 0 for trial in trials]


def _clouds(
    gathered: Gathered, size: str, measured: Mapping[str, Sequence[Trial]], shown: Sequence[Trial]
) -> list[Any]:
    faint = {"size": 6, "symbol": "circle-open", "color": "$faint"}
    stopped = [trial for trial in shown if trial.record.stopped]
    traces = [_cloud("stopped, predicted", size, stopped, marker=faint)] if stopped else []
    for strategy, own in measured.items():
        marker = {"size": 7, "color": colour(gathered.strategies, strategy), "opacity": 0.6}
        traces.append(_cloud(f"{strategy}, measured", size, own, marker=marker))
    return traces


def _cloud(name: str, size: str, own: Sequence[Trial], **look: Any) -> Any:
    return points(name, own, _sizes(own, size), [t.record.value for t in own], **look)


def _fronts(gathered: Gathered, size: str, front: Sequence[Trial], images: int) -> list[Any]:
    style: dict[str, Any] = {"mode": "lines", "hoverinfo": "skip", "legendgroup": "seeds"}
    style["line"] = {"shape": "hv", "width": 1, "color": "$faint"}
    traces = []
    for run in gathered.runs if gathered.has_seeds else ():
        own, is_first = Gathered((run,)).front_by(size), run is gathered.runs[0]
        x, y = _sizes(own, size), [t.record.accuracy for t in own]
        traces.append(trace("front of each seed", x, y, showlegend=is_first, **style))
    style = {"mode": "lines+markers", "marker": {"size": 8, "color": "$ink"}}
    style["line"] = {"shape": "hv", "width": 2, "color": "$ink"}
    if images:
        accuracies = [t.record.accuracy for t in front]
        ends = [wilson(accuracy, images) for accuracy in accuracies]
        style["error_y"] = error_bars(accuracies, ends, thickness=1, width=3, color="$muted")
    return [*traces, _cloud("Pareto front", size, front, **style)] if front else traces


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


def _confirmed(gathered: Gathered, size: str) -> list[Any]:
    """The trace of test accuracies with their intervals; none where nothing was tested, or its size was not kept."""
    rows = [row for row in gathered.confirmed if row.get("test") and size in row]
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
    return [trace("confirmed (test)", [row[size] for row in rows], means, mode="markers", **style, **pointed(words))]


def _budget_line(budget: int) -> Any:
    line = {"dash": "dash", "width": 1, "color": "$muted"}
    return {"type": "line", "xref": "x", "yref": "paper", "x0": budget, "x1": budget, "y0": 0, "y1": 1, "line": line}


def _budget_label(budget: int) -> Any:
    return {
        "xref": "x", "yref": "paper", "x": np.log10(budget), "y": 0.02, "text": f"{budget:,}", "showarrow": False,
        "textangle": -90, "xanchor": "right", "yanchor": "bottom", "font": {"size": 11, "color": "$muted"},
    }  # fmt: skip


def _front_table(gathered: Gathered, size: str, front: Sequence[Trial], images: int) -> str:
    if not front:
        return "<p class=quiet>No searched network has been measured to its last epoch yet.</p>"
    others = [cap for cap in CAPS if cap != size and all(trial.record.has(cap) for trial in front)]
    rows = []
    for trial in reversed(front):
        r = trial.record
        within = [interval_text(*wilson(r.accuracy, images), 1, unit="%", between=" – ")] if images else []
        first, has = opener(trial, f"{r.has(size):,}"), [r.has(cap) for cap in others]
        rows.append([first, f"{r.accuracy:.2%}", *within, *has, title(trial, gathered), describe(r)])
    columns: list[tuple[str, Kind]] = [(CAPS[size].noun, ""), ("accuracy", "n")]
    columns += [("95 %", "n")] if images else []
    columns += [(CAPS[cap].noun, "n") for cap in others]
    return table([*columns, ("found by", ""), ("network", "words")], rows)
