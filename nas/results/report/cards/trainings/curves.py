"""The card on every training."""

import math
from collections.abc import Sequence
from typing import Any

from nas.results.pages.theme import BASELINE, PERCENT, Card, Figure, View, colour
from nas.results.report.gather import Gathered, Trial
from nas.results.report.trials import of_trials, predicted_interval
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
    data = []
    stopped = [trial for trial in own if trial.record.stopped]
    if stopped:
        data += _stopped_curves(stopped)
    for strategy in (*gathered.strategies, BASELINES):
        mine = [trial for trial in own if trial.record.strategy == strategy and not trial.record.stopped]
        if mine:
            is_baseline = strategy == BASELINES
            shade = BASELINE if is_baseline else colour(gathered.strategies, strategy)
            line = {"width": 1.5, "color": shade, "dash": "dot" if is_baseline else "solid"}
            data.append(_lines(mine, strategy, line=line, opacity=0.65))
    layout = {
        "xaxis": {
            "title": {"text": "epoch"},
            "dtick": math.ceil(gathered.search.epochs / 15),
            "range": [0.7, gathered.search.epochs + 0.6],
        },
        "yaxis": PERCENT,
    }
    return Figure(f"curves-{budget}", f"Curves of every training within {budget:,} parameters", data, layout, 480)


def _lines(trials: Sequence[Trial], name: str, **trace: Any) -> Any:
    """Many curves as one trace, with gaps between them."""
    owners: list[Trial | None] = []
    x: list[int | None] = []
    y: list[float | None] = []
    for trial in trials:
        accuracies = trial.record.accuracies
        owners += [*[trial] * len(accuracies), None]
        x += [*range(1, len(accuracies) + 1), None]
        y += [*(round(accuracy, 5) for accuracy in accuracies), None]
    mode = "lines+markers" if any(len(trial.record.accuracies) == 1 for trial in trials) else "lines"
    return of_trials(owners, x, y, name, **{"mode": mode, "marker": {"size": 4}, "connectgaps": False, **trace})


def _stopped_curves(stopped: Sequence[Trial]) -> list[Any]:
    grey = {"width": 1, "color": "$faint"}
    lines = _lines(stopped, "stopped", line=grey, mode="lines")
    at_stop = [len(trial.record.accuracies) for trial in stopped]
    crosses = of_trials(
        stopped,
        at_stop,
        [round(trial.record.accuracy, 5) for trial in stopped],
        "stopped here",
        marker={"symbol": "x", "size": 6, "color": "$muted"},
    )
    owners: list[Trial | None] = []
    x: list[float | None] = []
    y: list[float | None] = []
    last = [trial.run.search.epochs for trial in stopped]
    for trial, stop, end in zip(stopped, at_stop, last, strict=True):
        owners += [trial, trial, None]
        x += [stop, end, None]
        y += [round(trial.record.accuracy, 5), round(trial.record.value, 5), None]
    dotted = of_trials(owners, x, y, "to the prediction", mode="lines", line={**grey, "dash": "dot"}, opacity=0.7)
    ends = [predicted_interval(trial.record) or (trial.record.value, trial.record.value) for trial in stopped]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [
            max(0.0, round(high - trial.record.value, 5)) for trial, (_, high) in zip(stopped, ends, strict=True)
        ],
        "arrayminus": [
            max(0.0, round(trial.record.value - low, 5)) for trial, (low, _) in zip(stopped, ends, strict=True)
        ],
        "thickness": 0.75,
        "width": 0,
        "color": "$faint",
    }
    predicted = of_trials(
        stopped,
        [end + 0.15 + 0.35 * place / len(stopped) for place, end in enumerate(last)],
        [round(trial.record.value, 5) for trial in stopped],
        "predicted, 95 %",
        marker={"symbol": "circle-open", "size": 5, "color": "$muted"},
        error_y=bars,
    )
    return [lines, dotted, crosses, predicted]
