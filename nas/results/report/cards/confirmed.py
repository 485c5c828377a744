"""What `nas confirm` measured: the card, and the points beside the front."""

from html import escape
from typing import Any

from nas.results.pages.theme import Card, View
from nas.results.report.gather import Gathered
from nas.results.report.trials import plotly_text
from nas.results.words import times


def confirmed_card(gathered: Gathered) -> Card:
    """The winners trained in full and tested."""
    name, heading = "confirmed", "Confirmed"
    sentence = (
        "The best networks of each budget, trained in full from other random numbers and tested. Only these are "
        "accuracies to quote: what a search reports of its own winner is flattered by the choice."
    )
    rows = [row for run in gathered.runs if run.confirmed for row in run.confirmed.get("networks", [])]
    if not rows:
        empty = "Nothing is confirmed yet: <code>nas confirm RUN</code> trains the winners in full and tests them once."
        return Card(name, heading, sentence, empty=empty)
    reads = sum(int(run.confirmed.get("test_reads", 0)) for run in gathered.runs if run.confirmed)
    body = "".join(_confirmed_row(row) for row in rows)
    head = "<th>network</th><th class=n>budget</th><th class=n>parameters</th><th class=n>validation</th>"
    head += "<th class=n>test</th><th class=n>95 %</th><th class=n>n</th><th class=n>gap, points</th>"
    html = f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    return Card(name, heading, f"{sentence} The test split was read {times(reads)}.", (View(html=html),))


def _confirmed_row(row: dict[str, Any]) -> str:
    validation, test = row.get("validation"), row.get("test")
    gap = f"{100 * (validation['mean'] - test['mean']):+.2f}" if validation and test else ""
    interval = f"{test['low']:.2%} – {test['high']:.2%}" if test and test.get("low") is not None else ""
    cells = [
        f"{int(row['budget']):,}",
        f"{int(row['parameters']):,}",
        _mean(validation),
        _mean(test) or escape(str(row.get("dropped") or "")) or "not tested",
        interval,
        f"{int(test['n'])}" if test else "",
        gap,
    ]
    return f"<tr><td>{escape(str(row['label']))}</td>" + "".join(f"<td class=n>{cell}</td>" for cell in cells) + "</tr>"


def _mean(found: dict[str, Any] | None) -> str:
    if not found:
        return ""
    spread = found.get("deviation")
    return f"{found['mean']:.2%}" + ("" if spread is None else f" ± {100 * spread:.2f}")


def confirmed_points(gathered: Gathered) -> list[Any]:
    """The trace of test accuracies with their intervals; none where nothing was tested."""
    every = [row for run in gathered.runs if run.confirmed for row in run.confirmed.get("networks", [])]
    rows = [row for row in every if row.get("test")]
    if not rows:
        return []
    tests = [row["test"] for row in rows]
    ends = [(test["mean"], test["mean"]) if test.get("low") is None else (test["low"], test["high"]) for test in tests]
    bars = {
        "type": "data", "symmetric": False, "thickness": 1.5, "width": 4, "color": "$good",
        "array": [high - test["mean"] for test, (_, high) in zip(tests, ends, strict=True)],
        "arrayminus": [test["mean"] - low for test, (low, _) in zip(tests, ends, strict=True)],
    }  # fmt: skip
    words = [
        plotly_text([str(row["label"]), f"{_mean(row['test'])} test accuracy, n = {row['test']['n']}"]) for row in rows
    ]
    return [
        {
            "type": "scatter", "mode": "markers", "name": "confirmed (test)", "error_y": bars,
            "x": [row["parameters"] for row in rows], "y": [test["mean"] for test in tests],
            "marker": {"symbol": "square", "size": 9, "color": "$good"}, "hovertext": words, "hoverinfo": "text",
        }
    ]  # fmt: skip
