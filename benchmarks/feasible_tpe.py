"""Ways to keep TPE under a hard budget, compared on a made-up accuracy surface.

random, filled        uniform shapes, widths scaled to use the budget (nas's RandomSampler)
tpe, filled           TPE's sample, widths scaled to use the budget, recorded as scaled (nas's TPESampler)
tpe, masked N         candidates over budget or already tried get -inf in TPE's acquisition; N candidates
tpe, set_constraint   Optuna's own soft constraint; the best network within budget counts
tpe, reparametrised   TPE over width ratios and the other knobs, the overall scale solved for the budget

The value found is the highest accuracy observed within budget, noise included. A sampler of Optuna's own is given
uniform draws within budget to start from (up to 3,000 are tried, then one is filled), save the constrained one.
"""

import argparse
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from machine import Figures, mean_and_deviation, one_thread, parser, say, show
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.samplers import TPESampler as OptunaTPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from surfaces import Surface, read_surface, shipped_surface

from nas.search.sampling.proposals import distribution
from nas.search.strategies.controls.random import RandomSampler
from nas.search.strategies.tpe import TPESampler
from nas.seeds import derive_seed
from nas.space.budget import Budget, parse_counts
from nas.space.draw import draw, fit
from nas.space.space import Knob, Knobs, Value

STARTUP = 16
DRAWS = 3_000
RETRIES = 10
WIDEST_RATIO = 16.0


@dataclass(frozen=True)
class Search:
    """One search: what is searched and how."""

    way: str
    surface: Surface
    budget: Budget
    trials: int
    seed: int


@dataclass(frozen=True)
class Found:
    """Its outcome. `best` is None where no network was within budget."""

    best: float | None
    over_budget: float
    cpu_seconds_an_ask: float


@dataclass(frozen=True)
class Way:
    """A sampler, the distributions it is asked for, and the settings that its parameters stand for."""

    sampler: BaseSampler
    distributions: dict[str, BaseDistribution]
    settings: Callable[[dict[str, Any]], Knobs]
    constrained: bool = False


def snapped(knobs: tuple[Knob, ...], values: dict[str, Any]) -> dict[str, Value]:
    """The options nearest to the values."""
    return {
        knob.name: values[knob.name] if knob.role == "choice" else knob.options[knob.nearest(float(values[knob.name]))]
        for knob in knobs
    }


def draw_within(surface: Surface, budget: Budget, rng: np.random.Generator) -> Knobs:
    """A uniform draw within budget; a filled one where none of many is."""
    for _ in range(DRAWS):
        settings = draw(surface, rng)
        cost = surface.cost(settings)
        if cost and budget.covers(cost):
            return settings
    return fit(surface, settings, budget, rng)


class MaskedTPESampler(OptunaTPESampler):
    """Optuna's TPE whose acquisition is -inf for networks over budget or already tried (a private hook of Optuna)."""

    def __init__(self, surface: Surface, budget: Budget, candidates: int, seed: int) -> None:
        super().__init__(n_startup_trials=0, n_ei_candidates=candidates, seed=seed)
        self.surface, self.budget = surface, budget
        self.distributions = {knob.name: distribution(knob) for knob in surface.knobs}
        self.generator = np.random.default_rng(seed)
        self.tried: set[str] = set()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every knob, always."""
        return self.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The best candidate that is admitted; a draw within budget at first and where there is none."""
        for _ in range(RETRIES if trial.number >= STARTUP else 0):
            settings = snapped(self.surface.knobs, super().sample_relative(study, trial, search_space))
            if self._admits(settings):
                break
        else:
            settings = dict(draw_within(self.surface, self.budget, self.generator))
        self.tried.add(self.surface.identity(settings))
        return settings

    def _admits(self, settings: Knobs) -> bool:
        cost = self.surface.cost(settings)
        return bool(cost and self.budget.covers(cost) and self.surface.identity(settings) not in self.tried)

    def _compute_acquisition_func(self, samples: dict[str, Any], mpe_below: Any, mpe_above: Any) -> Any:
        values = super()._compute_acquisition_func(samples, mpe_below, mpe_above)
        admitted = [
            self._admits(
                snapped(
                    self.surface.knobs,
                    {name: kind.to_external_repr(samples[name][i]) for name, kind in self.distributions.items()},
                )
            )
            for i in range(len(values))
        ]
        return np.where(admitted, values, -np.inf)


def by_knob(search: Search, sampler: BaseSampler, *, constrained: bool = False) -> Way:
    """The sampler asked for every knob."""
    knobs = search.surface.knobs
    distributions = {knob.name: distribution(knob) for knob in knobs}
    return Way(sampler, distributions, lambda values: snapped(knobs, values), constrained)


def reparametrised(search: Search) -> Way:
    """TPE over the ratio of each width to the first; the scale is solved."""
    surface = search.surface
    widths = [knob for knob in surface.knobs if knob.role == "width"]
    first, ratios = widths[0], {knob.name for knob in widths[1:]}
    middle = math.sqrt(float(first.options[0]) * float(first.options[-1]))
    distributions = {
        knob.name: FloatDistribution(1 / WIDEST_RATIO, WIDEST_RATIO, log=True)
        if knob.name in ratios
        else distribution(knob)
        for knob in surface.knobs
        if knob is not first
    }
    rng = np.random.default_rng(search.seed)

    def settings(values: dict[str, Any]) -> Knobs:
        scaled = {name: value * middle if name in ratios else value for name, value in values.items()}
        return fit(surface, snapped(surface.knobs, scaled | {first.name: middle}), search.budget, rng)

    return Way(OptunaTPESampler(n_startup_trials=STARTUP, seed=search.seed), distributions, settings)


