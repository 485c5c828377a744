"""A worker process: claims a trial, trains it epoch by epoch, tells its value, until nothing is left to claim.

    python -m nas.worker RUN SLOT DEVICE

One worker holds a slot at a time. It ends at once when its standard input closes (its parent has died), after the
current epoch on SIGTERM, and its trial is taken over by whoever claims next.
"""

import argparse
import math
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nas.augment import DeviceData
from nas.baselines import studied
from nas.data import SearchData, load_search_data
from nas.errors import EXIT_WRONG_USE, UserError
from nas.folds import depth
from nas.judging import Judge, is_judged
from nas.layers import Layer, Shape
from nas.plan import BASELINES, Plan, RunFolder
from nas.process import end_with_parent, pick_device
from nas.pulse import Pulse, fatal
from nas.samplers import STRATEGIES, ListedSampler, suggest
from nas.seeds import derive_seed
from nas.serial import fingerprint
from nas.space import Space, bind, load_architecture, space_file
from nas.stopping import make_rule
from nas.storage import (
    PREDICTION,
    common_failure,
    first_of,
    open_storage,
    open_study,
    parse_study_name,
    read_records,
)
from nas.train import train

SAME_FAILURES = 3


def load_plan_data(plan: Plan, folder: RunFolder) -> SearchData:
    """Training and validation split of a plan."""
    dataset = str(folder.data) if folder.data.exists() else plan.dataset
    return load_search_data(
        dataset, seed=plan.seed, validation_share=plan.validation_share, image_size=plan.image_size, progress=False
    )


def plan_space(plan: Plan, shape: Shape, classes: int) -> Space:
    """The search space of a plan. Raises SpaceError if its file is gone or bad."""
    return bind(load_architecture(space_file(plan.space), plan.space_class), shape, classes)


def open_studies(plan: Plan, folder: RunFolder, space: Space) -> dict[tuple[str, int], Study]:
    """Every study of the plan with its sampler."""
    storage = open_storage(folder)
    return {key: open_study(storage, *key, _sampler(plan, space, *key)) for key in plan.studies}


def _sampler(plan: Plan, space: Space, strategy: str, budget: int) -> BaseSampler:
    if strategy == BASELINES:
        return ListedSampler(studied(plan, space, strategy, budget).knobs[0])
    seed = derive_seed(plan.seed, strategy, budget)
    return STRATEGIES[strategy](space, plan.budget(budget), seed=seed, below=plan.below, starts=plan.starts_at(budget))


_Claimed = tuple[Trial, Layer]


