"""From an epoch to the last, link by link or in one step: ridge regressions of how the families' forecast errs.

A training that was stopped teaches the links that it went through; only complete ones teach the single step. How far
clues are trusted is learnt: the precision of their coefficients is the one with the largest evidence (MacKay 1992;
closed form, normal-inverse-gamma prior). In the single step, curves that go their own way (a training that diverged)
weigh less: two rounds of the weights of Student's t. Not so in links, where trainings were stopped: there the few that
do better than foreseen are those that are looked for. What a link would say of each of its own curves had it not seen
it follows from the same fit.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from nas.stopping.curves import TAILS
from nas.stopping.families import NOISE, Array, Forecast

LEVEL, FORECAST = 0.1, 0.5
"""Precision of the level and of the weight of the families' forecast, in units of the residual's."""
TRUST = (1.0, 10.0, 100.0, 1000.0)
"""Candidate precisions of a standardised clue's coefficient."""
PRIOR = 1.0
"""Observations that the prior of a link's residual is worth."""
HEAVY = 4.0
"""Degrees of freedom of the residuals by which curves are weighed."""
ROUNDS = 2
"""Times that curves are weighed anew."""


class Link(NamedTuple):
    """`weights` [terms] and their covariance in units of the residual's variance, `squares` the sum of the weighed
    squared residuals and the ridge's penalty, `seen` the number of curves.

    Without each curve of the fit: `without` [curves, terms] are the weights, `less` [curves] the squares; `rows` are
    the curves' designs and `outside` 1 - leverage.
    """

    weights: Array
    covariance: Array
    squares: float
    seen: int
    without: Array
    less: Array
    rows: Array
    outside: Array

    def of(self, curves: Array) -> "Link":
        """The same with some of its curves alone."""
        return self._replace(
            without=self.without[curves], less=self.less[curves], rows=self.rows[curves], outside=self.outside[curves]
        )

    def leverage(self, design: Array) -> Array:
        """Leverage of rows [curves] that the link has not seen."""
        return np.asarray(np.einsum("ci,ij,cj->c", design, self.covariance, design))

    def leverage_without(self, design: Array) -> Array:
        """The same of each curve of the fit, had it not been seen; its row may differ from the one that was fitted."""
        crossed = np.einsum("ci,ij,cj->c", design, self.covariance, self.rows)
        return np.asarray(self.leverage(design) + crossed**2 / self.outside)


def fit_link(
    design: Array, target: Array, fixed: Array, groups: npt.NDArray[np.int64], prior: float, rounds: int = 0
) -> Link:
    """The regression of the target [curves] on the design [curves, terms]. `fixed` are the precisions of the first
    terms' coefficients, `groups` the kinds of the clues, which are the other terms, and `prior` the variance that
    residuals are thought to have."""
    heaviness = np.ones(len(design))
    trust = np.full(groups.max(initial=-1) + 1, TRUST[0])
    for turn in range(rounds + 1):
        rows, aims = design * np.sqrt(heaviness)[:, None], target * np.sqrt(heaviness)
        if turn in (0, rounds):
            trust = _most_evident(rows, aims, fixed, groups, prior, trust)
        ridge = np.concatenate([fixed, trust[groups]])
        covariance = np.asarray(np.linalg.inv(rows.T @ rows + np.diag(ridge)), dtype=np.float64)
        weights = covariance @ (rows.T @ aims)
        if turn < rounds and len(design):
            residual = target - design @ weights
            size = PRIOR * prior / (PRIOR + len(design)) + float(np.median(residual**2)) / 0.5
            heaviness = (HEAVY + 1) / (HEAVY + residual**2 / size)
    residual = aims - rows @ weights
    squares = float(residual @ residual + weights @ (ridge * weights))
    moved = rows @ covariance
    outside = np.maximum(1 - np.einsum("ci,ci->c", moved, rows), 1e-3)
    without = weights - moved * (residual / outside)[:, None]
    less = np.maximum(squares - residual**2 / outside, 0.0)
    return Link(weights, covariance, squares, len(design), without, less, rows, outside)


def _most_evident(
    rows: Array, aims: Array, fixed: Array, groups: npt.NDArray[np.int64], prior: float, trust: Array
) -> Array:
    """The precision of each kind of clue [kinds] under which the targets are most likely, one kind after the other."""
    gram, moment, total = rows.T @ rows, rows.T @ aims, float(aims @ aims)
    terms = np.arange(len(gram))
    for kind in range(len(trust)):
        if not gram.diagonal()[len(fixed) :][groups == kind].any():
            continue
        candidates = np.repeat(trust[None], len(TRUST), axis=0)
        candidates[:, kind] = TRUST
        ridges = np.column_stack([np.repeat(fixed[None], len(TRUST), axis=0), candidates[:, groups]])
        precisions = np.repeat(gram[None], len(TRUST), axis=0)
        precisions[:, terms, terms] += ridges
        squares = np.maximum(total - np.linalg.solve(precisions, moment[:, None])[:, :, 0] @ moment, 0.0)
        occam = np.log(ridges).sum(axis=1) - np.linalg.slogdet(precisions)[1]
        trust = candidates[np.argmax(occam - (PRIOR + len(rows)) * np.log(PRIOR * prior + squares))]
    return trust


