"""What a report is made of: the searches in a folder with all that their storages hold, their trials in one list."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study

from nas.errors import UserError
from nas.machine.timeline import Stretch, read_timelines
from nas.network.checked import ShapeError
from nas.network.folds import Row, rows
from nas.results.confirming.content import read_confirmed
from nas.search.notes import first_of, read_notes
from nas.search.records import Record, State, read_records, run_folders
from nas.search.result.compare import check_comparable
from nas.search.result.front import best_within, pareto_front, read_front
from nas.search.search import BASELINES, Search, run_folder
from nas.search.studies import open_studies, rebuilt, space_of, studied
from nas.space.space import Space

LEAST_RANKED = 10
"""Finished trials of a study from which on the importance of its knobs is said."""

CHECKED = 5
"""Networks of a run that are built again to see whether its space still makes the same."""


@dataclass(frozen=True)
class Span:
    """A trial in a worker: seconds since the search began. What was interrupted lasts from its first beginning on.
    `record` is None where the trial has no network yet."""

    worker: int
    start: float
    end: float
    state: State
    record: Record | None


@dataclass(frozen=True)
class Run:
    """One search. `space` is None, and `trouble` says why, where its networks cannot be built again; `confirmed` is
    what confirmed.json holds, if it is there."""

    path: Path
    search: Search
    records: tuple[Record, ...]
    studies: dict[tuple[str, int], Study] = field(hash=False)
    space: Space | None
    trouble: str
    versions: Mapping[str, str] = field(hash=False)
    confirmed: dict[str, Any] | None = field(default=None, hash=False)

    @cached_property
    def spans(self) -> list[Span]:
        """What the workers did when. Trials that still run last until the storage was last written."""
        records = {(r.strategy, r.budget, r.number): r for r in self.records}
        now = datetime.fromtimestamp((self.path / "journal.log").stat().st_mtime)
        trained = [
            (records.get((*key, first_of(trial))), noted, start, trial.datetime_complete or now)
            for key, study in self.studies.items()
            for trial in study.get_trials(deepcopy=False)
            if (start := trial.datetime_start) and (noted := read_notes(trial)).is_original
        ]
        begun = min((start for _, _, start, _ in trained), default=now)
        spans = []
        for record, noted, start, end in trained:
            state: State = "stopped" if noted.stopped else record.state if record else "running"
            first = (start - begun).total_seconds()
            last = max(first, (end - begun).total_seconds())
            spans.append(Span(-1 if noted.worker is None else noted.worker, first, last, state, record))
        return spans

    @cached_property
    def timelines(self) -> dict[int, list[Stretch]]:
        """What each worker did, as it noted it."""
        return read_timelines(self.path / "workers")

    def rows(self, record: Record) -> list[Row]:
        """The layers of the network of a record, from input to output; none where it cannot be built again."""
        if self.space is None or not record.network:
            return []
        try:
            network = rebuilt(record, studied(self.search, self.space, record.strategy, record.budget))
            return list(rows(network, self.space.shape))
        except (UserError, ShapeError):
            return []


@dataclass(frozen=True)
class Trial:
    """A record with the search that it is of. `index` is its place among all trials of the report."""

    index: int
    run: Run
    record: Record


@dataclass(frozen=True)
class Gathered:
    """The searches of one report, which differ in their seed only."""

    runs: tuple[Run, ...]

    @property
    def search(self) -> Search:
        """The first search: what they have in common."""
        return self.runs[0].search

    @property
    def has_seeds(self) -> bool:
        """Whether there are several searches."""
        return len(self.runs) > 1

    @cached_property
    def trials(self) -> list[Trial]:
        """Every record of every search."""
        found = [(run, record) for run in self.runs for record in run.records]
        return [Trial(index, run, record) for index, (run, record) in enumerate(found)]

    def trial(self, record: Record | None) -> Trial | None:
        """The trial of a record."""
        return self._by_record.get(id(record))

    @cached_property
    def _by_record(self) -> dict[int, Trial]:
        return {id(trial.record): trial for trial in self.trials}

    @cached_property
    def strategies(self) -> tuple[str, ...]:
        """Every strategy that some search has used, in the order of the first."""
        return tuple(dict.fromkeys(strategy for run in self.runs for strategy in run.search.strategies))

    @cached_property
    def front(self) -> list[Trial]:
        """The Pareto front of all searches together (see `nas.search.result.front.pareto_front`)."""
        return self.front_by("parameters")

    def front_by(self, size: str) -> list[Trial]:
        """The Pareto front of accuracy and one of `nas.space.caps.CAPS`."""
        return [self._by_record[id(record)] for record in pareto_front((trial.record for trial in self.trials), size)]

    def shown(self, budget: int) -> list[Trial]:
        """The finished trials of the strategies at a budget whose network was trained for an epoch."""
        searched = [t for t in self.trials if t.record.strategy != BASELINES and t.record.budget == budget]
        return [trial for trial in searched if trial.record.is_finished and trial.record.accuracies]

    def by_strategy(self, trials: Iterable[Trial]) -> dict[str, list[Trial]]:
        """Those of the trials that are of each strategy that has some; the baselines are the last."""
        own = {strategy: list[Trial]() for strategy in (*self.strategies, BASELINES)}
        for trial in trials:
            own[trial.record.strategy].append(trial)
        return {strategy: found for strategy, found in own.items() if found}

    @property
    def confirmed(self) -> list[dict[str, Any]]:
        """What the searches have confirmed: entries of confirmed.json."""
        return [entry for run in self.runs if run.confirmed for entry in run.confirmed.get("networks", [])]

    def best(self, budget: int) -> Trial | None:
        """The most accurate measured network of at most that many parameters."""
        return self.trial(best_within([trial.record for trial in self.front], budget))


def gather(path: Path) -> Gathered:
    """Reads the search in a folder, or the searches in it. Raises RunError where there is none, or they cannot be laid
    side by side."""
    runs = tuple(map(_run, run_folders(path)))
    check_comparable([run.search for run in runs])
    return Gathered(runs)


def _run(path: Path) -> Run:
    folder = run_folder(path)
    search = folder.read()
    space, trouble, versions = None, "", dict[str, str]()
    try:
        front = read_front(path)
        versions = dict(front.versions)
        space = space_of(search, folder, front.shape, front.classes)
    except UserError as error:
        trouble = str(error)
    studies = open_studies(search, folder, space)
    records = tuple(read_records(search, studies))
    try:
        for record in [record for record in records if record.network][:CHECKED]:
            if space:
                rebuilt(record, studied(search, space, record.strategy, record.budget))
    except UserError as error:
        trouble = str(error)
    return Run(path, search, records, studies, space, trouble, versions, read_confirmed(path))


def importances(study: Study) -> dict[str, float] | None:
    """The share of each knob in what makes a trial of the study one of the best tenth, the largest first: Optuna's
    PED-ANOVA (Watanabe et al. 2023) with its defaults. None of too few trials, or where all were told the same."""
    values = [trial.value for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    if len(values) < LEAST_RANKED or len(set(values)) == 1:
        return None
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def wilson(accuracy: float, images: int) -> tuple[float, float]:
    """95 % interval of an accuracy measured on so many images (Wilson 1927).

    >>> [round(end, 3) for end in wilson(0.5, 100)]
    [0.404, 0.596]
    """
    from scipy import stats

    low, high = stats.binomtest(round(accuracy * images), images).proportion_ci(0.95, method="wilson")
    return float(low), float(high)
