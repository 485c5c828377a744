"""What a search space holds, before anything is trained."""

import math
import statistics
from dataclasses import dataclass

import numpy as np

from nas.errors import Refusal, SpaceError
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
    known = costs or [cost for knobs in (space.defaults, smallest(space)) if (cost := space.cost(knobs))]
    if not known:
        raise SpaceError(f"none of {DRAWS:,} settings drawn of space {space.name!r} makes a network for these images")
    least = space.cost(lightest(space, budget)) if budget else None
    sizes = [all_counted(cost, numbers) for cost in known]
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
        smallest={name: min(_known(space, smallest(space, one), name, numbers, sizes)) for name, one in alone.items()},
        median={name: int(statistics.median(size[name] for size in sizes)) for name in CAPS},
        largest={name: max(_known(space, largest(space, one), name, numbers, sizes)) for name, one in alone.items()},
        draws=DRAWS,
        budget=budget,
        shares={name: sum(counted(cost, name, numbers) <= most for cost in costs) / DRAWS for name, most in caps},
        share_feasible=sum(map(budget.covers, costs)) / DRAWS if budget else None,
        satisfiable=least is not None and budget.covers(least) if budget else None,
        refusals=refusals,
    )


def _known(space: Space, knobs: Knobs, name: str, numbers: Numbers, sizes: list[dict[str, int]]) -> list[int]:
    """The sizes that were drawn, and that of the knobs, where they make a network: a space full of holes has perhaps
    none that can be reached step by step."""
    cost = space.cost(knobs)
    return [*(size[name] for size in sizes), *([counted(cost, name, numbers)] if cost else [])]


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


def _multiplicity(space: Space, knobs: Knobs) -> float:
    network = space.network(knobs)
    same = 1.0
    for knob in space.knobs:
        others = [option for option in knob.some if option != knobs[knob.name]]
        if others and space.makes({**knobs, knob.name: others[0]}, network):
            share = sum(space.makes({**knobs, knob.name: option}, network) for option in others) / len(others)
            same *= 1 + share * (len(knob.options) - 1)
    return same
