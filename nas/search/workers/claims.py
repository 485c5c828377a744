"""Who trains what next: a trial to take over, to go on with or to ask for, the network of each trained once.

Called when it is the worker's turn, one at a time in a run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.errors import SpaceError
from nas.machine.pulse import Pulse, fatal
from nas.network.layers import Layer
from nas.search.journal import (
    at_one_moment,
    key_of,
    open_trial,
    parse_study_name,
    tell,
    trial_key,
)
from nas.search.judging.forecasts import Forecaster
from nas.search.judging.judge import Judge
from nas.search.notes import (
    Audited,
    Notes,
    deaths_before,
    first_of,
    leave_aside,
    left_aside,
    noted_trial,
    read_notes,
    write_notes,
)
from nas.search.records import Record, RecordReader, common_failure
from nas.search.sampling.proposals import ProposingSampler
from nas.search.search import Search
from nas.search.sharing.shared import Shared
from nas.search.studies import Candidate, candidate, rebuilt, studied
from nas.space.space import Space

SAME_FAILURES = 3

Claimed = tuple[Trial, Layer]


@dataclass
class Claims:
    """What a worker needs to find its next trial."""

    search: Search
    shared: Shared
    space: Space
    studies: Mapping[tuple[str, int], Study]
    pulse: Pulse

    def __post_init__(self) -> None:
        self.reader = RecordReader(self.search, self.studies)
        self._judge, self._judged = Judge(self.search), -1
        self._ahead: Candidate | None = None

    def think_ahead(self) -> None:
        """Thinks of a network to propose while others have their turn, which is the shorter then."""
        with at_one_moment(self.studies):
            self.reader.read()
            lacking = self._lacking()
            if lacking is None or self.shared.lease is None:
                return
            sampler, number = self._sampler(*lacking), len(self.studies[lacking].get_trials(deepcopy=False))
            ahead = sampler.ahead(self.studies[lacking], number, self.shared.lease)
            if ahead and not ahead.exhausted:
                self._ahead = candidate(self.search, self.space, lacking, ahead)

    def next(self) -> "Claimed | Literal['settled', 'wait', 'nothing']":
        """A trial to train, taken over or new. "settled": a twin's result serves that trial; "wait": only others can
        bring the search forward; "nothing": it is done."""
        with at_one_moment(self.studies):
            if common_failure(self.reader.read(), SAME_FAILURES):
                return "nothing"
            waiting = self._settle_waiting()
            lacking = self._lacking()
            claimed = self._take_over() or self._resume(nothing_new=lacking is None)
            ahead, self._ahead = self._ahead, None
            if claimed is None and lacking is not None:
                return self._add(*lacking, ahead) or "settled"
            return claimed or ("wait" if waiting or any(self._running()) else "nothing")

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
                tell(open_trial(study, number), _served_by(*twin, Notes()), twin[1].value, twin[1].state)
            else:
                waiting += 1
        return waiting

    def _take_over(self) -> Claimed | None:
        """A trial whose worker is gone: its lease is free, or ours from now on."""
        running = [found for found in self._running() if not found[2].waits_for]
        held = {noted.worker for _, _, noted in running if noted.worker is not None} - {self.shared.lease}
        alive = self.shared.alive(held)
        for study, number, noted in running:
            if noted.worker in alive:
                continue
            trial = open_trial(study, number)
            if reason := fatal(noted.deaths):
                fail(trial, reason)
            elif not noted.network:  # of an earlier version, killed between two writes
                leave_aside(study, [number])
            else:
                write_notes(trial, Notes(worker=self.shared.lease))
                return self._claimed(trial)
        return None

    def _claimed(self, trial: Trial) -> Claimed:
        """The trial and its network. Raises SpaceError where the space makes another one today than is noted."""
        key = parse_study_name(trial.study.study_name)
        self.pulse.write(trial_key(trial.study, trial), 0, 0)
        try:
            return trial, rebuilt(self.reader.record_of(*key, trial), studied(self.search, self.space, *key))
        except SpaceError:
            self.pulse.clear()  # it is not the trial that ends us
            raise

    def judge(self, records: Sequence[Record]) -> Judge:
        """The judge of the search's trainings, who has heard what a model of the space says of their networks; the same
        as long as no more was told until the records were read."""
        if self._judged != self.reader.told:
            self._judge.look(records, self._forecaster.forecast(records))
            self._judged = self.reader.told
        return self._judge

    @cached_property
    def _forecaster(self) -> Forecaster:
        return Forecaster(self.space)

    def _resume(self, *, nothing_new: bool) -> Claimed | None:
        """A new trial that goes on with a stopped training: one that is worth it, or in the end one that is audited."""
        records = self.reader.read()
        if self.search.stop == "none" and not any(record.cut for record in records):
            return None
        judge = self.judge(records)
        record, least_chance = judge.to_resume(records, nothing_new=nothing_new)
        audited = None
        if record is None and nothing_new:
            record = judge.to_audit(records)
            audited = Audited(record.stopped, judge.to_beat(record)) if record else None
        if record is None:
            return None
        study = self.studies[record.strategy, record.budget]
        trials = study.get_trials(deepcopy=False)
        stopped = trials[record.latest]
        study.add_trial(
            noted_trial(
                Notes(
                    worker=self.shared.lease,
                    parameters=record.parameters,
                    macs=record.macs,
                    counted=record.counted,
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
        return self._claimed(open_trial(study, len(trials)))

    def _lacking(self) -> tuple[str, int] | None:
        """Strategy and budget of the study with the fewest trials of those that lack some; None if none does."""
        counts = {key: self.reader.proposed(*key) for key in self.studies}
        lacking = [key for key, trials in counts.items() if trials < self.search.trials_of(key[0])]
        return min(lacking, key=lambda key: counts[key]) if lacking else None

    def _sampler(self, strategy: str, budget: int) -> ProposingSampler:
        sampler = self.studies[strategy, budget].sampler
        assert isinstance(sampler, ProposingSampler)
        return sampler

    def _is_left(self, thought: Candidate) -> bool:
        """Whether nobody else has proposed the network in that study meanwhile."""
        return all(key != thought.study for key, *_ in self.reader.trials_of(thought.noted.network))

    def _add(self, strategy: str, budget: int, ahead: Candidate | None) -> Claimed | None:
        """A new trial of that study, whole in one write: proposed, if it was not thought of ahead, counted, compared
        with all others. None if nothing is to be trained for it: a twin's result serves, now or later, or the gate has
        refused it."""
        study, sampler = self.studies[strategy, budget], self._sampler(strategy, budget)
        number = len(study.get_trials(deepcopy=False))
        if reason := fatal(deaths_before(study, number)):
            self._add_failed(study, reason)
            return None
        self.pulse.write(key_of(study, number), 0, 0)
        found = ahead if ahead and ahead.study == (strategy, budget) and self._is_left(ahead) else None
        if found is None:
            proposal = sampler.proposal(study, number)
            found = candidate(self.search, self.space, (strategy, budget), proposal)
        if found is None:  # the strategy's fault, not the search's
            self._add_failed(study, f"the strategy proposed what is no network within budget: {proposal.knobs}"[:300])
            return None
        noted, identity = replace(found.noted, worker=self.shared.lease), found.noted.network
        told = {"params": found.knobs, "distributions": sampler.distributions}
        twin = self._twin(identity, study, number)
        if twin is None:
            noted = replace(noted, epochs_before=self._epochs_of(identity))
            study.add_trial(noted_trial(noted, state=TrialState.RUNNING, **told))
            return open_trial(study, number), found.network
        if twin[1].state.is_finished():
            served = _served_by(*twin, noted)
            study.add_trial(noted_trial(served, state=twin[1].state, value=twin[1].value, **told))
        else:
            waiting = replace(noted, waits_for=trial_key(*twin))
            study.add_trial(noted_trial(waiting, state=TrialState.RUNNING, **told))
        self.pulse.clear()
        return None

    def _add_failed(self, study: Study, failure: str) -> None:
        study.add_trial(noted_trial(Notes(worker=self.shared.lease, failure=failure), state=TrialState.FAIL))
        self.pulse.clear()

    def _twin(self, identity: str, study: Study, number: int) -> tuple[Study, FrozenTrial] | None:
        """The trial whose result serves this one too: it trains the same network, or trained it to the end, or was
        stopped by the same strategy. Another strategy may go on where one has stopped."""
        strategy, budget = parse_study_name(study.study_name)
        found: tuple[Study, FrozenTrial] | None = None
        for key, frozen, noted in self.reader.trials_of(identity):
            if (key, frozen.number) == ((strategy, budget), number) or not noted.is_original:
                continue
            if not noted.stopped or not frozen.state.is_finished():
                return self.studies[key], frozen
            if key[0] == strategy:
                found = self.studies[key], frozen
        return found

    def _epochs_of(self, identity: str) -> int:
        """Epochs for which trials that were stopped have trained the network."""
        return max((noted.stopped or 0 for _, _, noted in self.reader.trials_of(identity)), default=0)


def _served_by(study: Study, twin: FrozenTrial, noted: Notes) -> Notes:
    """The notes on a trial to which its twin's result is told."""
    of_twin = read_notes(twin)
    if twin.state == TrialState.FAIL:
        return replace(noted, failure=of_twin.failure)
    return replace(
        noted,
        replayed=trial_key(study, twin),
        curve=of_twin.curve,
        stopped=of_twin.stopped,
        predicted_loss=of_twin.predicted_loss,
    )


def fail(trial: Trial, reason: str) -> None:
    """Tells the trial that it has failed, and why, in one line."""
    tell(trial, Notes(failure=reason), state=TrialState.FAIL)
