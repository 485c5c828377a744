"""The trials of a run as they are read from its journal: a record a network that was proposed."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.errors import RunError
from nas.machine.folders import WorkFolder
from nas.search.journal import at_one_moment, open_storage, open_study
from nas.search.notes import Audited, Notes, Predicted, first_of, left_aside, read_notes
from nas.search.search import BASELINES, Search
from nas.space.space import Knobs

State = Literal["running", "waiting", "trained", "stopped", "replayed", "failed"]


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
    knobs: Knobs
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


def run_folders(path: Path) -> list[Path]:
    """The run folder itself, or the run folders in it."""
    inside = sorted(settings.parent for settings in path.glob("*/settings.json"))
    return inside if inside and not (path / "settings.json").is_file() else [path]


def read_run(folder: WorkFolder[Search]) -> tuple[Search, list[Record]]:
    """Search and records of a finished or running search. Raises RunError where there is none."""
    search = folder.read()
    storage = open_storage(folder)
    return search, read_records(search, {key: open_study(storage, *key) for key in search.studies})


def read_records(search: Search, studies: Mapping[tuple[str, int], Study]) -> list[Record]:
    """Every trial that has a network or has failed without one, in the order of budgets, strategies and numbers."""
    return RecordReader(search, studies).read()


@dataclass
class RecordReader:
    """Reads the records of a search again and again: what was finished at the last look is not read anew."""

    search: Search
    studies: Mapping[tuple[str, int], Study]
    _finished: dict[tuple[str, int, int], Notes] = field(default_factory=dict)
    """The notes of finished trials, by strategy, budget and number: nobody writes on them any more."""
    _records: dict[tuple[str, int, int, int], Record] = field(default_factory=dict)
    """Records all of whose trials are finished, by strategy, budget, number and latest trial."""

    def read(self) -> list[Record]:
        """As `read_records`."""
        with at_one_moment(self.studies):
            return self._read()

    def _read(self) -> list[Record]:
        records = []
        for key in self.search.studies:
            continued: dict[int, list[tuple[FrozenTrial, Notes]]] = {}
            aside = left_aside(self.studies[key])
            for trial in self.studies[key].get_trials(deepcopy=False):
                if first_of(trial) in aside:
                    continue
                noted = self.notes(key, trial)
                if noted.network or trial.state.is_finished():
                    continued.setdefault(first_of(trial), []).append((trial, noted))
            records += [self._record(key, trials) for trials in continued.values()]
        measured = {(record.strategy, record.network): record for record in records if record.is_measured}
        return [_up_to_date(record, measured) for record in records]

    def notes(self, key: tuple[str, int], trial: FrozenTrial) -> Notes:
        """The notes on a trial of the study of that strategy and budget."""
        known = self._finished.get((*key, trial.number))
        if known is not None:
            return known
        noted = read_notes(trial)
        if trial.state.is_finished():
            self._finished[*key, trial.number] = noted
        return noted

    def _record(self, key: tuple[str, int], trials: list[tuple[FrozenTrial, Notes]]) -> Record:
        first, latest = trials[0][0].number, trials[-1][0]
        known = self._records.get((*key, first, latest.number))
        if known is not None:
            return known
        record = _record(*key, trials)
        if latest.state.is_finished():
            self._records[*key, first, latest.number] = record
        return record


def _up_to_date(record: Record, measured: Mapping[tuple[str, str], Record]) -> Record:
    """A trial that took over the prediction of a stopped twin has its measured accuracy once the twin went on."""
    twin = measured.get((record.strategy, record.network))
    if record.state != "replayed" or not record.stopped or twin is None:
        return record
    return replace(record, stopped=0, predicted=None, curve=twin.curve, accuracies=twin.accuracies)


def _record(strategy: str, budget: int, trials: list[tuple[FrozenTrial, Notes]]) -> Record:
    """The record of the trials in which one network was trained, each of which goes on where the last was stopped."""
    trial, noted = trials[-1]
    named = strategy != BASELINES or "network" in trial.params
    whole = noted.network and noted.parameters and noted.curve and trial.params and named
    if trial.state == TrialState.COMPLETE and not whole:
        raise RunError(f"the journal of the run is damaged: trial {trial.number} is told and lacks its notes")
    predictions = {predicted.epoch: predicted for _, each in trials for predicted in each.predictions}
    stopped = noted.stopped or 0 if trial.state == TrialState.COMPLETE else 0
    reported = tuple(value for _, value in sorted(trial.intermediate_values.items()))
    return Record(
        strategy=strategy,
        budget=budget,
        number=trials[0][0].number,
        state=_state(trial, noted),
        knobs=dict(trial.params),
        network=noted.network,
        parameters=noted.parameters,
        macs=noted.macs,
        accuracies=tuple(accuracy for _, _, accuracy in noted.curve) or reported,
        curve=tuple((train, validation, accuracy) for train, validation, accuracy in noted.curve),
        seconds=sum(noted.seconds),
        worker=-1 if noted.worker is None else noted.worker,
        failure=noted.failure,
        depth=noted.depth,
        latest=trial.number,
        resumed=len(trials) - 1,
        first_epochs=len(trials[0][1].curve),
        stopped=stopped,
        predicted=trial.value if stopped else None,
        predictions=tuple(predictions[epoch] for epoch in sorted(predictions)),
        audited=next((each.audited for _, each in trials if each.audited), None),
    )


def _state(trial: FrozenTrial, noted: Notes) -> State:
    if trial.state == TrialState.FAIL:
        return "failed"
    if trial.state != TrialState.COMPLETE:
        return "waiting" if noted.waits_for else "running"
    if noted.replayed:
        return "replayed"
    return "stopped" if noted.stopped else "trained"


def common_failure(records: Iterable[Record], at_least: int) -> str | None:
    """The reason for which every finished trial failed (numbers in it aside, and baselines), once `at_least` have
    finished."""
    searched = [record for record in records if record.strategy != BASELINES]
    finished = [record for record in searched if record.is_finished]
    reasons = {re.sub(r"[0-9]+", "#", record.failure) for record in finished}
    return finished[0].failure or None if len(finished) >= at_least and len(reasons) == 1 else None
