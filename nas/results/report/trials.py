"""What the page knows of each trial: the words at the pointer, the facts and the layer table in the panel."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from nas.errors import UserError
from nas.network.folds import ShapeError, rows
from nas.network.layers import Layer, Shape
from nas.results.pages.markup import Html, plotly_text
from nas.results.report.gather import Gathered, Trial
from nas.results.words import describe, duration, layer_text
from nas.search.records import Record
from nas.search.search import BASELINES
from nas.stopping.extrapolator import Prediction

TABLE_BYTES = 2_000_000
"""Most that all layer tables may take in the page; those of the front come first, then the most accurate."""

LEVEL = 0.95


def described(gathered: Gathered) -> tuple[dict[str, Any], int]:
    """Every trial, and the layer tables by the fingerprint of the network, whose words are places in "words", as JSON
    values; and how many networks' tables did not fit into the page."""
    tables: dict[str, list[tuple[int, ...]]] = {}
    words: dict[str, int] = {}
    room, left_out = TABLE_BYTES, set()
    first = {trial.index for trial in gathered.front}
    for trial in sorted(gathered.trials, key=lambda t: (t.index not in first, -t.record.accuracy)):
        known = trial.record.network
        if known in tables or (layers := trial.run.network(trial.record)) is None or trial.run.space is None:
            continue
        table = [
            (*(words.setdefault(word, len(words)) for word in line[:3]), *line[3:])
            for line in layer_table(layers, trial.run.space.shape)
        ]
        size = len(json.dumps(table))
        if size > room:
            left_out.add(known)
        else:
            tables[known] = table
            room -= size
    trials = [_trial(trial, gathered) for trial in gathered.trials]
    return {"trials": trials, "tables": tables, "words": list(words)}, len(left_out)


def layer_table(network: Layer, shape: Shape) -> list[tuple[str, str, str, int, int]]:
    """A row a layer: where it lies, what it is, output shape, parameters, multiply-adds. Empty where the network does
    not fit the images."""
    try:
        return [
            (" / ".join(row.path), layer_text(row.layer), "×".join(map(str, row.output)), row.parameters, row.macs)
            for row in rows(network, shape)
        ]
    except ShapeError:
        return []


def stages(trial: Trial) -> dict[str, int]:
    """Parameters of each named part of the network, from input to output; empty where it cannot be built again."""
    network = trial.run.network(trial.record)
    found: dict[str, int] = {}
    try:
        for row in rows(network, trial.run.space.shape) if network and trial.run.space else ():
            part = row.path[0] if row.path else "other"
            found[part] = found.get(part, 0) + row.parameters
    except UserError:
        return {}
    return found


def title(trial: Trial, gathered: Gathered) -> str:
    """Which trial, in words."""
    record = trial.record
    which = record.knobs.get("network", "baseline") if record.strategy == BASELINES else f"{record.strategy}"
    seed = f", seed {trial.run.search.seed}" if gathered.has_seeds else ""
    return f"{which} #{record.number} at {record.budget:,}{seed}"


def outcome(record: Record) -> str:
    """What became of a trial, in words."""
    if record.state == "failed":
        return f"failed: {record.failure}"
    if record.stopped:
        return f"{record.value:.2%} predicted, stopped after epoch {record.stopped} at {record.accuracy:.2%}"
    if record.state in ("running", "waiting"):
        return f"{record.state}, {record.accuracy:.2%} after {len(record.accuracies)} epochs"
    return f"{record.accuracy:.2%} measured" + (", replayed" if record.state == "replayed" else "")


def predicted_interval(record: Record) -> tuple[float, float] | None:
    """The 95 % interval of the last prediction of a training, within 0 and 1."""
    if not record.predictions:
        return None
    last = record.predictions[-1]
    low, high = Prediction(last.mean, last.scale).interval(LEVEL)
    return max(0.0, low), min(1.0, high)


def opener(trial: Trial, text: str) -> Html:
    """A button that shows the trial in the panel."""
    return Html(f"<button class=open data-trial={trial.index}>{escape(text)}</button>")


def of_trials(trials: Sequence[Trial | None], x: Sequence[Any], y: Sequence[Any], name: str, **trace: Any) -> Any:
    """A trace whose points are trials; None where a line is interrupted."""
    indices = [None if trial is None else trial.index for trial in trials]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(x),
        "y": list(y),
        "customdata": indices,
        "meta": "trials",
        "hoverinfo": "text",
        **trace,
    }


def _trial(trial: Trial, gathered: Gathered) -> dict[str, Any]:
    record = trial.record
    name = title(trial, gathered)
    size = f"{record.parameters:,} parameters ({record.parameters / record.budget:.1%} of the budget)"
    hover = ["", size, outcome(record)[:90], *_wrapped(describe(record))]
    return {
        "title": name,
        "hover": f"<b>{plotly_text([name])}</b>" + plotly_text(hover),
        "facts": _facts(trial),
        "knobs": {name: str(value) for name, value in record.knobs.items()},
        "network": record.network,
        "epochs": trial.run.search.epochs,
        "accuracies": [round(accuracy, 5) for accuracy in record.accuracies],
        "predictions": [_prediction(*predicted[:3]) for predicted in record.predictions],
    }


def _facts(trial: Trial) -> list[tuple[str, str]]:
    record = trial.record
    facts = [
        ("outcome", outcome(record)),
        ("parameters", f"{record.parameters:,} of {record.budget:,}"),
        ("multiply-adds", f"{record.macs:,}"),
        ("weighted layers", f"{record.depth}"),
        ("trained", f"{len(record.curve) or len(record.accuracies)} epochs in {duration(record.seconds)}"),
        ("worker", f"{record.worker}" if record.worker >= 0 else "none"),
        ("fingerprint", record.network or "none"),
    ]
    if record.resumed:
        facts.insert(1, ("went on", f"{record.resumed}×, first stopped after epoch {record.first_epochs}"))
    if record.audited:
        facts.insert(1, ("audited", f"had to beat {record.audited.to_beat:.2%} after epoch {record.audited.epoch}"))
    return facts


def _prediction(epoch: int, mean: float, scale: float) -> list[float]:
    low, high = Prediction(mean, scale).interval(LEVEL)
    return [epoch, *(round(min(max(value, 0.0), 1.0), 5) for value in (low, mean, high))]


def _wrapped(text: str, width: int = 62) -> list[str]:
    """At most three lines."""
    import textwrap

    return textwrap.wrap(text, width, max_lines=3, placeholder=" …")
