"""A table of trainings as one HTML page that opens without a network: the table, curves, what a sweep came to."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.results.pages.markup import plotly_text, table
from nas.results.pages.page import page
from nas.results.pages.theme import PERCENT, SERIES, Card, Figure, View, axis, trace
from nas.results.table import COLUMNS, Line, line_cells

DASHES = ("solid", "dash", "dot")
COLOURS = tuple(f"$s{place}" for place in range(SERIES))


def table_page(lines: Sequence[Line]) -> str:
    """The table, then training loss and validation accuracy against epochs, means over the seeds; where values were
    varied, below that the final accuracy against the value varied first, a line for each combination of the others,
    bars of one standard deviation."""
    trained = [line for line in lines if line.trainings]
    first, *others = COLUMNS
    listed = View(html=table([(first, ""), *((name, "n") for name in others)], map(line_cells, lines)))
    figures = (
        _curves(trained, "train_loss", axis("training loss")),
        _curves(trained, "validation_accuracy", axis("validation accuracy", **PERCENT)),
    )
    sentence = "Accuracies in per cent; means and standard deviations over n seeds."
    cards = [Card("trainings", "Trainings", sentence, (listed,))]
    sentence = "Means over the seeds, up to the epoch that all of them reached. Losses are in nats."
    views, empty = ((View(figures),), "") if trained else ((), "No training has finished.")
    cards.append(Card("curves", "Training curves", sentence, views, empty))
    if varied := [line for line in trained if line.varied]:
        sentence = "The final validation accuracy, means over the seeds; bars are one standard deviation."
        cards.append(Card("sweep", "Sweep", sentence, (View((_sweep(varied),)),)))
    return page("Trainings compared", "", cards)


def _curves(trained: Sequence[Line], measure: str, measured: Any) -> Figure:
    data = []
    styles = itertools.product(DASHES, COLOURS)
    for line, (dash, colour) in zip(trained, itertools.cycle(styles), strict=False):
        shortest = min(len(metrics.epochs) for metrics in line.trainings)
        values = [[getattr(epoch, measure) for epoch in metrics.epochs[:shortest]] for metrics in line.trainings]
        if None in values[0]:  # without validation
            continue
        name = f"{line.label} (n = {len(line.trainings)})"
        style = {"mode": "lines+markers", "line": {"color": colour, "dash": dash}}
        data.append(trace(name, range(1, shortest + 1), np.mean(values, axis=0), **style))
    layout = {"xaxis": axis("epochs"), "yaxis": measured}
    title = f"{measured['title']['text']} against epochs"
    return Figure(measure, title, data, layout, 380 + 20 * len(trained))


def _sweep(lines: Sequence[Line]) -> Figure:
    first = next(iter(lines[0].varied))
    groups: dict[str, list[Line]] = {}
    for line in lines:
        others = [f"{name}={value}" for name, value in line.varied.items() if name != first]
        groups.setdefault(" ".join((line.trainings[0].model, *others)), []).append(line)
    data = []
    for (label, own), colour in zip(groups.items(), itertools.cycle(COLOURS), strict=False):
        means, values = [line.mean("accuracy") for line in own], [plotly_text([line.varied[first]]) for line in own]
        bars = {"type": "data", "array": [line.deviation("accuracy") or 0 for line in own]}
        data.append(trace(label, values, means, mode="lines+markers", error_y=bars, line={"color": colour}))
    title = "final validation accuracy"
    layout = {"xaxis": axis(first, type="category"), "yaxis": axis(title, **PERCENT)}
    return Figure("sweep", f"{title} against {first}", data, layout, 380 + 20 * len(groups))
