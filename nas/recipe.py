"""How the networks of a search are trained: plain data, free of torch."""

from dataclasses import dataclass

MANY_IMAGES = 10_000
"""From here on: full steps and batches, more epochs, and a tenth of the images is enough to validate on."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum at a constant rate after a linear warm-up, judged by an
    exponential moving average of its weights.

    The rate does not depend on the number of epochs, so the curves of two trials, or of a short and a long run, share
    their beginnings and can be compared. The average looks back over a fixed share of the steps so far
    (`average_share`), which anneals without a schedule.
    """

    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_steps: int = 100
    average_share: float = 0.1
    label_smoothing: float = 0.0


def recipe_for(images: int) -> Recipe:
    """The recipe for that many training images: smaller steps and batches where an epoch has few of them."""
    return Recipe() if images >= MANY_IMAGES else Recipe(batch_size=64, learning_rate=0.05, warmup_steps=10)
