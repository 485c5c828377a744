"""Optuna's storage of a run: one study a strategy and budget in a journal file, and what we write on each trial.

User attributes of a trial: "network" (fingerprint), "parameters", "macs", "worker" (slot), "curve" (an epoch a row:
train loss, validation loss, validation accuracy), "seconds" (an epoch), "replayed" (study and number of the twin),
"awaits" (its twin is still in training; empty when it has to train itself), "proposal" (its knobs, before they are told
one by one), "exhausted" (nothing new was found to propose), "failure" (the reason), "deaths" (where its workers died),
"depth" (weighted layers).

Where trainings are stopped early: "prediction E" (mean, scale and chance after epoch E, see `Predicted`), "stopped"
(after this epoch: the trial's value is a prediction), "predicted_loss" (validation loss at the last epoch), "inherited"
(epochs for which another trial had trained the network), "thaws" (number of the stopped trial that this one continues),
"bar" (the chance below which another makes better use of the next epoch), "audited" (it goes on although it was stopped
for good after this epoch, when so much was to beat).
"""

import fcntl
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.errors import RunError
from nas.machine.folders import WorkFolder
from nas.search.notes import first_of
from nas.search.search import BASELINES, Search
from nas.space.space import Value

PREDICTION = "prediction "
"""Name of the user attribute of an epoch's prediction, before its number."""

State = Literal["running", "waiting", "trained", "stopped", "replayed", "failed"]


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


def journal_file(folder: WorkFolder[Search]) -> Path:
    """Optuna's journal."""
    return folder / "journal.log"


def open_storage(folder: WorkFolder[Search]) -> JournalStorage:
    """The journal of the run."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lock = _FlockLock(journal_file(folder), folder.path / "locks" / "journal.lock")
    try:
        return JournalStorage(JournalFileBackend(str(journal_file(folder)), lock_obj=lock))
    except (OSError, ValueError) as error:
        raise RunError(f"{journal_file(folder)} cannot be read: {error}; choose another --out") from error


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


class Predicted(NamedTuple):
    """What was predicted after an epoch: Student's t of the last epoch's accuracy (see
    `nas.stopping.extrapolator.Prediction`), and the chance by which the training was judged."""

    epoch: int
    mean: float
    scale: float
    chance: float


class Audited(NamedTuple):
    """A training that went on although it was stopped for good after this epoch, and the accuracy it had to beat."""

    epoch: int
    to_beat: float


@dataclass(frozen=True)
class Record:
    """One proposed network as the storage has it. Accuracies are 0–1 on the validation split.

    A stopped training that went on later is one record: `number` is that of its first trial, `latest` of its last,
    `resumed` says how often it went on, `first_epochs` how far its first trial came. `stopped` is the epoch after which
    it was stopped, 0 if it was not.
    """

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
    depth: int = 0
    latest: int = 0
    resumed: int = 0
    first_epochs: int = 0
    stopped: int = 0
    predicted: float | None = None
    predictions: tuple[Predicted, ...] = ()
    audited: Audited | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the trial was told: nothing more will become of it, unless it is stopped and goes on one day."""
        return self.state in ("trained", "stopped", "replayed", "failed")

    @property
    def is_measured(self) -> bool:
        """Whether its accuracy is that of a network trained to the last epoch, in this trial or a twin."""
        return self.state in ("trained", "replayed") and not self.stopped

    @property
    def value(self) -> float:
        """What the strategy was told: the measured accuracy, or the predicted one of a stopped training."""
        return self.accuracy if self.predicted is None else self.predicted

    @property
    def accuracy(self) -> float:
        """Validation accuracy after the last epoch so far; 0 before the first."""
        return self.accuracies[-1] if self.accuracies else 0.0


def read_records(search: Search, studies: Mapping[tuple[str, int], Study]) -> list[Record]:
    """Every trial that has a network or has failed without one, in the order of budgets, strategies and numbers."""
    records = []
    for key in search.studies:
        continued: dict[int, list[FrozenTrial]] = {}
        for trial in studies[key].get_trials(deepcopy=False):
            if "network" in trial.user_attrs or trial.state.is_finished():
                first = first_of(trial)
                continued.setdefault(first, []).append(trial)
        records += [_record(*key, trials) for trials in continued.values()]
    measured = {(record.strategy, record.network): record for record in records if record.is_measured}
    return [_up_to_date(record, measured) for record in records]


def _up_to_date(record: Record, measured: Mapping[tuple[str, str], Record]) -> Record:
    """A trial that took over the prediction of a stopped twin has its measured accuracy once the twin went on."""
    twin = measured.get((record.strategy, record.network))
    if record.state != "replayed" or not record.stopped or twin is None:
        return record
    return replace(record, stopped=0, predicted=None, curve=twin.curve, accuracies=twin.accuracies)


def read_run(folder: WorkFolder[Search]) -> tuple[Search, list[Record]]:
    """Plan and records of a finished or running search. Raises RunError where there is none."""
    search = folder.read()
    storage = open_storage(folder)
    return search, read_records(search, {key: open_study(storage, *key) for key in search.studies})


def _record(strategy: str, budget: int, trials: list[FrozenTrial]) -> Record:
    """Of the trials in which one network was trained, each of which goes on where the one before was stopped."""
    trial = trials[-1]
    noted: dict[str, Any] = trial.user_attrs
    predictions = {p.epoch: p for each in trials for p in _predictions(each)}
    audits = [each.user_attrs["audited"] for each in trials if "audited" in each.user_attrs]
    stopped: int = noted.get("stopped", 0) if trial.state == TrialState.COMPLETE else 0
    curve = tuple(tuple(row) for row in noted.get("curve", ()))
    reported = tuple(value for _, value in sorted(trial.intermediate_values.items()))
    return Record(
        strategy=strategy,
        budget=budget,
        number=trials[0].number,
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
        depth=noted.get("depth", 0),
        latest=trial.number,
        resumed=len(trials) - 1,
        first_epochs=len(trials[0].user_attrs.get("curve", ())),
        stopped=stopped,
        predicted=trial.value if stopped else None,
        predictions=tuple(predictions[epoch] for epoch in sorted(predictions)),
        audited=Audited(*audits[0]) if audits else None,
    )


def _predictions(trial: FrozenTrial) -> list[Predicted]:
    return [
        Predicted(int(name.removeprefix(PREDICTION)), *value)
        for name, value in trial.user_attrs.items()
        if name.startswith(PREDICTION)
    ]


def _state(trial: FrozenTrial) -> State:
    if trial.state == TrialState.FAIL:
        return "failed"
    if trial.state == TrialState.COMPLETE:
        told: State = "stopped" if trial.user_attrs.get("stopped") else "trained"
        return "replayed" if "replayed" in trial.user_attrs else told
    return "waiting" if trial.user_attrs.get("awaits") else "running"


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
