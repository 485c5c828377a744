"""What one epoch of a training showed."""

from collections.abc import Iterable
from dataclasses import dataclass

from nas.stored import Duration, Loss, Positive, Share


@dataclass(frozen=True)
class Epoch:
    """What one epoch showed. Accuracy 0–1 and loss (nats) on the validation split are of the averaged weights; None
    where that split is empty."""

    epoch: Positive
    train_loss: Loss
    validation_loss: Loss | None
    validation_accuracy: Share | None
    seconds: Duration


def validation_losses(epochs: Iterable[Epoch]) -> list[float]:
    """Those of the epochs that have one, which is of all or of none."""
    return [epoch.validation_loss for epoch in epochs if epoch.validation_loss is not None]


def validation_accuracies(epochs: Iterable[Epoch]) -> list[float]:
    """Those of the epochs that have one, which is of all or of none."""
    return [epoch.validation_accuracy for epoch in epochs if epoch.validation_accuracy is not None]
