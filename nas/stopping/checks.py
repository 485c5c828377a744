"""Predictions checked against the final values that are known, each predicted as if its training had not been seen.

Three things are learnt from them. Whether what a prediction adds to the last value ranks trainings better: if not, it
is left out, and what remains is a straight line through the last values, which ranks as they do. What the forecasts of
another model are worth. And by how much intervals must be wider or narrower to hold what they promise.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from nas.stopping.curves import TAILS
from nas.stopping.families import Array

LEAST = 4
"""Trainings that are checked."""
LEAST_RANKED = 10
"""Trainings by which it can be shown that a prediction ranks better."""
SHARES = (0.25, 0.5, 0.75, 1.0)
"""Candidates of the share that is kept of what a prediction adds to the last value."""
FEW = 10.0
"""Standard errors by which it must be better: one, and this many more for a single training."""
STEEPEST = -0.95
"""Least slope of gains against last values: final values rise with the last."""
LEVELS = (0.5, 0.8, 0.95)
"""Intervals that are made to hold."""
CHOSEN = 3.0
"""Intervals are wider by this over the number of trainings: what was learnt from these was chosen to suit them."""
DOUBT = 4.0
"""Trainings that the claim that predictions are as wide as they should be is worth."""
POWERS = (0.25, 3.0)
"""Least and largest power of deviations."""
FORECAST_DOUBT = 3.0
"""Forecasts that the claim that their deviations are right is worth."""
FORECAST_SLOPE = 0.5
"""Prior deviation of the slope of final values against forecasts from 1."""


class Forecasts(NamedTuple):
    """What forecasts [curves] are worth: the final value is `centre` + `slope` * (forecast - `middle`), with their
    variances times `wider`. `mean` and `variance` are those of the final values, which no forecast need tell."""

    middle: float = 0.0
    centre: float = 0.0
    slope: float = 1.0
    wider: float = 2.0
    mean: float = 0.0
    variance: float = math.inf

    def combine(self, final: Array, scale: Array, forecast: Array, deviation: Array) -> tuple[Array, Array]:
        """Final values and their scales combined with the forecasts by their precisions, less that of knowing nothing;
        unchanged where the forecast is nan."""
        told = self.centre + self.slope * (forecast - self.middle)
        precision = 1 / (self.wider * deviation**2)
        extra = np.nan_to_num(np.maximum(precision - 1 / self.variance, 0.0))
        moment = np.nan_to_num(told * precision) - (self.mean / self.variance) * (extra > 0)
        own = 1 / scale**2
        combined = np.where(extra > 0, (final * own + moment) / (own + extra), final)
        return combined, 1 / np.sqrt(own + extra)


class Checked(NamedTuple):
    """Gains [curves] are centre + slope * last + share * (what the prediction adds to that). Then forecasts are heard,
    and scales are wider by a factor; deviations are raised to a power (see `Prediction`)."""

    centre: float = 0.0
    slope: float = 0.0
    share: float = 1.0
    forecasts: Forecasts | None = Forecasts()
    wider: float = 1.0
    power: float = 1.0

    def apply(self, last: Array, gain: Array, scale: Array, told: tuple[Array, Array]) -> tuple[Array, Array]:
        """The final value and its scale; `told` are forecasts of it and their deviations, nan where there is none."""
        plain = self.centre + self.slope * last
        final = last + plain + self.share * (gain - plain)
        if self.forecasts is not None:
            final, scale = self.forecasts.combine(final, scale, *told)
        return final, scale * self.wider

    def as_far_as(self, complete: float) -> "Checked":
        """The same where this share of the trainings came to their last epoch: those were chosen for what they
        promised, and say little of the others."""
        share = complete * self.share + 1 - complete
        wider, power = self.wider**complete, self.power**complete
        return Checked(self.centre, self.slope, share, self.forecasts, wider, power)


def check(last: Array, gain: Array, scale: Array, told: tuple[Array, Array], final: Array) -> Checked:
    """What is learnt from trainings [curves] whose final values are known: last values, predicted gains with their
    scales, and forecasts with their deviations."""
    if len(last) < LEAST:
        return Checked()
    spread = last - last.mean()
    slope = max(float(spread @ gain) / max(float(spread @ spread), 1e-12), STEEPEST)
    centre = float(gain.mean() - slope * last.mean())
    plain = last + centre + slope * last
    share = _share(last, plain, last + gain, final)
    kept = Checked(centre, slope, share, None)
    without = kept.apply(last, gain, scale, told)
    listening = Checked(centre, slope, share, _forecasts(*told, final))
    heard = listening.apply(last, gain, scale, told)
    if likelihood(*heard, final) < likelihood(*without, final):
        listening, heard = kept, without
    wider, power = _widened(np.abs(final - heard[0]) / heard[1])
    return Checked(centre, slope, share, listening.forecasts, wider, power)


def likelihood(mean: Array, scale: Array, known: Array) -> float:
    """Mean logarithm of the density of what is known: Student's t about the means."""
    half = (TAILS + 1) / 2
    height = special.gammaln(half) - special.gammaln(TAILS / 2) - math.log(TAILS * math.pi) / 2
    return float(np.mean(height - np.log(scale) - half * np.log1p(((known - mean) / scale) ** 2 / TAILS)))


