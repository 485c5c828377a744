"""Values on a scale on which curves are alike: below a ceiling, distances to it count by their logarithm.

v becomes -d log(1 + (top - v) / d): near the top it is v - top, and far below it ratios count. How near, d, is learnt
from the curves: the one under which the way from an epoch to a later is most nearly a straight line with even residuals
(the likelihood of a transformed regression: Box and Cox 1964). Without a reason d is infinite, and nothing changes.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nas.stopping.families import Array

BENDS = (1.0, 0.3)
"""Candidates of d, in units of the distance between the median and the top."""
REASON = 3.0
"""Nats of the likelihood that a finite d must gain."""
LEAST = 8
"""Pairs of values below which nothing is transformed."""
LEAST_FITTED = 4
"""Pairs that a line is put through."""
TINY = 1e-12


class Transform(NamedTuple):
    """`bend` is d."""

    top: float = 0.0
    bend: float = math.inf

    def of(self, values: Array) -> Array:
        """The values transformed; above the top they go on in a straight line."""
        below = self.top - values
        if math.isinf(self.bend):
            return np.asarray(-below)
        return -np.where(below > 0, self.bend * np.log1p(np.maximum(below, 0) / self.bend), below)

    def back(self, transformed: Array) -> Array:
        """The values that these stand for."""
        if math.isinf(self.bend):
            return np.asarray(self.top + transformed)
        below = np.where(transformed < 0, self.bend * np.expm1(np.maximum(-transformed, 0) / self.bend), -transformed)
        return np.asarray(self.top - below)

    def slope(self, values: Array) -> Array:
        """The derivative at the values."""
        return np.asarray(1 / (1 + np.maximum(self.top - values, 0) / self.bend))


def fit_transform(pairs: Sequence[tuple[Array, Array]]) -> Transform:
    """The transform under which later values follow earlier ones best, given pairs of an earlier and a later value, one
    a curve, for some pairs of epochs."""
    if not pairs:
        return Transform()
    later = np.concatenate([each for _, each in pairs])
    top = max(float(each.max()) for pair in pairs for each in pair)
    unit = top - float(np.median(later))
    plain = Transform(top)
    if unit <= 0 or len(later) < LEAST:
        return plain
    bent = min((Transform(top, bend * unit) for bend in BENDS), key=lambda each: _misfit(each, pairs))
    return bent if _misfit(bent, pairs) < _misfit(plain, pairs) - REASON else plain


def _misfit(transform: Transform, pairs: Sequence[tuple[Array, Array]]) -> float:
    """Negative log-likelihood of the later values by straight lines through the earlier, residuals as in Laplace's
    distribution."""
    total = 0.0
    for earlier, later in pairs:
        if len(later) < LEAST_FITTED:
            continue
        x, y = transform.of(earlier), transform.of(later)
        x, y = x - x.mean(), y - y.mean()
        residuals = y - float(x @ y) / max(float(x @ x), TINY) * x
        size = max(float(np.abs(residuals).mean()), TINY)
        total += len(y) * math.log(size) - float(np.log(transform.slope(later)).sum())
    return total
