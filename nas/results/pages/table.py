"""A table of trainings as one HTML page that opens without a network: the table, curves, what a sweep came to."""

import html
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from nas.results.pages.comparison import COLOURS
from nas.results.table import COLUMNS, Line, line_cells

DASHES = ("solid", "dash", "dot")

STYLE = """
body { font-family: system-ui, sans-serif; margin: 2rem; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.5rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
"""


def table_page(lines: Sequence[Line]) -> str:
    """The table, then training loss and validation accuracy against epochs, means over the seeds; where values were
    varied, below that the final accuracy against the value varied first, a line for each combination of the others,
    bars of one standard deviation."""
    plots = _plots(lines).to_html(include_plotlyjs=True, full_html=False)
    rows = "\n".join(f"<tr>{_cells('td', line_cells(line))}</tr>" for line in lines)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Trainings compared</title><style>{STYLE}</style></head>
<body><h1>Trainings compared</h1>
<table><thead><tr>{_cells("th", COLUMNS)}</tr></thead><tbody>
{rows}
</tbody></table>
<p>Accuracies in per cent; means and standard deviations over n seeds.</p>
{plots}</body></html>
"""


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts)


def _plots(lines: Sequence[Line]) -> go.Figure:
    trained = [line for line in lines if line.trainings]
    varied = [line for line in trained if line.varied]
    titles = ["training loss", "validation accuracy"]
    specs: list[list[Any]] = [[{}, {}]]
    if varied:
        first = next(iter(varied[0].varied))
        titles.append(f"final validation accuracy against {first}")
        specs.append([{"colspan": 2}, None])
    figure = make_subplots(len(specs), 2, specs=specs, subplot_titles=titles)
    styles = itertools.cycle({"color": colour, "dash": dash} for dash in DASHES for colour in COLOURS)
    for line, style in zip(trained, styles, strict=False):
        figure.add_traces([_curve(line, "train_loss", style, legend=True)], rows=1, cols=1)
        figure.add_traces([_curve(line, "validation_accuracy", style, legend=False)], rows=1, cols=2)
    figure.update_xaxes(title_text="epochs", row=1)
    figure.update_yaxes(title_text="nats", row=1, col=1)
    figure.update_yaxes(tickformat=".1%", row=1, col=2)
    if varied:
        figure.add_traces(_sweep(varied, first), rows=2, cols=1)
        figure.update_xaxes(title_text=first, type="category", row=2, col=1)
        figure.update_yaxes(tickformat=".1%", row=2, col=1)
    figure.update_layout(
        height=160 + 420 * len(specs) + 20 * len(trained),
        template="plotly_white",
        legend={"orientation": "h", "y": -0.12},
    )
    return figure


def _curve(line: Line, name: str, style: dict[str, str], *, legend: bool) -> Any:
    """Mean over the seeds up to the epoch that all of them reached."""
    shortest = min(len(metrics.epochs) for metrics in line.trainings)
    values = [[getattr(epoch, name) for epoch in metrics.epochs[:shortest]] for metrics in line.trainings]
    return go.Scatter(
        x=np.arange(1, shortest + 1),
        y=np.mean(values, axis=0),
        name=f"{line.label} (n = {len(line.trainings)})",
        legendgroup=line.label,
        showlegend=legend,
        mode="lines+markers",
        line=style,
    )


def _sweep(lines: Sequence[Line], first: str) -> list[Any]:
    groups: dict[str, list[Line]] = {}
    for line in lines:
        model = line.trainings[0].model
        others = [f"{name}={value}" for name, value in line.varied.items() if name != first]
        groups.setdefault(" ".join((model, *others)), []).append(line)
    return [
        go.Scatter(
            line={"color": colour},
            x=[line.varied[first] for line in own],
            y=[line.mean("accuracy") for line in own],
            error_y={"array": [line.deviation("accuracy") for line in own]},
            name=label,
            mode="lines+markers",
        )
        for (label, own), colour in zip(groups.items(), itertools.cycle(COLOURS), strict=False)
    ]
