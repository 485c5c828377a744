"""A table of trainings as one HTML page that opens without a network: the table, curves, what a sweep came to."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.results.pages.markup import plotly_text, table
from nas.results.pages.page import page
from nas.results.pages.theme import PERCENT, SERIES, Card, Figure, View, merged
from nas.results.table import COLUMNS, Line, line_cells

DASHES = ("solid", "dash", "dot")
COLOURS = tuple(f"$s{place}" for place in range(SERIES))


def table_page(lines: Sequence[Line]) -> str:
    """The table, then training loss and validation accuracy against epochs, means over the seeds; where values were
    varied, below that the final accuracy against the value varied first, a line for each combination of the others,
    bars of one standard deviation."""
    trained = [line for line in lines if line.trainings]
    first, *others = COLUMNS
    listed = table([(first, ""), *((name, "n") for name in others)], map(line_cells, lines))
    sentence = "Accuracies in per cent; means and standard deviations over n seeds."
    cards = [Card("trainings", "Trainings", sentence, (View(html=listed),))]
    sentence = "Means over the seeds, up to the epoch that all of them reached. Losses are in nats."
    figures = (
        _curves(trained, "train_loss", "training loss", {}),
        _curves(trained, "validation_accuracy", "validation accuracy", PERCENT),
    )
    cards.append(
        Card("curves", "Training curves", sentence, (View(figures),))
        if trained
        else Card("curves", "Training curves", sentence, empty="No training has finished.")
    )
    if varied := [line for line in trained if line.varied]:
        sentence = "The final validation accuracy, means over the seeds; bars are one standard deviation."
        cards.append(Card("sweep", "Sweep", sentence, (View((_sweep(varied),)),)))
    return page("Trainings compared", "", cards)


def _curves(trained: Sequence[Line], measure: str, title: str, axis: Any) -> Figure:
    styles = itertools.cycle({"color": colour, "dash": dash} for dash in DASHES for colour in COLOURS)
    data = [_curve(line, measure, style) for line, style in zip(trained, styles, strict=False)]
    layout = {"xaxis": {"title": {"text": "epochs"}}, "yaxis": merged({"title": {"text": title}}, axis)}
    return Figure(measure, f"{title} against epochs", data, layout, 380 + 20 * len(trained))


def _curve(line: Line, measure: str, style: dict[str, str]) -> Any:
    shortest = min(len(metrics.epochs) for metrics in line.trainings)
    values = [[getattr(epoch, measure) for epoch in metrics.epochs[:shortest]] for metrics in line.trainings]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plotly_text([f"{line.label} (n = {len(line.trainings)})"]),
        "x": list(range(1, shortest + 1)),
        "y": np.mean(values, axis=0).tolist(),
        "line": style,
    }


def _sweep(lines: Sequence[Line]) -> Figure:
    first = next(iter(lines[0].varied))
    groups: dict[str, list[Line]] = {}
    for line in lines:
        others = [f"{name}={value}" for name, value in line.varied.items() if name != first]
        groups.setdefault(" ".join((line.trainings[0].model, *others)), []).append(line)
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": plotly_text([label]),
            "x": [plotly_text([line.varied[first]]) for line in own],
            "y": [line.mean("accuracy") for line in own],
            "error_y": {"type": "data", "array": [line.deviation("accuracy") or 0 for line in own]},
            "line": {"color": colour},
        }
        for (label, own), colour in zip(groups.items(), itertools.cycle(COLOURS), strict=False)
    ]
    title = {"title": {"text": "final validation accuracy"}}
    layout = {
        "xaxis": {"title": {"text": plotly_text([first])}, "type": "category"},
        "yaxis": merged(title, PERCENT),
    }
    return Figure("sweep", f"final validation accuracy against {first}", data, layout, 380 + 20 * len(groups))
