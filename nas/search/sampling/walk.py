"""Strategies that walk: each asks for the values of some networks, looks at them, and goes on from the best.

A walk is a generator that yields networks and is sent what is known of them. It holds no state that outlives a
proposal: to propose, the walk is replayed over the told trials up to the first network that the study does not have.
"""

import math
from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
from optuna.study import Study

from nas.search.notes import first_of, left_aside
from nas.search.sampling.feasible import UNIFORM, FeasibleSampler
from nas.search.sampling.mutants import mutated
from nas.search.sampling.outcomes import Outcome
from nas.seeds import derive_seed
from nas.space.budget import Budget
from nas.space.designs import design_within
from nas.space.draw import draw_within, fit
from nas.space.space import Knob, Knobs, Value

IDLE_RESTARTS = 10
"""Restarts in a row that meet nothing new, after which a walk ends: it has seen all that it can reach."""

Point = tuple[Value, ...]
"""Knobs as a value: the options in the order of the knobs."""


PENDING = Outcome(math.nan)

Walk = Generator[Sequence[Point], list[Outcome], None]
"""Yields networks that it wants to know of, all at once, and is sent their outcomes in the same order."""


class WalkSampler(FeasibleSampler):
    """Replays a walk that begins at the study's first network. A share `below` of the trials is given to smaller
    siblings of the best network known, so that the front has some.

    A network in training counts as failed while its outcome is needed to go on; with several workers the walk thus
    looks ahead, and comes back when the outcome is told.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._fits: dict[Point, Point] = {}
        self._names = tuple(knob.name for knob in self.space.knobs)
        self._identity_of: dict[Point, str] = {}

    def forget(self) -> None:
        """Drops the walk too: it is replayed."""
        super().forget()
        self._walk: Walk | None = None
        self._request: Sequence[Point] = ()
        self._start: Point | None = None
        self._answered: dict[str, str] = {}

    def walk(self, start: Point) -> Walk:
        """Climb after climb from the first network on, until `IDLE_RESTARTS` of them meet nothing new."""
        self.known: dict[str, Outcome] = {}
        self.reached: list[Point] = []
        centre, idle = start, 0
        for restart in count(1):
            before = len(self.known)
            yield from self.climb(centre, restart)
            idle = idle + 1 if len(self.known) == before else 0
            if idle == IDLE_RESTARTS:
                return
            centre = self.restart(restart)

    @abstractmethod
    def climb(self, centre: Point, restart: int) -> Walk:
        """The part of the walk from one network on, the first with a `restart` of 1. It must depend on `self.seed` and
        the outcomes alone, and ask for networks within budget alone."""

    def restart(self, restart: int) -> Point:
        """Where the climb after that one begins: at a mutant of the best network known (iterated local search, Lourenço
        et al. 2003) or, in a share `UNIFORM` of cases, at a random one."""
        rng = self.rng("restart", restart)
        reached = [point for point in self.reached if math.isfinite(self.known[self.identity(point)].accuracy)]
        if not reached or rng.random() < UNIFORM:
            return self.point(draw_within(self.space, self.budget, rng))
        best = max(reached, key=lambda point: self.known[self.identity(point)].accuracy)
        return self.fit(self.point(mutated(self.space.knobs, self.knobs_of(best), rng)))

    def look(self, points: Iterable[Point]) -> Walk:
        """Asks for the outcomes of those networks that are not known yet; `self.known` has them then."""
        unknown = {self.identity(point): point for point in points if self.identity(point) not in self.known}
        if unknown:
            outcomes = yield list(unknown.values())
            self.reached += unknown.values()
            self.known.update(zip(unknown, outcomes, strict=True))

    def propose(self, study: Study, target: Budget, rng: np.random.Generator) -> Knobs:
        """The first network that the walk asks for and the study does not have."""
        if target.parameters < self.budget.parameters:
            return self.fitted(self.best_told(study), target, rng)
        seen = self.seen(study)
        wanted = self._first_unknown(self._outcomes(study), seen, self._beginning(study))
        return draw_within(self.space, target, rng) if wanted is None else self.knobs_of(wanted)

    def knobs_of(self, point: Point) -> dict[str, Value]:
        """The knobs of a point."""
        return dict(zip(self._names, point, strict=True))

    def point(self, knobs: Knobs) -> Point:
        """The point of some knobs."""
        return tuple(knobs[name] for name in self._names)

    def rng(self, *purpose: str | int) -> np.random.Generator:
        """A generator for one purpose, the same on every replay."""
        return np.random.default_rng(derive_seed(self.seed, "walk", *purpose))

    def parameters(self, point: Point) -> int:
        """Parameters of the network."""
        cost = self.space.cost(self.knobs_of(point))
        assert cost is not None
        return cost.parameters

    def admits(self, point: Point) -> bool:
        """Whether it is a network within budget."""
        cost = self.space.cost(self.knobs_of(point))
        return cost is not None and self.budget.covers(cost)

    def fit(self, point: Point) -> Point:
        """The point fitted to the budget."""
        if point not in self._fits:
            knobs = fit(self.space, self.knobs_of(point), self.budget, self.rng("fit", repr(point)))
            self._fits[point] = self.point(knobs)
        return self._fits[point]

    def identity(self, point: Point) -> str:
        """The network's identity."""
        if point not in self._identity_of:
            self._identity_of[point] = self.space.identity(self.knobs_of(point))
        return self._identity_of[point]

    def _first_unknown(self, outcomes: Mapping[str, Outcome], seen: set[str], start: Point) -> Point | None:
        """Goes on with the walk until it asks for a network that the study lacks. When an outcome is another than the
        one that the walk was sent (it was pending, or predicted), or the walk began elsewhere, it is replayed."""
        changed = any(repr(outcomes.get(name, PENDING)) != sent for name, sent in self._answered.items())
        if self._walk is None or start != self._start or changed:
            self._walk, self._start, self._answered = self.walk(start), start, {}
            self._request = next(self._walk, ())
        while self._request:
            for point in self._request:
                if self.identity(point) not in seen:
                    return point
            answers = {self.identity(point): outcomes.get(self.identity(point), PENDING) for point in self._request}
            self._answered |= {name: repr(answer) for name, answer in answers.items()}
            try:
                self._request = self._walk.send([answers[self.identity(point)] for point in self._request])
            except StopIteration:
                self._request = ()
        return None

    def _outcomes(self, study: Study) -> dict[str, Outcome]:
        """What the trials that are done came to, by network."""
        found = {}
        aside = left_aside(study)
        for trial in study.get_trials(deepcopy=False):
            if first_of(trial) in aside:
                continue
            if trial.state.is_finished() and len(trial.params) == len(self._names):
                identity = self._identities.get(trial.number) or self.identity(self.point(trial.params))
                found[identity] = self.outcome_of(trial)
        return found

    def _beginning(self, study: Study) -> Point:
        """The best of the networks with which all strategies begin, of those told; else the first of them."""
        if best := self.best_beginning(study):
            return self.point(best.params)
        first = study.get_trials(deepcopy=False)[0]
        if first.number == 0 and len(first.params) == len(self._names) and 0 not in left_aside(study):
            return self.point(first.params)
        return self.point(design_within(self.space, self._beginnings[0], self.budget))


