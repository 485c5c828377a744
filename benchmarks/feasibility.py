"""Whether every proposal of every strategy is within budget, how much of the budget it uses, and how long an ask takes.

Real Optuna studies, in memory, told a made-up accuracy (benchmarks/surfaces.py), a fresh one every 200 trials. Every
proposal is counted by nas; a sample of them by torch as well. "use" is the share of the
budget, parameters or bytes, once aiming exactly at
the budget (below 0) and once with the default share of smaller networks (below 0.25, a quarter as many proposals).
An ask, timed at 1,000 told trials in memory and in a journal file, ends when every knob is known: Optuna samples at the
first, and the journal stores them one by one. "cpu" is the process's own time, which a busy machine does not stretch.
"""

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
from counting import count_by_building
from machine import Figures, one_thread, parser, percentile, say, show, spread
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, create_trial
from surfaces import CLASSES, SpaceSurface, shipped_surface

from nas.network.deployment.numbers import BYTES, Numbers
from nas.search.journal import open_storage
from nas.search.sampling.proposals import distribution, suggest
from nas.search.search import run_folder
from nas.search.strategies import STRATEGIES
from nas.seeds import derive_seed
from nas.space.budget import Budget, CapOptions, parse_caps, parse_counts
from nas.space.draw import draw, fit
from nas.space.space import Knobs, Space

TRIALS_A_STUDY = 200
BUILT_EVERY = 20
ASK_BUDGET = 100_000
DEFAULT_BELOW = 0.25
Storage = Literal["memory", "journal"]


@dataclass(frozen=True)
class Proposing:
    """One study: which strategy proposes how many networks."""

    space: str
    classes: int
    strategy: str
    budget: int
    below: float
    trials: int
    seed: int
    max: tuple[str, ...] = ()
    numbers: Numbers = "fp32"

    @property
    def within(self) -> Budget:
        """The budget and the other caps."""
        return Budget(self.budget, numbers=self.numbers, **parse_caps(self.max))


@dataclass(frozen=True)
class Proposed:
    """The share of the budget that every proposal uses, and of the scarcest cap; how many are over budget by nas's
    count, and by torch's among those built."""

    uses: tuple[float, ...]
    loads: tuple[float, ...]
    over: int
    built: int
    built_over: int


def propose(task: Proposing) -> Proposed:
    """Runs the study."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    surface, space = open_space(task.space, task.classes)
    budget, noise = task.within, random.Random(task.seed)
    sampler = STRATEGIES[task.strategy](space, budget, seed=task.seed, below=task.below)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    uses, loads, over, built = list[float](), list[float](), 0, []
    for number in range(task.trials):
        trial = study.ask()
        settings = {knob.name: suggest(trial, knob) for knob in space.knobs}
        layer, cost = space.network(settings), space.cost(settings)
        over += cost is None or not budget.admits(layer, space.shape)
        uses.append(budget.use(cost) if cost else 0.0)
        loads.append(budget.load(cost) if cost else 0.0)
        if number % BUILT_EVERY == 0:
            built.append(count_by_building(layer))
        study.tell(trial, surface.accuracy(settings, noise))
    say(f"{task.strategy} {task.budget:,} below {task.below}: {len(uses)} proposals, {over} over budget")
    return Proposed(tuple(uses), tuple(loads), over, len(built), sum(count > task.budget for count in built))


def open_space(name: str, classes: int) -> tuple[SpaceSurface, Space]:
    """A shipped space, with an accuracy and without."""
    surface = shipped_surface(name, classes)
    assert isinstance(surface.space, Space)
    return surface, surface.space


def told_trials(space_name: str, classes: int, count: int, seed: int) -> list[FrozenTrial]:
    """Completed trials of networks that use the budget of the timed asks."""
    surface, space = open_space(space_name, classes)
    rng, noise = np.random.default_rng(seed), random.Random(seed)
    kinds = {knob.name: distribution(knob) for knob in space.knobs}
    trials = []
    for _ in range(count):
        settings: Knobs = fit(space, draw(space, rng), Budget(ASK_BUDGET), rng)
        trials.append(create_trial(params=dict(settings), distributions=kinds, value=surface.accuracy(settings, noise)))
    return trials


@dataclass(frozen=True)
class Asking:
    """Timed asks of one strategy after the told trials."""

    space: str
    classes: int
    strategy: str
    storage: Storage
    told: tuple[FrozenTrial, ...]
    asks: int


def time_asks(task: Asking) -> Figures:
    """Milliseconds of the asks, the first one (which reads every told trial) apart."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    surface, space = open_space(task.space, task.classes)
    sampler = STRATEGIES[task.strategy](space, Budget(ASK_BUDGET), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "locks").mkdir()
        storage: BaseStorage = (
            open_storage(run_folder(Path(folder))) if task.storage == "journal" else InMemoryStorage()
        )
        study = optuna.create_study(storage=storage, direction="maximize", sampler=sampler)
        study.add_trials(task.told)
        walls, cpus = _time_each(study, space, surface, task.asks + 1)
    say(f"{task.strategy} {task.storage}: {statistics.median(walls[1:]) * 1000:.0f} ms an ask")
    return {
        "wall": spread(walls[1:], unit=1e-3),
        "cpu": spread(cpus[1:], unit=1e-3),
        "first_cpu": round(cpus[0] * 1000, 1),
    }


