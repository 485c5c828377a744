"""Cards on what was found: accuracy against parameters, the best so far against what it cost."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from nas.results.pages.theme import BASELINE, PERCENT, Card, Figure, View, colour, merged, of_trials
from nas.results.report.cards.confirmed import confirmed_points
from nas.results.report.gather import Gathered, Trial, wilson
from nas.results.report.published import Published, known_dataset, of_others, of_reports
from nas.results.report.trials import plotly_text, title
from nas.results.words import describe
from nas.search.compare import COSTS, Cost, Course, compare_runs, courses
from nas.search.search import BASELINES

POINTS = 150
"""Steps of a best-so-far line against epochs or seconds."""

REACH = 12
"""Published networks are shown that are at most this many times larger or smaller than those of the search."""


def front_card(gathered: Gathered) -> Card:
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
    data += confirmed_points(gathered)
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
    body = []
    for trial in reversed(gathered.front):
        record = trial.record
        low, high = wilson(record.accuracy, images) if images else (0.0, 0.0)
        body.append(
            f"<tr><td><button class=open data-trial={trial.index}>{record.parameters:,}</button></td>"
            f"<td class=n>{record.accuracy:.2%}</td>"
            + (f"<td class=n>{low:.1%} – {high:.1%}</td>" if images else "")
            + f"<td class=n>{record.macs:,}</td><td>{escape(title(trial, gathered))}</td>"
            f"<td class=words>{escape(describe(record))}</td></tr>"
        )
    head = "<th>parameters</th><th class=n>accuracy</th>" + ("<th class=n>95 %</th>" if images else "")
    head += "<th class=n>multiply-adds</th><th>found by</th><th>network</th>"
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"


def best_so_far_card(gathered: Gathered) -> Card:
    """Best accuracy so far against trials, epochs and seconds."""
    name, heading = "best", "Best so far"
    every = [course for run in gathered.runs for course in courses(run.search, run.records)]
    sentence = "The best measured accuracy that each strategy had found for what it had cost by then. "
    sentence += (
        f"Lines are means over {len(gathered.runs)} seeds, bands reach from the worst to the best. "
        if gathered.has_seeds
        else "This is one search: without other seeds there is no band, and chance cannot be told from skill. "
    )
    sentence += (
        "Dotted lines are the scaled baselines; poor ones lie below the range shown. A network that several strategies "
        "propose is charged to each."
    )
    if not every:
        return Card(name, heading, sentence, empty="No strategy has finished a trial yet.")
    compared = {at["budget"]: at for at in compare_runs([(run.search, run.records) for run in gathered.runs])}
    views = []
    for budget in sorted({course.budget for course in every}):
        own = [course for course in every if course.budget == budget]
        figures = tuple(_best_so_far(gathered, own, budget, cost) for cost in COSTS)
        views.append(View(figures, _verdicts(compared[budget]), f"{budget:,}"))
    return Card(name, heading, sentence, tuple(views))


def _best_so_far(gathered: Gathered, own: Sequence[Course], budget: int, cost: Cost) -> Figure:
    data: list[Any] = []
    for strategy in gathered.strategies:
        mine = [course for course in own if course.strategy == strategy]
        if mine:
            data += _band(mine, cost, colour(gathered.strategies, strategy))
    most = max((float(trace["x"][-1]) for trace in data if trace["mode"] == "lines"), default=1.0)
    lines: list[Any] = []
    for label, accuracies in _baseline_accuracies(gathered, budget).items():
        mean = float(np.mean(accuracies))
        words = plotly_text([f"{label} scaled to the budget: {mean:.2%}"])
        lines.append(
            {
                "type": "scatter", "mode": "lines+text", "x": [0, most], "y": [mean, mean], "name": label,
                "line": {"dash": "dot", "width": 1.5, "color": BASELINE}, "hovertext": [words] * 2, "hoverinfo": "text",
                "text": ["", plotly_text([label])], "textposition": "top left", "showlegend": False,
                "textfont": {"size": 10, "color": BASELINE},
            }
        )  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": cost}, "rangemode": "tozero"},
        "yaxis": merged({"range": _range(data, lines)}, PERCENT),
        "hovermode": "x",
    }
    data += lines
    return Figure(f"best-{budget}-{cost}", f"Best accuracy so far against {cost}", data, layout, 360)


def _range(data: Sequence[Any], lines: Sequence[Any]) -> list[float] | None:
    """Accuracies to show: those of the strategies and of the best baseline; a poor one may lie below."""
    found = [accuracy for trace in data for accuracy in trace["y"]]
    if not found:
        return None
    found.append(max((line["y"][0] for line in lines), default=found[0]))
    low, high = min(found), max(found)
    room = 0.06 * (high - low) + 0.005
    return [low - room, high + room]


def _band(own: Sequence[Course], cost: Cost, shade: str) -> list[Any]:
    """Mean over the searches, and from the worst to the best, up to the cost that all of them have spent."""
    most = min(course.total(cost) for course in own)
    grid = np.arange(1, most + 1) if cost == "trials" else np.linspace(most / POINTS, most, POINTS)
    values = np.array([[course.at(cost, limit) for limit in grid] for course in own])
    known = (values > 0).all(axis=0)  # 0: no network was to be had for so little
    grid, values = np.round(grid[known], 2), np.round(values[:, known], 5)
    strategy = own[0].strategy
    if not grid.size:
        return []
    shared = {"type": "scatter", "legendgroup": strategy, "x": grid.tolist()}
    line = shared | {
        "mode": "lines",
        "name": f"{strategy} (n = {len(own)})",
        "y": values.mean(axis=0).tolist(),
        "line": {"color": shade, "shape": "hv", "width": 2},
        "hovertemplate": "%{y:.2%}",
    }
    if len(own) == 1:
        return [line]
    band = shared | {
        "mode": "none",
        "x": [*grid.tolist(), *grid[::-1].tolist()],
        "y": [*values.max(axis=0).tolist(), *values.min(axis=0)[::-1].tolist()],
        "fill": "toself",
        "fillcolor": shade,
        "opacity": 0.18,
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return [band, line]


def _baseline_accuracies(gathered: Gathered, budget: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for trial in gathered.trials:
        record = trial.record
        if record.strategy == BASELINES and record.budget == budget and record.is_measured:
            found.setdefault(str(record.knobs.get("network", "baseline")), []).append(record.accuracy)
    return found


def _verdicts(at: dict[str, Any]) -> str:
    if not at["pairs"]:
        return ""
    said: dict[tuple[str, str], list[str]] = {}
    for pair in at["pairs"]:
        key = (f"{pair['first']} and {pair['second']}", pair["verdict"])
        said.setdefault(key, []).append(f"{pair['limit']:,.0f} {pair['cost']}")
    items = [
        f"<li><b>{escape(pair)}</b>, after {escape(' or '.join(costs))}: {escape(verdict)}</li>"
        for (pair, verdict), costs in said.items()
    ]
    return f"<ul class=verdicts>{''.join(items)}</ul>"
