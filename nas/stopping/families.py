"""What a curve alone says of its later epochs, by parametric families.

A curve is y(e) = y(T) - b h(e), where h falls from 1 at the first epoch to 0 at the last, T. Each family is a set of
shapes h, so that only y(T), b and the noise are to be found: a linear regression with a closed form
(normal-inverse-gamma prior) a shape. Shapes are averaged by their marginal likelihood.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

NOISE = 0.02
"""Prior noise of a value, as a share of the scale of values."""
GAIN = 15.0
"""Prior standard deviation of b, in units of the noise."""
JUMP = 0.06
"""Prior standard deviation of what no family foresees (a rate that drops, an annealing) between two epochs of which one
is e times the other, as a share of the scale."""
POINTS = 40
"""Most epochs of a curve that the families are fitted to."""

FAMILIES: dict[str, Callable[[Array, int], list[Array]]] = {
    "exponential": lambda e, epochs: [np.exp(-(e - 1) / k) for k in np.geomspace(0.7, max(epochs / 5, 1), 6)],
    "power law": lambda e, epochs: [e**-p for p in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)],
    "inverse logarithm": lambda e, epochs: [1 / np.log(e + 1)],
    "Hill (Morgan-Mercer-Flodin)": lambda e, epochs: [1 / (1 + (e / k) ** d) for k in (1.5, 3.0, 6.0) for d in (1, 2)],
    "Janoschek (Weibull)": lambda e, epochs: [
        np.exp(-((e / k) ** d)) for k in (1.5, 4.0, epochs / 6 + 1) for d in (0.5, 0.75)
    ],
}
"""Families by name: their falling shapes at the epochs e of a training of that many. The exponential alone,
y = a - exp(-b (e - e0)), was the idea of an early report; all are in Domhan, Springenberg and Hutter (2015); the power
law for learning curves is Cortes et al. (1994)."""


@lru_cache(maxsize=64)
def _shapes(epochs: int) -> tuple[Array, Array]:
    """Shapes h [shapes, epochs] of every family, from 1 to 0, and the logarithms of their prior weights [shapes]; each
    family weighs the same."""
    e = np.arange(1, epochs + 1, dtype=np.float64)
    shapes, weights = [], []
    for family in FAMILIES.values():
        found = family(e, epochs)
        for shape in found:
            shapes.append((shape - shape[-1]) / (shape[0] - shape[-1]))
            weights.append(1 / len(found))
    return np.array(shapes), np.log(weights) - math.log(len(FAMILIES))


class Forecast(NamedTuple):
    """What the families say, relative to the last value known: mean and variance [curves, epochs asked for]."""

    mean: Array
    variance: Array


def forecast_by_families(
    values: Array, asked: Sequence[int], epochs: int, *, scale: float = 1.0, only: slice = slice(None)
) -> Forecast:
    """Extrapolates curves [curves, t] of equal length to the epochs asked for, all later than t.

    `only` picks shapes (for the exponential alone: `slice(6)`). The variance holds the noise of the value asked for and
    what no family foresees.
    """
    t = values.shape[1]
    fit = _family_fit(t, tuple(asked), epochs, only.start, only.stop)
    y = (values[:, fit.picked] - values[:, -1:]) / scale
    moments = np.einsum("spi,cp->sci", fit.design, y)
    coefficients = np.einsum("sij,scj->sci", fit.covariance, moments)
    squares = np.maximum((y**2).sum(1) - np.einsum("sci,sci->sc", coefficients, moments), 0.0)
    a, b = 1 + (len(fit.picked) - 1) / 2, NOISE**2 + squares / 2
    weights = special.softmax(fit.log_weights[:, None] - a * np.log(b), axis=0)
    means = np.einsum("sai,sci->sca", fit.rows, coefficients)
    variances = (b / a)[:, :, None] * (1 + fit.spread[:, None, :])
    mean = np.einsum("sc,sca->ca", weights, means)
    variance = np.einsum("sc,sca->ca", weights, variances + (means - mean) ** 2)
    unforeseen = JUMP**2 * np.log(np.asarray(asked) / t)
    return Forecast(mean * scale, (variance + unforeseen) * scale**2)


class _FamilyFit(NamedTuple):
    """What the regressions on all shapes have in common for every curve: epochs that are fitted, design [shapes,
    epochs, 2], covariance [shapes, 2, 2], log prior weights with the part of the evidence that no curve changes
    [shapes], and for the epochs asked for rows [shapes, asked, 2] and their leverage [shapes, asked]."""

    picked: npt.NDArray[np.int64]
    design: Array
    covariance: Array
    log_weights: Array
    rows: Array
    spread: Array


@lru_cache(maxsize=1024)
def _family_fit(t: int, asked: tuple[int, ...], epochs: int, start: int | None, stop: int | None) -> _FamilyFit:
    shapes, log_weights = (part[start:stop] for part in _shapes(epochs))
    picked = np.arange(t) if t <= POINTS else np.unique(np.geomspace(1, t, POINTS).round().astype(int)) - 1
    design = np.stack([np.ones((len(shapes), len(picked))), -shapes[:, picked]], axis=2)
    precision = np.einsum("spi,spj->sij", design, design) + np.diag([1e-8, GAIN**-2])
    covariance = np.linalg.inv(precision)
    ahead = np.asarray(asked) - 1
    rows = np.stack([np.ones((len(shapes), len(ahead))), -shapes[:, ahead]], axis=2)
    spread = np.einsum("sai,sij,saj->sa", rows, covariance, rows)
    return _FamilyFit(picked, design, covariance, log_weights - np.linalg.slogdet(precision)[1] / 2, rows, spread)
