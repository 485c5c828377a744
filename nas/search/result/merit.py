"""How good the networks of a search are likely to be: what was observed, smoothed, and the few best of a budget.

The network with the best observed accuracy is the best of many plus the luckiest of many. An observation is therefore
shrunk towards what is expected of such a network, the more the less it says (empirical Bayes, as James and Stein 1961).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.search.records import Record
from nas.search.result.front import measured
from nas.search.sampling.surrogate import Describer
from nas.search.search import Search
from nas.space.space import Searchable
from nas.stopping.curves import robust_range

Vector = npt.NDArray[np.float64]

SEED_DEVIATION = 0.005
"""Standard deviation of an accuracy between training seeds that is assumed: half a point, as of small networks."""

NEAR = 0.5
"""Networks are near in size whose parameters differ by a factor of two to this power (a standard deviation)."""

LEAST_SPREAD = 0.25
"""Least variance of networks about what is expected of them, in units of the noise: few networks measure it badly."""

OUTLYING = 20.0
"""Squared distances from what was expected count as no more than this many times their median: one bad network says
nothing of how far the others are spread (three standard deviations of a normal distribution)."""

FEWEST_MODELLED = 8
"""Networks from which on a model is learnt from them."""

MOST_MODELLED = 600
"""Networks, the most accurate of each budget, that a model is learnt from: its time grows with the cube of their
number."""

FEWEST, MOST = 3, 5
"""Networks on a shortlist."""

APART = 1.96
"""Standard deviations of a difference from which on two networks are told apart."""


@dataclass(frozen=True)
class Merit:
    """The accuracy (0–1) that is likely of a network in the search's own training, and its standard deviation."""

    mean: float
    deviation: float


def merits(search: Search, space: Searchable, records: Sequence[Record]) -> dict[str, Merit]:
    """The merit of every measured network of a run, whichever strategy found it, by its fingerprint. `space` is that of
    the search. What is expected of a network is what a linear model learns from the others
    (`nas.search.sampling.surrogate`); of one that is none of the space's, or not among the MOST_MODELLED, the mean of
    those near it in size."""
    found = {record.network: record for record in reversed(measured(records))}
    if not found:
        return {}
    accuracies = _as_losses_say(list(found.values()))
    sizes = np.log2([max(1, record.parameters) for record in found.values()])
    noise = np.array([noise_of(accuracy, search.validation_images) for accuracy in accuracies])
    expected = _mean_of_the_near(sizes, accuracies)
    names = {knob.name for knob in space.knobs}
    of_space = [i for i, record in enumerate(found.values()) if set(record.knobs) == names]
    modelled = _most_accurate(of_space, list(found.values()), search.budgets)
    if len(modelled) >= FEWEST_MODELLED:
        all_knobs = [list(found.values())[i].knobs for i in modelled]
        expected[modelled] = Describer(space).model(all_knobs, list(accuracies[modelled])).left_out()[0]
    return dict(zip(found, smoothed(accuracies, noise, expected), strict=True))


def _most_accurate(of_space: Sequence[int], records: Sequence[Record], budgets: Sequence[int]) -> list[int]:
    """Places of at most MOST_MODELLED of those records, as many of each budget."""
    if len(of_space) <= MOST_MODELLED:
        return list(of_space)
    kept: set[int] = set()
    for budget in budgets:
        own = [i for i in of_space if records[i].budget == budget]
        kept.update(sorted(own, key=lambda i: -records[i].accuracy)[: MOST_MODELLED // len(budgets)])
    return sorted(kept)


def _as_losses_say(records: Sequence[Record]) -> Vector:
    """The accuracies, each averaged with the one that its log-loss foretells by a line through all: after few epochs
    the log-loss says more of how networks end than their accuracy (see `nas.search.sampling.outcomes.worths`)."""
    accuracies = np.array([record.accuracy for record in records])
    losses = np.array([record.curve[-1][1] if record.curve else math.nan for record in records])
    if len(records) < FEWEST_MODELLED or not np.isfinite(losses).all() or np.ptp(losses) == 0:
        return accuracies
    low, high = robust_range(list(losses))
    cut = np.clip(losses, low, high)
    from scipy import stats

    line = stats.linregress(cut, accuracies)
    if np.ptp(cut) == 0 or line.slope >= 0:  # it says nothing, or that the worse fitted are the better
        return accuracies
    foretold: Vector = np.clip(line.intercept + line.slope * cut, 0.0, 1.0)
    return (accuracies + foretold) / 2


def noise_of(accuracy: float, images: int) -> float:
    """Variance of an accuracy measured on so many images (0: not known) after one training: that of the sample and that
    of the seed."""
    return SEED_DEVIATION**2 + (accuracy * (1 - accuracy) / images if images else 0.0)


def smoothed(accuracies: Vector, noise: Vector, expected: Vector) -> list[Merit]:
    """The merits of networks of which those accuracies were expected: the means and deviations of the posterior where
    accuracies are normal about the true ones with the variances `noise`, and these are normal about the expected ones
    with one variance, which is estimated by moments.

    >>> [round(merit.mean, 3) for merit in smoothed(np.array([0.3, 0.5]), np.full(2, 0.01), np.full(2, 0.4))]
    [0.38, 0.42]
    """
    squares = (accuracies - expected) ** 2
    scatter = float(np.mean(np.minimum(squares, OUTLYING * np.median(squares)) - noise))
    spread = max(scatter, LEAST_SPREAD * float(np.mean(noise)))
    weight = spread / (spread + noise)
    means, deviations = expected + weight * (accuracies - expected), np.sqrt(weight * noise)
    return [Merit(float(mean), float(deviation)) for mean, deviation in zip(means, deviations, strict=True)]


def _mean_of_the_near(sizes: Vector, accuracies: Vector) -> Vector:
    """For each network the mean of the others, weighted by how near they are in size (log2 of the parameters); its own
    accuracy where it is alone."""
    weights = np.exp(-((sizes[:, None] - sizes[None, :]) ** 2) / (2 * NEAR**2)) + 1e-12
    np.fill_diagonal(weights, 0.0)
    totals = weights.sum(axis=1)
    return np.where(totals > 0, weights @ accuracies / np.where(totals > 0, totals, 1.0), accuracies)


def shortlist(
    records: Sequence[Record], known: Mapping[str, Merit], budget: int, *, besides: str = "", top: int | None = None
) -> list[Record]:
    """The `top` networks of at most that many parameters with the highest merits, the best first, `besides` one with
    that fingerprint. Where `top` is None, those that cannot be told from the first, at least FEWEST and at most MOST,
    fewer only where there are not more."""
    within = {r.network: r for r in reversed(measured(records)) if r.parameters <= budget and r.network != besides}
    ranked = sorted(within.values(), key=lambda r: (-known[r.network].mean, r.parameters, r.network))
    return ranked[: _inseparable([known[r.network] for r in ranked]) if top is None else top]


def _inseparable(ranked: Sequence[Merit]) -> int:
    """How many merits, in descending order, are shortlisted."""
    close = sum(
        ranked[0].mean - merit.mean <= APART * float(np.hypot(ranked[0].deviation, merit.deviation)) for merit in ranked
    )
    return min(max(FEWEST, close), MOST)
