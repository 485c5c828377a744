"""What trials came to, as strategies learn from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial

from nas.search.notes import read_notes
from nas.stopping.curves import robust_range

LEAST_KNOWN = 0.8
"""Share of networks whose log-loss must be known for it to be the measure."""


@dataclass(frozen=True)
class Outcome:
    """What a trial came to. Accuracy and log-loss (nats) are nan where it failed or is still in training, the log-loss
    also where it is unknown. `measured` is False where the training was stopped and they are predictions, whose
    standard deviation is `doubt` (of the accuracy)."""

    accuracy: float
    log_loss: float = math.nan
    measured: bool = True
    doubt: float = 0.0


def outcome(trial: FrozenTrial) -> Outcome:
    """What a trial that has ended came to."""
    noted = read_notes(trial)
    accuracy = math.nan if trial.value is None else trial.value
    last_loss = noted.curve[-1][1] if noted.curve else None
    log_loss = noted.predicted_loss if noted.stopped else last_loss
    doubt = noted.predictions[-1].prediction.deviation if noted.stopped and noted.predictions else 0.0
    return Outcome(accuracy, math.nan if log_loss is None else log_loss, measured=not noted.stopped, doubt=doubt)


def worths(outcomes: Sequence[Outcome]) -> tuple[list[float], list[float]]:
    """What the networks are worth by the less noisy measure, larger is better, and what is uncertain of each beyond
    its noise: the log-loss with its sign changed (the worst of all where one diverged) or, where more lack it, the
    accuracy.

    Of 26 networks of 5,000 parameters on CIFAR-100, log-loss after one epoch ranked as accuracy after six with a
    correlation of .54, accuracy with .28; of 10,000 parameters .69 and .65 (studies/search-worth)."""
    doubts = [o.doubt for o in outcomes]
    accuracies = [o.accuracy for o in outcomes]
    finite = [-o.log_loss for o in outcomes if math.isfinite(o.log_loss)]
    if len(finite) < LEAST_KNOWN * len(outcomes):
        return accuracies, doubts
    losses = [-o.log_loss if math.isfinite(o.log_loss) else min(finite) for o in outcomes]
    low, high = robust_range(losses)
    spread, of_losses = float(np.std(accuracies)), float(np.std(np.clip(losses, low, high)))
    return losses, [doubt * of_losses / spread if spread else doubt for doubt in doubts]
