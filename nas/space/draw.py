"""Networks that are feasible by construction: draw a shape, then fit it to the budget.

Below a percent of uniform draws are feasible at small budgets, so drawing and rejecting is no method. `fit` scales the
widths of a drawn architecture along their direction until the network uses the budget, mends the rounding notch by
notch, and only where that is not enough changes another knob.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from nas.errors import BudgetError
from nas.network.folds import Cost
from nas.space.budget import FAR, Budget
from nas.space.space import Knobs, Searchable, Value

GOAL = 0.985
"""Share of the budget at which a fit is good enough."""

ENOUGH = 0.95
"""Share of the budget below which another knob is changed, unless less is asked for. More would turn every shape of a
small space into the one that happens to fill best."""

EVALUATIONS = 400
"""Networks counted for one fit, about, before the best one so far is taken."""

GROWTH = 1.7
"""Power of the widths with which the load of a network grows, about."""

CHANGES = 20
"""Other knobs changed, one at a time, before the best fit so far is taken."""

DRAWS = 200
"""Uniform draws in a space of choices, of which the first within budget is taken."""

STARTS = 5
"""Uniform draws, the best of `DRAWS`, from which the smallest network is looked for too, where settings are missing."""

Indices = tuple[int, ...]


@runtime_checkable
class Listed(Protocol):
    """A space of which only some networks exist, none to be had by scaling: a table that holds a sample."""

    def nearest(self, knobs: Knobs, budget: Budget) -> dict[str, Value]:
        """The network to take for those knobs: the nearest within budget that is left, or the nearest at all."""


def draw(space: Searchable, rng: np.random.Generator) -> dict[str, Value]:
    """Knobs uniform over the options of every knob."""
    return {knob.name: knob.options[rng.integers(len(knob.options))] for knob in space.knobs}


def draw_within(space: Searchable, budget: Budget, rng: np.random.Generator) -> dict[str, Value]:
    """A uniform draw, fitted. In a space of choices alone, where nothing can be scaled, the first of many uniform draws
    that is within budget, if one is."""
    knobs = draw(space, rng)
    whole = not isinstance(space, Listed) and all(knob.role == "choice" for knob in space.knobs)
    for _ in range(DRAWS if whole else 0):
        if (cost := space.cost(knobs)) and budget.covers(cost):
            return space.settled(knobs)
        knobs = draw(space, rng)
    return fit(space, knobs, budget, rng)


def fit(
    space: Searchable, knobs: Knobs, budget: Budget, rng: np.random.Generator, *, goal: float = GOAL
) -> dict[str, Value]:
    """Knobs near the given ones, settled, whose network is within budget and uses as much of it as can be found, or at
    least a share `goal` of what it is to fill (`Budget.use`).

    Raises BudgetError if the space has no network within budget.
    """
    if isinstance(space, Listed):
        return space.nearest(knobs, budget)
    fitting = _Fitting(space, budget, rng, goal)
    start = fitting.repair(fitting.indices(knobs))
    best = fitting.fill(start)
    for _ in range(CHANGES):
        if fitting.use(best) >= min(ENOUGH, goal) or fitting.has_counted_enough or not fitting.can_change:
            break
        best = max(best, fitting.fill(fitting.change_one(best)), key=fitting.use)
    return space.settled(fitting.knobs(best))


def defaults(space: Searchable) -> dict[str, Value]:
    """The default of every knob."""
    return {knob.name: knob.options[knob.start] for knob in space.knobs}


def smallest(space: Searchable, budget: Budget | None = None) -> dict[str, Value]:
    """Knobs of the smallest network by coordinate descent: fewest parameters, or least load of the budget."""
    return _extreme(space, budget or Budget(1), sign=1)


def largest(space: Searchable, budget: Budget | None = None) -> dict[str, Value]:
    """Knobs of the network with most parameters, or most load of the budget, by coordinate ascent."""
    return _extreme(space, budget or Budget(1), sign=-1)


def check_satisfiable(space: Searchable, budget: Budget, name: str) -> Cost:
    """The cost of the smallest network. Raises BudgetError, naming it and the caps that bind, if even that is over
    budget."""
    least = space.nearest(defaults(space), budget) if isinstance(space, Listed) else lightest(space, budget)
    if (cost := space.cost(least)) is not None and budget.covers(cost):
        return cost
    found, flags = budget.missed(cost) if cost else ("none that fits the images", "--budget")
    raise BudgetError(
        f"no network of space {name!r} has at most {budget}; its smallest has {found}. "
        f"Raise {flags} or choose another --space."
    )


def lightest(space: Searchable, budget: Budget) -> dict[str, Value]:
    """Knobs of the smallest network: with the fewest parameters and multiply-adds if that is within budget, for what
    else is capped takes long to count."""
    least = smallest(space, budget.quick)
    cost = space.cost(least)
    return least if budget.quick == budget or (cost and budget.covers(cost)) else smallest(space, budget)


def _extreme(space: Searchable, budget: Budget, sign: int) -> dict[str, Value]:
    def score(knobs: Knobs) -> float:
        cost = space.cost(knobs)
        return math.inf if cost is None else sign * budget.load(cost)

    def descended(current: Knobs) -> dict[str, Value]:
        best = dict(current)
        improved = True
        while improved:
            before = score(best)
            for knob in space.knobs:
                ends = (knob.options[0], knob.options[-1], best[knob.name])
                options = ends if knob.role == "width" else (*knob.some, best[knob.name])
                best = min((best | {knob.name: option} for option in options), key=score)
            improved = score(best) < before
        return best

    starts = [*({knob.name: knob.options[end] for knob in space.knobs} for end in (0, -1)), defaults(space)]
    if math.inf in map(score, starts):  # there are holes in the space, at which a descent may end
        rng = np.random.default_rng(0)
        starts += sorted((draw(space, rng) for _ in range(DRAWS)), key=score)[:STARTS]
    return min(map(descended, starts), key=score)


@dataclass
class _Fitting:
    """One fit: the space seen as option indices, and the costs of the networks looked at."""

    space: Searchable
    budget: Budget
    rng: np.random.Generator
    goal: float
    _costs: dict[Indices, Cost | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.decisions = self.space.knobs
        widths = [i for i, knob in enumerate(self.decisions) if knob.role == "width"]
        self.widths = widths or [i for i, knob in enumerate(self.decisions) if knob.role == "ordered"]
        self.others = [i for i in range(len(self.decisions)) if i not in self.widths]
        self.changeable = [i for i in self.others if len(self.decisions[i].options) > 1]
        self.can_change = bool(self.widths and self.changeable)

    def knobs(self, indices: Indices) -> dict[str, Value]:
        return {knob.name: knob.options[i] for knob, i in zip(self.decisions, indices, strict=True)}

    def indices(self, knobs: Knobs) -> Indices:
        return tuple(knob.options.index(knobs[knob.name]) for knob in self.decisions)

    def cost(self, indices: Indices) -> Cost | None:
        if indices not in self._costs:
            self._costs[indices] = self.space.cost(self.knobs(indices))
        return self._costs[indices]

    @property
    def has_counted_enough(self) -> bool:
        return len(self._costs) >= EVALUATIONS

    def load(self, indices: Indices) -> float:
        cost = self.cost(indices)
        return math.inf if cost is None else self.budget.burden(cost)

    def use(self, indices: Indices) -> float:
        """Share of the budget used; negative if over budget."""
        cost = self.cost(indices)
        return self.budget.use(cost) if cost and self.budget.covers(cost) else -1.0

    def repair(self, indices: Indices) -> Indices:
        """The given shape with its other knobs reduced, in random order, until it fits at the narrowest widths."""
        if self.load(indices) <= 1:
            return indices
        narrow = self._replace(indices, dict.fromkeys(self.widths, 0))
        while self.load(narrow) > 1:
            lighter = next(self._lighter(narrow), None) or self._drawn(narrow)
            if lighter is None:
                return self._smallest()
            narrow = lighter
        return self._replace(narrow, {i: indices[i] for i in self.widths})

    def _lighter(self, indices: Indices) -> Iterator[Indices]:
        """Single changes of another knob, in random order, that lighten the load."""
        load = self.load(indices)
        for i in self.rng.permutation(self.others):
            for option in self.rng.permutation(len(self.decisions[i].options)):
                candidate = self._replace(indices, {int(i): int(option)})
                if self.load(candidate) < load:
                    yield candidate

    def _drawn(self, indices: Indices) -> Indices | None:
        """Where the setting does not exist, the first of a few draws of its other knobs that does."""
        for _ in range(CHANGES if math.isinf(self.load(indices)) else 0):
            drawn = {i: int(self.rng.integers(len(self.decisions[i].options))) for i in self.others}
            if math.isfinite(self.load(candidate := self._replace(indices, drawn))):
                return candidate
        return None

    def _smallest(self) -> Indices:
        knobs = lightest(self.space, self.budget)
        if not (cost := self.space.cost(knobs)) or not self.budget.covers(cost):
            raise BudgetError(f"the space has no network with at most {self.budget}")
        return self.indices(knobs)

    def fill(self, indices: Indices) -> Indices:
        """The widths scaled to use the budget, then mended one notch up, or one up and another down, at a time."""
        current = self._rescale(indices)
        counted = [i for i in self.widths if self._counts(i, current)] if self.use(current) < self.goal else []
        improved = True
        while improved and self.use(current) < self.goal and not self.has_counted_enough:
            improved = False
            for candidate in self._notches(current, counted):
                if self.use(candidate) > self.use(current):
                    current, improved = candidate, True
                    break
        return current

    def _rescale(self, indices: Indices) -> Indices:
        """The widest multiple of the widths within budget: interpolated on logarithms, bisected where loads jump."""
        if not self.widths:
            return indices
        values = [float(self.decisions[i].options[indices[i]]) for i in self.widths]
        options = [self.decisions[i].options for i in self.widths]
        low = math.log(min((float(o[0]) + 1) / (v + 1) for o, v in zip(options, values, strict=True)))
        high = math.log(max((float(o[-1]) + 1) / (v + 1) for o, v in zip(options, values, strict=True)))
        found = [(0.0, self.load(indices))]
        best = indices if found[0][1] <= 1 else self._replace(indices, dict.fromkeys(self.widths, 0))
        low, high = (0.0, high) if found[0][1] <= 1 else (low, 0.0)
        while high - low > 0.01 and self.use(best) < self.goal:
            aimed = self._interpolated(found[-2:]) if len(found) % 3 else math.nan
            middle = aimed if low < aimed < high else (low + high) / 2
            candidate = self._scaled(indices, values, middle)
            found.append((middle, self.load(candidate)))
            low, high = (middle, high) if found[-1][1] <= 1 else (low, middle)
            best = max(best, candidate, key=self.use)
        return best

    def _interpolated(self, found: list[tuple[float, float]]) -> float:
        """The exponent at which the load is halfway between the goal and the whole, from one or two loads found."""
        (one, before), (other, load) = found[0], found[-1]
        if not 0 < load < FAR or not 0 < before < FAR:
            return math.nan
        rises = other != one and (load - before) * (other - one) > 0
        slope = math.log(load / before) / (other - one) if rises else GROWTH
        return other + math.log((1 + self.goal) / 2 / load) / slope

    def _scaled(self, indices: Indices, values: list[float], exponent: float) -> Indices:
        factor = math.exp(exponent)
        scaled = {i: self.decisions[i].nearest(v * factor) for i, v in zip(self.widths, values, strict=True)}
        return self._replace(indices, scaled)

    def _counts(self, i: int, indices: Indices) -> bool:
        """Whether the network has any use for that width: one of a stage that it lacks has none."""
        other = indices[i] + 1 if indices[i] + 1 < len(self.decisions[i].options) else indices[i] - 1
        return other >= 0 and self.cost(self._replace(indices, {i: other})) != self.cost(indices)

    def _notches(self, indices: Indices, widths: list[int]) -> Iterator[Indices]:
        up = [i for i in widths if indices[i] + 1 < len(self.decisions[i].options)]
        down = [i for i in widths if indices[i] > 0]
        for i in self.rng.permutation(up):
            yield self._replace(indices, {int(i): indices[i] + 1})
        pairs = [(i, j) for i in up for j in down if i != j]
        for i, j in self.rng.permutation(pairs):
            yield self._replace(indices, {int(i): indices[i] + 1, int(j): indices[j] - 1})

    def change_one(self, indices: Indices) -> Indices:
        """Another knob at another option, at random."""
        i = int(self.rng.choice(self.changeable))
        option = int(self.rng.integers(len(self.decisions[i].options) - 1))
        return self.repair(self._replace(indices, {i: option + (option >= indices[i])}))

    @staticmethod
    def _replace(indices: Indices, changes: dict[int, int]) -> Indices:
        return tuple(changes.get(i, index) for i, index in enumerate(indices))
