"""The card on where the parameters went."""

from collections import Counter
from html import escape
from typing import Any

from nas.results.pages.theme import PERCENT, SERIES, Card, Figure, View, axis, pointed, trace
from nas.results.report.gather import Gathered, Trial

PLACE = 70

ROOM = 0.06
"""Least share of a bar that has room for its figure."""


def card(gathered: Gathered) -> Card:
    """Where the parameters of the best network of each budget went."""
    name, heading = "stages", "Where the parameters went"
    sentence = (
        "The best network of each budget, and which share of the budget each of its parts takes, from input to output."
    )
    best = [(budget, trial) for budget in gathered.search.budgets if (trial := gathered.best(budget))]
    if not best:
        return Card(name, heading, sentence, empty="No network has been measured to its last epoch yet.")
    parts = {budget: _parts(trial) for budget, trial in best}
    if not any(parts.values()):
        why = escape(gathered.runs[0].trouble) or "its networks cannot be built again"
        return Card(name, heading, sentence, empty=f"The search space cannot be read: {why}.")
    order = list(dict.fromkeys(part for found in parts.values() for part in found))
    order.sort(key=lambda part: part == "head")
    labels = [f"{budget:,}" for budget, _ in best]
    data = []
    for place, part in enumerate(order):
        counts = [parts[budget].get(part, 0) for budget, _ in best]
        shares = [count / budget for count, (budget, _) in zip(counts, best, strict=True)]
        told = [
            [f"{part}: {count:,} parameters ({share:.1%} of {label})"]
            for count, share, label in zip(counts, shares, labels, strict=True)
        ]
        style: dict[str, Any] = {
            "type": "bar", "orientation": "h", "customdata": [trial.index for _, trial in best],
            "text": [f"{share:.0%}" if share >= ROOM else "" for share in shares], "textposition": "inside",
            "insidetextanchor": "middle", "textangle": 0, "insidetextfont": {"color": "$paper"},
            "marker": {"color": f"$s{place % SERIES}", "line": {"width": 1, "color": "$paper"}},
        }  # fmt: skip
        data.append(trace(part, shares, labels, **style, **pointed(told)))
    layout = {
        "barmode": "stack",
        "xaxis": axis("share of the budget", range=[0, 1.005], **PERCENT),
        "yaxis": axis("budget", type="category", categoryarray=labels[::-1], showgrid=False),
        "bargap": 0.35,
    }
    figure = Figure(name, "Parameters of the best networks by part", data, layout, 150 + 52 * len(best))
    return Card(name, heading, sentence, (View((figure,)),))


def _parts(trial: Trial) -> Counter[str]:
    """Parameters of each named part of the network, from input to output; none where it cannot be built again."""
    found = Counter[str]()
    for row in trial.run.rows(trial.record):
        found[row.path[0] if row.path else "other"] += row.parameters
    return found
