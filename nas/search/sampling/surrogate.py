"""A linear model of accuracy over a space: what the networks tried say of those that were not.

Bayesian ridge regression (a Gaussian process with a linear kernel) on the knobs and on numbers that describe the
network (`Searchable.features`). Besides a column for each knob there is one for each group of knobs with the same
options: the mean over the stages is learnt sooner than each stage. Widths count by their proportions, for a network
that is fitted has its size from the budget. How noisy values are, and how much the description says, is chosen by
marginal likelihood (Rasmussen and Williams 2006, section 2.3), the mean of all values with them.

Optionally a second part of the kernel falls with distance: what a network has of its own, beside what its knobs add.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from nas.space.space import Knob, Knobs, Searchable, Value

Array = npt.NDArray[np.float64]

NOISES = (0.03, 0.1, 0.3, 1.0)
"""Variances of a value's noise tried, as shares of the variance that the columns explain. The least is a floor: of few
networks, any smaller one fits best."""

DESCRIPTIONS = (0.0, 1.0)
"""Weights of the description of networks tried, beside the knobs' of 1."""

GROUP = 2.0
"""Prior variance of what a group of knobs does together, beside a single knob's of 1."""

SQUARES = 0.5
"""The same of a column's square."""

LOCAL_LENGTH = 0.5
"""Distance, in units of two networks drawn at random, at which what is a network's own has fallen to 1 / e."""

OWN = (0.0, 0.3, 1.0)
"""Weights tried of what is a network's own, where networks that are known are smoothed."""

TAIL = 2.0
"""Values further below the median than this many times the best is above it count as if they were there: how bad a bad
network is tells nothing of which is best."""


@dataclass(frozen=True)
class Encoder:
    """Columns that the knobs of a space come to: a line `Array` [columns] for each assignment."""

    knobs: tuple[Knob, ...]

    def columns(self, all_knobs: Sequence[Knobs]) -> Array:
        """The lines of assignments, whose widths need not fill the budget [assignments, columns]."""
        lines = np.zeros((len(all_knobs), self._added[0].lines.shape[1] if self._added else 0))
        for knob, added in zip(self.knobs, self._added, strict=True):
            lines += added.lines[[added.place[knobs[knob.name]] for knobs in all_knobs]]
        return lines

    @cached_property
    def _added(self) -> tuple["_Added", ...]:
        """What each knob adds: its own columns, scaled so that they have a variance of one together over its options,
        and its part of those of its group. Of a width, the mean of all widths is taken away."""
        own = [np.array(list(_lines(knob).values())) for knob in self.knobs]
        widths = [i for i, knob in enumerate(self.knobs) if knob.role == "width" and len(knob.options) > 1]
        ends = np.cumsum([lines.shape[1] for lines in own + [own[group[0]] for group in self._groups]])
        columns = [slice(*both) for both in pairwise([0, *map(int, ends)])]
        scale = 1 / math.sqrt(max(1, sum(lines.shape[1] > 0 for lines in own)))
        added = []
        for i, knob in enumerate(self.knobs):
            lines = np.zeros((len(knob.options), columns[-1].stop))
            lines[:, columns[i]] = own[i]
            if i in widths:
                lines[:, [columns[width].start for width in widths]] -= own[i] / len(widths)
            for group, together in zip(self._groups, columns[len(own) :], strict=True):
                if i in group:
                    lines[:, together] = math.sqrt(GROUP / len(group)) * own[i]
            added.append(_Added({option: place for place, option in enumerate(knob.options)}, scale * lines))
        return tuple(added)

    @cached_property
    def _groups(self) -> tuple[tuple[int, ...], ...]:
        """Indices of knobs with the same options, where there are several; widths are none."""
        alike: dict[tuple[object, ...], list[int]] = {}
        for i, knob in enumerate(self.knobs):
            if knob.role != "width" and len(knob.options) > 1:
                alike.setdefault((knob.role, *map(repr, knob.options)), []).append(i)
        return tuple(tuple(group) for group in alike.values() if len(group) > 1)


class _Added(NamedTuple):
    """What the options of a knob add to a line [options, columns], and the place of each."""

    place: dict[Value, int]
    lines: Array


