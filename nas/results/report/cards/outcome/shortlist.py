"""The card on the few networks that may be the best of each budget."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from nas.network.serial import fingerprint
from nas.results.pages.markup import Kind, table
from nas.results.pages.theme import Card, View
from nas.results.report.gather import Gathered, Run
from nas.results.report.trials import opener, title
from nas.results.words import describe, interval_text
from nas.search.records import Record
from nas.search.result.merit import APART, Merit, merits, shortlist
from nas.space.designs import default_within

PLACE = 15


def card(gathered: Gathered) -> Card:
    """The shortlist of each budget beside the default."""
    name, heading = "shortlist", "Shortlist"
    sentence = (
        "The networks that may be the best of each budget, by their smoothed accuracy: what was observed, drawn "
        "towards what is expected of such a network, since the best of many is also the luckiest. Intervals are 95 %. "
        "<code>nas confirm</code> races these with fresh seeds and measures the winner against the space's default; "
        "margins seen in a search prove nothing."
    )
    known = [merits(run.search, run.space, run.records) if run.space else {} for run in gathered.runs]
    views = tuple(view for budget in gathered.search.budgets if (view := _view(gathered, known, budget)))
    if not views:
        trouble = gathered.runs[0].trouble
        why = "No searched network has been measured to its last epoch yet."
        return Card(name, heading, sentence, empty=f"The default is not known: {escape(trouble)}" if trouble else why)
    return Card(name, heading, sentence, views)


def _view(gathered: Gathered, known: Sequence[Mapping[str, Merit]], budget: int) -> View | None:
    rows = [row for run, own in zip(gathered.runs, known, strict=True) for row in _rows(gathered, run, own, budget)]
    numbers: list[tuple[str, Kind]] = [(n, "n") for n in ("observed", "smoothed", "95 %", "above default, points")]
    columns: list[tuple[str, Kind]] = [("parameters", ""), *numbers, ("found by", ""), ("network", "words")]
    return View(html=table(columns, rows), label=f"{budget:,}") if rows else None


def _rows(gathered: Gathered, run: Run, known: Mapping[str, Merit], budget: int) -> Iterator[list[Any]]:
    if run.space is None:
        return
    knobs = default_within(run.space, run.search.budget(budget))
    default = fingerprint(run.space.network(knobs), run.space.shape)
    by_network = {record.network: record for record in run.records if record.is_measured}
    listed = shortlist(run.records, known, budget, besides=default)
    for record in [*listed, *([by_network[default]] if default in known else [])]:
        yield _row(gathered, record, known[record.network], known.get(default), is_default=record.network == default)


def _row(gathered: Gathered, record: Record, merit: Merit, default: Merit | None, *, is_default: bool) -> list[Any]:
    trial = gathered.trial(record)
    size = f"{record.parameters:,}"
    low, high = merit.mean - APART * merit.deviation, merit.mean + APART * merit.deviation
    above = "the default" if is_default else f"{100 * (merit.mean - default.mean):+.2f}" if default else ""
    return [
        opener(trial, size) if trial else size,
        f"{record.accuracy:.2%}",
        f"{merit.mean:.2%}",
        interval_text(low, high, 1, unit="%", between=" – "),
        above,
        title(trial, gathered) if trial else "",
        describe(record),
    ]
