"""The card on what became of the proposed networks."""

from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any

from nas.results.pages.markup import table
from nas.results.pages.theme import Card, View
from nas.results.report.gather import Gathered
from nas.results.words import duration
from nas.search.records import Record
from nas.search.result.front import Counts, count
from nas.search.search import Search

PLACE = 110


def card(gathered: Gathered) -> Card:
    """What became of the proposed networks."""
    sentence = (
        "What became of every proposed network. Over budget must be 0: nothing larger is ever proposed, built or "
        "trained."
    )
    every = [trial.record for trial in gathered.trials]
    if not every:
        return Card("counts", "Counts", sentence, empty="Nothing has been proposed yet.")
    rows = []
    for strategy, trials in gathered.by_strategy(gathered.trials).items():
        for budget in gathered.search.budgets:
            if own := [trial.record for trial in trials if trial.record.budget == budget]:
                rows.append([strategy, budget, *_cells(own, gathered.search)])
    names = ["budget", *(f.name.replace("_", " ") for f in fields(Counts)), "epochs", "training"]
    foot = ["all", "", *_cells(every, gathered.search)]
    html = table([("strategy", ""), *((name, "n") for name in names)], rows, foot)
    return Card("counts", "Counts", sentence, (View(html=html),))


def _cells(records: Sequence[Record], search: Search) -> list[Any]:
    """The counts, the epochs and the time of training."""
    trained = [record for record in records if record.state != "replayed"]
    epochs = sum(len(record.accuracies) for record in trained)
    return [*astuple(count(records, search)), epochs, duration(sum(record.seconds for record in trained))]
