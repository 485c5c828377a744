"""What is known of a training, and what is predicted of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy import special

TAILS = 5.0
"""Degrees of freedom of a prediction unless more is known: residuals of curves have heavier tails than the normal
distribution's."""


@dataclass(frozen=True)
class Curve:
    """What is known of a training: `values` after each epoch (larger is better, any scale), training and validation
    `losses` after each epoch (nats; None for a validation loss that is not known) and `network`, numbers that describe
    what is trained (logarithms of parameters and multiply-adds, depth). Losses and network are clues and may be left
    out.

    `forecast` is what another model says of the final value, without having seen this training: mean and deviation, as
    the values. Raises ValueError for what is not finite.
    """

    values: tuple[float, ...]
    losses: tuple[tuple[float, float | None], ...] = ()
    network: tuple[float, ...] = ()
    forecast: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a curve needs at least one value")
        if self.losses and len(self.losses) != len(self.values):
            raise ValueError(f"{len(self.values)} values but {len(self.losses)} pairs of losses")
        losses = (loss for pair in self.losses for loss in pair if loss is not None)
        if not all(map(math.isfinite, (*self.values, *self.network, *losses, *(self.forecast or ())))):
            raise ValueError("a curve must be of finite numbers")
        if self.forecast and self.forecast[1] <= 0:
            raise ValueError(f"the deviation of a forecast must be above 0 but is {self.forecast[1]}")


@dataclass(frozen=True)
class Prediction:
    """Distribution of a final value around `mean`: it deviates by `scale` times what Student's t with `TAILS` degrees
    of freedom does, raised to a power that is above 1 for heavier tails and below 1 for lighter ones.

    `scale` is 0 where the last epoch is known."""

    mean: float
    scale: float
    power: float = 1.0

    def quantile(self, share: float) -> float:
        """The value that the last epoch stays below with this probability (0 < share < 1)."""
        deviation = _deviation(share)
        return self.mean + self.scale * math.copysign(abs(deviation) ** self.power, deviation)

    def interval(self, share: float) -> tuple[float, float]:
        """The central interval that holds the value with this probability."""
        return self.quantile(0.5 - share / 2), self.quantile(0.5 + share / 2)

    @property
    def deviation(self) -> float:
        """Half the width of the interval that holds 68 %: of a normal distribution, its standard deviation."""
        return self.quantile(float(special.ndtr(1.0))) - self.mean

    def chance_above(self, value: float) -> float:
        """Probability that the last epoch ends above the value."""
        if self.scale == 0:
            return float(self.mean > value)
        deviation = (self.mean - value) / self.scale
        return float(special.stdtr(TAILS, math.copysign(abs(deviation) ** (1 / self.power), deviation)))


@lru_cache
def _deviation(share: float) -> float:
    return float(special.stdtrit(TAILS, share))


def robust_range(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest of values that are not far outliers: within three times the middle 80 % on both sides. Never
    empty: of equal values, one unit."""
    low, high = (float(bound) for bound in np.quantile(values, (0.1, 0.9)))
    low, high = low - 3 * (high - low), high + 3 * (high - low)
    kept = [value for value in values if low <= value <= high]
    return (min(kept), max(kept)) if max(kept) > min(kept) else (min(kept) - 0.5, min(kept) + 0.5)


def cut(curve: Curve, low: float, high: float) -> Curve:
    """The curve with values beyond the range cut to it."""
    if low <= min(curve.values) and max(curve.values) <= high:
        return curve
    return replace(curve, values=tuple(min(max(value, low), high) for value in curve.values))
