"""Strategies compared over searches: the plots of the best so far against what it took, and a page of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import RunError
from nas.machine.folders import write_atomically
from nas.results.pages.markup import plotly_text
from nas.results.pages.page import page
from nas.results.pages.theme import BASELINE, PERCENT, Card, Figure, View, axis, colour, pointed, trace
from nas.search.records import Record, read_run
from nas.search.result.compare import EFFORTS, Course, Effort, courses
from nas.search.search import BASELINES, run_folder

POINTS = 150
"""Steps of a line against epochs or seconds."""

SENTENCE = (
    "Lines are means over the searches, bands reach from the worst to the best. Dotted lines are the means of the "
    "scaled baselines; poor ones lie below the range shown."
)


def write_comparison_page(runs: Sequence[Path], file: Path) -> None:
    """Best-so-far curves of the runs as one HTML file, a card a budget. Raises RunError if it cannot be written."""
    read = [read_run(run_folder(run)) for run in runs]
    found = [course for search, records in read for course in courses(search, records)]
    if not found:
        raise RunError("the runs have not finished a trial yet; there is nothing to draw")
    strategies = tuple(dict.fromkeys(course.strategy for course in found))
    every = [record for _, records in read for record in records]
    cards = []
    for budget in sorted({course.budget for course in found}):
        view = View(course_figures(strategies, found, every, budget))
        cards.append(Card(f"budget-{budget}", f"{budget:,} parameters", SENTENCE, (view,)))
    search = read[-1][0]
    title = f"Best validation accuracy so far, {search.data_name}, {search.space_name} space"
    try:
        write_atomically(file, page(title, "", cards))
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}; give --html another file") from error


def course_figures(
    strategies: Sequence[str], courses: Sequence[Course], records: Sequence[Record], budget: int
) -> tuple[Figure, ...]:
    """A plot for each effort of the courses at a budget. Lines are means over the searches, bands reach from the worst
    to the best; dotted lines are the means of the baselines among the records, by their name."""
    own = [course for course in courses if course.budget == budget]
    baselines = defaultdict[str, list[float]](list)
    for record in records:
        if record.strategy == BASELINES and record.budget == budget and record.is_measured:
            baselines[str(record.knobs["network"])].append(record.accuracy)
    means = {label: float(np.mean(accuracies)) for label, accuracies in baselines.items()}
    return tuple(_best_so_far(strategies, own, means, budget, effort) for effort in EFFORTS)


def _best_so_far(
    strategies: Sequence[str], own: Sequence[Course], baselines: Mapping[str, float], budget: int, effort: Effort
) -> Figure:
    data: list[Any] = []
    for strategy in strategies:
        if mine := [course for course in own if course.strategy == strategy]:
            data += _band(mine, effort, colour(strategies, strategy))
    most = max((float(each["x"][-1]) for each in data if each["mode"] == "lines"), default=1.0)
    shown = [accuracy for each in data for accuracy in each["y"]]
    for label, mean in baselines.items():
        style: dict[str, Any] = {
            "mode": "lines+text", "text": ["", plotly_text([label])], "textposition": "top left", "showlegend": False,
            "line": {"dash": "dot", "width": 1.5, "color": BASELINE}, "textfont": {"size": 10, "color": BASELINE},
        }  # fmt: skip
        words = pointed([[f"{label} scaled to the budget: {mean:.2%}"]] * 2)
        data.append(trace(label, [0, most], [mean, mean], **style, **words))
    layout = {
        "xaxis": axis(effort, rangemode="tozero"),
        "yaxis": PERCENT | {"range": _range(shown, baselines)},
        "hovermode": "x",
    }
    return Figure(f"best-{budget}-{effort}", f"Best accuracy so far against {effort}", data, layout, 360)


def _range(shown: Sequence[float], baselines: Mapping[str, float]) -> list[float] | None:
    """Accuracies to show: those of the strategies and of the best baseline; a poor one may lie below."""
    if not shown:
        return None
    best = max(baselines.values(), default=shown[0])
    low, high = min(*shown, best), max(*shown, best)
    room = 0.06 * (high - low) + 0.005
    return [low - room, high + room]


def _band(own: Sequence[Course], effort: Effort, shade: str) -> list[Any]:
    """Mean over the searches, and from the worst to the best, up to the effort that all of them have spent."""
    most = min(course.total(effort) for course in own)
    grid = np.arange(1, most + 1) if effort == "trials" else np.linspace(most / POINTS, most, POINTS)
    values = np.array([[course.at(effort, limit) for limit in grid] for course in own])
    known = (values > 0).all(axis=0)  # 0: no network was to be had for so little
    grid, values = np.round(grid[known], 2), values[:, known]
    if not grid.size:
        return []
    strategy, x = own[0].strategy, grid.tolist()
    style: dict[str, Any] = {"line": {"color": shade, "shape": "hv", "width": 2}, "hovertemplate": "%{y:.2%}"}
    name = f"{strategy} (n = {len(own)})"
    line = trace(name, x, values.mean(axis=0), mode="lines", legendgroup=strategy, **style)
    if len(own) == 1:
        return [line]
    edge = [*values.max(axis=0), *values.min(axis=0)[::-1]]
    style = {"fill": "toself", "fillcolor": shade, "opacity": 0.18, "hoverinfo": "skip", "showlegend": False}
    return [trace(name, [*x, *x[::-1]], edge, mode="none", legendgroup=strategy, **style), line]
