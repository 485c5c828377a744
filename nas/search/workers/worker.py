"""A worker process: claims a trial, trains it epoch by epoch, tells its value, until nothing is left to claim.

    python -m nas.search.workers.worker RUN SLOT DEVICE

One worker holds a slot at a time. It ends at once when its standard input closes (its parent has died), after the
current epoch on SIGTERM, and its trial is taken over by whoever claims next.
"""

import argparse
import gc
import math
import signal
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from optuna.trial import Trial

from nas.data.augment import DeviceData
from nas.errors import (
    EXIT_LOST,
    EXIT_NO_ANSWER,
    EXIT_WRONG_USE,
    LostError,
    UserError,
    is_of_the_machine,
    told_of_the_machine,
)
from nas.machine.folders import WorkFolder
from nas.machine.process import listen, pick_device, started
from nas.machine.pulse import Pulse
from nas.machine.timeline import Timeline
from nas.network.layers import Layer
from nas.search.journal import parse_study_name, tell, trial_key, written_together
from nas.search.judging.judge import is_judged
from nas.search.notes import Notes, Predicted, Rows, read_notes, write_notes
from nas.search.search import Search, run_folder, worker_file
from nas.search.sharing.open import open_shared
from nas.search.studies import load_data_of, open_studies, same_space_of
from nas.search.workers.claims import Claimed, Claims, fail
from nas.search.workers.queue import Queued, queue_of, train_queued
from nas.search.workers.refused import RefusedLog
from nas.seeds import derive_seed
from nas.stopping.rules import RULES
from nas.training.train import train
from nas.training.worker import DataOnce

LONGEST_WAIT = 5.0
"""Seconds between two looks of a worker that has waited for others for long."""

GARBAGE = 20_000
"""Objects made, and not dropped, between two looks for cycles: Python's own 700 make counting of networks, which are
remembered by the hundred thousand, take twice as long."""


@dataclass
class Worker:
    """What a worker holds while it lives."""

    claims: Claims
    data: DeviceData
    stopping: threading.Event
    timeline: Timeline
    refused: RefusedLog
    folder: WorkFolder[Search]
    load: DataOnce = field(default_factory=DataOnce)

    def run(self) -> None:
        """Trials until there is nothing left or the worker is asked to stop."""
        self._run()
        self.timeline.write("")

    def _run(self) -> None:
        polls, waits = self.claims.shared.polls, 0
        while not self.stopping.is_set():
            self.timeline.begin("claim")
            claimed = self._next()
            self.refused.write()
            if claimed == "nothing":
                return
            waits = waits + 1 if claimed == "wait" else 0
            if claimed == "wait":
                self.timeline.begin("wait")
                self.stopping.wait(min(polls * 1.5 ** (waits - 1), LONGEST_WAIT))
            elif claimed != "settled":
                self._train(*claimed)

    def _next(self) -> "Claimed | Literal['settled', 'wait', 'nothing']":
        """What is handed out beside the search goes before it."""
        queued = self._train_queued()
        if queued == "settled":
            return queued
        with self.claims.shared.claiming(self.claims.think_ahead):
            claimed = self.claims.next()
        return queued if claimed == "nothing" else claimed

    def _train_queued(self) -> "Literal['settled', 'wait', 'nothing']":
        """Trains what is handed out beside the search, if anything is."""
        queue = queue_of(self.claims.shared)
        if queue is None or not queue.is_open():
            return "nothing"
        with self.claims.shared.claiming():
            queued = queue.next()
        if queued is None:
            return "wait"
        here = Queued(queued.name, replace(queued.training, dataset=self.claims.search.dataset))
        place, device = self.folder.path / "trainings", self.data.mean.device
        train_queued(here, queue, place, device, self.stopping, self.load, self.claims.pulse)
        return "settled"

    def _first_judged(self, trial: Trial, reported: Iterable[int]) -> float:
        """The first epoch after which the training may be stopped. Of a training that is taken over, the last one it
        has reported was perhaps not judged yet; one that goes on has been judged where it was stopped."""
        if not is_judged(self.claims.search, parse_study_name(trial.study.study_name)[0]):
            return math.inf
        noted = read_notes(trial)
        return max([1, (noted.epochs_before or 0) + (noted.continues is not None), *reported])

    def _judge(self, trial: Trial, rows: Rows) -> tuple[Predicted, tuple[float, Notes] | None]:
        """What is predicted and, if the training is to be stopped now, its value and what to note."""
        records = self.claims.reader.read()
        record = self.claims.reader.record_of(*parse_study_name(trial.study.study_name), trial)
        judge = self.claims.judge(records)
        prediction, to_beat = judge.prediction(record, rows), judge.to_beat(record)
        chance = prediction.chance_above(to_beat)
        predicted = Predicted(len(rows), prediction.mean, prediction.scale, chance, prediction.power)
        verdict = judge.verdict(record, rows, prediction)
        least_chance = read_notes(trial).least_chance
        goes_on = verdict.goes_on if least_chance is None else verdict.goes_on_above(least_chance)
        if record.audited or goes_on:
            return predicted, None
        stopped = Notes(stopped=len(rows), predicted_loss=judge.last_loss(record, rows))
        return predicted, (min(max(prediction.mean, 0.0), 1.0), stopped)

    def _train(self, trial: Trial, network: Layer) -> None:
        """Trains until the last epoch, or until the rule stops it, and tells the value, or the reason of a failure."""
        try:
            ended = self._train_epochs(trial, network)
        except LostError:
            self.claims.pulse.clear()  # it stays to be taken over, by whoever can reach the others
            raise
        except Exception as error:  # whatever a network's code raises is this trial's failure, not the search's
            if is_of_the_machine(error):
                self.claims.pulse.clear()  # no trial is to blame: it stays to be taken over
                raise
            fail(trial, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")
        else:
            if ended is not None:
                value, noted = ended
                tell(trial, noted, value)
        self.claims.pulse.clear()
        self.timeline.write(trial_key(trial.study, trial))

    def _step(self, key: str, epoch: int, step: int) -> None:
        self.claims.pulse.write(key, epoch, step)
        self.claims.shared.beat()

    def _train_epochs(self, trial: Trial, network: Layer) -> tuple[float, Notes] | None:
        """The value of the trial and what to note; None if the worker was asked to stop before the training ended."""
        search = self.claims.search
        reported = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        curve: list[list[float]] = []
        seconds: list[float] = []
        first_judged = self._first_judged(trial, reported)
        rule = RULES[search.stop](search.epochs)
        key, identity, weights = trial_key(trial.study, trial), read_notes(trial).network, self.claims.shared.weights
        self.timeline.begin("checkpoint")
        epochs = train(
            network,
            self.data,
            search.recipe,
            seed=derive_seed(search.seed, "training"),
            checkpoint=weights.fetch(identity),
            pulse=partial(self._step, key),
            begin=self.timeline.begin,
        )
        for epoch in epochs:
            assert epoch.validation_loss is not None
            assert epoch.validation_accuracy is not None
            curve.append([epoch.train_loss, epoch.validation_loss, epoch.validation_accuracy])
            seconds.append(epoch.seconds)
            predictions: tuple[Predicted, ...] = ()
            stops = None
            self.timeline.begin("judge")
            if epoch.epoch < search.epochs and epoch.epoch >= first_judged and rule.checks(epoch.epoch):
                predicted, stops = self._judge(trial, curve)
                predictions = (predicted,)
            self.timeline.begin("checkpoint")
            leaves = self.stopping.is_set()
            weights.keep(identity, last=leaves or stops is not None or epoch.epoch == search.epochs)
            self.timeline.begin("journal")
            with written_together(trial.study):
                write_notes(trial, Notes(predictions=predictions))
                if epoch.epoch not in reported:
                    trial.report(epoch.validation_accuracy, epoch.epoch)
            if stops:
                value, stopped = stops
                return value, replace(stopped, curve=curve, seconds=seconds)
            if epoch.epoch < search.epochs and leaves:
                return None
        almost_stopped = read_notes(trial).stopped is not None  # its last worker died when it was about to stop it
        return curve[-1][2], Notes(curve=curve, seconds=seconds, stopped=0 if almost_stopped else None)


def _warm_up(device: torch.device) -> None:
    """One step of a tiny training: torch loads much on its first, which would hold the first trial at one step long
    enough for workers killed from outside to seem killed by it."""
    module = torch.nn.Conv2d(1, 1, 1, device=device)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.0, foreach=True)
    module(torch.zeros(1, 1, 1, 1, device=device)).sum().backward()
    optimiser.step()


