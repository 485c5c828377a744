"""Who trains what next: a trial to take over, to go on with or to ask for, the network of each trained once.

Called under the run's lock "claim", one worker at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.machine.folders import WorkFolder
from nas.machine.pulse import Pulse, fatal
from nas.network.folds import depth
from nas.network.layers import Layer
from nas.network.serial import fingerprint
from nas.search.journal import open_trial, parse_study_name, trial_key, written_together
from nas.search.judging.forecasts import Forecaster
from nas.search.judging.judge import Judge
from nas.search.notes import Audited, Notes, first_of, left_aside, noted_trial, read_notes, write_notes
from nas.search.records import Record, RecordReader, common_failure
from nas.search.sampling.feasible import suggest
from nas.search.search import Search
from nas.search.studies import studied
from nas.space.space import Space

SAME_FAILURES = 3

Claimed = tuple[Trial, Layer]


@dataclass
class Claims:
    """What the worker of a slot needs to find its next trial."""

    search: Search
    folder: WorkFolder[Search]
    slot: int
    space: Space
    studies: Mapping[tuple[str, int], Study]
    pulse: Pulse

    def __post_init__(self) -> None:
        self.reader = RecordReader(self.search, self.studies)

    def next(self) -> "Claimed | Literal['settled', 'wait', 'nothing']":
        """A trial to train, taken over or new. "settled": a twin's result serves that trial; "wait": only others can
        bring the search forward; "nothing": it is done."""
        if common_failure(self.reader.read(), SAME_FAILURES):
            return "nothing"
        waiting = self._settle_waiting()
        lacking = self._lacking()
        trial = self._take_over() or self._resume(nothing_new=lacking is None)
        if trial is None and lacking is not None:
            trial = lacking.ask()
        if trial is None:
            return "wait" if waiting else "nothing"
        return self._prepare(trial) or "settled"

    def _running(self) -> Iterator[tuple[Study, int, Notes]]:
        """The trials that are not told yet: study, number, what is noted on them."""
        for study in self.studies.values():
            for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if first_of(frozen) not in left_aside(study):
                    yield study, frozen.number, read_notes(frozen)

    def _settle_waiting(self) -> int:
        """Tells the trials whose twin has finished, or lets them train; returns how many still wait."""
        waiting = 0
        for study, number, noted in self._running():
            if not noted.waits_for:
                continue
            twin = self._twin(noted.network, study, number)
            if twin is None:
                write_notes(open_trial(study, number), Notes(waits_for=""))
            elif twin[1].state.is_finished():
                _replay(open_trial(study, number), *twin)
            else:
                waiting += 1
        return waiting

    def _take_over(self) -> Trial | None:
        """A trial whose worker is gone: of an earlier process in this slot, or of a slot that nobody holds."""
        for study, number, noted in self._running():
            if noted.waits_for or not self._is_orphan(noted):
                continue
            trial = open_trial(study, number)
            if not (reason := fatal(noted.deaths)):
                return trial
            fail(trial, reason)
        return None

    def judge(self, records: Sequence[Record]) -> Judge:
        """The judge of the search's trainings, who has heard what a model of the space says of their networks."""
        return Judge(self.search, records, self._forecaster.forecasts(records))

    @cached_property
    def _forecaster(self) -> Forecaster:
        return Forecaster(self.space)

    def _is_orphan(self, noted: Notes) -> bool:
        if noted.worker in (None, self.slot):
            return True
        with self.folder.lock(f"slot-{noted.worker}", wait=False) as free:
            return free

    def _resume(self, *, nothing_new: bool) -> Trial | None:
        """A new trial that goes on with a stopped training: one that is worth it, or in the end one that is audited."""
        if self.search.stop == "none":
            return None
        records = self.reader.read()
        judge = self.judge(records)
        record, least_chance = judge.to_resume(records, nothing_new=nothing_new)
        audited = None
        if record is None and nothing_new:
            record = judge.to_audit(records)
            audited = Audited(record.stopped, judge.to_beat(record)) if record else None
        if record is None:
            return None
        study = self.studies[record.strategy, record.budget]
        stopped = study.get_trials(deepcopy=False)[record.latest]
        study.add_trial(
            noted_trial(
                Notes(
                    worker=self.slot,
                    proposal=read_notes(stopped).proposal,
                    parameters=record.parameters,
                    macs=record.macs,
                    depth=record.depth,
                    network=record.network,
                    epochs_before=record.stopped,
                    continues=record.number,
                    least_chance=least_chance,
                    audited=audited,
                ),
                state=TrialState.RUNNING,
                params=stopped.params,
                distributions=stopped.distributions,
                intermediate_values=stopped.intermediate_values,
            )
        )
        return open_trial(study, study.get_trials(deepcopy=False)[-1].number)

    def _lacking(self) -> Study | None:
        """The study with the fewest trials of those that lack some; None if none does."""
        counts = {
            key: sum(
                first_of(trial) == trial.number and trial.number not in aside
                for trial in study.get_trials(deepcopy=False)
            )
            for key, study in self.studies.items()
            for aside in [left_aside(study)]
        }
        lacking = [key for key, trials in counts.items() if trials < self.search.trials_of(key[0])]
        return self.studies[min(lacking, key=lambda key: counts[key])] if lacking else None

    def _prepare(self, trial: Trial) -> Claimed | None:
        """Draws the knobs, passes the gate and notes the network; None if a twin's result serves, now or later."""
        write_notes(trial, Notes(worker=self.slot))
        self.pulse.write(trial_key(trial.study, trial), 0, 0)
        strategy, budget = parse_study_name(trial.study.study_name)
        space = studied(self.search, self.space, strategy, budget)
        with written_together(trial.study):
            knobs = {knob.name: suggest(trial, knob) for knob in space.knobs}
            cost = space.cost(knobs)
            is_within = cost is not None and self.search.budget(budget).covers(cost)
            if cost and is_within:
                network = space.network(knobs)
                identity = fingerprint(network, self.space.shape)
                counted = Notes(parameters=cost.parameters, macs=cost.macs, depth=depth(network), network=identity)
                write_notes(trial, counted)
        if not is_within:  # the strategy's fault, not the search's
            fail(trial, f"the strategy proposed what is no network within budget: {knobs}"[:300])
            return None
        noted = read_notes(trial)
        twin = self._twin(identity, trial.study, trial.number) if noted.continues is None else None
        if twin is None:
            if noted.epochs_before is None:
                write_notes(trial, Notes(epochs_before=self._epochs_of(identity)))
            return trial, network
        self.pulse.clear()
        if twin[1].state.is_finished():
            _replay(trial, *twin)
        else:
            write_notes(trial, Notes(waits_for=trial_key(*twin)))
        return None

    def _twin(self, identity: str, study: Study, number: int) -> tuple[Study, FrozenTrial] | None:
        """The trial whose result serves this one too: it trains the same network, or trained it to the end, or was
        stopped by the same strategy. Another strategy may go on where one has stopped."""
        strategy, _ = parse_study_name(study.study_name)
        found: tuple[Study, FrozenTrial] | None = None
        for key, other in self.studies.items():
            same_strategy = key[0] == strategy
            for frozen in other.get_trials(deepcopy=False):
                noted = self.reader.notes(key, frozen)
                itself = other is study and frozen.number == number
                if itself or noted.network != identity or not noted.is_original:
                    continue
                if not noted.stopped or not frozen.state.is_finished():
                    return other, frozen
                if same_strategy:
                    found = other, frozen
        return found

    def _epochs_of(self, identity: str) -> int:
        """Epochs for which trials that were stopped have trained the network."""
        every = (
            self.reader.notes(key, trial)
            for key, study in self.studies.items()
            for trial in study.get_trials(deepcopy=False)
        )
        return max((noted.stopped or 0 for noted in every if noted.network == identity), default=0)


def _replay(trial: Trial, study: Study, twin: FrozenTrial) -> None:
    """Tells the trial what its twin was told."""
    noted, key = read_notes(twin), trial_key(study, twin)
    if twin.state == TrialState.FAIL:
        fail(trial, noted.failure)
        return
    write_notes(
        trial, Notes(replayed=key, curve=noted.curve, stopped=noted.stopped, predicted_loss=noted.predicted_loss)
    )
    trial.study.tell(trial, twin.value)


def fail(trial: Trial, reason: str) -> None:
    """Tells the trial that it has failed, and why, in one line."""
    write_notes(trial, Notes(failure=reason))
    trial.study.tell(trial, state=TrialState.FAIL)
