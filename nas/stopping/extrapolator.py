"""From the first epochs of a training, what its last will show: a distribution, not a number.

In this order:

1. Values are transformed where they crowd below a ceiling (transforms.py).
2. Parametric families (families.py) are fitted to the curve itself.
3. Other trainings of the same search say how the families err, from clues (clues.py): the value, how it came and how
   it swings, the losses, the size of the network. The way from epoch t to the end is cut into links (t → 1.5 t → … → T;
   links.py), so that trainings that were stopped teach too; that they were stopped by what had been seen of them does
   no harm, for each link is conditioned on just that (Little and Rubin 2002: missing at random). Where nothing was
   stopped and a single step from t to the end would have told the known final values better, it is that.
4. Known final values, each predicted as if it had not been seen, say what of this is to be believed (checks.py): what
   does not rank better than the last value is left out, and intervals are made as wide as they must be. The fewer of
   the trainings have come to their end, the less is made of this: those that have were chosen to.

Before anyone has gone through a link it is the families' forecast with a wide prior, and the residuals of all links
together say how wide. Everything is computed from differences of values: adding a constant to all curves adds it to the
prediction.
"""

import math
from collections.abc import Sequence

import numpy as np

from nas.stopping.checks import Checked, check, likelihood
from nas.stopping.clues import Clues
from nas.stopping.curves import TAILS, Curve, Prediction
from nas.stopping.families import Array, Forecast, forecast_by_families
from nas.stopping.links import ROUNDS, Route, Seen
from nas.stopping.transforms import Transform, fit_transform

LINK = 1.5
"""Ratio of the epochs at the two ends of a link."""


class Extrapolator:
    """Predicts the final values of trainings, from themselves and from other trainings of the same search.

    `curves` are the others, complete or not, `epochs` is T, `scale` the range that values can take (1 for accuracies).
    A final value is the mean over the last `final_epochs`. Raises ValueError if a curve is longer than T.
    """

    def __init__(self, curves: Sequence[Curve], epochs: int, *, scale: float = 1.0, final_epochs: int = 1) -> None:
        if epochs < 1 or not scale > 0:
            raise ValueError(f"epochs must be at least 1 and scale above 0 but got {epochs} and {scale}")
        if not 1 <= final_epochs <= epochs:
            raise ValueError(f"final_epochs must be from 1 to {epochs} but got {final_epochs}")
        _check_lengths(curves, epochs)
        self.curves, self.epochs, self.scale, self.final_epochs = tuple(curves), epochs, scale, final_epochs
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
            predictions = self._at(length, [curves[i] for i in places])
            found.update(zip(places, predictions, strict=True))
        return [found[i] for i in range(len(curves))]

    def _at(self, length: int, curves: Sequence[Curve]) -> list[Prediction]:
        """The predictions for trainings of that length. Of the epochs of which the mean is final, some may be known."""
        known = [sum(curve.values[self.epochs - self.final_epochs :]) / self.final_epochs for curve in curves]
        if length == self.epochs:
            return [Prediction(value, 0.0) for value in known]
        if length not in self._models:
            others = [curve for curve in self.curves if len(curve.values) >= length]
            self._models[length] = _Model(others, length, self.epochs, self.final_epochs, self.scale)
        model = self._models[length]
        left = min(self.epochs - length, self.final_epochs) / self.final_epochs
        found = zip(known, *model.predict(curves), strict=True)
        return [Prediction(k + left * float(m), left * float(s), model.checked.power) for k, m, s in found]


class _Model:
    """What curves that have reached epoch t say of the final value."""

    def __init__(self, curves: Sequence[Curve], t: int, epochs: int, final_epochs: int, unit: float) -> None:
        self.t, self.epochs, self.unit = t, epochs, unit
        self.first = max(t, epochs - final_epochs)
        """Epochs before those of which the mean is to be predicted."""
        self.ends = link_ends(t, epochs)
        self.transform, self.checked = Transform(), Checked()
        self.route: Route | None = None
        if curves:
            self._learn(curves)

    def _learn(self, curves: Sequence[Curve]) -> None:
        through = np.array([[len(curve.values) >= end for end in self.ends] for curve in curves])
        last = np.array([curve.values[self.t - 1] for curve in curves])
        ends = np.array([[self._value(c, end) if len(c.values) >= end else 0.0 for end in self.ends] for c in curves])
        before = np.column_stack([last, ends[:, :-1]])
        self.transform = fit_transform([(before[s, k], ends[s, k]) for k, s in enumerate(through.T) if s.any()])
        base = self.transform.of(last)
        gains = np.where(through, self.transform.of(ends) - base[:, None], 0.0)
        self.clues = Clues.learnt(curves, self.t, self.transform)
        seen = self._see(curves)
        self.route = Route.learnt(seen, gains, through)
        whole = through[:, -1]
        if not whole.any():
            return
        routes = [(self.route, *self.route.without_each(seen, whole))]
        if whole.all():
            direct = Route.learnt(seen.in_one_step, gains[:, -1:], through[:, -1:], ROUNDS)
            routes.append((direct, *direct.without_each(seen, whole)))
        known = gains[whole, -1]
        self.route, mean, scale = max(routes, key=lambda found: likelihood(found[1], found[2], known))
        told = self._told([curve for curve, is_whole in zip(curves, whole, strict=True) if is_whole])
        checked = check(base[whole], mean, scale, told, base[whole] + known)
        self.checked = checked.as_far_as(float(whole.mean()))

    def predict(self, curves: Sequence[Curve]) -> tuple[Array, Array]:
        """Centre and scale of the mean over the epochs left of the final ones [curves]."""
        base = self.transform.of(np.array([curve.values[-1] for curve in curves]))
        if self.route is None:
            forecast = self._forecast(curves)
            gain, scale = forecast.mean[:, -1], np.sqrt(forecast.variance[:, -1] * (TAILS - 2) / TAILS)
        else:
            gain, scale = self.route.walk(self._see(curves))
        centre, scale = self.checked.apply(base, gain, scale, self._told(curves))
        back = self.transform.back
        return back(centre), (back(centre + scale) - back(centre - scale)) / 2

    def _see(self, curves: Sequence[Curve]) -> Seen:
        return Seen(self._forecast(curves), self.clues.of(curves), self.clues.groups, self.unit)

    def _value(self, curve: Curve, end: int) -> float:
        """The value at the end of a link; at the end of the last, the mean that is to be predicted."""
        left = curve.values[self.first :]
        return curve.values[end - 1] if end < self.epochs else sum(left) / len(left)

    def _told(self, curves: Sequence[Curve]) -> tuple[Array, Array]:
        """What other models forecast and its deviation, transformed; nan without one, and among the final epochs, where
        the curve itself knows better."""
        heard = [curve.forecast if curve.forecast and self.first > self.t else (math.nan, math.nan) for curve in curves]
        values, deviations = np.array(heard).T
        return self.transform.of(values), deviations * self.transform.slope(values)

    def _forecast(self, curves: Sequence[Curve]) -> Forecast:
        values = self.transform.of(np.array([curve.values[: self.t] for curve in curves]))
        asked = [*self.ends[:-1], max((self.first + 1 + self.epochs) // 2, *self.ends[-2:-1], self.t + 1)]
        return forecast_by_families(values, asked, self.epochs, scale=self.unit)


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


def _check_lengths(curves: Sequence[Curve], epochs: int) -> None:
    longest = max((len(curve.values) for curve in curves), default=0)
    if longest > epochs:
        raise ValueError(f"a curve has {longest} epochs, more than the last, {epochs}")