def collect_seldom() -> None:
    """Cycles of objects are looked for less often, and no more among the hundred thousands of objects that are there by
    now: those of imported modules."""
    gc.set_threshold(GARBAGE, 10, 10)
    gc.freeze()


def main() -> int:
    """Runs one worker; exit code 2 with one line on stderr if the search cannot be carried out."""
    parser = argparse.ArgumentParser(description="A worker of `nas search`, started by it.")
    parser.add_argument("run", type=Path)
    parser.add_argument("slot", type=int)
    parser.add_argument("device")
    arguments: Any = parser.parse_args()
    listen()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    torch.set_num_threads(1)
    folder = run_folder(arguments.run)
    with folder.lock(f"slot-{arguments.slot}", wait=True):
        try:
            shared = open_shared(folder, arguments.slot)
            search = folder.read()
            data = load_data_of(search, folder)
            space = same_space_of(search, folder, data.shape, data.classes)
            device = pick_device(arguments.device, arguments.slot)
            _warm_up(device)
            collect_seldom()
            device_data = DeviceData.of(data, device, search.augmentation)
            studies = open_studies(search, folder, space, shared.storage)
            pulse = Pulse(worker_file(folder, arguments.slot, "pulse"))
            claims = Claims(search, shared, space, studies, pulse)
            timeline = Timeline(worker_file(folder, arguments.slot, "timeline"), started())
            refused = RefusedLog(folder, arguments.slot, space.refusals)
            Worker(claims, device_data, stopping, timeline, refused, folder).run()
        except UserError as error:
            print(error, file=sys.stderr)
            return EXIT_LOST if isinstance(error, LostError) else EXIT_WRONG_USE
        except Exception as error:
            if not is_of_the_machine(error):
                raise
            print(told_of_the_machine(error), file=sys.stderr)
            return EXIT_WRONG_USE if isinstance(error, OSError) else EXIT_NO_ANSWER
    return 0


if __name__ == "__main__":
    sys.exit(main())
