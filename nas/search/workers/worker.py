"""A worker process: claims a trial, trains it epoch by epoch, tells its value, until nothing is left to claim.

    python -m nas.search.workers.worker RUN SLOT DEVICE

One worker holds a slot at a time. It ends at once when its standard input closes (its parent has died), after the
current epoch on SIGTERM, and its trial is taken over by whoever claims next.
"""

import argparse
import math
import signal
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from optuna.trial import Trial

from nas.data.augment import DeviceData
from nas.errors import EXIT_WRONG_USE, UserError
from nas.machine.process import end_with_parent, pick_device
from nas.machine.pulse import Pulse
from nas.network.layers import Layer
from nas.search.journal import PREDICTION, parse_study_name, read_records
from nas.search.judging.judge import Judge, is_judged
from nas.search.search import run_folder, weights_file, worker_file
from nas.search.studies import load_data_of, open_studies, space_of
from nas.search.workers.claims import Claims, fail, trial_key
from nas.seeds import derive_seed
from nas.stopping.rules import RULES
from nas.training.train import train


@dataclass
class Worker:
    """What a worker holds while it lives."""

    claims: Claims
    data: DeviceData
    stopping: threading.Event

    def run(self) -> None:
        """Trials until there is nothing left or the worker is asked to stop."""
        while not self.stopping.is_set():
            with self.claims.folder.lock("claim", wait=True):
                claimed = self.claims.next()
            if claimed == "nothing":
                return
            if claimed == "wait":
                time.sleep(0.2)
            elif claimed != "settled":
                self._train(*claimed)

    def _first_judged(self, trial: Trial, reported: Iterable[int]) -> float:
        """The first epoch after which the training may be stopped. Of a training that is taken over, the last one it
        has reported was perhaps not judged yet; one that goes on has been judged where it was stopped."""
        if not is_judged(self.claims.search, parse_study_name(trial.study.study_name)[0]):
            return math.inf
        noted = trial.user_attrs
        inherited: int = noted["inherited"] + ("thaws" in noted)
        return max([1, inherited, *reported])

    def _judge(self, trial: Trial, rows: list[list[float]]) -> dict[str, Any] | None:
        """What to note and tell if the training is to be stopped now; None if it goes on."""
        records = read_records(self.claims.search, self.claims.studies)
        name, budget = parse_study_name(trial.study.study_name)
        record = next(r for r in records if (r.strategy, r.budget, r.latest) == (name, budget, trial.number))
        judge = Judge(self.claims.search, records)
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
        key = trial_key(trial.study, trial)
        reported = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        curve: list[list[float]] = []
        seconds: list[float] = []
        first_judged = self._first_judged(trial, reported)
        rule = RULES[self.claims.search.stop](self.claims.search.epochs)
        stopped = None
        try:
            for epoch in train(
                network,
                self.data,
                self.claims.search.recipe,
                seed=derive_seed(self.claims.search.seed, "training"),
                checkpoint=weights_file(self.claims.folder, trial.user_attrs["network"]),
                pulse=lambda epoch, step: self.claims.pulse.write(key, epoch, step),
            ):
                curve.append([epoch.train_loss, epoch.validation_loss, epoch.validation_accuracy])
                seconds.append(epoch.seconds)
                if epoch.epoch not in reported:
                    trial.report(epoch.validation_accuracy, epoch.epoch)
                if epoch.epoch < self.claims.search.epochs:
                    if epoch.epoch >= first_judged and rule.checks(epoch.epoch):
                        stopped = self._judge(trial, curve)
                    if stopped:
                        break
                    if self.stopping.is_set():
                        self.claims.pulse.clear()
                        return
        except OSError:  # a full disk is the machine's failure: the trial stays to be taken over
            raise
        except Exception as error:  # whatever a network's code raises is this trial's failure, not the search's
            fail(trial, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")
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
        self.claims.pulse.clear()


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
    folder = run_folder(arguments.run)
    with folder.lock(f"slot-{arguments.slot}", wait=True):
        try:
            search = folder.read()
            data = load_data_of(search, folder)
            space = space_of(search, data.shape, data.classes)
            device = pick_device(arguments.device, arguments.slot)
            _warm_up(device)
            device_data = DeviceData.of(data, device, search.augmentation)
            studies = open_studies(search, folder, space)
            pulse = Pulse(worker_file(folder, arguments.slot, "pulse"))
            Worker(Claims(search, folder, arguments.slot, space, studies, pulse), device_data, stopping).run()
        except UserError as error:
            print(error, file=sys.stderr)
            return EXIT_WRONG_USE
    return 0


if __name__ == "__main__":
    sys.exit(main())
