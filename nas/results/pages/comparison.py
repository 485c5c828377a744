"""The comparison of strategies as one HTML page that opens without a network: best so far against what it cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nas.errors import RunError
from nas.search.compare import COSTS, Cost, Course, courses
from nas.search.records import read_run
from nas.search.search import BASELINES, run_folder

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
POINTS = 200


def comparison_page(courses: Sequence[Course], baselines: dict[int, dict[str, list[float]]], title: str) -> str:
    """A row of plots a budget, a plot for each cost. Lines are means over the searches, bands reach from the worst to
    the best; dotted lines are the means of the baselines, by budget and name."""
    budgets = sorted({course.budget for course in courses})
    strategies = list(dict.fromkeys(course.strategy for course in courses))
    titles = [f"{budget:,} parameters, against {cost}" for budget in budgets for cost in COSTS]
    figure = make_subplots(len(budgets), len(COSTS), subplot_titles=titles, vertical_spacing=0.35 / len(budgets) / 1.5)
    for row, budget in enumerate(budgets, start=1):
        for column, cost in enumerate(COSTS, start=1):
            for strategy, colour in zip(strategies, COLOURS * len(strategies), strict=False):
                own = [c for c in courses if (c.strategy, c.budget) == (strategy, budget)]
                if own:
                    first = (row, column) == (1, 1)
                    figure.add_traces(_band(own, cost, colour, legend=first), rows=row, cols=column)
            for name, accuracies in baselines.get(budget, {}).items():
                figure.add_hline(
                    float(np.mean(accuracies)),
                    line={"dash": "dot", "width": 1},
                    annotation={"text": name},
                    row=row,
                    col=column,
                )
            figure.update_xaxes(title_text=cost, row=row, col=column)
            figure.update_yaxes(tickformat=".1%", row=row, col=column)
    figure.update_layout(
        title=title, height=120 + 380 * len(budgets), template="plotly_white", legend={"orientation": "h", "y": 1.08}
    )
    page: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return page


def write_comparison_page(runs: Sequence[Path], file: Path) -> None:
    """Best-so-far curves of the runs as one HTML file. Raises RunError if it cannot be written."""
    found, baselines = [], dict[int, dict[str, list[float]]]()
    for folder in map(run_folder, runs):
        search, records = read_run(folder)
        found += courses(search, records)
        for record in records:
            if record.strategy == BASELINES and record.is_measured:
                own = baselines.setdefault(record.budget, {}).setdefault(str(record.knobs["network"]), [])
                own.append(record.accuracy)
    if not found:
        raise RunError("the runs have not finished a trial yet; there is nothing to draw")
    title = f"Best validation accuracy so far, {Path(search.dataset).stem}, {Path(search.space).stem} space"
    try:
        file.write_text(comparison_page(found, baselines, title))
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}; give --html another file") from error


def _band(own: Sequence[Course], cost: Cost, colour: str, *, legend: bool) -> list[Any]:
    """Mean over the searches, and their range, up to the cost that all of them have spent."""
    most = min(course.total(cost) for course in own)
    grid = np.arange(1, most + 1) if cost == "trials" else np.linspace(most / POINTS, most, POINTS)
    values = np.array([[course.at(cost, limit) for limit in grid] for course in own])
    values[values == 0] = np.nan  # no trial to be had for so little
    known = ~np.isnan(values).any(axis=0)
    grid, values = grid[known], values[:, known]
    strategy = own[0].strategy
    line = go.Scatter(
        x=grid,
        y=values.mean(axis=0),
        name=f"{strategy} (n = {len(own)})",
        legendgroup=strategy,
        showlegend=legend,
        line={"color": colour, "shape": "hv"},
    )
    edges = np.concatenate([values.max(axis=0), values.min(axis=0)[::-1]])
    band = go.Scatter(
        x=np.concatenate([grid, grid[::-1]]),
        y=edges,
        fill="toself",
        fillcolor=colour,
        opacity=0.15,
        line={"width": 0},
        hoverinfo="skip",
        legendgroup=strategy,
        showlegend=False,
    )
    return [band, line]
