"""The trials of a run as they are read from its journal: a record a network that was proposed."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.errors import RunError
from nas.machine.folders import WorkFolder
from nas.search.journal import at_one_moment, open_storage, study_to_read
from nas.search.notes import Audited, Notes, Predicted, Rows, first_of, left_aside, read_notes
from nas.search.search import BASELINES, Search
from nas.space.space import Knobs
from nas.stopping.curves import Curve

State = Literal["running", "waiting", "trained", "stopped", "replayed", "failed"]


@dataclass(frozen=True)
class Record:
    """One proposed network as the storage has it. Accuracies are 0–1 on the validation split.

    A stopped training that went on later is one record: `number` is that of its first trial, `latest` of its last,
    `resumed` says how often it went on, `first_epochs` how far its first trial came, `steps` are the numbers of its
    trials that ended, with the epochs by then. `stopped` is the epoch after which it was stopped, 0 if it was not;
    `cut` says that it was by the end of a search of fewer epochs, not by a rule. `curve` is that of the trials that
    ended. `counted` is what else can be capped of its network, by name; empty in runs of earlier versions.
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
    steps: tuple[tuple[int, int], ...] = ()
    stopped: int = 0
    predicted: float | None = None
    predictions: tuple[Predicted, ...] = ()
    audited: Audited | None = None
    cut: bool = False
    counted: Mapping[str, int] = field(default_factory=dict)

    def has(self, cap: str) -> int | None:
        """What its network has of something that can be capped, None where that was not noted."""
        return self.parameters if cap == "parameters" else self.macs if cap == "macs" else self.counted.get(cap)

    @cached_property
    def is_finished(self) -> bool:
        """Whether the trial was told: nothing more will become of it, unless it is stopped and goes on one day."""
        return self.state in ("trained", "stopped", "replayed", "failed")

    @cached_property
    def is_measured(self) -> bool:
        """Whether its accuracy is that of a network trained to the last epoch, in this trial or a twin."""
        return self.state in ("trained", "replayed") and not self.stopped

    @cached_property
    def learning_curve(self) -> Curve:
        """What is known of its training."""
        return self.curve_of(self.curve)

    @cached_property
    def falling_curve(self) -> Curve:
        """The same by validation losses (see `curve_of`)."""
        return self.curve_of(self.curve, by_loss=True)

    def curve_after(self, epochs: int, *, by_loss: bool = False) -> Curve:
        """What was known of its training after so many epochs."""
        if epochs < len(self.curve):
            return self.curve_of(self.curve[:epochs], by_loss=by_loss)
        return self.falling_curve if by_loss else self.learning_curve

    def curve_of(self, rows: Rows, *, by_loss: bool = False) -> Curve:
        """A training of its network that the rows show; with `by_loss`, the values are validation losses with the sign
        changed."""
        network = math.log(self.parameters), math.log1p(self.macs), float(self.depth)
        values = tuple(-row[1] if by_loss else row[2] for row in rows)
        return Curve(values, tuple((row[0], row[1]) for row in rows), network)

    @property
    def value(self) -> float:
        """What the strategy was told: the measured accuracy, or the predicted one of a stopped training."""
        return self.accuracy if self.predicted is None else self.predicted

    @cached_property
    def last_chance(self) -> float:
        """The chance by which its training was last judged; 1 before it was."""
        return self.predictions[-1].chance if self.predictions else 1.0

    @property
    def accuracy(self) -> float:
        """Validation accuracy after the last epoch so far; 0 before the first."""
        return self.accuracies[-1] if self.accuracies else 0.0


def run_folders(path: Path) -> list[Path]:
    """The run folder itself, or the run folders in it."""
    inside = sorted(settings.parent for settings in path.glob("*/settings.json"))
    return inside if inside and not (path / "settings.json").is_file() else [path]


def read_run(folder: WorkFolder[Search]) -> tuple[Search, Sequence[Record]]:
    """Search and records of a finished or running search. Raises RunError where there is none."""
    search = folder.read()
    storage = open_storage(folder)
    return search, read_records(search, {key: study_to_read(storage, *key) for key in search.studies})


def read_records(search: Search, studies: Mapping[tuple[str, int], Study]) -> Sequence[Record]:
    """Every trial that has a network or has failed without one, in the order of budgets, strategies and numbers."""
    return RecordReader(search, studies).read()


