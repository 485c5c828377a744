"""Strategies compared over independent searches: at equal trials, at equal epochs, at equal seconds.

The unit is a search, not a trial: n searches of two strategies give n paired differences (same seed, same data split,
same training seed). The interval of their mean is a bootstrap's, p is of Wilcoxon's signed-rank test, the effect size
is A of Vargha and Delaney (2000): the chance that a search of one ends above a search of the other, ties halved.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate, combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from nas.errors import RunError
from nas.search.records import Record
from nas.search.search import BASELINES, Search

Vector = npt.NDArray[np.float64]

Effort = Literal["trials", "epochs", "seconds"]
EFFORTS: tuple[Effort, ...] = ("trials", "epochs", "seconds")

SIGNIFICANT = 0.05
RESAMPLES = 9_999
AVERAGE_USE = 0.9
"""Share of the budget that a random network must use to count towards the average random network."""

FEWEST_DRAWS = 3
"""Random networks at a budget from which on their average is told."""


@dataclass(frozen=True)
class Course:
    """One search of one strategy: after each training the best accuracy so far, and what it had taken by then.

    `trials` is how many networks had been proposed; a training that was stopped and went on is two. A network that
    several strategies or trials propose is trained once and charged to each. A training that was stopped counts for
    what it took, but not for the accuracy that was predicted.
    """

    strategy: str
    budget: int
    seed: int
    best: tuple[float, ...]
    trials: tuple[int, ...]
    epochs: tuple[int, ...]
    seconds: tuple[float, ...]

    def at(self, effort: Effort, limit: float) -> float:
        """The best accuracy for at most that effort; 0 where no network was to be had for it."""
        within = bisect_right(self._spent(effort), limit)
        return self.best[within - 1] if within else 0.0

    def total(self, effort: Effort) -> float:
        """What the whole search took."""
        return self._spent(effort)[-1]

    def _spent(self, effort: Effort) -> Sequence[float]:
        """What it had taken after each training, in ascending order."""
        return {"trials": self.trials, "epochs": self.epochs, "seconds": self.seconds}[effort]


def courses(search: Search, records: Iterable[Record]) -> list[Course]:
    """A course for each strategy and budget with a finished trial, baselines aside."""
    records = list(records)
    training_seconds = {(r.network, len(r.curve)): r.seconds for r in records if r.state in ("trained", "stopped")}
    found = []
    for strategy, budget in search.studies:
        own = [r for r in records if (r.strategy, r.budget) == (strategy, budget) and r.is_finished]
        if own and strategy != BASELINES:
            parts = sorted((part for r in own for part in _parts(r, training_seconds)), key=lambda part: part.order)
            best = accumulate((part.accuracy for part in parts), max)
            spent = ((int(part.is_new), part.epochs, part.seconds) for part in parts)
            totals = (tuple(accumulate(each)) for each in zip(*spent, strict=True))
            found.append(Course(strategy, budget, search.seed, tuple(best), *totals))
    return found


class _Part(NamedTuple):
    """A training, or what it came to before or after it was first stopped: when, whether that was a trial of its own,
    what it took, and the accuracy measured by then (0 if none)."""

    order: int
    is_new: bool
    epochs: int
    seconds: float
    accuracy: float


def _parts(record: Record, training_seconds: Mapping[tuple[str, int], float]) -> list[_Part]:
    accuracy = record.accuracy if record.is_measured else 0.0
    epochs, seconds = len(record.accuracies), training_seconds.get((record.network, len(record.curve)), 0.0)
    if not record.resumed:
        return [_Part(record.number, True, epochs, seconds, accuracy)]
    first, before = record.first_epochs, seconds * record.first_epochs / max(epochs, 1)
    return [
        _Part(record.number, True, first, before, 0.0),
        _Part(record.latest, False, epochs - first, seconds - before, accuracy),
    ]


def compare(
    courses: Sequence[Course], average_random: dict[int, float], efforts: Sequence[Effort] = EFFORTS
) -> list[dict[str, Any]]:
    """For each budget, each strategy's results, and every pair of strategies at each equal effort. Accuracies are 0–1,
    as in `pareto.json`; differences are in accuracy points. Only seeds that every strategy has searched with are used,
    and an effort for which some search had not found a network yet is left out."""
    return [_compare_at(budget, courses, average_random, efforts) for budget in sorted({c.budget for c in courses})]


def compare_runs(runs: Sequence[tuple[Search, Sequence[Record]]]) -> list[dict[str, Any]]:
    """Runs that differ in nothing but their seed and their strategies, compared. Raises RunError for others."""
    check_comparable([search for search, _ in runs])
    averages = defaultdict[int, list[float]](list)
    for search, records in runs:
        for budget, accuracy in average_random(search, records).items():
            averages[budget].append(accuracy)
    every = [course for search, records in runs for course in courses(search, records)]
    return compare(every, {budget: float(np.mean(found)) for budget, found in averages.items()})


def check_comparable(searches: Sequence[Search]) -> None:
    """Raises RunError naming what differs between runs, or the strategy searched twice with one seed."""
    searched: set[tuple[str, int]] = set()
    for search in searches:
        for f in fields(Search):
            one, other = getattr(searches[0], f.name), getattr(search, f.name)
            if f.compare and one != other and f.name not in ("seed", "strategies", "baselines", "trials"):
                raise RunError(
                    f"runs to compare must differ in seed only, but {f.name} is {one} here and {other} there"
                )
        for strategy in search.strategies:
            if (strategy, search.seed) in searched:
                raise RunError(f"two of the runs have searched with {strategy} and seed {search.seed}; leave one out")
            searched.add((strategy, search.seed))


def average_random(search: Search, records: Iterable[Record]) -> dict[int, float]:
    """For each budget at which `random` searched, the mean accuracy of its networks that use it, predicted where their
    training was stopped (to leave those out would flatter the average). The networks with which every strategy begins
    are no draws."""
    drawn = defaultdict[int, list[float]](list)
    for record in records:
        draw = record.number - len(search.starts_at(record.budget)) - len(search.beginnings)
        uses = record.parameters >= AVERAGE_USE * record.budget
        if record.strategy == "random" and draw >= 1 and uses and record.is_finished and record.state != "failed":
            drawn[record.budget].append(record.value)
    return {budget: float(np.mean(found)) for budget, found in drawn.items() if len(found) >= FEWEST_DRAWS}


def _compare_at(
    budget: int, courses: Sequence[Course], average_random: dict[int, float], efforts: Sequence[Effort]
) -> dict[str, Any]:
    by_strategy = defaultdict[str, dict[int, Course]](dict)
    for course in courses:
        if course.budget == budget:
            by_strategy[course.strategy][course.seed] = course
    seeds = sorted(set.intersection(*(set(own) for own in by_strategy.values())))
    table = {strategy: [own[seed] for seed in seeds] for strategy, own in by_strategy.items()}
    limits = {effort: min(c.total(effort) for own in table.values() for c in own) if seeds else 0 for effort in efforts}
    average = average_random.get(budget)
    comparable = [c for c in efforts if all(course.at(c, limits[c]) > 0 for own in table.values() for course in own)]
    pairs = [
        {"cost": effort, "limit": limits[effort], **_pair(first, second, table, effort, limits[effort])}
        for effort in comparable
        for first, second in combinations(table, 2)
    ]
    return {
        "budget": budget,
        "searches": len(seeds),
        "average_random_accuracy": average,
        "strategies": [_summary(strategy, own, limits, average) for strategy, own in table.items()],
        "pairs": pairs if seeds else [],
    }


def _summary(
    strategy: str, own: Sequence[Course], limits: dict[Effort, float], average: float | None
) -> dict[str, Any]:
    best = [course.best[-1] for course in own]
    mean = float(np.mean(best)) if best else None
    return {
        "strategy": strategy,
        "best_accuracies": best,
        "mean": mean,
        "sd": float(np.std(best, ddof=1)) if len(best) > 1 else None,
        "gain_over_average_random": None if average is None or mean is None else 100 * (mean - average),
        "at_equal": {effort: [course.at(effort, limit) for course in own] for effort, limit in limits.items()},
    }


def _pair(first: str, second: str, table: dict[str, list[Course]], effort: Effort, limit: float) -> dict[str, Any]:
    ours = np.array([100 * course.at(effort, limit) for course in table[first]])
    theirs = np.array([100 * course.at(effort, limit) for course in table[second]])
    interval, p = interval_of_mean(ours - theirs), rank_test(ours - theirs)
    difference = float(np.mean(ours - theirs))
    return {
        "first": first,
        "second": second,
        "difference": difference,
        "interval": interval,
        "p": p,
        "effect": superiority(ours, theirs),
        "verdict": verdict(first, second, difference, interval, p, len(ours)),
    }


def interval_of_mean(differences: Vector) -> list[float] | None:
    """Bootstrap interval (95 %) of the mean; None for fewer than three differences."""
    if len(differences) < 3:
        return None
    if np.ptp(differences) == 0:
        return [float(differences[0])] * 2
    from scipy import stats

    found = stats.bootstrap(
        (differences,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return [float(found.low), float(found.high)]


def rank_test(differences: Vector) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test; None for a single difference."""
    if len(differences) < 2:
        return None
    from scipy import stats

    return 1.0 if not differences.any() else float(stats.wilcoxon(differences).pvalue)


