"""Who trains what next: a trial to take over, to go on with or to ask for, the network of each trained once.

Called under the run's lock "claim", one worker at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nas.machine.folders import WorkFolder
from nas.machine.pulse import Pulse, fatal
from nas.network.folds import depth
from nas.network.layers import Layer
from nas.network.serial import fingerprint
from nas.search.baselines import studied
from nas.search.journal import common_failure, parse_study_name, read_records
from nas.search.judging.judge import Judge
from nas.search.notes import first_of
from nas.search.sampling.feasible import suggest
from nas.search.search import Search
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

    def next(self) -> "Claimed | Literal['settled', 'wait', 'nothing']":
        """A trial to train, taken over or new. "settled": a twin's result serves that trial; "wait": only others can
        bring the search forward; "nothing": it is done."""
        if common_failure(read_records(self.search, self.studies), SAME_FAILURES):
            return "nothing"
        waiting = self._settle_waiting()
        lacking = self._lacking()
        trial = self._take_over() or self._resume(nothing_new=lacking is None)
        if trial is None and lacking is not None:
            trial = lacking.ask()
        if trial is None:
            return "wait" if waiting else "nothing"
        return self._prepare(trial) or "settled"

    def _settle_waiting(self) -> int:
        """Tells the trials whose twin has finished, or lets them train; returns how many still wait."""
        waiting = 0
        for study in self.studies.values():
            for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if frozen.user_attrs.get("awaits"):
                    twin = self._twin(frozen.user_attrs["network"], study, frozen.number)
                    if twin is None:
                        Trial(study, frozen._trial_id).set_user_attr("awaits", "")
                    elif twin[1].state.is_finished():
                        _replay(Trial(study, frozen._trial_id), *twin)
                    else:
                        waiting += 1
        return waiting

    def _take_over(self) -> Trial | None:
        """A trial whose worker is gone: of an earlier process in this slot, or of a slot that nobody holds."""
        for study in self.studies.values():
            for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if frozen.user_attrs.get("awaits") or not self._is_orphan(frozen):
                    continue
                trial = Trial(study, frozen._trial_id)
                if reason := fatal(frozen.user_attrs.get("deaths", [])):
                    fail(trial, reason)
                else:
                    return trial
        return None

    def _is_orphan(self, frozen: FrozenTrial) -> bool:
        slot = frozen.user_attrs.get("worker", self.slot)
        if slot == self.slot:
            return True
        with self.folder.lock(f"slot-{slot}", wait=False) as free:
            return free

    def _resume(self, *, nothing_new: bool) -> Trial | None:
        """A new trial that goes on with a stopped training: one that is worth it, or in the end one that is audited."""
        if self.search.stop == "none":
            return None
        records = read_records(self.search, self.studies)
        judge = Judge(self.search, records)
        record, bar = judge.to_resume(records, nothing_new=nothing_new)
        audited = {}
        if record is None and nothing_new:
            record = judge.to_audit(records)
            audited = {"audited": [record.stopped, judge.to_beat(record)]} if record else {}
        if record is None:
            return None
        study = self.studies[record.strategy, record.budget]
        stopped = study.get_trials(deepcopy=False)[record.latest]
        kept = {name: stopped.user_attrs[name] for name in ("network", "parameters", "macs", "depth", "proposal")}
        kept |= {"worker": self.slot, "thaws": record.number, "inherited": record.stopped, "bar": bar} | audited
        study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=stopped.params,
                distributions=stopped.distributions,
                intermediate_values=stopped.intermediate_values,
                user_attrs=kept,
            )
        )
        return Trial(study, study.get_trials(deepcopy=False)[-1]._trial_id)

    def _lacking(self) -> Study | None:
        """The study with the fewest trials of those that lack some; None if none does."""
        counts = {
            key: sum(first_of(trial) == trial.number for trial in study.get_trials(deepcopy=False))
            for key, study in self.studies.items()
        }
        lacking = [key for key, trials in counts.items() if trials < self.search.trials_of(key[0])]
        return self.studies[min(lacking, key=lambda key: counts[key])] if lacking else None

    def _prepare(self, trial: Trial) -> Claimed | None:
        """Draws the knobs, passes the gate and notes the network; None if a twin's result serves, now or later."""
        trial.set_user_attr("worker", self.slot)
        self.pulse.write(trial_key(trial.study, trial), 0, 0)
        strategy, budget_parameters = parse_study_name(trial.study.study_name)
        space, budget = (
            studied(self.search, self.space, strategy, budget_parameters),
            self.search.budget(budget_parameters),
        )
        settings = {knob.name: suggest(trial, knob) for knob in space.knobs}
        network = space.network(settings)
        cost = space.cost(settings)
        if cost is None or not budget.admits(network, self.space.shape):
            raise AssertionError(f"{trial.study.study_name} proposed a network over budget: {settings}")
        identity = fingerprint(network, self.space.shape)
        noted = {"parameters": cost.parameters, "macs": cost.macs, "depth": depth(network), "network": identity}
        for name, value in noted.items():
            trial.set_user_attr(name, value)
        twin = None if "thaws" in trial.user_attrs else self._twin(identity, trial.study, trial.number)
        if twin is None:
            if "inherited" not in trial.user_attrs:
                trial.set_user_attr("inherited", self._epochs_of(identity))
            return trial, network
        self.pulse.clear()
        if twin[1].state.is_finished():
            _replay(trial, *twin)
        else:
            trial.set_user_attr("awaits", trial_key(*twin))
        return None

    def _twin(self, identity: str, study: Study, number: int) -> tuple[Study, FrozenTrial] | None:
        """The trial whose result serves this one too: it trains the same network, or trained it to the end, or was
        stopped by the same strategy. Another strategy may go on where one has stopped."""
        strategy, _ = parse_study_name(study.study_name)
        found: tuple[Study, FrozenTrial] | None = None
        for other in self.studies.values():
            same_strategy = parse_study_name(other.study_name)[0] == strategy
            for frozen in other.get_trials(deepcopy=False):
                noted = frozen.user_attrs
                original = not noted.get("awaits") and "replayed" not in noted
                itself = other is study and frozen.number == number
                stopped = bool(noted.get("stopped")) and frozen.state.is_finished()
                if original and not itself and (same_strategy or not stopped) and noted.get("network") == identity:
                    if not stopped:
                        return other, frozen
                    found = other, frozen
        return found

    def _epochs_of(self, identity: str) -> int:
        """Epochs for which trials that were stopped have trained the network."""
        every = (trial.user_attrs for study in self.studies.values() for trial in study.get_trials(deepcopy=False))
        return max(
            (noted["stopped"] for noted in every if "stopped" in noted and noted["network"] == identity), default=0
        )


def trial_key(study: Study, trial: Trial | FrozenTrial) -> str:
    """ "study/number": how one trial refers to another."""
    return f"{study.study_name}/{trial.number}"


def _replay(trial: Trial, study: Study, twin: FrozenTrial) -> None:
    """Tells the trial what its twin was told."""
    if twin.state == TrialState.FAIL:
        fail(trial, twin.user_attrs["failure"])
        return
    trial.set_user_attr("replayed", trial_key(study, twin))
    for name in ("curve", "stopped", "predicted_loss"):
        if name in twin.user_attrs:
            trial.set_user_attr(name, twin.user_attrs[name])
    trial.study.tell(trial, twin.value)


def fail(trial: Trial, reason: str) -> None:
    """Tells the trial that it has failed, and why, in one line."""
    trial.set_user_attr("failure", reason)
    trial.study.tell(trial, state=TrialState.FAIL)
