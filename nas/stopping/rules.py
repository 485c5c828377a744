"""Rules that say after an epoch whether a training goes on.

A rule judges a training against its rivals: the networks of the same strategy with at most as many parameters, so that
a small network is never judged against a large one. A training that is stopped is frozen, not thrown away: a rule may
want it back when more is known.
"""

import statistics
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

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

    def goes_on_above(self, least_chance: float) -> bool:
        """Whether a training that was taken up again goes on: at once, or while no other makes better use of the next
        epoch (see `to_resume`)."""
        return self.goes_on or (self.is_worthy and self.chance >= least_chance)


def to_resume(verdicts: Sequence[Verdict], *, nothing_new: bool) -> tuple[int | None, float]:
    """Which of the frozen trainings should go on now, if one should: the first of those with the largest chance among
    those that go on at once or, where no new network is left to try, that are worth it. Also the chance of the next
    best, or of a new network: as long as its own is not below that, no other makes better use of the next epoch."""
    going = [(v.chance, -i) for i, v in enumerate(verdicts) if v.goes_on or (nothing_new and v.is_worthy)]
    going.sort(reverse=True)
    second = going[1][0] if len(going) > 1 else 0.0
    return (-going[0][1] if going else None), second if nothing_new else max(second, EAGER)


@dataclass(frozen=True)
class Rule(ABC):
    """A rule for trainings of `epochs` epochs. `name` is what `--stop` takes, `meaning` says in a line what it does,
    `resumes` whether what it stopped may go on, `heeds_best_alone` whether of its rivals the best that has come to its
    last epoch is all that it goes by. `threshold` is the chance of joining the front below which a training
    is not worth its epochs; only rules that predict have use for it."""

    epochs: int
    threshold: float = THRESHOLD

    name: ClassVar[str]
    meaning: ClassVar[str]
    resumes: ClassVar[bool]
    heeds_best_alone: ClassVar[bool] = False

    @abstractmethod
    def checks(self, epoch: int) -> bool:
        """Whether trainings are judged after this epoch."""

    @abstractmethod
    def judge(self, curve: "Curve", prediction: "Prediction", rivals: "Sequence[Curve]") -> Verdict:
        """What to do with a training that has not come to its last epoch, given the prediction of its value there and
        its rivals, itself not among them."""


class Extrapolate(Rule):
    """Freeze and thaw, by the predicted chance to end above every rival that has come to its last epoch.

    A training goes on at once while that is likely (`EAGER`). It is frozen when it is not, and goes on when nothing
    better is left to do with the next epoch, unless the chance is below the threshold. The first networks have no such
    rival and go on.
    """

    name = "extrapolate"
    meaning = "freezes what will hardly end above every rival; goes on with it when nothing better is left to do"
    resumes = True
    heeds_best_alone = True

    def checks(self, epoch: int) -> bool:
        """See `is_checked`."""
        return is_checked(epoch)

    def judge(self, curve: "Curve", prediction: "Prediction", rivals: "Sequence[Curve]") -> Verdict:
        """Goes by the chance of joining the front."""
        measured = [rival.values[-1] for rival in rivals if len(rival.values) == self.epochs]
        chance = prediction.chance_above(max(measured)) if measured else 1.0
        return Verdict(chance >= max(EAGER, self.threshold), chance >= self.threshold, chance)


class Median(Rule):
    """Stops what is below the median of its rivals at the same epoch (Golovin et al. 2017), but not in its first epoch
    nor before `STARTUP` rivals have come to their last. Stopped is stopped."""

    name = "median"
    meaning = "stops for good what is below the median of its rivals at the same epoch"
    resumes = False
    STARTUP: ClassVar = 5
    WARMUP: ClassVar = 1

    def checks(self, epoch: int) -> bool:
        """After every epoch but the first."""
        return epoch > self.WARMUP

    def judge(self, curve: "Curve", prediction: "Prediction", rivals: "Sequence[Curve]") -> Verdict:
        """Goes by its best value so far."""
        epoch = len(curve.values)
        complete = sum(len(rival.values) == self.epochs for rival in rivals)
        if complete < self.STARTUP or not self.checks(epoch):
            return Verdict(True, True, 1.0)
        values = [rival.values[epoch - 1] for rival in rivals if len(rival.values) >= epoch]
        best = max(curve.values)
        goes_on = best >= statistics.median(values)
        return Verdict(goes_on, False, _share_below(best, values))


class Halving(Rule):
    """Asynchronous successive halving with promotion (Li et al. 2020): at epochs 1, 3, 9, … only the best third of what
    has come so far goes on; what is stopped goes on when it belongs to the best third later."""

    name = "halving"
    meaning = "at epochs 1, 3, 9, … goes on with the best third of what has come so far"
    resumes = True
    REDUCTION: ClassVar = 3

    def checks(self, epoch: int) -> bool:
        """At the rungs, which are the powers of `REDUCTION`."""
        rung = 1
        while rung < epoch:
            rung *= self.REDUCTION
        return rung == epoch

    def judge(self, curve: "Curve", prediction: "Prediction", rivals: "Sequence[Curve]") -> Verdict:
        """Goes by its place at the rung."""
        epoch = len(curve.values)
        values = [rival.values[epoch - 1] for rival in rivals if len(rival.values) >= epoch]
        above = sum(value > curve.values[-1] for value in values)
        promoted = above < max(1, (len(values) + 1) // self.REDUCTION)
        goes_on = not self.checks(epoch) or promoted
        return Verdict(goes_on, goes_on, _share_below(curve.values[-1], values))


class Never(Rule):
    """Every training goes to its last epoch."""

    name = "none"
    meaning = "trains every network to its last epoch"
    resumes = False

    def checks(self, epoch: int) -> bool:
        """Never."""
        return False

    def judge(self, curve: "Curve", prediction: "Prediction", rivals: "Sequence[Curve]") -> Verdict:
        """Goes on."""
        return Verdict(True, True, 1.0)


RULES: dict[str, type[Rule]] = {rule.name: rule for rule in (Extrapolate, Median, Halving, Never)}
"""The rules, by the names that `--stop` takes."""


DEFAULT_RULE = Extrapolate.name
"""The rule where trainings are long enough for one."""
LEAST_WORK = 5e10
"""Multiply-adds of a training from which on stopping saves more than it costs: some 4 s on a core. To judge, freeze,
find and thaw a training takes 0.1 to 0.3 s of that, the more the more trials there are; of trainings that short a sixth
is saved: docs/stopping.md."""


def default_rule(work: float) -> str:
    """The rule for trainings of so many multiply-adds, forward and backward, over all their epochs.

    >>> default_rule(2e10), default_rule(1e12)
    ('none', 'extrapolate')
    """
    return DEFAULT_RULE if work >= LEAST_WORK else Never.name


def _share_below(value: float, values: Sequence[float]) -> float:
    return sum(other < value for other in values) / len(values) if values else 1.0