def _lines(knob: Knob) -> dict[Value, Array]:
    if len(knob.options) == 1:
        return {knob.options[0]: np.zeros(0)}
    if knob.role == "choice":
        indicators = np.eye(len(knob.options)) - 1 / len(knob.options)
        return dict(zip(knob.options, indicators, strict=True))
    if knob.role == "width":
        return {option: np.array([math.log2(1 + float(option))]) for option in knob.options}
    position = np.log(1 + np.array([float(option) for option in knob.options]))
    position = (position - position.mean()) / position.std()
    square = math.sqrt(SQUARES) * (position**2 - 1)
    return {
        option: np.array(pair) for option, pair in zip(knob.options, zip(position, square, strict=True), strict=True)
    }


class Describer:
    """What a model is told of the networks of a space; those met before are remembered. `encoder` has the lines of
    candidates, of which most are met once."""

    def __init__(self, space: Searchable) -> None:
        self.space = space
        self.encoder = Encoder(space.knobs)
        names = [knob.name for knob in space.knobs]
        self._key: Callable[[Knobs], object] = itemgetter(*names) if names else tuple
        self._lines: dict[object, Array] = {}
        self._described: dict[object, tuple[float, ...]] = {}

    def columns(self, all_knobs: Sequence[Knobs]) -> Array:
        """The lines of their knobs [networks, columns]."""
        keys = [self._key(knobs) for knobs in all_knobs]
        new = {key: knobs for key, knobs in zip(keys, all_knobs, strict=True) if key not in self._lines}
        self._lines.update(zip(new, self.encoder.columns(list(new.values())), strict=True))
        return np.array([self._lines[key] for key in keys]).reshape(len(keys), -1)

    def description(self, all_knobs: Sequence[Knobs]) -> Array:
        """The numbers that describe their networks, which must be there [networks, numbers]."""
        found = []
        for knobs in all_knobs:
            key = self._key(knobs)
            if key not in self._described:
                self._described[key] = self.space.features(knobs)
            found.append(self._described[key])
        return np.array(found).reshape(len(found), -1)

    def model(self, all_knobs: Sequence[Knobs], values: Sequence[float]) -> "Surrogate":
        """What networks with these values teach of themselves: what is a network's own counts as far as the values are
        better explained with it."""
        return learnt(self.columns(all_knobs), self.description(all_knobs), values, locals_tried=OWN)

    def smoothed(self, all_knobs: Sequence[Knobs], values: Sequence[float]) -> tuple[Array, Array]:
        """What the networks with these values are worth, noise aside: means and standard deviations [networks]."""
        model = self.model(all_knobs, values)
        return model.predict(self.columns(all_knobs), self.description(all_knobs))


@dataclass(frozen=True)
class Surrogate:
    """What values of some networks say of any: see `learnt`."""

    centre: float
    scale: float
    weight: float
    """What the description counts beside the knobs."""
    local: float
    """What a network's own counts."""
    noise: float
    """Standard deviation of a value about what it stands for, in units of the values."""
    known: "_Columns"
    values: Array
    """That it learnt from."""
    factor: Array
    """Cholesky factor of the covariance of the values, noise among it, in units of `variance` [known, known]."""
    solved: Array
    variance: float
    likelihood: float
    """Logarithm of how likely the values are, but for a constant: to compare what was learnt of the same values."""

    def predict(self, columns: Array, description: Array) -> tuple[Array, Array]:
        """Means and standard deviations of the networks with those columns [networks, columns] and description
        [networks, numbers], which has no say where its weight is 0."""
        kernel = self.known.kernel(columns, description, self.weight, self.local)
        own = self.known.own(columns, description, self.weight, self.local)
        known = solve_triangular(self.factor, kernel.T, lower=True, check_finite=False)
        left = np.maximum(own - (known**2).sum(axis=0), 1e-12)
        return self.centre + self.scale * (kernel @ self.solved), self.scale * np.sqrt(self.variance * left)

    def left_out(self) -> tuple[Array, Array]:
        """What the others say of the value of each network that it learnt from: means and standard deviations, noise
        among them [networks] (Rasmussen and Williams 2006, equation 5.12)."""
        root = solve_triangular(self.factor, np.eye(len(self.factor)), lower=True, check_finite=False)
        precision = (root**2).sum(axis=0)
        return self.values - self.scale * self.solved / precision, self.scale * np.sqrt(self.variance / precision)