def notch(knob: Knob, option: Value, by: int) -> Value | None:
    """The option one notch up or down: the next of an ordered knob, a width times or over the square root of two (the
    next where that is further). None where there is none, as at the ends."""
    index = knob.options.index(option)
    following = index + by
    if not 0 <= following < len(knob.options):
        return None
    if knob.role == "width":
        wanted = knob.nearest(float(option) * 2 ** (by / 2))
        following = max(following, wanted) if by > 0 else min(following, wanted)
    return knob.options[following]


def moved(knob: Knob, option: Value, notches: float) -> Value:
    """The option of an ordered knob that many notches away, rounded to the lattice and kept within it."""
    if knob.role == "width":
        return knob.options[knob.nearest(float(option) * 2 ** (notches / 2))]
    index = knob.options.index(option) + round(notches)
    return knob.options[min(max(index, 0), len(knob.options) - 1)]


def exchanges(knobs: Sequence[Knob], point: Point) -> Iterator[tuple[int, Value]]:
    """(knob, option) of every move of one knob: a notch up or down of an ordered one, any other option of a choice."""
    for i, knob in enumerate(knobs):
        if knob.role == "choice":
            yield from ((i, option) for option in knob.options if option is not point[i] and option != point[i])
        else:
            yield from ((i, following) for by in (1, -1) if (following := notch(knob, point[i], by)) is not None)


def replaced(point: Point, changes: Mapping[int, Value]) -> Point:
    """The point with some knobs at other options."""
    return tuple(changes.get(i, option) for i, option in enumerate(point))
