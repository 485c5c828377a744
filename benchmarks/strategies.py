"""Strategies compared on a table of evaluated networks: regret against trials, over many searches.

The search sees the `--observe` column; what it finds is judged by the mean of the `--final` columns. Regret is the best
final accuracy within budget less that of the network with the best observed value so far, in accuracy points.

A table may hold a sample of its space: see samples.py. `--start` names the default with which every strategy begins.
With `--confirm N`, the N networks of most merit, their observed values smoothed by what all say, have their final
accuracies read, as `nas confirm` trains a shortlist: "confirmed" is the regret of the best of them.

Strategies: those of nas, and `constrained`: Optuna's TPE with its own soft constraint, whose networks over budget count
as trials but not as finds. `all` is all of them. Networks at the edge of `--budget` are within it.
"""

import argparse
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from machine import Figures, mean_and_error, one_thread, parser, say, show
from optuna.samplers import BaseSampler
from optuna.samplers import TPESampler as OptunaTPESampler
from samples import Answered, Sample, is_sample
from tables import Row, Table, TableError, read_table

from nas.errors import EXIT_WRONG_USE, UserError
from nas.search.sampling.proposals import distribution, exhausted, suggest
from nas.search.sampling.surrogate import Describer
from nas.search.strategies import STRATEGIES
from nas.seeds import derive_seed
from nas.space.budget import Budget, parse_counts
from nas.space.space import Knobs

CHECKPOINTS = (20, 50, 100, 200)
CONSTRAINED = "constrained"
ALL = (*STRATEGIES, CONSTRAINED)


@dataclass(frozen=True)
class Search:
    """One search of one strategy."""

    strategy: str
    budget: Budget
    trials: int
    seed: int
    confirm: int


@dataclass(frozen=True)
class Found:
    """Regret in points after each checkpoint (None while nothing within budget was met), the same after confirming the
    best few, and what it took."""

    regret: dict[int, float | None]
    confirmed: dict[int, float | None]
    over_budget: int
    duplicates: int
    exhausted: bool
    ask_seconds: list[float] = field(repr=False)


@dataclass
class Met:
    """Networks within budget that a search has met, in order: their settings, observed and final accuracies."""

    table: Table
    best_final: float
    settings: list[Knobs] = field(default_factory=list)
    observed: list[float] = field(default_factory=list)
    finals: list[float] = field(default_factory=list)

    def add(self, settings: Knobs, row: Row) -> None:
        """One more."""
        self.settings.append(settings)
        self.observed.append(row.observed)
        self.finals.append(row.final)

    def regret(self) -> float | None:
        """Of the best observed, in points."""
        return 100 * float(self.best_final - self.finals[int(np.argmax(self.observed))]) if self.finals else None

    def confirmed(self, count: int) -> float | None:
        """Of the best of that many of most merit, in points."""
        if not self.finals:
            return None
        merit, _ = Describer(self.table).smoothed(self.settings, self.observed)
        chosen = np.argsort(-merit, kind="stable")[:count]
        return 100 * float(self.best_final - max(self.finals[i] for i in chosen))


def run_search(table: Table, search: Search, checkpoints: tuple[int, ...]) -> Found:
    """Asks, looks up and tells that many trials, or as many as there are networks."""
    within = [row for row in table.rows.values() if row.parameters <= search.budget.parameters]
    met = Met(table, max(row.final for row in within))
    study = optuna.create_study(direction="maximize", sampler=sampler(table, search))
    over = duplicates = 0
    done = False
    seen: set[str] = set()
    found = Found({}, {}, 0, 0, False, [])
    for trials in range(1, search.trials + 1):
        if not done:
            started = time.perf_counter()
            trial = study.ask({knob.name: distribution(knob) for knob in table.knobs})
            settings = {knob.name: suggest(trial, knob) for knob in table.knobs}
            found.ask_seconds.append(time.perf_counter() - started)
            row = table.row(settings)
            done = exhausted(study, trial.number)
            if not done:
                is_new = table.identity(settings) not in seen
                duplicates += not is_new
                seen.add(table.identity(settings))
                feasible = row is not None and row.parameters <= search.budget.parameters
                over += not feasible
                tell(study, trial, search, row)
                if feasible and row and is_new:
                    met.add(settings, row)
            done = done or (is_sample(table) and len(seen) == len(within))
        if trials in checkpoints:
            found.regret[trials] = met.regret()
            if search.confirm:
                found.confirmed[trials] = met.confirmed(search.confirm)
    return replace(found, over_budget=over, duplicates=duplicates, exhausted=done)


