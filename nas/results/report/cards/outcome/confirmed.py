"""The card on what `nas confirm` measured."""

from typing import Any

from nas.results.pages.markup import table
from nas.results.pages.theme import Card, View
from nas.results.report.gather import Gathered
from nas.results.words import interval_text, mean_text, times

PLACE = 20


def card(gathered: Gathered) -> Card:
    """The winners trained in full and tested."""
    name, heading = "confirmed", "Confirmed"
    sentence = (
        "The best networks of each budget, trained in full from other random numbers and tested. Only these are "
        "accuracies to quote: what a search reports of its own winner is flattered by the choice."
    )
    if not gathered.confirmed:
        empty = "Nothing is confirmed yet: <code>nas confirm RUN</code> trains the winners in full and tests them once."
        return Card(name, heading, sentence, empty=empty)
    reads = sum(int(run.confirmed.get("test_reads", 0)) for run in gathered.runs if run.confirmed)
    numbers = ("budget", "parameters", "validation", "test", "95 %", "n", "gap, points")
    html = table([("network", ""), *((number, "n") for number in numbers)], map(_row, gathered.confirmed))
    return Card(name, heading, f"{sentence} The test split was read {times(reads)}.", (View(html=html),))


def _row(row: dict[str, Any]) -> list[Any]:
    validation, test = row.get("validation"), row.get("test")
    return [
        row["label"],
        row["budget"],
        row["parameters"],
        mean_text(validation, "%"),
        mean_text(test, "%") or row.get("dropped") or "not tested",
        interval_text(test["low"], test["high"], unit="%", between=" – ") if test else "",
        test["n"] if test else "",
        f"{100 * (validation['mean'] - test['mean']):+.2f}" if validation and test else "",
    ]
