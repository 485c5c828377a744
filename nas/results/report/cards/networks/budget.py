"""The card on how much of its budget each network uses."""

from nas.results.pages.theme import PERCENT, Card, Figure, View, axis, colour
from nas.results.report.gather import Gathered
from nas.results.report.trials import points

PLACE = 90


def card(gathered: Gathered) -> Card:
    """How much of its budget each proposed network uses."""
    name, heading = "budget", "Use of the budget"
    sentence = (
        "How much of its budget each proposed network uses. Nothing may lie above the line. A share of the trials "
        f"({gathered.search.below:.0%}) aims at smaller networks, so that the front is worth looking at."
    )
    proposed = [trial for trial in gathered.trials if trial.record.network]
    if not proposed:
        return Card(name, heading, sentence, empty="No network has been proposed yet.")
    data = []
    for strategy, own in gathered.by_strategy(proposed).items():
        numbers, shares = [t.record.number for t in own], [t.record.parameters / t.record.budget for t in own]
        marker = {"size": 6, "color": colour(gathered.strategies, strategy), "opacity": 0.7}
        data.append(points(strategy, own, numbers, shares, marker=marker))
    limit = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1}
    layout = {
        "xaxis": axis("trial"),
        "yaxis": axis("share of the budget", range=[0, 1.08], **PERCENT),
        "shapes": [limit | {"line": {"dash": "dash", "width": 1.5, "color": "$bad"}}],
    }
    return Card(name, heading, sentence, (View((Figure(name, "Share of the budget by trial", data, layout, 380),)),))