def _time_each(study: Study, space: Space, surface: SpaceSurface, count: int) -> tuple[list[float], list[float]]:
    """Seconds of each ask on the clock, and of the process."""
    walls, cpus = [], []
    noise = random.Random(0)
    for _ in range(count):
        wall, cpu = time.perf_counter(), time.process_time()
        trial = study.ask()
        settings = {knob.name: suggest(trial, knob) for knob in space.knobs}
        cpus.append(time.process_time() - cpu)
        walls.append(time.perf_counter() - wall)
        study.tell(trial, surface.accuracy(settings, noise))
    return walls, cpus


def plan(
    space: str,
    classes: int,
    strategies: Iterable[str],
    budgets: Iterable[int],
    below: float,
    proposals: int,
    asked: CapOptions,
) -> list[Proposing]:
    """Studies of at most `TRIALS_A_STUDY` trials, `proposals` in all for each strategy and budget."""
    caps = (tuple(asked.max), asked.numbers)
    sizes = [min(TRIALS_A_STUDY, proposals - start) for start in range(0, proposals, TRIALS_A_STUDY)]
    return [
        Proposing(
            space, classes, strategy, budget, below, size, derive_seed(number, "feasibility", strategy, budget), *caps
        )
        for budget in budgets
        for strategy in strategies
        for number, size in enumerate(sizes)
    ]


def summary(done: list[tuple[Proposing, Proposed]]) -> Figures:
    """Over budget and use."""
    use = [share for _, result in done for share in result.uses]
    load = [share for _, result in done for share in result.loads]
    return {
        "proposals": len(use),
        "over_budget": sum(result.over for _, result in done),
        "built": sum(result.built for _, result in done),
        "built_over_budget": sum(result.built_over for _, result in done),
        "use": {
            "median": round(statistics.median(use), 4),
            "p5": round(percentile(use, 0.05), 4),
            "least": round(min(use), 4),
        },
        "scarcest_cap": {"median": round(statistics.median(load), 4), "most": round(max(load), 4)},
    }


def by_budget(tasks: list[Proposing], results: list[Proposed]) -> Figures:
    """A summary a strategy: in all, and the use of each budget."""
    done = list(zip(tasks, results, strict=True))
    figures: Figures = {}
    for strategy in dict.fromkeys(task.strategy for task in tasks):
        own = [(task, result) for task, result in done if task.strategy == strategy]
        budgets = sorted({task.budget for task, _ in own})
        uses = {str(b): summary([(task, result) for task, result in own if task.budget == b])["use"] for b in budgets}
        figures[strategy] = summary(own) | {"use_by_budget": uses}
    return figures


def main() -> int:
    """Prints the figures as JSON; exit code 1 if any proposal is over budget."""
    arguments = parser(__doc__, "python benchmarks/feasibility.py --quick")
    arguments.add_argument("--space", default="mixed", help="shipped space (default: %(default)s)")
    arguments.add_argument("--classes", type=int, default=CLASSES, help="default: %(default)s")
    arguments.add_argument("--budgets", type=parse_counts, default="2K,3K,10K,100K,1M", help="default: %(default)s")
    arguments.add_argument("--max", default="", help="other caps, as memory=64KB,bytes=256KB (default: none)")
    arguments.add_argument("--numbers", default="fp32", choices=list(BYTES), help="default: %(default)s")
    arguments.add_argument("--strategies", default=",".join(STRATEGIES), help="default: %(default)s")
    arguments.add_argument(
        "--proposals", type=int, default=10_000, help="a strategy, over all budgets (default: %(default)s)"
    )
    arguments.add_argument("--told", type=int, default=1_000, help="trials told before timed asks (%(default)s)")
    arguments.add_argument("--asks", type=int, default=100, help="asks timed (default: %(default)s)")
    arguments.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one a core")
    arguments.add_argument("--quick", action="store_true", help="a twentieth of the proposals, a fifth of the asks")
    asked = arguments.parse_args()
    strategies = asked.strategies.split(",")
    if unknown := [name for name in strategies if name not in STRATEGIES]:
        arguments.error(f"--strategies must be of {', '.join(STRATEGIES)} but got {', '.join(unknown)}")
    proposals = asked.proposals // (20 if asked.quick else 1) // len(asked.budgets)
    asks = asked.asks // (5 if asked.quick else 1)
    caps = CapOptions(max=[asked.max] if asked.max else (), numbers=asked.numbers)
    exact = plan(asked.space, asked.classes, strategies, asked.budgets, 0.0, proposals, caps)
    spread_out = plan(
        asked.space, asked.classes, strategies, asked.budgets, DEFAULT_BELOW, max(1, proposals // 4), caps
    )
    with ProcessPoolExecutor(asked.processes, initializer=one_thread) as pool:
        results = list(pool.map(propose, exact + spread_out))
        shares = [asked.told // asked.processes + (i < asked.told % asked.processes) for i in range(asked.processes)]
        parts = pool.map(partial(told_trials, asked.space, asked.classes), shares, range(len(shares)))
        told = tuple(trial for part in parts for trial in part)
        storages: tuple[Storage, ...] = ("memory", "journal")
        keys = [(strategy, storage) for strategy in strategies for storage in storages]
        times = list(pool.map(time_asks, [Asking(asked.space, asked.classes, *key, told, asks) for key in keys]))
    figures: Figures = {
        "space": asked.space,
        "classes": asked.classes,
        "below 0": by_budget(exact, results[: len(exact)]),
        f"below {DEFAULT_BELOW}": by_budget(spread_out, results[len(exact) :]),
        "told": len(told),
        "milliseconds_an_ask": {
            f"{strategy}, {storage}": one for (strategy, storage), one in zip(keys, times, strict=True)
        },
    }
    show(figures)
    return 1 if any(result.over or result.built_over for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
