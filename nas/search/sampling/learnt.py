"""What a walk learns from outcomes: how noisy they are, and what they forecast of other networks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from nas.search.sampling.outcomes import Outcome
from nas.search.sampling.walk import Point
from nas.space.space import Knob

Vector = npt.NDArray[np.float64]


class Line(NamedTuple):
    """A line of a walk's log, the networks that it speaks of, and the one that they were compared with."""

    text: str
    points: tuple[Point, ...] = ()
    against: Point | None = None


@dataclass
class Memory:
    """What a walk has learnt: the outcomes of the points it has looked at, the noise, and its log."""

    outcomes: dict[Point, Outcome] = field(default_factory=dict)
    triples: list[tuple[float, tuple[Outcome, ...]]] = field(default_factory=list)
    metric: Literal["accuracy", "log-loss"] = "accuracy"
    log: list[Line] = field(default_factory=list)

    def value(self, point: Point) -> float:
        """In the chosen metric, larger is better; -inf where the trial failed."""
        return _value(self.outcomes[point], self.metric)

    def values(self) -> dict[Point, float]:
        """The values of the networks that did not fail."""
        return {point: value for point in self.outcomes if math.isfinite(value := self.value(point))}

    def noise(self, metric: str) -> float:
        """Standard deviation of a value, from the triples of nearly equal networks; 0 where there is none. Triples that
        hold a prediction count only while there are no others."""
        squares = []
        measured = [(share, outcomes) for share, outcomes in self.triples if all(o.measured for o in outcomes)]
        for share, outcomes in measured or self.triples:
            low, middle, high = (_value(outcome, metric) for outcome in outcomes)
            off = middle - (1 - share) * low - share * high
            squares.append(off**2 / (1 + (1 - share) ** 2 + share**2))
        squares = [square for square in squares if math.isfinite(square)]
        return math.sqrt(sum(squares) / len(squares)) if squares else 0.0

    @property
    def floor(self) -> float:
        """What two values must differ by to count: the standard error of a difference."""
        return math.sqrt(2) * self.noise(self.metric)

    def choose_metric(self) -> None:
        """The one whose noise is smaller against the spread of the values so far."""
        shares = {}
        for metric in ("accuracy", "log-loss"):
            values = [v for o in self.outcomes.values() if math.isfinite(v := _value(o, metric))]
            spread = float(np.std(values)) if len(values) > 1 else 0.0
            shares[metric] = self.noise(metric) / spread if spread else math.inf
        self.metric = "log-loss" if shares["log-loss"] < shares["accuracy"] else "accuracy"
        if math.isfinite(shares["log-loss"]):
            text = (
                f"values are compared by validation {self.metric}: its noise is {shares[self.metric]:.0%} of the "
                f"spread between networks (accuracy {shares['accuracy']:.0%}, log-loss {shares['log-loss']:.0%})"
            )
            self.log.append(Line(text))


def _value(outcome: Outcome, metric: str) -> float:
    value = -outcome.log_loss if metric == "log-loss" else outcome.accuracy
    return -math.inf if math.isnan(value) else value


@dataclass(frozen=True)
class Forecast:
    """A quadratic ridge regression over the knobs of a space."""

    knobs: tuple[Knob, ...]
    _known: dict[Point, list[float]] = field(default_factory=dict, compare=False)

    def of(self, points: Sequence[Point], values: Mapping[Point, float]) -> Vector:
        """The values that those known forecast of the points, less their mean; 0 of fewer than two."""
        if len(values) < 2 or not points:
            return np.zeros(len(points))
        features = np.array([self._features(point) for point in (*values, *points)])
        features -= features[: len(values)].mean(axis=0)
        squares = features[:, self._ordered] ** 2
        features = np.hstack([features, squares - squares[: len(values)].mean(axis=0)])
        known = np.array(list(values.values()))
        inputs = features[: len(values)]
        weights = np.linalg.solve(inputs.T @ inputs + np.eye(inputs.shape[1]), inputs.T @ (known - known.mean()))
        forecast: Vector = features[len(values) :] @ weights
        return forecast

    @cached_property
    def _ordered(self) -> list[int]:
        """The features of ordered knobs."""
        owners = [knob for knob in self.knobs for _ in range(len(knob.options) if knob.role == "choice" else 1)]
        return [i for i, knob in enumerate(owners) if knob.role != "choice"]

    def _features(self, point: Point) -> list[float]:
        """Notches of the ordered knobs, an indicator for each option of the choices."""
        if point not in self._known:
            features: list[float] = []
            for knob, option in zip(self.knobs, point, strict=True):
                if knob.role == "width":
                    features.append(2 * math.log2(float(option)))
                elif knob.role == "ordered":
                    features.append(knob.options.index(option))
                else:
                    features += [float(option == other) for other in knob.options]
            self._known[point] = features
        return self._known[point]
