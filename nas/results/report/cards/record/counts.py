"""The card on what became of the proposed networks."""

from collections.abc import Sequence
from dataclasses import astuple, fields

from nas.results.pages.markup import table
from nas.results.pages.theme import Card, View
from nas.results.report.gather import Gathered
from nas.results.words import duration
from nas.search.front import Counts, count
from nas.search.records import Record
from nas.search.search import BASELINES, Search

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
    for strategy in (*gathered.strategies, BASELINES):
        for budget in gathered.search.budgets:
            own = [record for record in every if (record.strategy, record.budget) == (strategy, budget)]
            if own:
                rows.append([strategy, f"{budget:,}", *_cells(own, gathered.search)])
    names = ["budget", *(f.name.replace("_", " ") for f in fields(Counts)), "epochs", "training"]
    html = table(
        [("strategy", ""), *((name, "n") for name in names)], rows, ["all", "", *_cells(every, gathered.search)]
    )
    return Card("counts", "Counts", sentence, (View(html=html),))


def _cells(records: Sequence[Record], search: Search) -> list[str]:
    """The counts, the epochs and the time of training."""
    trained = [record for record in records if record.state != "replayed"]
    numbers = [*astuple(count(records, search)), sum(len(record.accuracies) for record in trained)]
    return [*(f"{number:,}" for number in numbers), duration(sum(record.seconds for record in trained))]