LEVEL, FORECAST, GAINED = 0.1, 0.5, 3.0
"""Precisions of the coefficients of level, families' forecast and gain so far, in units of the residual's and, but for
the level, of the variance of what they multiply."""
EXPERIENCE = 1.0
"""Observations that the prior of a link's residual is worth."""
CAUTION = 2.0
"""Observations that the prior of the prior's own width is worth."""
LEAST_SPREAD = 1e-3
"""Deviation that a link adds at least, as a share of the unit."""


class Seen(NamedTuple):
    """What is seen of curves: the families' forecast [curves, ends], the clues [curves, clues] and the kind of each
    [clues], the unit of values."""

    forecast: Forecast
    clues: Array
    groups: npt.NDArray[np.int64]
    unit: float

    @property
    def in_one_step(self) -> "Seen":
        """The same for a single link to the last end."""
        return self._replace(forecast=Forecast(self.forecast.mean[:, -1:], self.forecast.variance[:, -1:]))

    @property
    def increments(self) -> Array:
        """What the families foresee of each link [curves, links]."""
        return np.diff(self.forecast.mean, axis=1, prepend=0)

    @property
    def prior(self) -> Array:
        """Variance that each link adds [curves, links]."""
        floor = (LEAST_SPREAD * self.unit) ** 2
        return np.maximum(np.diff(self.forecast.variance, axis=1, prepend=0), floor)

    def design(self, k: int, gained: Array) -> Array:
        """Terms of a link's regression: level, the families' increment, what was gained before the link, the clues."""
        return np.column_stack([np.ones(len(self.clues)), self.increments[:, k], gained, self.clues])

    def of(self, curves: Array) -> "Seen":
        """The same of some of the curves."""
        return Seen(
            Forecast(self.forecast.mean[curves], self.forecast.variance[curves]),
            self.clues[curves],
            self.groups,
            self.unit,
        )


@dataclass(frozen=True)
class Route:
    """The links, which of the curves [curves, links] each was learnt from, and by how much the prior of residuals was
    too cautious."""

    links: tuple[Link, ...]
    through: Array
    caution: float

    @classmethod
    def learnt(cls, seen: Seen, gains: Array, through: Array, rounds: int = 0) -> Self:
        """From curves whose gains up to each end [curves, links] are known where they went through; in so many rounds
        curves are weighed."""
        links, surprise, count = [], 0.0, 0
        gained, increments, prior = np.zeros(len(gains)), seen.increments, seen.prior
        for k, mine in enumerate(through.T):
            design = seen.design(k, gained)[mine]
            expected = float(prior[mine, k].mean()) if mine.any() else 1.0
            target = (gains[:, k] - gained - increments[:, k])[mine]
            links.append(
                fit_link(
                    design, target, _fixed(design, seen.unit), seen.groups, (LEAST_SPREAD * seen.unit) ** 2, rounds
                )
            )
            surprise += links[-1].squares / expected
            count += links[-1].seen
            gained = gains[:, k]
        return cls(tuple(links), through, (CAUTION + surprise) / (CAUTION + count))

    def walk(self, seen: Seen) -> tuple[Array, Array]:
        """Centre and scale of the gain [curves], linear in what came before."""
        seen = self._as_far(seen)
        mean, variance = np.zeros(len(seen.clues)), np.zeros(len(seen.clues))
        increments, prior = seen.increments, seen.prior
        for k, link in enumerate(self.links):
            design = seen.design(k, mean)
            residual = (link.squares + EXPERIENCE * self.caution * prior[:, k]) / (link.seen + EXPERIENCE)
            variance = (1 + link.weights[2]) ** 2 * variance + residual * (1 + link.leverage(design))
            mean = mean + increments[:, k] + design @ link.weights
        return mean, np.sqrt(variance * (TAILS - 2) / TAILS)

    def without_each(self, seen: Seen, whole: Array) -> tuple[Array, Array]:
        """The same for those of the curves that went all the way, each as if it had not been seen."""
        seen = self._as_far(seen.of(whole))
        mean, variance = np.zeros(len(seen.clues)), np.zeros(len(seen.clues))
        increments, prior = seen.increments, seen.prior
        for k, link in enumerate(self.links):
            link, design = link.of(whole[self.through[:, k]]), seen.design(k, mean)
            residual = (link.less + EXPERIENCE * self.caution * prior[:, k]) / (link.seen - 1 + EXPERIENCE)
            variance = (1 + link.without[:, 2]) ** 2 * variance + residual * (1 + link.leverage_without(design))
            mean = mean + increments[:, k] + np.einsum("ci,ci->c", design, link.without)
        return mean, np.sqrt(variance * (TAILS - 2) / TAILS)

    def _as_far(self, seen: Seen) -> Seen:
        return seen if len(self.links) > 1 else seen.in_one_step


def _fixed(design: Array, unit: float) -> Array:
    """Precisions of the terms that are no clues: forecasts and gains are taken to vary by no less than noise."""
    spread = design[:, :3].var(axis=0) if len(design) else np.zeros(3)
    return np.array([LEVEL, FORECAST, GAINED]) * np.maximum(
        (1.0, *spread[1:]), (1.0, (NOISE * unit) ** 2, (NOISE * unit) ** 2)
    )
