"""Optuna's storage of a run: one study a strategy and budget in a journal file, and what we write on each trial.

User attributes of a trial: "network" (fingerprint), "parameters", "macs", "worker" (slot), "curve" (an epoch a row:
train loss, validation loss, validation accuracy), "seconds" (an epoch), "replayed" (study and number of the twin),
"awaits" (its twin is still in training), "proposal" (its knobs, before they are told one by one), "exhausted" (nothing
new was found to propose), "failure" (the reason), "deaths" (where its workers died).
"""

import fcntl
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.errors import RunError
from nas.plan import BASELINES, Plan, RunFolder
from nas.space import Value

State = Literal["running", "waiting", "trained", "replayed", "failed"]


class _FlockLock(JournalFileOpenLock):
    """A lock that dies with its holder (Optuna's own leave a file behind that blocks everyone for 30 seconds), and
    under which a last line torn by a power cut is cut off before anything is appended to it."""

    def __init__(self, journal: Path, lock: Path) -> None:
        self._journal = journal
        self._path = lock
        self._descriptor = -1

    def acquire(self) -> bool:
        """Waits for the lock."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        _cut_torn_line(self._journal)
        return True

    def release(self) -> None:
        """Frees the lock."""
        os.close(self._descriptor)


def _cut_torn_line(journal: Path) -> None:
    with open(journal, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def open_storage(folder: RunFolder) -> JournalStorage:
    """The journal of the run."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lock = _FlockLock(folder.journal, folder.path / "workers" / "journal.lock")
    try:
        return JournalStorage(JournalFileBackend(str(folder.journal), lock_obj=lock))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder.journal} cannot be read: {error}; choose another --out") from error


def study_name(strategy: str, budget: int) -> str:
    """Name of the study of a strategy at a budget."""
    return f"{strategy}-{budget}"


def parse_study_name(name: str) -> tuple[str, int]:
    """(strategy, budget) of a study.

    >>> parse_study_name("greedy-full-1000")
    ('greedy-full', 1000)
    """
    strategy, _, budget = name.rpartition("-")
    return strategy, int(budget)


def open_study(storage: JournalStorage, strategy: str, budget: int, sampler: BaseSampler | None = None) -> Study:
    """The study, created if need be. Opening one that is there writes nothing."""
    name = study_name(strategy, budget)
    if name in optuna.get_all_study_names(storage):
        return optuna.load_study(study_name=name, storage=storage, sampler=sampler)
    return optuna.create_study(
        storage=storage, study_name=name, direction="maximize", sampler=sampler, load_if_exists=True
    )


@dataclass(frozen=True)
class Record:
    """One trial as the storage has it. Accuracies are 0–1 on the validation split."""

    strategy: str
    budget: int
    number: int
    state: State
    knobs: Mapping[str, Value]
    network: str
    parameters: int
    macs: int
    accuracies: tuple[float, ...]
    curve: tuple[tuple[float, float, float], ...]
    seconds: float
    worker: int
    failure: str

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will become of the trial."""
        return self.is_measured or self.state == "failed"

    @property
    def is_measured(self) -> bool:
        """Whether its accuracy is that of a network trained to the last epoch, in this trial or a twin."""
        return self.state in ("trained", "replayed")

    @property
    def accuracy(self) -> float:
        """Validation accuracy after the last epoch so far; 0 before the first."""
        return self.accuracies[-1] if self.accuracies else 0.0


def read_records(plan: Plan, studies: Mapping[tuple[str, int], Study]) -> list[Record]:
    """Every trial that has a network or has failed without one, in the order of budgets, strategies and numbers."""
    return [
        _record(strategy, budget, trial)
        for strategy, budget in plan.studies
        for trial in studies[strategy, budget].get_trials(deepcopy=False)
        if "network" in trial.user_attrs or trial.state.is_finished()
    ]


def read_run(folder: RunFolder) -> tuple[Plan, list[Record]]:
    """Plan and records of a finished or running search. Raises RunError where there is none."""
    plan = folder.read_plan()
    storage = open_storage(folder)
    return plan, read_records(plan, {key: open_study(storage, *key) for key in plan.studies})


def _record(strategy: str, budget: int, trial: FrozenTrial) -> Record:
    noted: dict[str, Any] = trial.user_attrs
    curve = tuple(tuple(row) for row in noted.get("curve", ()))
    reported = tuple(value for _, value in sorted(trial.intermediate_values.items()))
    return Record(
        strategy=strategy,
        budget=budget,
        number=trial.number,
        state=_state(trial),
        knobs=dict(trial.params),
        network=noted.get("network", ""),
        parameters=noted.get("parameters", 0),
        macs=noted.get("macs", 0),
        accuracies=tuple(row[2] for row in curve) or reported,
        curve=curve,
        seconds=sum(noted.get("seconds", ())),
        worker=noted.get("worker", -1),
        failure=noted.get("failure", ""),
    )


def _state(trial: FrozenTrial) -> State:
    if trial.state == TrialState.FAIL:
        return "failed"
    if trial.state == TrialState.COMPLETE:
        return "replayed" if "replayed" in trial.user_attrs else "trained"
    return "waiting" if "awaits" in trial.user_attrs else "running"


def note_death(studies: Mapping[tuple[str, int], Study], trial: str, place: str) -> None:
    """Adds to the trial ("study/number") that a worker died over it at that place."""
    name, _, number = trial.rpartition("/")
    for key, study in studies.items():
        trials = study.get_trials(deepcopy=False) if study_name(*key) == name else []
        if int(number) < len(trials) and trials[int(number)].state == TrialState.RUNNING:
            frozen = trials[int(number)]
            Trial(study, frozen._trial_id).set_user_attr("deaths", [*frozen.user_attrs.get("deaths", []), place])


def common_failure(records: Iterable[Record], at_least: int) -> str | None:
    """The reason for which every finished trial failed (numbers in it aside, and baselines), once `at_least` have
    finished."""
    searched = [record for record in records if record.strategy != BASELINES]
    finished = [record for record in searched if record.is_finished]
    reasons = {re.sub(r"[0-9]+", "#", record.failure) for record in finished}
    return finished[0].failure or None if len(finished) >= at_least and len(reasons) == 1 else None
