"""Greedy search against random search on a made-up accuracy over the `residual` space whose best network is known.

    accuracy(q) = PEAK + GROWTH * log10(N(q) / budget) - a penalty that grows with the distance to q*

q* uses the budget to the last parameter, so no network within budget is better, and larger ones are: the budget binds.

greedy         nas's GreedySampler: noise floor, steps fitted to the budget, exchanges, restarts; the gradient by
               simultaneous perturbation, two networks each
greedy-full    the same with the gradient by full differences, a network for each ordered knob
plain          the method without what a noisy world needs: raw steps along the projected gradient, each taken whatever
               it brings, no noise floor, no exchange of choices, a new start only where it runs in a circle
random         uniform shapes, fitted

Each search begins at a random network. The gap is the accuracy of q* less that of the network with the best observed
value, both without noise, in points.
"""

import math
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import count
from random import Random

import numpy as np
import optuna
from machine import Figures, mean_and_deviation, one_thread, parser, say, show
from optuna.trial import create_trial

from nas.search.sampling.feasible import FeasibleSampler
from nas.search.sampling.proposals import distribution, suggest
from nas.search.sampling.walk import Point, Walk, WalkSampler, moved, notch, replaced
from nas.search.strategies import STRATEGIES
from nas.search.strategies.greedy_full import project
from nas.seeds import derive_seed
from nas.space.budget import Budget
from nas.space.draw import draw_within
from nas.space.files import named_space
from nas.space.space import Knob, Knobs, Space, Value, bind

BEST: Knobs = {
    "halve": "1 3",
    "blocks1": 2, "width1": 18, "kernel1": 3, "residual1": True,
    "blocks2": 3, "width2": 26, "kernel2": 3, "residual2": True,
    "blocks3": 1, "width3": 60, "kernel3": 5, "residual3": False,
}  # fmt: skip
PEAK, GROWTH = 0.60, 0.15
CURVATURE = 0.003
"""Accuracy lost one notch away from q*; four times that two notches away."""
WRONG = 0.01
"""Accuracy lost by another option of a choice."""
CHECKPOINTS = (50, 100, 200)


@cache
def residual() -> Space:
    """The space at 3 x 32 x 32 and 100 classes."""
    return bind(named_space("residual"), (3, 32, 32), 100)


@cache
def budget() -> Budget:
    """What q* uses."""
    cost = residual().cost(BEST)
    assert cost is not None
    return Budget(cost.parameters)


def accuracy(settings: Knobs) -> float:
    """Without noise."""
    cost = residual().cost(settings)
    assert cost is not None
    lost = sum(_penalty(knob, settings[knob.name], BEST[knob.name]) for knob in residual().knobs)
    return PEAK + GROWTH * math.log10(cost.parameters / budget().parameters) - lost


def _penalty(knob: Knob, option: Value, best: Value) -> float:
    if knob.role == "choice":
        return WRONG * (option != best)
    if knob.role == "width":
        return CURVATURE * (2 * math.log2(float(option) / float(best))) ** 2
    return CURVATURE * (knob.options.index(option) - knob.options.index(best)) ** 2


class PlainGreedySampler(WalkSampler):
    """Forward differences, projection, a step of two notches, again and again."""

    LENGTH = 2.0

    def climb(self, centre: Point, restart: int) -> Walk:
        """One climb that never ends."""
        ordered = [i for i, knob in enumerate(self.space.knobs) if knob.role != "choice"]
        visited = set()
        for step in count():
            visited.add(self.identity(centre))
            pairs = {i: other for i in ordered if (other := self._neighbour(centre, i)) is not None}
            outcomes = yield [centre, *pairs.values()]
            values = [outcome.accuracy for outcome in outcomes]
            slopes = np.array([value - values[0] for value in values[1:]])
            counts = np.array([self.parameters(other) - self.parameters(centre) for other in pairs.values()], float)
            along = project(slopes, counts)
            norm = float(np.linalg.norm(along)) or 1.0
            moves = {
                i: moved(self.space.knobs[i], centre[i], self.LENGTH * float(a) / norm)
                for i, a in zip(pairs, along, strict=True)
            }
            following = self.fit(replaced(centre, moves))
            if self.identity(following) in visited:  # for ever in a circle, else
                following = self.point(draw_within(self.space, self.budget, self.rng(step)))
            centre = following

    def _neighbour(self, centre: Point, i: int) -> Point | None:
        """One notch up, fitted to the budget as it would leave it else."""
        option = notch(self.space.knobs[i], centre[i], 1)
        return None if option is None else self.fit(replaced(centre, {i: option}))


