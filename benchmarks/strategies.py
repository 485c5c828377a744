"""Strategies compared on a table of evaluated networks: regret against trials, over many searches.

The search sees the `--observe` column; what it finds is judged by the mean of the `--final` columns. Regret is the best
final accuracy within budget less that of the network with the best observed value so far, in accuracy points.

Strategies: those of nas, and `constrained`: Optuna's TPE with its own soft constraint, whose networks over budget count
as trials but not as finds. `all` is all of them. Networks at the edge of `--budget` are within it.
"""

import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import optuna
from machine import Figures, mean_and_error, one_thread, parser, say, show
from optuna.samplers import BaseSampler
from optuna.samplers import TPESampler as OptunaTPESampler
from tables import Table, TableError, read_table

from nas.errors import EXIT_WRONG_USE, UserError
from nas.search.sampling.feasible import distribution, exhausted, suggest
from nas.search.strategies import STRATEGIES
from nas.seeds import derive_seed
from nas.space.budget import Budget, parse_counts

CHECKPOINTS = (50, 100, 200)
CONSTRAINED = "constrained"
ALL = (*STRATEGIES, CONSTRAINED)


@dataclass(frozen=True)
class Search:
    """One search of one strategy."""

    strategy: str
    budget: Budget
    trials: int
    seed: int


@dataclass(frozen=True)
class Found:
    """Regret in points after each checkpoint (None while nothing within budget was met), and what it took."""

    regret: dict[int, float | None]
    over_budget: int
    duplicates: int
    exhausted: bool
    ask_seconds: list[float] = field(repr=False)


def run_search(table: Table, search: Search, checkpoints: tuple[int, ...]) -> Found:
    """Asks, looks up and tells that many trials, or as many as there are networks."""
    best_final = max(row.final for row in table.rows.values() if row.parameters <= search.budget.parameters)
    study = optuna.create_study(direction="maximize", sampler=sampler(table, search))
    best: tuple[float, float] | None = None
    over = duplicates = 0
    done = False
    seen: set[str] = set()
    regret: dict[int, float | None] = {}
    seconds: list[float] = []
    for trials in range(1, search.trials + 1):
        if not done:
            started = time.perf_counter()
            trial = study.ask({knob.name: distribution(knob) for knob in table.knobs})
            settings = {knob.name: suggest(trial, knob) for knob in table.knobs}
            seconds.append(time.perf_counter() - started)
            row = table.row(settings)
            done = exhausted(study, trial.number)
            if not done:
                duplicates += table.identity(settings) in seen
                seen.add(table.identity(settings))
                feasible = row is not None and row.parameters <= search.budget.parameters
                over += not feasible
                if search.strategy == CONSTRAINED:
                    excess = row.parameters - search.budget.parameters if row else 1
                    trial.set_constraint("parameters", excess)
                if row is None:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                else:
                    study.tell(trial, row.observed)
                if feasible and row and (best is None or row.observed > best[0]):
                    best = (row.observed, row.final)
        if trials in checkpoints:
            regret[trials] = None if best is None else 100 * (best_final - best[1])
    return Found(regret, over, duplicates, done, seconds)


def sampler(table: Table, search: Search) -> BaseSampler:
    """The strategy's; every trial aims at the budget itself."""
    seed = derive_seed(search.seed, "strategies", search.strategy, search.budget.parameters)
    if search.strategy == CONSTRAINED:
        return OptunaTPESampler(seed=seed)
    return STRATEGIES[search.strategy](table, search.budget, seed=seed, below=0)


@cache
def table_of(read: "partial[Table]") -> Table:
    """The table, read once a process."""
    return read()


_read: "partial[Table] | None" = None


def _prepare(read: "partial[Table]") -> None:
    """Hands the way to the table to a process of the pool."""
    global _read
    _read = read
    one_thread()
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def run_task(task: tuple[Search, tuple[int, ...]]) -> Found:
    """One search in a process of the pool."""
    search, checkpoints = task
    assert _read is not None
    found = run_search(table_of(_read), search, checkpoints)
    say(f"{search.strategy:12} seed {search.seed}: regret {found.regret}")
    return found


