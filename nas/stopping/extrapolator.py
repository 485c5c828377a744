"""From the first epochs of a training, what its last will show: a distribution, not a number.

Two sources, in this order:

1. Parametric families (families.py), fitted to the curve itself.
2. What other trainings of the same search showed. The way from epoch t to T is cut into links (t → 1.5 t → … → T). For
   each a ridge regression says how the families' forecast errs, from clues: the value and its recent gains, the losses,
   the size of the network. Every training that went through a link teaches it, also one that was stopped later on; that
   trainings were stopped by what had been seen of them does no harm, for each link is conditioned on just that (Little
   and Rubin 2002: missing at random). Before anyone has gone through a link it is the families' forecast with a wide
   prior, and the residuals of all links together say how wide (its caution).

Everything is computed from differences of values: adding a constant to all curves adds it to the prediction.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import special

from nas.stopping.families import NOISE, Array, Forecast, forecast_by_families

LINK = 1.5
"""Ratio of the epochs at the two ends of a link."""
RIDGE = 3.0
"""Precision of a standardised clue's coefficient, in units of the residual's."""
RIDGE_LEVEL, RIDGE_FORECAST = 0.1, 0.5
"""The same for the level of a link and for the weight of the families' forecast: these are learnt sooner."""
EXPERIENCE = 1.0
"""Observations that the prior of a link's residual is worth."""
CAUTION = 2.0
"""Observations that the prior of the prior's own width is worth."""
TAILS = 5.0
"""Degrees of freedom of the prediction: residuals of curves have heavier tails than the normal distribution's."""
EXTREME = 3.0
"""Clues further out, in standard deviations, count as if they were here."""


@dataclass(frozen=True)
class Curve:
    """What is known of a training: `values` after each epoch (larger is better, any scale), training and validation
    `losses` after each epoch and `network`, numbers that describe what is trained (logarithms of parameters and
    multiply-adds, depth). Losses and network are clues and may be left out. Raises ValueError for what is not finite.
    """

    values: tuple[float, ...]
    losses: tuple[tuple[float, float], ...] = ()
    network: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a curve needs at least one value")
        if self.losses and len(self.losses) != len(self.values):
            raise ValueError(f"{len(self.values)} values but {len(self.losses)} pairs of losses")
        if not all(map(math.isfinite, (*self.values, *self.network, *(x for pair in self.losses for x in pair)))):
            raise ValueError("a curve must be of finite numbers")


@dataclass(frozen=True)
class Prediction:
    """Student's t distribution (`TAILS` degrees of freedom) of the value at the last epoch, with centre `mean`.

    `scale` is 0 where the last epoch is known."""

    mean: float
    scale: float

    def quantile(self, share: float) -> float:
        """The value that the last epoch stays below with this probability (0 < share < 1)."""
        return self.mean + self.scale * float(special.stdtrit(TAILS, share))

    def interval(self, share: float) -> tuple[float, float]:
        """The central interval that holds the value with this probability."""
        return self.quantile(0.5 - share / 2), self.quantile(0.5 + share / 2)

    def chance_above(self, value: float) -> float:
        """Probability that the last epoch ends above the value."""
        if self.scale == 0:
            return float(self.mean > value)
        return float(special.stdtr(TAILS, (self.mean - value) / self.scale))


def deviation(scale: float) -> float:
    """Standard deviation of a prediction of that scale."""
    return scale * math.sqrt(TAILS / (TAILS - 2))


class _Link(NamedTuple):
    """A ridge regression of the increment over a link, less the families' forecast of it. `squares` is the sum of its
    squared residuals and the ridge's penalty, `seen` the number of curves that went through it."""

    weights: Array
    covariance: Array
    squares: float
    seen: int