WAYS: dict[str, type[FeasibleSampler]] = {
    "greedy": STRATEGIES["greedy"],
    "greedy-full": STRATEGIES["greedy-full"],
    "plain": PlainGreedySampler,
    "tpe": STRATEGIES["tpe"],
    "local": STRATEGIES["local"],
    "random": STRATEGIES["random"],
}


@dataclass(frozen=True)
class Search:
    """One search from one start."""

    way: str
    start: int
    noise: float
    trials: int


def run_search(search: Search) -> dict[int, float]:
    """Gap in points after each checkpoint."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = residual()
    study = optuna.create_study(
        direction="maximize", sampler=WAYS[search.way](space, budget(), seed=search.start, below=0)
    )
    random = Random(derive_seed(search.start, "noise"))
    settings = draw_within(space, budget(), np.random.default_rng(derive_seed(search.start, "start")))
    gaps: dict[int, float] = {}
    best = (-math.inf, 0.0)
    for trials in range(1, search.trials + 1):
        if trials > 1:
            trial = study.ask()
            settings = {knob.name: suggest(trial, knob) for knob in space.knobs}
        true = accuracy(settings)
        observed = true + random.gauss(0, search.noise)
        best = max(best, (observed, true))
        if trials == 1:
            kinds = {knob.name: distribution(knob) for knob in space.knobs}
            study.add_trial(create_trial(value=observed, params=settings, distributions=kinds))
        else:
            study.tell(trial, observed)
        if trials in CHECKPOINTS:
            gaps[trials] = 100 * (PEAK - best[1])
    say(f"noise {search.noise} {search.way:12} start {search.start}: {gaps}")
    return gaps


def summary(gaps: list[dict[int, float]]) -> Figures:
    """Mean, standard deviation, n and the worst, after each checkpoint."""
    return {
        str(trials): mean_and_deviation([g[trials] for g in gaps], 3)
        | {"worst": round(max(g[trials] for g in gaps), 3)}
        for trials in CHECKPOINTS
        if trials in gaps[0]
    }


def main() -> int:
    """Prints the comparison as JSON."""
    arguments = parser(__doc__, "python benchmarks/greedy.py --starts 5 --ways greedy,random")
    arguments.add_argument("--starts", type=int, default=20, help="searches a way (default: %(default)s)")
    arguments.add_argument("--trials", type=int, default=200, help="default: %(default)s")
    arguments.add_argument("--noise", default="0,0.005", help="standard deviations, default: %(default)s")
    arguments.add_argument("--ways", default=",".join(WAYS), help="default: %(default)s")
    arguments.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one a core")
    asked = arguments.parse_args()
    ways, noises = asked.ways.split(","), [float(noise) for noise in asked.noise.split(",")]
    if unknown := [way for way in ways if way not in WAYS]:
        arguments.error(f"--ways must be of {', '.join(WAYS)} but got {', '.join(unknown)}")
    searches = [
        Search(way, start, noise, asked.trials) for noise in noises for way in ways for start in range(asked.starts)
    ]
    with ProcessPoolExecutor(asked.processes, initializer=one_thread) as pool:
        gaps = dict(zip(searches, pool.map(run_search, searches), strict=True))
    show(
        {
            "budget": budget().parameters,
            "gap_in_points": {
                f"noise {noise:g}": {
                    way: summary([gaps[Search(way, start, noise, asked.trials)] for start in range(asked.starts)])
                    for way in ways
                }
                for noise in noises
            },
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
