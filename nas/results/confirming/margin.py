"""What the search gained: the margin of its network over the space's default, with its interval and in words."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import special

CONFIDENCE = 0.95

FEWEST_SEEDS = 3
"""Values from which on an interval is told: of two it spans half of all accuracies."""


@dataclass(frozen=True)
class Margin:
    """How many accuracy points a network is above another in the mean of `n` paired differences, and the 95 % interval
    of that mean; None where the differences are fewer than three or all equal."""

    difference: float
    low: float | None
    high: float | None
    n: int

    @property
    def is_claim(self) -> bool:
        """Whether the interval lies above 0."""
        return self.low is not None and self.low > 0


def margin(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Margin | None:
    """The margin of accuracies (0–1) over others, by the seeds that both were trained with; None where there is none.

    The interval is Student's t of the paired differences. It holds only of seeds by which `ours` was not chosen.
    """
    return margin_of([100 * (ours[seed] - theirs[seed]) for seed in ours if seed in theirs])


def margin_of(differences: Sequence[float]) -> Margin | None:
    """The margin of those differences in accuracy points, None where there are none."""
    if not differences:
        return None
    mean, reach = statistics.mean(differences), reach_of(differences)
    low, high = (None, None) if reach is None else (mean - reach, mean + reach)
    return Margin(mean, low, high, len(differences))


def reach_of(values: Sequence[float]) -> float | None:
    """Half the 95 % interval of the mean by Student's t; None where the values are too few, or all equal."""
    if len(values) < FEWEST_SEEDS or len(set(values)) == 1:
        return None
    quantile = float(special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def in_words(found: Margin | None, *, unit: str = "") -> str:
    """The margin as it is told everywhere; `unit` is what is counted where that is no seed.

    >>> in_words(Margin(1.83, 0.94, 2.72, 5))
    'against the default: +1.8 points, 95 % interval 0.9 to 2.7, n = 5'
    >>> in_words(Margin(0.3, -0.42, 1.02, 5))
    'no difference to the default shown: +0.3 points, 95 % interval -0.4 to 1.0, n = 5'
    >>> in_words(Margin(-1.5, -2.0, -1.0, 5))
    'the default is better: -1.5 points, 95 % interval -2.0 to -1.0, n = 5'
    >>> in_words(Margin(1.83, None, None, 2))
    'no difference to the default shown: +1.8 points, n = 2, too few for an interval'
    >>> in_words(None)
    'not compared with the default'
    """
    if found is None:
        return "not compared with the default"
    n = f"n = {found.n}" + (f" {unit}" if unit else "")
    figures = f"{found.difference:+.1f} points"
    if found.low is None or found.high is None:
        few = ", too few for an interval" if found.n < FEWEST_SEEDS else ", all differences equal"
        return f"no difference to the default shown: {figures}, {n}{few}"
    verdict = "no difference to the default shown"
    if found.is_claim:
        verdict = "against the default"
    elif found.high < 0:
        verdict = "the default is better"
    return f"{verdict}: {figures}, 95 % interval {_end(found.low)} to {_end(found.high)}, {n}"


def _end(value: float) -> str:
    """An end of an interval: to a tenth, or as many digits as show on which side of 0 it lies."""
    digits = next((digits for digits in (1, 2, 3) if round(value, digits)), 1)
    return f"{value:.{digits}f}"
