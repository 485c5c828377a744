"""The card on every training."""

import math
from collections.abc import Sequence
from typing import Any

from nas.results.pages.theme import PERCENT, Card, Figure, View, axis, colour, error_bars
from nas.results.report.gather import Gathered, Trial
from nas.results.report.trials import lines, points, predicted_interval
from nas.search.search import BASELINES

PLACE = 40


def card(gathered: Gathered) -> Card:
    """Every training."""
    name, heading = "curves", "Training curves"
    sentence = (
        "Validation accuracy after each epoch of every training. Grey ones were stopped at the cross; the dotted line "
        "leads to the accuracy that was predicted for the last epoch, its bar is the 95 % interval. Click a curve for "
        "all the predictions made of it."
    )
    shown = [trial for trial in gathered.trials if trial.record.accuracies and trial.record.state != "replayed"]
    if not shown:
        return Card(name, heading, sentence, empty="No network has been trained for an epoch yet.")
    views = []
    for budget in gathered.search.budgets:
        if own := [trial for trial in shown if trial.record.budget == budget]:
            views.append(View((_curves(gathered, own, budget),), label=f"{budget:,}"))
    return Card(name, heading, sentence, tuple(views))


def _curves(gathered: Gathered, own: Sequence[Trial], budget: int) -> Figure:
    stopped = [trial for trial in own if trial.record.stopped]
    data = _stopped_curves(stopped) if stopped else []
    for strategy, mine in gathered.by_strategy(trial for trial in own if not trial.record.stopped).items():
        dash = "dot" if strategy == BASELINES else "solid"
        line = {"width": 1.5, "color": colour(gathered.strategies, strategy), "dash": dash}
        mode = "lines+markers" if any(len(trial.record.accuracies) == 1 for trial in mine) else "lines"
        data.append(_lines(strategy, mine, mode=mode, line=line, opacity=0.65))
    epochs = gathered.search.epochs
    layout = {"xaxis": axis("epoch", dtick=math.ceil(epochs / 15), range=[0.7, epochs + 0.6]), "yaxis": PERCENT}
    return Figure(f"curves-{budget}", f"Curves of every training within {budget:,} parameters", data, layout, 480)


def _lines(name: str, trials: Sequence[Trial], **own: Any) -> Any:
    drawn = ((t, range(1, len(t.record.accuracies) + 1), t.record.accuracies) for t in trials)
    return lines(name, drawn, marker={"size": 4}, connectgaps=False, **own)


def _stopped_curves(stopped: Sequence[Trial]) -> list[Any]:
    grey = {"width": 1, "color": "$faint"}
    at_stop, last = [len(t.record.accuracies) for t in stopped], stopped[0].run.search.epochs
    accuracies, values = [t.record.accuracy for t in stopped], [t.record.value for t in stopped]
    ends = [
        predicted_interval(trial.record.predictions[-1]) if trial.record.predictions else (trial.record.value,) * 2
        for trial in stopped
    ]
    bars = error_bars(values, ends, thickness=0.75, width=0, color="$faint")
    cross = {"symbol": "x", "size": 6, "color": "$muted"}
    circle = {"symbol": "circle-open", "size": 5, "color": "$muted"}
    ahead = (
        (trial, (stop, last), (accuracy, value))
        for trial, stop, accuracy, value in zip(stopped, at_stop, accuracies, values, strict=True)
    )
    beside = [last + 0.15 + 0.35 * place / len(stopped) for place in range(len(stopped))]
    return [
        _lines("stopped", stopped, line=grey),
        lines("to the prediction", ahead, line={**grey, "dash": "dot"}, opacity=0.7),
        points("stopped here", stopped, at_stop, accuracies, marker=cross),
        points("predicted, 95 %", stopped, beside, values, marker=circle, error_y=bars),
    ]