@dataclass(frozen=True)
class _Columns:
    """The networks that were learnt from."""

    columns: Array
    description: Array
    centre: Array
    deviation: Array

    @classmethod
    def of(cls, columns: Array, description: Array) -> "_Columns":
        centre, deviation = description.mean(axis=0), description.std(axis=0)
        deviation = np.where(deviation > 1e-9, deviation, np.inf)
        return cls(columns, _standardised(description, centre, deviation), centre, deviation)

    def kernel(self, columns: Array, description: Array, weight: float, local: float) -> Array:
        """Between networks and the known ones [networks, known]."""
        found: Array = 1.0 + columns @ self.columns.T
        if weight:
            found = found + weight * self._standard(description) @ self.description.T
        if local:
            found = found + local * _falling(columns, self.columns)
        return found

    def own(self, columns: Array, description: Array, weight: float, local: float) -> Array:
        """Between each network and itself [networks]."""
        found: Array = 1.0 + local + (columns**2).sum(axis=1)
        return found + weight * (self._standard(description) ** 2).sum(axis=1) if weight else found

    def _standard(self, description: Array) -> Array:
        return _standardised(description, self.centre, self.deviation)


def _standardised(description: Array, centre: Array, deviation: Array) -> Array:
    """With squares, all of them together of a variance of one; cut at three deviations."""
    known = np.clip((description - centre) / deviation, -3, 3)
    both: Array = np.hstack([known, math.sqrt(SQUARES) * (known**2 - 1)])
    both[:, np.tile(~np.isfinite(deviation), 2)] = 0.0
    return both / math.sqrt(max(1, description.shape[1]))


def _falling(one: Array, other: Array) -> Array:
    squared = np.maximum((one**2).sum(1)[:, None] + (other**2).sum(1)[None, :] - 2 * one @ other.T, 0.0)
    typical = 2 * max(float(other.var(axis=0).sum()), 1e-9)
    found: Array = np.exp(-np.sqrt(squared / typical) / LOCAL_LENGTH)
    return found


def learnt(
    columns: Array,
    description: Array,
    values: Sequence[float],
    deviations: Sequence[float] = (),
    *,
    weights: Sequence[float] = DESCRIPTIONS,
    locals_tried: Sequence[float] = (0.0,),
) -> Surrogate:
    """What the values (larger is better, any scale) of networks with those columns [networks, columns] and description
    [networks, numbers] teach. `deviations` are standard deviations of what is uncertain of a value beyond the noise of
    all, 0 of one that was measured. Of the `weights` of the description, the `locals_tried` and the `NOISES`, those
    under which the values are likeliest are taken."""
    raw = np.array(values, dtype=float)
    median, best = float(np.median(raw)), float(raw.max())
    raw = np.maximum(raw, median - TAIL * max(best - median, 0.0)) if best > median else raw
    centre, scale = float(raw.mean()), float(raw.std()) or 1.0
    target = (raw - centre) / scale
    known = _Columns.of(columns, description)
    extra = (np.array(deviations) / scale) ** 2 if len(deviations) else np.zeros(len(raw))
    found = None
    for weight, local in product(weights if np.isfinite(known.deviation).any() else (0.0,), locals_tried):
        kernel = known.kernel(columns, description, weight, local)
        explained = max(float(np.mean(np.diag(kernel))) - 1.0, 1e-6)
        for noise in (share * explained for share in NOISES):
            factor = np.asarray(np.linalg.cholesky(kernel + np.diag(noise + extra)), dtype=np.float64)
            half = solve_triangular(factor, target, lower=True)
            variance = (float(half @ half) + 1) / (len(raw) + 1)
            likely = -0.5 * (len(raw) + 1) * math.log(variance) - float(np.log(np.diag(factor)).sum())
            if found is None or likely > found.likelihood:
                spread = scale * math.sqrt(noise * variance)
                solved = solve_triangular(factor, half, lower=True, trans="T")
                found = Surrogate(centre, scale, weight, local, spread, known, raw, factor, solved, variance, likely)
    if found is None:
        raise ValueError("there is no weight to learn with")
    return found
