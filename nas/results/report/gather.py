"""What a report is made of: the searches in a folder with all that their storages hold, their trials in one list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study

from nas.errors import UserError
from nas.network.layers import Layer
from nas.results.confirming.confirmed import read_confirmed
from nas.results.report.folders import run_folders
from nas.search.compare import check_comparable
from nas.search.front import best_within, pareto_front, read_front
from nas.search.journal import open_storage, open_study
from nas.search.notes import first_of, read_notes
from nas.search.records import Record, State, read_records
from nas.search.search import Search, run_folder
from nas.search.studies import open_studies, rebuilt, space_of, studied
from nas.space.space import Space

LEAST_RANKED = 10
"""Finished trials of a study from which on the importance of its knobs is said."""

CHECKED = 5
"""Networks of a run that are built again to see whether its space still makes the same."""


@dataclass(frozen=True)
class Span:
    """A trial in a worker: seconds since the search began. What was interrupted lasts from its first beginning on."""

    worker: int
    start: float
    end: float
    trial: tuple[str, int, int]
    state: State


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
        states = {(r.strategy, r.budget, r.number): r.state for r in self.records}
        trained = [
            (key, trial)
            for key, study in self.studies.items()
            for trial in study.get_trials(deepcopy=False)
            if trial.datetime_start and read_notes(trial).is_original
        ]
        if not trained:
            return []
        begun = min(trial.datetime_start for _, trial in trained if trial.datetime_start)
        now = datetime.fromtimestamp((self.path / "journal.log").stat().st_mtime)
        spans = []
        for (strategy, budget), trial in trained:
            assert trial.datetime_start
            start = (trial.datetime_start - begun).total_seconds()
            end = max(start, ((trial.datetime_complete or now) - begun).total_seconds())
            key = (strategy, budget, first_of(trial))
            noted = read_notes(trial)
            state: State = "stopped" if noted.stopped else states.get(key, "running")
            spans.append(Span(-1 if noted.worker is None else noted.worker, start, end, key, state))
        return spans

    def network(self, record: Record) -> Layer | None:
        """The layer tree of a record, None where it cannot be built again."""
        if self.space is None or not record.network:
            return None
        try:
            return rebuilt(record, studied(self.search, self.space, record.strategy, record.budget))
        except UserError:
            return None


@dataclass(frozen=True)
class Trial:
    """A record with the search that it is of. `index` is its place among all trials of the report."""

    index: int
    run: Run
    record: Record

    @property
    def parameters(self) -> int:
        """Parameters of its network."""
        return self.record.parameters


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

    @cached_property
    def index(self) -> dict[tuple[int, str, int, int], int]:
        """Index of a trial by seed, strategy, budget and number."""
        return {(t.run.search.seed, t.record.strategy, t.record.budget, t.record.number): t.index for t in self.trials}

    @cached_property
    def strategies(self) -> tuple[str, ...]:
        """Every strategy that some search has used, in the order of the first."""
        return tuple(dict.fromkeys(strategy for run in self.runs for strategy in run.search.strategies))

    @cached_property
    def front(self) -> list[Trial]:
        """The Pareto front of all searches together (see `nas.search.front.pareto_front`)."""
        of = {id(trial.record): trial for trial in self.trials}
        return [of[id(record)] for record in pareto_front(record for run in self.runs for record in run.records)]

    @property
    def confirmed(self) -> list[dict[str, Any]]:
        """What the searches have confirmed: entries of confirmed.json."""
        return [entry for run in self.runs if run.confirmed for entry in run.confirmed.get("networks", [])]

    def best(self, budget: int) -> Trial | None:
        """The most accurate measured network of at most that many parameters."""
        return best_within(self.front, budget)


def gather(path: Path) -> Gathered:
    """Reads the search in a folder, or the searches in it. Raises RunError where there is none, or they cannot be laid
    side by side."""
    runs = tuple(map(_run, run_folders(path)))
    check_comparable([run.search for run in runs])
    return Gathered(runs)


def _run(path: Path) -> Run:
    folder = run_folder(path)
    search = folder.read()
    space, trouble = None, ""
    versions: Mapping[str, str] = {}
    try:
        found = read_front(path)
        versions = found.versions
        space = space_of(search, found.shape, found.classes)
    except UserError as error:
        trouble = str(error)
    if space is not None:
        studies = open_studies(search, folder, space)
    else:
        storage = open_storage(folder)
        studies = {key: open_study(storage, *key) for key in search.studies}
    records = tuple(read_records(search, studies))
    if space is not None:
        trouble = _changed(search, space, records)
    return Run(path, search, records, studies, space, trouble, versions, read_confirmed(path))


def _changed(search: Search, space: Space, records: Sequence[Record]) -> str:
    """Why the layers of the first networks are missing, if they are."""
    for record in [record for record in records if record.network][:CHECKED]:
        try:
            rebuilt(record, studied(search, space, record.strategy, record.budget))
        except UserError as error:
            return str(error)
    return ""


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
    z = 1.959964
    centre = (accuracy + z * z / (2 * images)) / (1 + z * z / images)
    reach = z / (1 + z * z / images) * (accuracy * (1 - accuracy) / images + z * z / (4 * images**2)) ** 0.5
    return max(0.0, centre - reach), min(1.0, centre + reach)