class Extrapolator:
    """Predicts the last epoch of trainings, from themselves and from other trainings of the same search.

    `curves` are the others, complete or not, `epochs` is T, `scale` the range that values can take (1 for accuracies).
    Raises ValueError if a curve is longer than T.
    """

    def __init__(self, curves: Sequence[Curve], epochs: int, *, scale: float = 1.0) -> None:
        if epochs < 1 or not scale > 0:
            raise ValueError(f"epochs must be at least 1 and scale above 0 but got {epochs} and {scale}")
        _check_lengths(curves, epochs)
        self.curves, self.epochs, self.scale = tuple(curves), epochs, scale
        self._models: dict[int, _Model] = {}

    def predict(self, curve: Curve) -> Prediction:
        """The prediction for one training."""
        return self.predict_all([curve])[0]

    def predict_all(self, curves: Sequence[Curve]) -> list[Prediction]:
        """The predictions for several trainings, of any lengths, in their order."""
        _check_lengths(curves, self.epochs)
        found: dict[int, Prediction] = {}
        for length in {len(curve.values) for curve in curves}:
            places = [i for i, curve in enumerate(curves) if len(curve.values) == length]
            predictions = self._at(length).predict([curves[i] for i in places])
            found.update(zip(places, predictions, strict=True))
        return [found[i] for i in range(len(curves))]

    def _at(self, length: int) -> "_Model":
        if length not in self._models:
            others = [curve for curve in self.curves if len(curve.values) >= length]
            self._models[length] = _Model(others, length, self.epochs, self.scale)
        return self._models[length]


class _Model:
    """The links from epoch t on, learnt from curves that have reached t."""

    def __init__(self, curves: Sequence[Curve], t: int, epochs: int, scale: float) -> None:
        self.t, self.epochs, self.scale = t, epochs, scale
        self.ends = link_ends(t, epochs)
        self._links: list[_Link] = []
        self._caution = 1.0
        if not curves or not self.ends:
            return
        raw = _clues(curves, t)
        self._centre = _mean(raw)
        deviation = np.sqrt(_mean((raw - self._centre) ** 2))
        self._deviation = np.where(deviation > 1e-9 * scale, deviation, np.inf)
        clues = self._standardised(raw)
        forecast = self._forecast(curves)
        increments = np.diff(forecast.mean, axis=1, prepend=0)
        prior = self._prior(forecast)
        gained = np.zeros(len(curves))
        surprise, seen = 0.0, 0
        for k, end in enumerate(self.ends):
            through = np.array([len(curve.values) >= end for curve in curves])
            values = np.array([c.values[end - 1] - c.values[t - 1] if len(c.values) >= end else 0.0 for c in curves])
            design = _design(increments[:, k], gained, clues)[through]
            link = _fit(design, (values - gained - increments[:, k])[through], (NOISE * scale) ** 2)
            self._links.append(link)
            if link.seen:
                surprise += link.squares / float(prior[through, k].mean())
                seen += link.seen
            gained = values
        self._caution = (CAUTION + surprise) / (CAUTION + seen)

    def predict(self, curves: Sequence[Curve]) -> list[Prediction]:
        """Goes through the links: mean and variance of the gain so far, linear in what came before."""
        last = np.array([curve.values[-1] for curve in curves])
        if not self.ends:
            return [Prediction(float(value), 0.0) for value in last]
        forecast = self._forecast(curves)
        increments, prior = np.diff(forecast.mean, axis=1, prepend=0), self._prior(forecast)
        mean, variance = np.zeros(len(curves)), np.zeros(len(curves))
        if not self._links:
            mean, variance = forecast.mean[:, -1], prior.sum(axis=1)
        else:
            clues = self._standardised(_clues(curves, self.t, self._centre))
        for k, link in enumerate(self._links):
            design = _design(increments[:, k], mean, clues)
            residual = (link.squares + EXPERIENCE * self._caution * prior[:, k]) / (link.seen + EXPERIENCE)
            leverage = np.einsum("ci,ij,cj->c", design, link.covariance, design)
            variance = (1 + link.weights[2]) ** 2 * variance + residual * (1 + leverage)
            mean = mean + increments[:, k] + design @ link.weights
        scale = np.sqrt(variance * (TAILS - 2) / TAILS)
        return [Prediction(float(m), float(s)) for m, s in zip(last + mean, scale, strict=True)]

    def _forecast(self, curves: Sequence[Curve]) -> Forecast:
        values = np.array([curve.values[: self.t] for curve in curves])
        return forecast_by_families(values, self.ends, self.epochs, scale=self.scale)

    def _prior(self, forecast: Forecast) -> Array:
        """Variance that each link adds [curves, links]."""
        floor = (1e-3 * self.scale) ** 2
        return np.maximum(np.diff(forecast.variance, axis=1, prepend=0), floor)

    def _standardised(self, clues: Array) -> Array:
        known: Array = np.clip((clues - self._centre) / self._deviation, -EXTREME, EXTREME)
        return np.nan_to_num(known)