def tell(study: optuna.Study, trial: optuna.Trial, search: Search, row: Row | None) -> None:
    """The observed accuracy, and to Optuna's own sampler by how much the network is over budget."""
    if search.strategy == CONSTRAINED:
        trial.set_constraint("parameters", row.parameters - search.budget.parameters if row else 1)
    if row is None:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, row.observed)


def sampler(table: Table, search: Search) -> BaseSampler:
    """The strategy's; every trial aims at the budget itself."""
    seed = derive_seed(search.seed, "strategies", search.strategy, search.budget.parameters)
    space: Table | Sample = Sample(table, search.budget) if is_sample(table) else table
    own = search.strategy == CONSTRAINED
    made = OptunaTPESampler(seed=seed) if own else STRATEGIES[search.strategy](space, search.budget, seed=seed, below=0)
    if isinstance(space, Sample):
        return Answered(made, space, {knob.name: distribution(knob) for knob in table.knobs})
    return made


def read_started(start: dict[str, str], *arguments: Any) -> Table:
    """See `read_table`; the defaults are at the start where it names them."""
    return read_table(*arguments).beginning_at(start)


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
    confirmed = {str(n): _mean([found.confirmed[n] for found in founds]) for n in founds[0].confirmed}
    return {
        "regret": {str(trials): _mean([found.regret[trials] for found in founds]) for trials in founds[0].regret},
        **({"confirmed": confirmed} if confirmed else {}),
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


def start_of(text: str) -> dict[str, str]:
    """Comma-separated knob=value. Raises ArgumentTypeError for anything else."""
    pairs = [part.partition("=") for part in names(text)]
    if stray := [name for name, equals, value in pairs if not (name and equals and value)]:
        raise argparse.ArgumentTypeError(f"must be KNOB=VALUE[,KNOB=VALUE] but has {stray[0]!r}")
    return {name: value for name, _, value in pairs}


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
    arguments.add_argument("--start", type=start_of, default={}, metavar="KNOB=VALUE,…", help="the space's default")
    arguments.add_argument("--confirm", type=int, default=0, metavar="N", help="confirm the N networks of most merit")
    arguments.add_argument("--trials", type=int, default=200, help="a search (default: %(default)s)")
    arguments.add_argument("--seeds", type=int, default=30, help="searches a strategy (default: %(default)s)")
    arguments.add_argument("--strategies", default="all", help=f"all, or of {', '.join(ALL)} (default: %(default)s)")
    arguments.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one a core")
    asked: Any = arguments.parse_args()
    strategies = ALL if asked.strategies == "all" else names(asked.strategies)
    if unknown := [name for name in strategies if name not in ALL]:
        arguments.error(f"--strategies must be of all, {', '.join(ALL)} but got {', '.join(unknown)}")
    if len(asked.budget) != 1 or asked.trials < 1 or min(asked.seeds, asked.processes) < 1 or asked.confirm < 0:
        arguments.error(
            "--budget must be one number, --trials, --seeds and --processes at least 1, --confirm at least 0"
        )
    if stray := set(asked.ordered) - set(asked.knobs):
        arguments.error(f"--ordered names {', '.join(sorted(stray))}, which --knobs does not")
    read = partial(
        read_started, asked.start, asked.table, asked.knobs, asked.parameters, asked.observe, asked.final, asked.ordered
    )
    budget = Budget(asked.budget[0])
    try:
        _check_feasible(read(), budget)
    except (TableError, UserError) as error:
        print(error, file=sys.stderr)
        return EXIT_WRONG_USE
    checkpoints = tuple(sorted({trials for trials in CHECKPOINTS if trials < asked.trials} | {asked.trials}))
    searches = [
        Search(name, budget, asked.trials, seed, asked.confirm) for name in strategies for seed in range(asked.seeds)
    ]
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
