"""The card on what the workers did when."""

from typing import Any

from nas.results.pages.theme import Card, Figure, View
from nas.results.report.gather import Gathered
from nas.results.words import duration

PLACE = 100

STATES = {
    "trained": "$s0",
    "stopped": "$s4",
    "running": "$s2",
    "failed": "$bad",
}
"""Colours of the timeline."""


def card(gathered: Gathered) -> Card:
    """What the workers did when."""
    name, heading = "workers", "Workers"
    sentence = (
        "What each worker trained when, from the beginning of the search. A training that was interrupted lasts until "
        "it was taken up again and done; gaps are times in which nothing was trained."
    )
    spans = [(run, span) for run in gathered.runs for span in run.spans]
    if not spans:
        return Card(name, heading, sentence, empty="No worker has begun a trial yet.")
    longest = max(span.end for _, span in spans)
    unit, seconds = next(
        (u, s) for u, s in (("hours", 3600), ("minutes", 60), ("seconds", 1)) if longest >= 3 * s or s == 1
    )

    def row(run: Any, worker: int) -> str:
        worker_name = f"worker {worker}" if worker >= 0 else "no worker"
        return f"seed {run.search.seed} · {worker_name}" if gathered.has_seeds else worker_name

    rows = sorted({(run.search.seed, span.worker): row(run, span.worker) for run, span in spans}.items())
    data = []
    for state, shade in STATES.items():
        own = [(run, span) for run, span in spans if _shown_state(span.state) == state]
        if own:
            indices = [gathered.index.get((run.search.seed, *span.trial)) for run, span in own]
            data.append(
                {
                    "type": "bar", "orientation": "h", "name": state, "meta": "trials", "hoverinfo": "text",
                    "y": [row(run, span.worker) for run, span in own],
                    "base": [round(span.start / seconds, 4) for _, span in own],
                    "x": [round((span.end - span.start) / seconds, 4) for _, span in own],
                    "customdata": indices, "textposition": "none", "width": 0.62,
                    "marker": {"color": shade, "line": {"width": 0.5, "color": "$paper"}},
                }
            )  # fmt: skip
    layout = {
        "barmode": "overlay",
        "xaxis": {"title": {"text": unit}, "rangemode": "tozero"},
        "yaxis": {"type": "category", "categoryarray": [label for _, label in reversed(rows)], "showgrid": False},
    }
    busy = sum(
        run_seconds
        for run in gathered.runs
        for run_seconds in (record.seconds for record in run.records if record.state != "replayed")
    )
    sentence += f" {duration(busy)} of training in all."
    figure = Figure(name, "Timeline of the workers", data, layout, 130 + 34 * len(rows))
    return Card(name, heading, sentence, (View((figure,)),))


def _shown_state(state: str) -> str:
    return {"replayed": "trained", "waiting": "running"}.get(state, state)
