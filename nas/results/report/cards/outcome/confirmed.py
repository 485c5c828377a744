"""The card on what `nas confirm` measured."""

from html import escape
from typing import Any

from nas.results.confirming.against import against_default
from nas.results.pages.markup import Html, Kind, table
from nas.results.pages.theme import Card, View
from nas.results.report.gather import Gathered
from nas.results.words import interval_text, mean_text, times, verdict_lines

PLACE = 20


def card(gathered: Gathered) -> Card:
    """The winners trained in full and tested."""
    name, heading = "confirmed", "Confirmed"
    sentence = (
        "The shortlist of each budget, raced in full from other random numbers; the winner of the race and the "
        "space's default, trained with yet other seeds and tested. Only these are accuracies to quote: what a search "
        "or a race reports of its own winner is flattered by the choice."
    )
    if not gathered.confirmed:
        empty = "Nothing is confirmed yet: <code>nas confirm RUN</code> trains the winners in full and tests them once."
        return Card(name, heading, sentence, empty=empty)
    reads = sum(int(run.confirmed.get("test_reads", 0)) for run in gathered.runs if run.confirmed)
    numbers = ("budget", "parameters", "race", "validation", "test", "95 %", "n", "gap")
    html = _verdicts(gathered)
    columns: list[tuple[str, Kind]] = [("network", ""), *((number, "n") for number in numbers)]
    html += table(columns, (cells for row in gathered.confirmed for cells in _rows(row)))
    return Card(name, heading, f"{sentence} The test split was read {times(reads)}.", (View(html=html),))


def _verdicts(gathered: Gathered) -> str:
    """The winners against the default in words."""
    items = []
    if gathered.has_seeds:
        every = against_default([(run.path, run.search, run.records) for run in gathered.runs])
        items = [f"<li>within {each.budget:,}, {escape(each.words)}</li>" for each in every if each.is_confirmed]
    for run in gathered.runs:
        where = f"seed {run.search.seed}, " if gathered.has_seeds else ""
        items += [f"<li>{escape(where + line)}</li>" for line in verdict_lines(run.confirmed or {})]
    return f"<ul class=verdicts>{''.join(items)}</ul>" if items else ""


def _rows(row: dict[str, Any]) -> list[list[Any]]:
    """The network, and below it what it came to on all training images, if it was trained on them."""
    whole = row.get("all_images")
    return [_row(row), *([_row_of_all(row, whole["test"])] if whole else [])]


def _row_of_all(row: dict[str, Any], test: dict[str, Any] | None) -> list[Any]:
    who = Html(f"<span class=quiet>{escape(row['label'])}, on all training images</span>")
    return [who, row["budget"], row["parameters"], "", "", *_tested(test), ""]


def _tested(test: dict[str, Any] | None) -> list[Any]:
    """Mean, interval and n."""
    reach = interval_text(test["low"], test["high"], 1, unit="%", between=" – ") if test else ""
    return [mean_text(test, "%"), reach, test["n"] if test else ""]


def _row(row: dict[str, Any]) -> list[Any]:
    validation, test = row.get("validation"), row.get("test")
    return [
        _who(row),
        row["budget"],
        row["parameters"],
        mean_text(row.get("race"), "%"),
        mean_text(validation, "%"),
        *_tested(test),
        f"{100 * (validation['mean'] - test['mean']):+.2f}" if validation and test else "",
    ]


def _who(row: dict[str, Any]) -> Html:
    """The network, why it was not tested, and who taught it."""
    why = row.get("dropped") or ("" if row.get("test") else "not tested")
    notes = [note for note in (why, row.get("teacher")) if note]
    return Html(escape(row["label"]) + "".join(f"<br><span class=quiet>{escape(note)}</span>" for note in notes))