def _share(last: Array, plain: Array, predicted: Array, final: Array) -> float:
    """The share of what predictions add to the plain line that ranks final values best; 0 unless it is better by more
    than chance, in rank or in size, and no worse in rank."""
    if len(last) < LEAST_RANKED:
        return 0.0
    best, chosen = 0.0, 0.0
    for share in SHARES:
        found = plain + share * (predicted - plain)
        ranked = _surely(_misplaced(last, final), _misplaced(found, final))
        nearer = _surely(np.abs(plain - final), np.abs(found - final))
        if _misplaced(found, final).sum() <= _misplaced(last, final).sum() and (merit := max(ranked, nearer)) > best:
            best, chosen = merit, share
    return chosen


def _surely(before: Array, after: Array) -> float:
    """The share by which errors [curves] have become less at least, but for chance."""
    less = before - after
    sure = float(less.mean()) - (1 + FEW / len(less)) * float(less.std()) / math.sqrt(len(less))
    return sure / max(float(before.mean()), 1e-12)


def _misplaced(values: Array, finals: Array) -> Array:
    """Squared distance of each rank from the final one [curves]: what Spearman's correlation sums."""
    distance: Array = (ranks(values) - ranks(finals)) ** 2
    return distance


def ranks(values: Array) -> Array:
    """The rank of each value from 1 on; equal ones share the mean of theirs. (`scipy.stats` takes longer to import than
    all else that a worker needs beside torch.)

    >>> ranks(np.array([0.3, 0.1, 0.3])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    mean: Array = np.cumsum(count) - (count - 1) / 2
    return mean[place]


def _forecasts(forecast: Array, deviation: Array, final: Array) -> Forecasts:
    """A regression of final values on the forecasts that there are, which are believed until shown wrong."""
    told = ~np.isnan(forecast)
    if told.sum() < LEAST:
        return Forecasts()
    x, y, d = forecast[told], final[told], deviation[told]
    design = np.column_stack([np.ones(len(x)), x - x.mean()]) / d[:, None]
    precision = design.T @ design + np.diag([1.0, FORECAST_SLOPE**-2])
    level, tilt = np.linalg.solve(precision, design.T @ ((y - x) / d))
    residuals = (y - x - level - tilt * (x - x.mean())) / d
    wider = (FORECAST_DOUBT + float(residuals @ residuals)) / (FORECAST_DOUBT + len(x))
    return Forecasts(x.mean(), x.mean() + level, 1 + tilt, wider, float(final.mean()), float(final.var(ddof=1)))


def _widened(off: Array) -> tuple[float, float]:
    """The factor and the power of deviations for residuals in units of the scale [curves] to be as large as promised: a
    straight line through the logarithms of their quantiles, which are those of conformal prediction (Vovk et al. 2005),
    shrunk towards no correction."""
    found = np.log(np.maximum([float(np.quantile(off, level, method="weibull")) for level in LEVELS], 1e-6))
    promised = np.log(special.stdtrit(TAILS, (1 + np.array(LEVELS)) / 2))
    trust = len(off) / (len(off) + DOUBT)
    steps = promised - promised.mean()
    power = min(max(1 + trust * (float(steps @ found) / float(steps @ steps) - 1), POWERS[0]), POWERS[1])
    factor = math.exp(trust * float((found - power * promised).mean()))
    return factor * (1 + CHOSEN / len(off)), power