@dataclass
class RecordReader:
    """Reads the records of a search again and again: what was finished at the last look is not read anew."""

    search: Search
    studies: Mapping[tuple[str, int], Study]
    told: int = 0
    """Grows whenever a trial is found to have ended since the last look, or is left aside."""
    _records: tuple[Record, ...] | None = None
    """As they were last read; None once a trial has changed."""
    _known: dict[tuple[str, int], "_Known"] = field(default_factory=dict)
    _by_network: dict[str, dict[tuple[str, int, int], tuple[FrozenTrial, Notes]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._last_epoch = self.search.epochs if self.search.recipe.goes_on_alike else 0

    def read(self) -> Sequence[Record]:
        """As `read_records`."""
        self._look()
        if self._records is None:
            records = [record for key in self.search.studies for record in self._known[key].in_order()]
            if any(record.state == "replayed" and record.stopped for record in records):
                measured = {(record.strategy, record.network): record for record in records if record.is_measured}
                records = [_up_to_date(record, measured) for record in records]
            self._records = tuple(records)
        return self._records

    def record_of(self, strategy: str, budget: int, trial: Trial | FrozenTrial) -> Record:
        """The record of a trial that is there, as it is now."""
        self._look()
        return self._known[strategy, budget].records[first_of(trial)]

    def trials_of(self, network: str) -> list[tuple[tuple[str, int], FrozenTrial, Notes]]:
        """The trials of a network as they are now, of those that go on with each other the last: strategy and budget,
        the trial, the notes on it."""
        self._look()
        found = self._by_network.get(network, {})
        order = {key: place for place, key in enumerate(self.search.studies)}
        places = sorted(found, key=lambda place: (order[place[:2]], place[2]))
        return [(place[:2], *found[place]) for place in places]

    def proposed(self, strategy: str, budget: int) -> int:
        """Networks that were proposed in a study until the last look."""
        return len(self._known[strategy, budget].records)

    def _look(self) -> None:
        with at_one_moment(self.studies):
            for key in self.search.studies:
                self._look_at(key, self.studies[key])

    def _look_at(self, key: tuple[str, int], study: Study) -> None:
        aside = left_aside(study)
        known = self._known.get(key)
        if known is None or known.aside != aside:
            known = self._known[key] = _Known(aside)
            self.told += 1
            self._records = None
        trials = study.get_trials(deepcopy=False)
        looked_at = [*known.unfinished, *range(known.trials, len(trials))]
        known.unfinished = [number for number in looked_at if not trials[number].state.is_finished()]
        known.trials = len(trials)
        touched = set()
        for trial in map(trials.__getitem__, looked_at):
            first = first_of(trial)
            if first in aside or known.has(first, trial):
                continue
            noted = read_notes(trial, self._last_epoch)
            self.told += trial.state.is_finished()
            if noted.network or trial.state.is_finished():
                known.continued.setdefault(first, {})[trial.number] = trial, noted
                touched.add(first)
            if noted.network:
                self._by_network.setdefault(noted.network, {})[*key, first] = trial, noted
        for first in touched:
            known.records[first] = _record(*key, list(known.continued[first].values()))
            self._records = None


@dataclass
class _Known:
    """A study at the last look: how many trials it had, which of them had not ended, and its records by the number of
    their first trial."""

    aside: set[int]
    trials: int = 0
    unfinished: list[int] = field(default_factory=list)
    continued: dict[int, dict[int, tuple[FrozenTrial, Notes]]] = field(default_factory=dict)
    """The trials of each record."""
    records: dict[int, Record] = field(default_factory=dict)

    def has(self, first: int, trial: FrozenTrial) -> bool:
        """Whether the trial is as it was: storages put another in its place when anything is written on it."""
        before = self.continued.get(first, {}).get(trial.number)
        return before is not None and before[0] is trial

    def in_order(self) -> list[Record]:
        return [self.records[first] for first in sorted(self.records)]


def _up_to_date(record: Record, measured: Mapping[tuple[str, str], Record]) -> Record:
    """A trial that took over the prediction of a stopped twin has its measured accuracy once the twin went on."""
    twin = measured.get((record.strategy, record.network))
    if record.state != "replayed" or not record.stopped or twin is None:
        return record
    return replace(record, stopped=0, predicted=None, curve=twin.curve, accuracies=twin.accuracies, steps=twin.steps)


def _record(strategy: str, budget: int, trials: list[tuple[FrozenTrial, Notes]]) -> Record:
    """The record of the trials in which one network was trained, each of which goes on where the last was stopped."""
    trial, noted = trials[-1]
    anew = max((place for place, (_, each) in enumerate(trials) if each.cut is not None), default=0)
    named = strategy != BASELINES or "network" in trial.params
    whole = noted.network and noted.parameters and noted.curve and trial.params and named
    if trial.state == TrialState.COMPLETE and not whole:
        raise RunError(f"the journal of the run is damaged: trial {trial.number} is told and lacks its notes")
    predictions = {predicted.epoch: predicted for _, each in trials[anew:] for predicted in each.predictions}
    stopped = noted.stopped or 0 if trial.state == TrialState.COMPLETE else 0
    ended = [(each.number, notes.curve) for each, notes in trials if notes.curve and each.state.is_finished()]
    known = noted.curve if trial.state.is_finished() else ended[-1][1] if ended else ()
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
        counted=noted.counted or {},
        accuracies=tuple(accuracy for _, _, accuracy in noted.curve) or reported,
        curve=tuple((train, validation, accuracy) for train, validation, accuracy in known),
        seconds=sum(noted.seconds),
        worker=-1 if noted.worker is None else noted.worker,
        failure=noted.failure,
        depth=noted.depth,
        latest=trial.number,
        resumed=sum(each.cut is None for _, each in trials[1:]),
        first_epochs=len(trials[0][1].curve),
        steps=tuple((number, len(rows)) for number, rows in ended),
        stopped=stopped,
        predicted=trial.value if stopped else None,
        predictions=tuple(predictions[epoch] for epoch in sorted(predictions)),
        audited=next((each.audited for _, each in trials[anew:] if each.audited), None),
        cut=bool(noted.cut) and bool(stopped),
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
    failures = list[str]()
    for record in (each for each in records if each.is_finished and each.strategy != BASELINES):
        if not record.failure:
            return None
        failures.append(record.failure)
    reasons = {re.sub(r"[0-9]+", "#", failure) for failure in failures}
    return failures[0] if len(failures) >= at_least and len(reasons) == 1 else None