WAYS: dict[str, Callable[[Search], Way]] = {
    "random, filled": lambda s: by_knob(s, RandomSampler(s.surface, s.budget, seed=s.seed, below=0)),
    "tpe, filled": lambda s: by_knob(s, TPESampler(s.surface, s.budget, seed=s.seed, below=0)),
    "tpe, masked 24": lambda s: by_knob(s, MaskedTPESampler(s.surface, s.budget, 24, s.seed)),
    "tpe, masked 512": lambda s: by_knob(s, MaskedTPESampler(s.surface, s.budget, 512, s.seed)),
    "tpe, set_constraint": lambda s: by_knob(
        s, OptunaTPESampler(n_startup_trials=STARTUP, seed=s.seed), constrained=True
    ),
    "tpe, reparametrised": reparametrised,
}


def run_search(search: Search) -> Found:
    """Asks, evaluates and tells that many trials."""
    way = WAYS[search.way](search)
    study = optuna.create_study(direction="maximize", sampler=way.sampler)
    noise = random.Random(derive_seed(search.seed, "noise"))
    values, over, seconds = [], 0, []
    for _ in range(search.trials):
        started = time.process_time()
        trial = study.ask(way.distributions)
        settings = way.settings(trial.params)
        seconds.append(time.process_time() - started)
        cost = search.surface.cost(settings)
        feasible = cost is not None and search.budget.covers(cost)
        if way.constrained:
            trial.set_constraint("parameters", cost.parameters - search.budget.parameters if cost else math.inf)
        value = search.surface.accuracy(settings, noise)
        study.tell(trial, value)
        over += not feasible
        values += [value] if feasible else []
    return Found(max(values, default=None), over / search.trials, statistics.fmean(seconds))


@cache
def surface_of(path: Path | None, widths: tuple[str, ...], space: str) -> Surface:
    """The surface that was asked for."""
    return read_surface(path, widths) if path else shipped_surface(space)


def run_task(task: tuple[str, int, int, argparse.Namespace]) -> Found:
    """One search in a process of its own, which reads the surface itself."""
    way, parameters, number, asked = task
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    surface = surface_of(asked.surface, asked.widths, asked.space)
    seed = derive_seed(number, "feasible_tpe", parameters)
    found = run_search(Search(way, surface, Budget(parameters), asked.trials, seed))
    say(f"{parameters:>7,} {way:20} seed {number}: {found.best}")
    return found


def summary(founds: list[Found]) -> Figures:
    """Mean, standard deviation and n of the best value, share over budget, processor seconds an ask."""
    best = [found.best for found in founds if found.best is not None]
    return {
        "best": mean_and_deviation(best) if best else None,
        "searches_without_a_network": len(founds) - len(best),
        "share_over_budget": round(statistics.fmean(found.over_budget for found in founds), 3),
        "cpu_seconds_an_ask": round(statistics.fmean(found.cpu_seconds_an_ask for found in founds), 4),
    }


def names(text: str) -> tuple[str, ...]:
    """Comma-separated names."""
    return tuple(text.split(","))


def main() -> int:
    """Prints the comparison as JSON."""
    arguments = parser(__doc__, "python benchmarks/feasible_tpe.py --seeds 3 --budgets 10K")
    arguments.add_argument("--surface", type=Path, help="file with CHOICES, parameters() and accuracy()")
    arguments.add_argument("--widths", type=names, default=(), help="its knobs that are widths, such as c0,c1,c2")
    arguments.add_argument("--space", default="residual", help="shipped space without --surface (default: %(default)s)")
    arguments.add_argument("--budgets", type=parse_counts, default="3K,10K,100K", help="default: %(default)s")
    arguments.add_argument("--seeds", type=int, default=10, help="searches a way and budget (default: %(default)s)")
    arguments.add_argument("--trials", type=int, default=200, help="trials a search (default: %(default)s)")
    arguments.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="default: all")
    arguments.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one a core")
    asked = arguments.parse_args()
    if asked.surface and not asked.widths:
        arguments.error("--surface needs --widths, the names of the knobs that are widths")
    tasks = [
        (way, budget, seed, asked) for budget in asked.budgets for seed in range(asked.seeds) for way in asked.ways
    ]
    with ProcessPoolExecutor(asked.processes, initializer=one_thread) as pool:
        founds = dict(
            zip(((way, budget, seed) for way, budget, seed, _ in tasks), pool.map(run_task, tasks), strict=True)
        )
    show(
        {
            "surface": asked.surface.name if asked.surface else f"made up, over {asked.space}",
            "trials": asked.trials,
            "budgets": {
                str(budget): {
                    way: summary([founds[way, budget, seed] for seed in range(asked.seeds)]) for way in asked.ways
                }
                for budget in asked.budgets
            },
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
