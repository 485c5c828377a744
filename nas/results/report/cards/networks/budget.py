"""The card on how much of its budget each network uses."""

from nas.results.pages.theme import PERCENT, Card, Figure, View, colour, merged
from nas.results.report.gather import Gathered
from nas.results.report.trials import of_trials
from nas.search.search import BASELINES

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
    for strategy in (*gathered.strategies, BASELINES):
        own = [trial for trial in proposed if trial.record.strategy == strategy]
        if own:
            shade = colour(gathered.strategies, strategy)
            shares = [round(trial.record.parameters / trial.record.budget, 5) for trial in own]
            numbers = [trial.record.number for trial in own]
            data.append(of_trials(own, numbers, shares, strategy, marker={"size": 6, "color": shade, "opacity": 0.7}))
    line = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": 1,
        "y1": 1,
        "line": {"dash": "dash", "width": 1.5, "color": "$bad"},
    }
    layout = {
        "xaxis": {"title": {"text": "trial"}},
        "yaxis": merged({"title": {"text": "share of the budget"}, "range": [0, 1.08]}, PERCENT),
        "shapes": [line],
    }
    return Card(name, heading, sentence, (View((Figure(name, "Share of the budget by trial", data, layout, 380),)),))
