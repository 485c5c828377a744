"""The card on what the workers did when."""

from typing import Any

from nas.results.pages.theme import Card, Figure, View, axis, rounded, trace
from nas.results.report.gather import Gathered, Run, Span
from nas.results.report.trials import linked
from nas.results.words import duration

PLACE = 100

STATES = {"trained": "$s0", "stopped": "$s4", "running": "$s2", "failed": "$bad"}
"""Colours of the timeline."""

SHOWN = {"replayed": "trained", "waiting": "running"}
"""States that are shown as another."""


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
    units = (("hours", 3600), ("minutes", 60), ("seconds", 1))
    unit, seconds = next((each for each in units if longest >= 3 * each[1]), units[-1])
    rows = dict(sorted({(run.search.seed, span.worker): _row(gathered, run, span) for run, span in spans}.items()))
    data = []
    for state, shade in STATES.items():
        if own := [(run, span) for run, span in spans if SHOWN.get(span.state, span.state) == state]:
            trials = [gathered.trial(span.record) for _, span in own]
            lengths = [(span.end - span.start) / seconds for _, span in own]
            style: dict[str, Any] = {
                "type": "bar", "orientation": "h", "textposition": "none", "width": 0.62,
                "base": rounded(span.start / seconds for _, span in own),
                "marker": {"color": shade, "line": {"width": 0.5, "color": "$paper"}},
            }  # fmt: skip
            data.append(trace(state, lengths, [_row(gathered, *each) for each in own], **style, **linked(trials)))
    layout = {
        "barmode": "overlay",
        "xaxis": axis(unit, rangemode="tozero"),
        "yaxis": {"type": "category", "categoryarray": [*rows.values()][::-1], "showgrid": False},
    }
    busy = sum(record.seconds for run in gathered.runs for record in run.records if record.state != "replayed")
    sentence += f" {duration(busy)} of training in all."
    figure = Figure(name, "Timeline of the workers", data, layout, 130 + 34 * len(rows))
    return Card(name, heading, sentence, (View((figure,)),))


def _row(gathered: Gathered, run: Run, span: Span) -> str:
    worker = f"worker {span.worker}" if span.worker >= 0 else "no worker"
    return f"seed {run.search.seed} · {worker}" if gathered.has_seeds else worker
