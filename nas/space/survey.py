"""What a search space holds, before anything is trained."""

import math
import statistics
from dataclasses import astuple, dataclass

import numpy as np

from nas.network.folds import Cost
from nas.network.layers import Shape
from nas.space.budget import Budget
from nas.space.draw import draw, largest, smallest
from nas.space.space import Knob, Knobs, Refusal, Space

DRAWS = 1000
PROBES = 25
ENUMERABLE = 4000


@dataclass(frozen=True)
class Survey:
    """What is in a space: `settings` is the number of assignments of its knobs. Sizes are of networks that fit the
    images. `median` and `share_feasible` are over `draws` uniform draws, `refusals` tells which of them the space's own
    code made no network of."""

    space: str
    shape: Shape
    classes: int
    knobs: tuple[Knob, ...]
    settings: int
    distinct_networks: float
    distinct_is_exact: bool
    smallest: Cost
    median: Cost
    largest: Cost
    draws: int
    budget: Budget | None
    share_feasible: float | None
    satisfiable: bool | None
    refusals: tuple[Refusal, ...] = ()


def survey(space: Space, budget: Budget | None) -> Survey:
    """Counts and samples the space; seconds at most."""
    rng = np.random.default_rng(0)
    costs = [cost for _ in range(DRAWS) if (cost := space.cost(draw(space, rng)))]
    refusals = space.refusals.told()
    lightest = space.cost(smallest(space, budget))
    least, most = space.cost(smallest(space)), space.cost(largest(space))
    assert least is not None
    assert most is not None
    assert lightest is not None
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
        smallest=least,
        median=Cost(*(int(statistics.median(one)) for one in zip(*map(astuple, costs), strict=True))),
        largest=most,
        draws=DRAWS,
        budget=budget,
        share_feasible=sum(map(budget.covers, costs)) / DRAWS if budget else None,
        satisfiable=budget.covers(lightest) if budget else None,
        refusals=refusals,
    )


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
