"""A search of thousands of trials whose trainings are made up: what the bookkeeping of a trial costs at its end, and
what a report of it takes.
"""

import gc
import itertools
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from machine import Figures, one_thread, percentile, say

from nas import api
from nas.data.augment import DeviceData
from nas.machine.pulse import Pulse
from nas.machine.timeline import Timeline
from nas.network.layers import Layer
from nas.network.serial import fingerprint
from nas.search.result.front import write_front
from nas.search.search import worker_file
from nas.search.sharing.open import open_shared
from nas.search.studies import load_data_of, open_studies
from nas.search.workers import worker
from nas.search.workers.claims import Claims
from nas.search.workers.refused import RefusedLog
from nas.search.workers.snapshot import Ending
from nas.search.workers.supervisor import Supervisor
from nas.training.epoch import Epoch

EPOCHS, LAST = 3, 200
MOST_SECONDS, MOST_REPORT_SECONDS, MOST_BYTES = 0.1, 20.0, 8_000_000
"""What is promised: of bookkeeping a trial at the end, of a report, of its file."""


def made_up(network: Layer, data: DeviceData, *_: Any, **__: Any) -> Iterator[Epoch]:
    """A power law of the epochs whose end is drawn by the fingerprint, in the place of a training."""
    shape = (1, *data.train.images.shape[1:3])
    drawn = np.random.default_rng(int(fingerprint(network, shape), 16) % 2**32)
    last, speed = drawn.normal(0.4, 0.05), drawn.uniform(0.5, 1.5)
    for epoch in range(1, EPOCHS + 1):
        accuracy = float(np.clip(last - 0.3 * epoch**-speed + drawn.normal(0, 0.005), 0, 1))
        yield Epoch(epoch, 4 - 4 * accuracy, 4.1 - 4 * accuracy, accuracy, 1.0)


class TimedClaims(Claims):
    """Notes when each claim begins: what lies between two is all that is done for a trial."""

    begun: list[float]

    def next(self) -> Any:
        """As without the notes."""
        self.begun.append(time.process_time())
        return super().next()


class InOneProcess(Supervisor):
    """The worker's part and the parent's, one after the other in this process, timed."""

    begun: list[float] = []  # noqa: RUF012
    looks: list[float] = []  # noqa: RUF012

    def run(self) -> Ending:
        """Every trial, then as often as for the last of them the look and pareto.json of the parent."""
        self._join()
        data = DeviceData.of(load_data_of(self.search, self.folder), torch.device("cpu"), self.search.augmentation)
        pulse = Pulse(worker_file(self.folder, 0, "pulse"))
        shared = open_shared(self.folder, 0)
        studies = open_studies(self.search, self.folder, self.space, shared.storage)
        claims = TimedClaims(self.search, shared, self.space, studies, pulse)
        claims.begun = self.begun
        usual = gc.get_threshold()
        worker.collect_seldom()
        timeline = Timeline(worker_file(self.folder, 0, "timeline"), time.time())
        refused = RefusedLog(self.folder, 0, self.space.refusals)
        with mock.patch.object(worker, "train", made_up):
            worker.Worker(claims, data, threading.Event(), timeline, refused, self.folder).run()
        gc.unfreeze()
        gc.set_threshold(*usual)
        for _ in range(10):
            started = time.process_time()
            write_front(self.folder, self._look(0, 0).records, self.search, self.space)
            self.looks.append(time.process_time() - started)
        return "complete"


def attack(count: int | None, seed: int) -> Figures:
    """A search of so many trials with one strategy, and its report."""
    trials = count or 5000
    one_thread()  # as workers have
    assert {f.name for f in fields(InOneProcess)} == {f.name for f in fields(Supervisor)}
    with tempfile.TemporaryDirectory() as place, mock.patch.object(api, "Supervisor", InOneProcess):
        run = Path(place) / "run"
        found = api.search(
            dataset="digits",
            budget=10_000,
            strategies=("linear",),
            trials=trials,
            epochs=EPOCHS,
            stop="extrapolate",
            baselines=False,
            workers=1,
            seed=seed,
            out=run,
        )
        if found.failure:
            raise RuntimeError(f"the trainings that are made up fail: {found.failure}")
        begun = InOneProcess.begun
        between = [after - before for before, after in itertools.pairwise(begun)]
        say(f"{trials} trials in {begun[-1] - begun[0]:.0f} s of processor time")
        started = time.process_time()
        page = api.report(run=run)
        seconds = time.process_time() - started
        size = page.file.stat().st_size
    last = sorted(between[-LAST:])
    median = last[len(last) // 2]
    faults = [
        f"{what}: {value:.3g}, promised {most:.3g}"
        for what, value, most in (
            ("seconds a trial", median, MOST_SECONDS),
            ("seconds a report", seconds, MOST_REPORT_SECONDS),
            ("bytes of a report", size, MOST_BYTES),
        )
        if value > most
    ]
    return {
        "trials": trials,
        "milliseconds_a_trial": {
            "first": round(1000 * percentile(between[:LAST], 0.5), 1),
            "last": round(1000 * median, 1),
            "p95": round(1000 * percentile(last, 0.95), 1),
        },
        "milliseconds_pareto_json": round(1000 * percentile(InOneProcess.looks, 0.5), 1),
        "report": {"seconds": round(seconds, 1), "bytes": size},
        "faults": faults,
    }