def robust_range(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest of values that are not far outliers: within three times the middle 80 % on both sides. Never
    empty: of equal values, one unit."""
    low, high = (float(bound) for bound in np.quantile(values, (0.1, 0.9)))
    low, high = low - 3 * (high - low), high + 3 * (high - low)
    kept = [value for value in values if low <= value <= high]
    return (min(kept), max(kept)) if max(kept) > min(kept) else (min(kept) - 0.5, min(kept) + 0.5)


def cut(curve: Curve, low: float, high: float) -> Curve:
    """The curve with values beyond the range cut to it."""
    return replace(curve, values=tuple(min(max(value, low), high) for value in curve.values))


def link_ends(t: int, epochs: int) -> list[int]:
    """The epochs at which the links from t to the last epoch end.

    >>> link_ends(1, 20)
    [2, 3, 5, 8, 12, 20]
    """
    ends = []
    while t < epochs:
        t = max(t + 1, math.ceil(t * LINK))
        t = epochs if t * LINK > epochs else t
        ends.append(t)
    return ends


def _fit(design: Array, target: Array, least_spread: float) -> _Link:
    """The ridge regression of the target [curves] on the design [curves, terms], whose forecasts and gains are taken to
    vary by no less than that variance."""
    spread = np.maximum(design.var(axis=0) if len(design) else 0.0, np.full(design.shape[1], least_spread))
    ridge = np.full(design.shape[1], RIDGE)
    ridge[:3] = RIDGE_LEVEL, RIDGE_FORECAST * spread[1], RIDGE * spread[2]
    precision: Array = design.T @ design + np.diag(ridge)
    covariance = np.linalg.inv(precision)
    weights: Array = covariance @ (design.T @ target)
    residuals = target - design @ weights
    squares = float(residuals @ residuals + weights @ (ridge * weights))
    return _Link(weights, np.asarray(covariance), squares, len(design))


def _design(increment: Array, gained: Array, clues: Array) -> Array:
    """Terms of a link's regression: level, the families' increment, what was gained since epoch t, the clues."""
    return np.column_stack([np.ones(len(clues)), increment, gained, clues])


def _clues(curves: Sequence[Curve], t: int, like: Array | None = None) -> Array:
    """What of the first t epochs and the network may tell of the rest [curves, clues]; nan where a curve lacks it.

    The mean of the training losses so far is the predictor of Ru et al. (2021). `like` says how many there are.
    """
    values = np.array([curve.values[:t] for curve in curves])
    columns = [values[:, -1]]
    if t > 1:
        columns.append(values[:, -1] - values[:, -2])
    if t > 2:
        columns.append(values[:, -1] - values[:, t // 2])
    if t > 3:
        columns.append(values[:, t // 2] - values[:, 0])
    losses = np.array([curve.losses[:t] if curve.losses else [(math.nan, math.nan)] * t for curve in curves])
    columns += [losses[:, -1, 0], losses[:, :, 0].mean(axis=1), losses[:, -1, 1]]
    wanted = max(len(curve.network) for curve in curves) if like is None else len(like) - len(columns)
    network = [(*curve.network[:wanted], *[math.nan] * (wanted - len(curve.network))) for curve in curves]
    return np.column_stack([*columns, np.array(network).reshape(len(curves), wanted)])


def _mean(columns: Array) -> Array:
    """Mean of each column over what is known of it; 0 where nothing is."""
    known = ~np.isnan(columns)
    total: Array = np.where(known, columns, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return total


def _check_lengths(curves: Sequence[Curve], epochs: int) -> None:
    longest = max((len(curve.values) for curve in curves), default=0)
    if longest > epochs:
        raise ValueError(f"a curve has {longest} epochs, more than the last, {epochs}")