@dataclass
class Worker:
    """What a worker holds while it lives."""

    plan: Plan
    folder: RunFolder
    slot: int
    space: Space
    data: DeviceData
    studies: Mapping[tuple[str, int], Study]
    pulse: Pulse
    stopping: threading.Event

    def run(self) -> None:
        """Trials until there is nothing left or the worker is asked to stop."""
        while not self.stopping.is_set():
            with self.folder.lock("claim", wait=True):
                claimed = self._claim()
            if claimed == "nothing":
                return
            if claimed == "wait":
                time.sleep(0.2)
            elif claimed != "settled":
                self._train(*claimed)

    def _claim(self) -> "_Claimed | Literal['settled', 'wait', 'nothing']":
        """A trial to train, taken over or new. "settled": a twin's result serves that trial; "wait": only others can
        bring the search forward; "nothing": it is done."""
        if common_failure(read_records(self.plan, self.studies), SAME_FAILURES):
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
                    _fail(trial, reason)
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
        if self.plan.stop == "none":
            return None
        records = read_records(self.plan, self.studies)
        judge = Judge(self.plan, records)
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
        lacking = [key for key, trials in counts.items() if trials < self.plan.trials_of(key[0])]
        return self.studies[min(lacking, key=lambda key: counts[key])] if lacking else None

    def _prepare(self, trial: Trial) -> _Claimed | None:
        """Draws the knobs, passes the gate and notes the network; None if a twin's result serves, now or later."""
        trial.set_user_attr("worker", self.slot)
        self.pulse.write(_trial_key(trial.study, trial), 0, 0)
        strategy, budget_parameters = parse_study_name(trial.study.study_name)
        space, budget = studied(self.plan, self.space, strategy, budget_parameters), self.plan.budget(budget_parameters)
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
            trial.set_user_attr("awaits", _trial_key(*twin))
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

    def _first_judged(self, trial: Trial, reported: Iterable[int]) -> float:
        """The first epoch after which the training may be stopped. Of a training that is taken over, the last one it
        has reported was perhaps not judged yet; one that goes on has been judged where it was stopped."""
        if not is_judged(self.plan, parse_study_name(trial.study.study_name)[0]):
            return math.inf
        noted = trial.user_attrs
        inherited: int = noted["inherited"] + ("thaws" in noted)
        return max([1, inherited, *reported])

    def _judge(self, trial: Trial, rows: list[list[float]]) -> dict[str, Any] | None:
        """What to note and tell if the training is to be stopped now; None if it goes on."""
        records = read_records(self.plan, self.studies)
        name, budget = parse_study_name(trial.study.study_name)
        record = next(r for r in records if (r.strategy, r.budget, r.latest) == (name, budget, trial.number))
        judge = Judge(self.plan, records)
        prediction, to_beat = judge.prediction(record, rows), judge.to_beat(record)
        chance = prediction.chance_above(to_beat)
        trial.set_user_attr(f"{PREDICTION}{len(rows)}", [prediction.mean, prediction.scale, chance])
        verdict = judge.verdict(record, rows, prediction)
        goes_on = verdict.goes_on_above(trial.user_attrs["bar"]) if record.resumed else verdict.goes_on
        if record.audited or goes_on:
            return None
        return {
            "stopped": len(rows),
            "predicted": min(max(prediction.mean, 0.0), 1.0),
            "predicted_loss": judge.last_loss(record, rows),
        }

    def _train(self, trial: Trial, network: Layer) -> None:
        """Trains until the last epoch, or until the rule stops it, and tells the value, or the reason of a failure."""
        key = _trial_key(trial.study, trial)
        reported = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        curve: list[list[float]] = []
        seconds: list[float] = []
        first_judged = self._first_judged(trial, reported)
        rule = make_rule(self.plan.stop, self.plan.epochs)
        stopped = None
        try:
            for epoch in train(
                network,
                self.data,
                self.plan.training,
                seed=derive_seed(self.plan.seed, "training"),
                checkpoint=self.folder.weights(trial.user_attrs["network"]),
                pulse=lambda epoch, step: self.pulse.write(key, epoch, step),
            ):
                curve.append([epoch.train_loss, epoch.validation_loss, epoch.validation_accuracy])
                seconds.append(epoch.seconds)
                if epoch.epoch not in reported:
                    trial.report(epoch.validation_accuracy, epoch.epoch)
                if epoch.epoch < self.plan.epochs:
                    if epoch.epoch >= first_judged and rule.checks(epoch.epoch):
                        stopped = self._judge(trial, curve)
                    if stopped:
                        break
                    if self.stopping.is_set():
                        self.pulse.clear()
                        return
        except OSError:  # a full disk is the machine's failure: the trial stays to be taken over
            raise
        except Exception as error:  # whatever a network's code raises is this trial's failure, not the search's
            _fail(trial, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")
        else:
            trial.set_user_attr("curve", curve)
            trial.set_user_attr("seconds", seconds)
            value = curve[-1][2]
            if stopped:
                value = stopped.pop("predicted")
            elif "stopped" in trial.user_attrs:  # its last worker died when it was about to stop it
                stopped = {"stopped": 0}
            for name, noted in (stopped or {}).items():
                trial.set_user_attr(name, noted)
            trial.study.tell(trial, value)
        self.pulse.clear()


def _trial_key(study: Study, trial: Trial | FrozenTrial) -> str:
    """ "study/number": how one trial refers to another."""
    return f"{study.study_name}/{trial.number}"


def _replay(trial: Trial, study: Study, twin: FrozenTrial) -> None:
    """Tells the trial what its twin was told."""
    if twin.state == TrialState.FAIL:
        _fail(trial, twin.user_attrs["failure"])
        return
    trial.set_user_attr("replayed", _trial_key(study, twin))
    for name in ("curve", "stopped", "predicted_loss"):
        if name in twin.user_attrs:
            trial.set_user_attr(name, twin.user_attrs[name])
    trial.study.tell(trial, twin.value)


def _fail(trial: Trial, reason: str) -> None:
    trial.set_user_attr("failure", reason)
    trial.study.tell(trial, state=TrialState.FAIL)


def _warm_up(device: torch.device) -> None:
    """One step of a tiny training: torch loads much on its first, which would hold the first trial at one step long
    enough for workers killed from outside to seem killed by it."""
    module = torch.nn.Conv2d(1, 1, 1, device=device)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.0, foreach=True)
    module(torch.zeros(1, 1, 1, 1, device=device)).sum().backward()
    optimiser.step()


def main() -> int:
    """Runs one worker; exit code 2 with one line on stderr if the plan cannot be carried out."""
    parser = argparse.ArgumentParser(description="A worker of `nas search`, started by it.")
    parser.add_argument("run", type=Path)
    parser.add_argument("slot", type=int)
    parser.add_argument("device")
    arguments: Any = parser.parse_args()
    threading.Thread(target=end_with_parent, daemon=True).start()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    torch.set_num_threads(1)
    folder = RunFolder(arguments.run)
    with folder.lock(f"slot-{arguments.slot}", wait=True):
        try:
            plan = folder.read_plan()
            data = load_plan_data(plan, folder)
            space = plan_space(plan, data.shape, data.classes)
            device = pick_device(arguments.device, arguments.slot)
            _warm_up(device)
            device_data = DeviceData.of(data, device, plan.augmentation)
            studies = open_studies(plan, folder, space)
            pulse = Pulse(folder.worker(arguments.slot, "pulse"))
            Worker(plan, folder, arguments.slot, space, device_data, studies, pulse, stopping).run()
        except UserError as error:
            print(error, file=sys.stderr)
            return EXIT_WRONG_USE
    return 0


if __name__ == "__main__":
    sys.exit(main())
