"""What the page knows of each trial: the words at the pointer, the facts and the layer table in the panel."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from nas.results.pages.markup import Html, plotly_text
from nas.results.pages.theme import rounded, trace
from nas.results.report.gather import Gathered, Run, Trial
from nas.results.words import describe, duration, layer_cells
from nas.search.notes import Predicted
from nas.search.records import Record
from nas.search.search import BASELINES
from nas.space.caps import CAPS

TABLE_BYTES = 2_000_000
"""Most that all layer tables may take in the page; those of the front come first, then the most accurate."""


def described(gathered: Gathered) -> tuple[dict[str, Any], int]:
    """Every trial, and the layer tables by the fingerprint of the network, whose words are places in "words", as JSON
    values; and how many networks' tables did not fit into the page."""
    tables: dict[str, list[tuple[int, ...]]] = {}
    words: dict[str, int] = {}
    room, left_out = TABLE_BYTES, set[str]()
    first = {trial.index for trial in gathered.front}
    for trial in sorted(gathered.trials, key=lambda t: (t.index not in first, -t.record.accuracy)):
        known = trial.record.network
        if left_out and known and known not in tables:  # once there is no room, no more are made
            left_out.add(known)
            continue
        if known in tables or not (layers := trial.run.rows(trial.record)):
            continue
        cells = map(layer_cells, layers)
        table = [(*(words.setdefault(word, len(words)) for word in line[:3]), *line[3:]) for line in cells]
        size = len(json.dumps(table))
        if size > room:
            left_out.add(known)
        else:
            tables[known] = table
            room -= size
    trials = [_trial(trial, gathered) for trial in gathered.trials]
    return {"trials": trials, "tables": tables, "words": list(words)}, len(left_out)


def title(trial: Trial, gathered: Gathered) -> str:
    """Which trial, in words."""
    record = trial.record
    which = record.knobs.get("network", "baseline") if record.strategy == BASELINES else record.strategy
    return f"{which} #{record.number} at {record.budget:,}{seed_words(trial.run, gathered)}"


def seed_words(run: Run, gathered: Gathered) -> str:
    """Which search, in words, where there are several."""
    return f", seed {run.search.seed}" if gathered.has_seeds else ""


def outcome(record: Record) -> str:
    """What became of a trial, in words."""
    if record.state == "failed":
        return f"failed: {record.failure}"
    if record.stopped:
        return f"{record.value:.2%} predicted, stopped after epoch {record.stopped} at {record.accuracy:.2%}"
    if record.state in ("running", "waiting"):
        return f"{record.state}, {record.accuracy:.2%} after {len(record.accuracies)} epochs"
    return f"{record.accuracy:.2%} measured" + (", replayed" if record.state == "replayed" else "")


def predicted_interval(predicted: Predicted) -> tuple[float, float]:
    """The 95 % interval of a prediction, within 0 and 1."""
    low, high = predicted.prediction.interval(0.95)
    return max(0.0, low), min(1.0, high)


def opener(trial: Trial, text: str) -> Html:
    """A button that shows the trial in the panel."""
    return Html(f"<button class=open data-trial={trial.index}>{escape(text)}</button>")


def linked(trials: Iterable[Trial | None]) -> dict[str, Any]:
    """The properties of a trace whose points are trials; None where a line is interrupted."""
    indices = [None if trial is None else trial.index for trial in trials]
    return {"customdata": indices, "meta": "trials", "hoverinfo": "text"}


def points(name: str, trials: Iterable[Trial | None], x: Iterable[Any], y: Iterable[Any], **own: Any) -> dict[str, Any]:
    """A trace of `linked` points."""
    return trace(name, x, y, **{"mode": "markers"} | linked(trials) | own)


def lines(name: str, drawn: Iterable[tuple[Trial, Sequence[float], Sequence[float]]], **own: Any) -> dict[str, Any]:
    """A trace of many lines with gaps between them, each of a trial: its places along both axes."""
    owners, xs, ys = list[Trial | None](), list[float | None](), list[float | None]()
    for trial, x, y in drawn:
        owners += [*[trial] * len(x), None]
        xs += [*x, None]
        ys += [*y, None]
    return points(name, owners, xs, ys, **{"mode": "lines"} | own)


def _trial(trial: Trial, gathered: Gathered) -> dict[str, Any]:
    record = trial.record
    name = title(trial, gathered)
    size = f"{record.parameters:,} parameters ({record.parameters / record.budget:.1%} of the budget)"
    knobs = textwrap.wrap(describe(record), 62, max_lines=3, placeholder=" …")
    return {
        "title": name,
        "hover": f"<b>{plotly_text([name])}</b>" + plotly_text(["", size, outcome(record)[:90], *knobs]),
        "facts": _facts(trial),
        "knobs": {name: str(value) for name, value in record.knobs.items()},
        "network": record.network,
        "epochs": trial.run.search.epochs,
        "accuracies": rounded(record.accuracies),
        "predictions": [_prediction(predicted) for predicted in record.predictions],
    }


def _facts(trial: Trial) -> list[tuple[str, str]]:
    record = trial.record
    facts = [
        ("outcome", outcome(record)),
        ("parameters", f"{record.parameters:,} of {record.budget:,}"),
        ("multiply-adds", f"{record.macs:,}"),
        *((CAPS[cap].title, CAPS[cap].words(has, trial.run.search.numbers)) for cap, has in record.counted.items()),
        ("weighted layers", f"{record.depth}"),
        ("trained", f"{len(record.accuracies)} epochs in {duration(record.seconds)}"),
        ("worker", f"{record.worker}" if record.worker >= 0 else "none"),
        ("fingerprint", record.network or "none"),
    ]
    if record.resumed:
        facts.insert(1, ("went on", f"{record.resumed}×, first stopped after epoch {record.first_epochs}"))
    if record.audited:
        facts.insert(1, ("audited", f"had to beat {record.audited.to_beat:.2%} after epoch {record.audited.epoch}"))
    return facts


def _prediction(predicted: Predicted) -> list[Any]:
    low, high = predicted_interval(predicted)
    return rounded([predicted.epoch, low, min(max(predicted.mean, 0.0), 1.0), high])