def summary(founds: list[Found]) -> Figures:
    """Means over the searches, with standard errors."""
    seconds = [second for found in founds for second in found.ask_seconds]
    return {
        "regret": {str(trials): _mean([found.regret[trials] for found in founds]) for trials in founds[0].regret},
        "over_budget": sum(found.over_budget for found in founds),
        "duplicates": sum(found.duplicates for found in founds),
        "exhausted": sum(found.exhausted for found in founds),
        "ask_seconds": round(statistics.fmean(seconds), 5),
        "searches": len(founds),
    }


def _mean(regrets: list[float | None]) -> Figures | None:
    """None where a search had found nothing yet."""
    known = [regret for regret in regrets if regret is not None]
    if len(known) < len(regrets):
        return None
    return mean_and_error(known)


def names(text: str) -> tuple[str, ...]:
    """Comma-separated names."""
    return tuple(name for name in text.split(",") if name)


def main() -> int:
    """Prints the comparison as JSON."""
    arguments = parser(
        __doc__,
        "python benchmarks/strategies.py TABLE.csv.gz --knobs layer0,layer1 --parameters params \\\n"
        "      --observe accuracy_seed0 --final accuracy_seed0,accuracy_seed1 --budget 1000000 --seeds 3",
    )
    arguments.add_argument("table", type=Path, help="CSV file, or .csv.gz, with a row for each network")
    arguments.add_argument("--knobs", type=names, required=True, help="columns of decisions, words or whole numbers")
    arguments.add_argument("--ordered", type=names, default=(), help="those of them that are numbers in earnest")
    arguments.add_argument("--parameters", required=True, help="column of parameters")
    arguments.add_argument("--observe", required=True, help="column of the accuracy that the search is told")
    arguments.add_argument("--final", type=names, required=True, help="columns whose mean judges what is found")
    arguments.add_argument("--budget", type=parse_counts, required=True, help="most parameters, such as 1000000 or 1M")
    arguments.add_argument("--trials", type=int, default=200, help="a search (default: %(default)s)")
    arguments.add_argument("--seeds", type=int, default=30, help="searches a strategy (default: %(default)s)")
    arguments.add_argument("--strategies", default="all", help=f"all, or of {', '.join(ALL)} (default: %(default)s)")
    arguments.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one a core")
    asked: Any = arguments.parse_args()
    strategies = ALL if asked.strategies == "all" else names(asked.strategies)
    if unknown := [name for name in strategies if name not in ALL]:
        arguments.error(f"--strategies must be of all, {', '.join(ALL)} but got {', '.join(unknown)}")
    if len(asked.budget) != 1 or asked.trials < 1 or asked.seeds < 1 or asked.processes < 1:
        arguments.error("--budget must be one number, and --trials, --seeds and --processes at least 1")
    if stray := set(asked.ordered) - set(asked.knobs):
        arguments.error(f"--ordered names {', '.join(sorted(stray))}, which --knobs does not")
    read = partial(
        read_table, asked.table, asked.knobs, asked.parameters, asked.observe, asked.final, ordered=asked.ordered
    )
    budget = Budget(asked.budget[0])
    try:
        _check_feasible(read(), budget)
    except (TableError, UserError) as error:
        print(error, file=sys.stderr)
        return EXIT_WRONG_USE
    checkpoints = tuple(sorted({trials for trials in CHECKPOINTS if trials < asked.trials} | {asked.trials}))
    searches = [Search(name, budget, asked.trials, seed) for name in strategies for seed in range(asked.seeds)]
    try:
        with ProcessPoolExecutor(asked.processes, initializer=_prepare, initargs=(read,)) as pool:
            founds = list(pool.map(run_task, [(search, checkpoints) for search in searches]))
    except UserError as error:
        print(error, file=sys.stderr)
        return EXIT_WRONG_USE
    by_strategy = {
        name: summary([f for search, f in zip(searches, founds, strict=True) if search.strategy == name])
        for name in strategies
    }
    show({"table": asked.table.name, "budget": budget.parameters, "trials": asked.trials, "strategies": by_strategy})
    return 0


def _check_feasible(table: Table, budget: Budget) -> None:
    smallest = min(row.parameters for row in table.rows.values())
    if smallest > budget.parameters:
        raise TableError(f"no network of the table has at most {budget}; its smallest has {smallest:,}. Raise --budget")


if __name__ == "__main__":
    sys.exit(main())
