"""Were trainings stopped rightly? Predictions as they were made, against what the last epoch showed.

Known for trainings that came to their last epoch: those that went on, and the audited, which went on in the end
although they were not worth it. The first are the promising ones: only the audited say what stopping costs.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nas.search.records import Record
from nas.search.search import BASELINES, Search
from nas.stopping.checks import ranks
from nas.stopping.curves import Prediction

LEVELS = (50, 80, 95)
"""Intervals, in percent."""

LEAST_RANKED = 3
"""Trainings of which a rank correlation is taken."""


def audit(search: Search, records: Iterable[Record]) -> dict[str, Any]:
    """What pareto.json says of stopping. Shares and correlations are None where nothing is known."""
    trained = [r for r in records if r.strategy != BASELINES and r.state in ("trained", "stopped")]
    measured = [record for record in trained if record.is_measured]
    audited = [record for record in measured if record.audited]
    longest: dict[str, int] = {}
    for record in trained:
        longest[record.network] = max(longest.get(record.network, 0), len(record.curve))
    return {
        "rule": search.stop,
        "stopped": sum(record.state == "stopped" for record in trained),
        "resumed": sum(record.resumed for record in trained),
        "audited": len(audited),
        "false_stops": sum(r.accuracy > r.audited.to_beat for r in audited if r.audited),
        "epochs_spent": sum(longest.values()),
        "epochs_in_full": search.epochs * len(longest),
        "predictions": sum(len(record.predictions) for record in measured),
        "coverage": _coverage(measured),
        "rank_correlation": [_ranked(measured, epoch) for epoch in range(1, search.epochs)] if measured else [],
    }


def _coverage(measured: Sequence[Record]) -> dict[str, float | None]:
    """Share of the intervals of each level, at every epoch at which one was given, that hold the accuracy of the last
    (see `nas.stopping.curves.Prediction.interval`)."""
    given = [(p.mean, p.scale, p.power, record.accuracy) for record in measured for p in record.predictions]
    if not given:
        return {str(level): None for level in LEVELS}
    mean, scale, power, last = np.array(given).T
    bounds = {level: Prediction(0.0, 1.0).interval(level / 100)[1] for level in LEVELS}
    off = np.abs(last - mean)
    return {str(level): float(np.mean(off <= scale * bound**power)) for level, bound in bounds.items()}


def _ranked(measured: Sequence[Record], epoch: int) -> dict[str, Any]:
    """Spearman's rank correlation with the last epoch's accuracy: of the prediction, and of the accuracy so far."""
    found = [(p.mean, r.accuracies[epoch - 1], r.accuracy) for r in measured for p in r.predictions if p.epoch == epoch]
    predicted, so_far, last = np.array(found).reshape(-1, 3).T
    return {
        "epoch": epoch,
        "trainings": len(found),
        "prediction": _correlation(predicted, last),
        "last_value": _correlation(so_far, last),
    }


def _correlation(one: Any, other: Any) -> float | None:
    """Spearman's; None of too few, or where either does not vary."""
    if len(one) < LEAST_RANKED or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])
