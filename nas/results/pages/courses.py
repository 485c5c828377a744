"""The plots of strategies compared: the best accuracy so far against what it took."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.results.pages.markup import plotly_text
from nas.results.pages.theme import BASELINE, PERCENT, Figure, colour, merged
from nas.search.compare import EFFORTS, Course, Effort

POINTS = 150
"""Steps of a line against epochs or seconds."""


def course_figures(
    strategies: Sequence[str], courses: Sequence[Course], baselines: Mapping[str, Sequence[float]], budget: int
) -> tuple[Figure, ...]:
    """A plot for each effort of the courses at a budget. Lines are means over the searches, bands reach from the worst
    to the best; dotted lines are the means of the baselines, by their name."""
    own = [course for course in courses if course.budget == budget]
    return tuple(_best_so_far(strategies, own, baselines, budget, effort) for effort in EFFORTS)


def _best_so_far(
    strategies: Sequence[str],
    own: Sequence[Course],
    baselines: Mapping[str, Sequence[float]],
    budget: int,
    effort: Effort,
) -> Figure:
    data: list[Any] = []
    for strategy in strategies:
        mine = [course for course in own if course.strategy == strategy]
        if mine:
            data += _band(mine, effort, colour(strategies, strategy))
    most = max((float(trace["x"][-1]) for trace in data if trace["mode"] == "lines"), default=1.0)
    lines = [_baseline(label, accuracies, most) for label, accuracies in baselines.items()]
    layout = {
        "xaxis": {"title": {"text": effort}, "rangemode": "tozero"},
        "yaxis": merged({"range": _range(data, lines)}, PERCENT),
        "hovermode": "x",
    }
    return Figure(f"best-{budget}-{effort}", f"Best accuracy so far against {effort}", [*data, *lines], layout, 360)


def _baseline(label: str, accuracies: Sequence[float], most: float) -> Any:
    mean = float(np.mean(accuracies))
    words = plotly_text([f"{label} scaled to the budget: {mean:.2%}"])
    return {
        "type": "scatter", "mode": "lines+text", "x": [0, most], "y": [mean, mean], "name": label,
        "line": {"dash": "dot", "width": 1.5, "color": BASELINE}, "hovertext": [words] * 2, "hoverinfo": "text",
        "text": ["", plotly_text([label])], "textposition": "top left", "showlegend": False,
        "textfont": {"size": 10, "color": BASELINE},
    }  # fmt: skip


def _range(data: Sequence[Any], lines: Sequence[Any]) -> list[float] | None:
    """Accuracies to show: those of the strategies and of the best baseline; a poor one may lie below."""
    found = [accuracy for trace in data for accuracy in trace["y"]]
    if not found:
        return None
    found.append(max((line["y"][0] for line in lines), default=found[0]))
    low, high = min(found), max(found)
    room = 0.06 * (high - low) + 0.005
    return [low - room, high + room]


def _band(own: Sequence[Course], effort: Effort, shade: str) -> list[Any]:
    """Mean over the searches, and from the worst to the best, up to the effort that all of them have spent."""
    most = min(course.total(effort) for course in own)
    grid = np.arange(1, most + 1) if effort == "trials" else np.linspace(most / POINTS, most, POINTS)
    values = np.array([[course.at(effort, limit) for limit in grid] for course in own])
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
