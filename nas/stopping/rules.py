"""Rules that say after an epoch whether a training goes on.

A rule judges a training against its rivals: the networks of the same strategy with at most as many parameters, so that
a small network is never judged against a large one. A training that is stopped is frozen, not thrown away: a rule may
want it back when more is known.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from nas.stopping.curves import Curve, Prediction

THRESHOLD = 0.02
"""Chance of joining the front below which a training is not worth its epochs, in a search of `NETWORKS` networks:
benchmarks/curves.py. Of fewer networks each costs a larger share of the search, and the chance must be larger."""
NETWORKS = 200
MOST = 0.2

EAGER = 0.5
"""Chance from which on a training goes on at once, before new networks are tried."""


def default_threshold(networks: int) -> float:
    """The threshold for a search of so many networks: 4 / networks, at most 0.2.

    >>> [default_threshold(networks) for networks in (1000, 200, 40, 10)]
    [0.004, 0.02, 0.1, 0.2]
    """
    return min(MOST, THRESHOLD * NETWORKS / networks)


def is_checked(epoch: int) -> bool:
    """Whether trainings are judged after this epoch: after each of the first twenty, then ever less often, so that a
    long training is judged some dozens of times.

    >>> [epoch for epoch in range(18, 50) if is_checked(epoch)]
    [18, 19, 20, 22, 24, 26, 28, 30, 33, 36, 39, 42, 46]
    """
    checked = 1
    while checked < epoch:
        checked += max(1, checked // 10)
    return checked == epoch


@dataclass(frozen=True)
class Verdict:
    """What to do with a training: whether it goes on at once; if not, whether it is worth going on when no new network
    is left to try, and that of several with the largest chance first."""

    goes_on: bool
    is_worthy: bool
    chance: float

    def goes_on_above(self, bar: float) -> bool:
        """Whether a training that was taken up again goes on: at once, or while no other makes better use of the next
        epoch (see `to_resume`)."""
        return self.goes_on or (self.is_worthy and self.chance >= bar)


def to_resume(verdicts: Sequence[Verdict], *, nothing_new: bool) -> tuple[int | None, float]:
    """Which of the frozen trainings should go on now, if one should: the first of those with the largest chance among
    those that go on at once or, where no new network is left to try, that are worth it. Also the chance of the next
    best, or of a new network: as long as its own is not below that bar, no other makes better use of the next epoch."""
    going = [(v.chance, -i) for i, v in enumerate(verdicts) if v.goes_on or (nothing_new and v.is_worthy)]
    going.sort(reverse=True)
    second = going[1][0] if len(going) > 1 else 0.0
    return (-going[0][1] if going else None), second if nothing_new else max(second, EAGER)


class Rule(Protocol):
    """A rule. `resumes` says whether what it stopped may go on."""

    resumes: ClassVar[bool]

    def checks(self, epoch: int) -> bool:
        """Whether trainings are judged after this epoch."""

    def judge(self, curve: "Curve", prediction: "Prediction", rivals: "Sequence[Curve]") -> Verdict:
        """Of a training that has not come to its last epoch, with the prediction of its value there, against its
        rivals, itself not among them."""


class Never:
    """Every training goes to its last epoch."""

    resumes: ClassVar[bool] = False

    def checks(self, epoch: int) -> bool:
        """Never."""
        return False

    def judge(self, curve: "Curve", prediction: "Prediction", rivals: "Sequence[Curve]") -> Verdict:
        """Goes on."""
        return Verdict(True, True, 1.0)


class Extrapolate:
    """By the predicted chance to end above every rival that has come to its last epoch: freeze and thaw.

    A training goes on at once while that is likely (`EAGER`). It is frozen when it is not, and goes on when nothing
    better is left to do with the next epoch, unless the chance is below the threshold. The first networks have no such
    rival and go on.
    """

    resumes: ClassVar[bool] = True

    def __init__(self, epochs: int, threshold: float = THRESHOLD) -> None:
        self.epochs, self.threshold = epochs, threshold

    def checks(self, epoch: int) -> bool:
        """See `is_checked`."""
        return is_checked(epoch)

    def judge(self, curve: "Curve", prediction: "Prediction", rivals: "Sequence[Curve]") -> Verdict:
        """By the chance of joining the front."""
        measured = [rival.values[-1] for rival in rivals if len(rival.values) == self.epochs]
        chance = prediction.chance_above(max(measured)) if measured else 1.0
        return Verdict(chance >= max(EAGER, self.threshold), chance >= self.threshold, chance)


class Median:
    """Stops what is below the median of its rivals at the same epoch (Golovin et al. 2017), but not in its first epoch
    nor before `STARTUP` rivals have come to their last. Stopped is stopped."""

    resumes: ClassVar[bool] = False
    STARTUP = 5
    WARMUP = 1

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def checks(self, epoch: int) -> bool:
        """After every epoch but the first."""
        return epoch > self.WARMUP

    def judge(self, curve: "Curve", prediction: "Prediction", rivals: "Sequence[Curve]") -> Verdict:
        """By its best value so far."""
        epoch = len(curve.values)
        complete = sum(len(rival.values) == self.epochs for rival in rivals)
        if complete < self.STARTUP or not self.checks(epoch):
            return Verdict(True, True, 1.0)
        values = [rival.values[epoch - 1] for rival in rivals if len(rival.values) >= epoch]
        best = max(curve.values)
        goes_on = best >= statistics.median(values)
        return Verdict(goes_on, False, _share_below(best, values))


class Halving:
    """Asynchronous successive halving with promotion (Li et al. 2020): at epochs 1, 3, 9, … only the best third of what
    has come so far goes on; what is stopped goes on when it belongs to the best third later."""

    resumes: ClassVar[bool] = True
    REDUCTION = 3

    def __init__(self, epochs: int) -> None:
        self.rungs = {self.REDUCTION**k for k in range(math.ceil(math.log(epochs, self.REDUCTION)) + 1)}

    def checks(self, epoch: int) -> bool:
        """At the rungs."""
        return epoch in self.rungs

    def judge(self, curve: "Curve", prediction: "Prediction", rivals: "Sequence[Curve]") -> Verdict:
        """By its place at the rung."""
        epoch = len(curve.values)
        values = [rival.values[epoch - 1] for rival in rivals if len(rival.values) >= epoch]
        above = sum(value > curve.values[-1] for value in values)
        promoted = above < max(1, (len(values) + 1) // self.REDUCTION)
        goes_on = not self.checks(epoch) or promoted
        return Verdict(goes_on, goes_on, _share_below(curve.values[-1], values))


RULES: dict[str, Callable[[int, float], Rule]] = {
    "extrapolate": Extrapolate,
    "median": lambda epochs, threshold: Median(epochs),
    "halving": lambda epochs, threshold: Halving(epochs),
    "none": lambda epochs, threshold: Never(),
}
"""What `--stop` takes: names, and what makes the rule for trainings of that many epochs and a threshold."""


def make_rule(name: str, epochs: int, threshold: float = THRESHOLD) -> Rule:
    """The rule of that name. Raises KeyError for a name that is not in `RULES`."""
    return RULES[name](epochs, threshold)


def _share_below(value: float, values: Sequence[float]) -> float:
    return sum(other < value for other in values) / len(values) if values else 1.0