def superiority(ours: Vector, theirs: Vector) -> float:
    """Share of pairs of searches in which ours is above theirs, ties halved: 0.5 is no effect."""
    above = (ours[:, None] > theirs[None, :]).mean()
    level = (ours[:, None] == theirs[None, :]).mean()
    return float(above + level / 2)


def verdict(
    first: str, second: str, difference: float, interval: Sequence[float] | None, p: float | None, searches: int
) -> str:
    """The comparison in words.

    >>> verdict("tpe", "greedy", 0.2, None, None, 1)
    'one search each (tpe +0.20 points over greedy): chance cannot be told from skill'
    >>> verdict("tpe", "greedy", 0.2, [-0.1, 0.5], 0.31, 5)
    'no difference seen, n = 5 (tpe +0.20 points, 95 % interval -0.10 to +0.50, p = 0.31); n is too small to see any'
    >>> verdict("tpe", "greedy", -1.0, [-1.5, -0.6], 0.002, 10)
    'greedy finds better networks than tpe, n = 10 (greedy +1.00 points, 95 % interval +0.60 to +1.50, p = 0.002)'
    """
    leader, follower = (first, second) if difference >= 0 else (second, first)
    if searches < 2 or p is None:
        ahead = (
            f"{leader} {abs(difference):+.2f} points over {follower}" if difference else f"{first} level with {second}"
        )
        return f"one search each ({ahead}): chance cannot be told from skill"
    figures = f"{leader} {abs(difference):+.2f} points"
    if interval is not None:
        low, high = interval if difference >= 0 else (-interval[1], -interval[0])
        figures += f", 95 % interval {low:+.2f} to {high:+.2f}"
    figures += f", p = {p:.2g}"
    if p <= SIGNIFICANT and interval is not None and not interval[0] <= 0 <= interval[1]:
        return f"{leader} finds better networks than {follower}, n = {searches} ({figures})"
    hopeless = "; n is too small to see any" if 2 / 2**searches > SIGNIFICANT else ""
    return f"no difference seen, n = {searches} ({figures}){hopeless}"
