"""What a search space holds, before anything is trained."""

import math
import statistics
from dataclasses import dataclass

import numpy as np

from nas.errors import Refusal
from nas.network.deployment.numbers import Numbers
from nas.network.layers import Shape
from nas.space.budget import Budget, all_counted, counted
from nas.space.caps import CAPS
from nas.space.draw import draw, largest, lightest, smallest
from nas.space.space import Knob, Knobs, Space

DRAWS = 1000
PROBES = 25
ENUMERABLE = 4000


@dataclass(frozen=True)
class Survey:
    """What is in a space: `settings` is the number of assignments of its knobs. Sizes are of networks that fit the
    images: the least, the median and the most of all that can be capped, by name, of networks deployed in `numbers`.
    `median`, `share_feasible` and the share that each cap admits (`shares`) are over `draws` uniform draws, `refusals`
    tells which of them the space's own code made no network of."""

    space: str
    shape: Shape
    classes: int
    knobs: tuple[Knob, ...]
    settings: int
    distinct_networks: float
    distinct_is_exact: bool
    numbers: Numbers
    smallest: dict[str, int]
    median: dict[str, int]
    largest: dict[str, int]
    draws: int
    budget: Budget | None
    shares: dict[str, float]
    share_feasible: float | None
    satisfiable: bool | None
    refusals: tuple[Refusal, ...] = ()


def survey(space: Space, budget: Budget | None = None, numbers: Numbers = "fp32") -> Survey:
    """Counts and samples the space, for networks deployed in those numbers, which are the budget's; seconds at most."""
    rng = np.random.default_rng(0)
    costs = [cost for _ in range(DRAWS) if (cost := space.cost(draw(space, rng)))]
    refusals = space.refusals.told()
    least = space.cost(lightest(space, budget)) if budget else None
    sizes = [all_counted(cost, numbers) for cost in costs]
    caps = budget.caps if budget else ()
    alone = {name: Budget(**{name: 1}, numbers=numbers) for name in CAPS}
    assignments = math.prod(len(knob.options) for knob in space.knobs)
    exact = assignments <= ENUMERABLE
    return Survey(
        space=space.name,
        shape=space.shape,
        classes=space.classes,
        knobs=space.knobs,
        settings=assignments,
        distinct_networks=_enumerate(space) if exact else _estimate(space, assignments, rng),
        distinct_is_exact=exact,
        numbers=numbers,
        smallest={name: _counted(space, smallest(space, one), name, numbers) for name, one in alone.items()},
        median={name: int(statistics.median(size[name] for size in sizes)) for name in CAPS},
        largest={name: _counted(space, largest(space, one), name, numbers) for name, one in alone.items()},
        draws=DRAWS,
        budget=budget,
        shares={name: sum(size[name] <= most for size in sizes) / DRAWS for name, most in caps},
        share_feasible=sum(map(budget.covers, costs)) / DRAWS if budget else None,
        satisfiable=least is not None and budget.covers(least) if budget else None,
        refusals=refusals,
    )


def _counted(space: Space, knobs: Knobs, name: str, numbers: Numbers) -> int:
    cost = space.cost(knobs)
    assert cost is not None
    return counted(cost, name, numbers)


def _enumerate(space: Space) -> int:
    """Number of different networks, by building every one."""
    seen = set()
    for index in np.ndindex(*(len(knob.options) for knob in space.knobs)):
        knobs = {knob.name: knob.options[i] for knob, i in zip(space.knobs, index, strict=True)}
        if space.cost(knobs):
            seen.add(space.identity(knobs))
    return len(seen)


def _estimate(space: Space, assignments: int, rng: np.random.Generator) -> float:
    """Assignments times the mean of 1 / (assignments that give the same network), over draws; 0 of those without one.

    The multiplicity of a draw is taken as the product, over its knobs, of the options that leave its network the same:
    knobs that do not matter (the rank of a full classifier) do not matter whatever the others are.
    """
    drawn = [knobs for _ in range(PROBES) if space.cost(knobs := draw(space, rng))]
    return assignments * sum(1 / _multiplicity(space, knobs) for knobs in drawn) / PROBES


def _multiplicity(space: Space, knobs: Knobs) -> int:
    network = space.network(knobs)
    same = 1
    for knob in space.knobs:
        others = [option for option in knob.options if option != knobs[knob.name]]
        if others and space.makes({**knobs, knob.name: others[0]}, network):
            same *= 1 + sum(space.makes({**knobs, knob.name: option}, network) for option in others)
    return same
