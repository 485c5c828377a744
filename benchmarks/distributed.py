"""Many workers on one database: how many claims they make a second, how long each waits for its turn and holds it, how
many statements it sends; how long one more takes to join, what 400 connections take, and what 1,000 workers would do,
as simulated from the turns measured. Claims, proposals and judging are the real ones, trainings are made up.

Server and clients share the cores of this machine. `idle_share` is that of the workers' time without a training.
"""

import gc
import heapq
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from machine import Figures, one_thread, parser, show, spread
from postgres import server

import nas
from nas import api
from nas.data.augment import DeviceData
from nas.machine.folders import WorkFolder
from nas.machine.pulse import Pulse
from nas.machine.timeline import Timeline
from nas.network.layers import Layer
from nas.network.serial import fingerprint
from nas.search.search import Search, run_folder, worker_file
from nas.search.sharing.address import read_address
from nas.search.sharing.open import open_shared
from nas.search.sharing.postgres import Database
from nas.search.studies import load_data_of, open_studies, space_of
from nas.search.workers import worker
from nas.search.workers.claims import Claims
from nas.search.workers.refused import RefusedLog
from nas.search.workers.supervisor import Supervisor
from nas.training.epoch import Epoch

EPOCHS = 3
CONNECTIONS = 400
LONG = 60.0
"""Seconds of a training in the simulation."""


@dataclass
class Timed:
    """What one worker saw: seconds for which it waited for each turn and held it, statements of each turn and from one
    to the next (epochs, and the telling of a value), when each training began and ended."""

    joined: float = 0.0
    waited: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    statements: list[int] = field(default_factory=list)
    between: list[int] = field(default_factory=list)
    trained: list[tuple[float, float]] = field(default_factory=list)
    _after: int | None = None

    @contextmanager
    def claiming(self, shared: Database, waiting: Callable[[], object]) -> Iterator[None]:
        """As `Database.claiming`."""
        asked, before = time.perf_counter(), shared.session.statements
        if self._after is not None:
            self.between.append(before - self._after)
        with Database.claiming(shared, waiting):
            began = time.perf_counter()
            yield
        self._after = shared.session.statements
        self.waited.append(began - asked)
        self.held.append(time.perf_counter() - began)
        self.statements.append(self._after - before)

    def train(self, seconds: float, network: Layer, data: DeviceData, *_: Any, **__: Any) -> Iterator[Epoch]:
        """Epochs of a training that takes so many seconds, and only waits."""
        began = time.time()
        drawn = np.random.default_rng(int(fingerprint(network, (1, 8, 8)), 16) % 2**32)
        last = float(np.clip(drawn.normal(0.4, 0.05), 0, 1))
        for epoch in range(1, EPOCHS + 1):
            time.sleep(max(0.0, began + epoch * seconds / EPOCHS - time.time()))
            accuracy = last - 0.2 / epoch
            if epoch == EPOCHS:
                self.trained.append((began, time.time()))
            yield Epoch(epoch, 4 - 4 * accuracy, 4.1 - 4 * accuracy, accuracy, max(seconds / EPOCHS, 0.001))


def work(folder: WorkFolder[Search], slot: int, seconds: float, data: DeviceData, results: Any) -> None:
    """One worker, in a process of its own."""
    one_thread()
    timed, began = Timed(), time.time()
    shared, claims = joined(folder, slot)
    timed.joined = time.time() - began
    timeline = Timeline(worker_file(folder, slot, "timeline"), time.time())
    refused = RefusedLog(folder, slot, claims.space.refusals)
    with (
        mock.patch.object(worker, "train", partial(timed.train, seconds)),
        mock.patch.object(shared, "claiming", partial(timed.claiming, shared)),
        mock.patch.object(shared.weights, "keep"),
    ):
        worker.Worker(claims, data, threading.Event(), timeline, refused, folder).run()
    results.put(timed)


def joined(folder: WorkFolder[Search], slot: int) -> tuple[Database, Claims]:
    """What a worker needs to begin."""
    search, shared = folder.read(), open_shared(folder, slot)
    assert isinstance(shared, Database)
    space = space_of(search, folder, (1, 8, 8), 10)
    studies = open_studies(search, folder, space, shared.storage)
    return shared, Claims(search, shared, space, studies, Pulse(worker_file(folder, slot, "pulse")))


def measure(folder: WorkFolder[Search], workers: int, seconds: float) -> Figures:
    """So many workers until the search is done; then one that joins, and many connections."""
    data = DeviceData.of(load_data_of(folder.read(), folder), torch.device("cpu"), ())
    gc.collect()
    gc.freeze()  # what was imported is shared by the processes that are forked now
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    processes = [fork.Process(target=work, args=(folder, i, seconds, data, results)) for i in range(workers)]
    for process in processes:
        process.start()
    timed = [results.get() for _ in processes]
    for process in processes:
        process.join()
    held = [x for each in timed for x in each.held]
    return {
        **figures_of(timed, seconds),
        "one_more": one_more(folder, workers),
        "connections": connections(folder),
        "simulated": [simulated(count, held, LONG) for count in (64, 256, 1000)],
    }


def figures_of(timed: Sequence[Timed], seconds: float) -> Figures:
    """Rates from when all workers train to when the first ends."""
    first = max(each.trained[0][0] for each in timed)
    last = min(each.trained[-1][1] for each in timed)
    spans = [(max(began, first), min(ended, last)) for each in timed for began, ended in each.trained]
    busy = sum(max(0.0, ended - began) for began, ended in spans) / max(len(timed) * (last - first), 1e-9)
    began = [b for each in timed for b, _ in each.trained]
    claimed = sum(first < at <= last for at in began)
    return {
        "claims": len(began),
        "claims_a_second": round(claimed / max(last - first, 1e-9), 1),
        "idle_share": round(1 - busy, 3) if seconds else None,
        "turn_held_ms": in_ms([x for each in timed for x in each.held]),
        "turn_waited_ms": in_ms([x for each in timed for x in each.waited]),
        "statements_a_claim": spread([x for each in timed for x in each.statements[1:]], digits=0),
        "statements_from_claim_to_claim": spread([x for each in timed for x in each.between], digits=0)
        | {"epochs": EPOCHS},
        "join_seconds": spread([each.joined for each in timed], digits=2),
    }


def in_ms(seconds: Sequence[float]) -> Figures:
    """Median and 95th percentile."""
    return spread(seconds, unit=0.001)


def one_more(folder: WorkFolder[Search], slot: int) -> Figures:
    """Seconds until a worker more has joined, by the trials there are."""
    began = time.perf_counter()
    shared, claims = joined(folder, slot)
    trials = len(claims.reader.read())
    taken = time.perf_counter() - began
    shared.close()
    return {"trials": trials, "seconds": round(taken, 2)}


def connections(folder: WorkFolder[Search]) -> Figures:
    """Workers' sessions at once, and how long one of them asks for all leases then."""
    address = read_address(folder)
    assert address is not None
    began = time.perf_counter()
    sessions = [Database(address, folder, works=True) for _ in range(CONNECTIONS)]
    opened = time.perf_counter() - began
    leases = [session.lease or 0 for session in sessions]
    began = time.perf_counter()
    alive = sessions[0].alive(leases)
    asked = time.perf_counter() - began
    for session in sessions:
        session.close()
    assert len(alive) == CONNECTIONS
    return {
        "sessions": CONNECTIONS,
        "seconds_to_open": round(opened, 1),
        "ms_to_ask_who_is_alive": round(1000 * asked, 1),
    }


def simulated(workers: int, held: Sequence[float], seconds: float) -> Figures:
    """Workers that train for so long, take turns, and hold them as was measured: one queue for one turn."""
    rng, free, ready = np.random.default_rng(0), 0.0, [(0.0, number) for number in range(workers)]
    heapq.heapify(ready)
    waited, trained, horizon = [], 0.0, 20 * seconds
    while ready[0][0] < horizon:
        asked, number = heapq.heappop(ready)
        begins = max(asked, free)
        free = begins + float(rng.choice(held))
        if asked > 2 * seconds:  # once they no longer come all at once
            waited.append(begins - asked)
            trained += seconds
        heapq.heappush(ready, (free + seconds * rng.uniform(0.5, 1.5), number))
    most = 1 / statistics.fmean(held)
    return {
        "workers": workers,
        "training_seconds": seconds,
        "turn_waited_ms": in_ms(waited),
        "claims_a_second": round(len(waited) / (horizon - 2 * seconds), 1),
        "turns_a_second_at_most": round(most, 1),
        "idle_share": round(max(0.0, 1 - trained / (workers * (horizon - 2 * seconds))), 3),
    }


class Nobody(Supervisor):
    """Begins the run, and trains nothing."""

    def run(self) -> Any:
        """Nothing is run."""
        return "interrupted"


def main() -> None:
    """Begins a run in a new database and lets workers claim it empty."""
    options = parser(__doc__, "python benchmarks/distributed.py --workers 8")
    options.add_argument("--workers", type=int, default=8)
    options.add_argument("--training", type=float, default=0.0, metavar="SECONDS")
    options.add_argument("--trials", type=int, default=None, help="of each strategy (default: 20 a worker)")
    options.add_argument("--strategies", default="tpe")
    options.add_argument("--stop", default="none")
    options.add_argument("--space", default="mixed")
    asked = options.parse_args()
    with (
        server("max_connections=600", "fsync=on", "synchronous_commit=on") as database,
        tempfile.TemporaryDirectory() as place,
        mock.patch.object(api, "Supervisor", Nobody),
    ):
        run = Path(place) / "run"
        with suppress(nas.RunError):  # there is no pareto.json yet
            api.search(
                dataset="digits",
                budget=10_000,
                space=asked.space,
                strategies=tuple(asked.strategies.split(",")),
                trials=asked.trials or 20 * asked.workers,
                epochs=EPOCHS,
                stop=asked.stop,
                baselines=False,
                storage=database.url,
                files=Path(place) / "files",
                out=run,
                workers=0,
            )
        show({"options": vars(asked), **measure(run_folder(run), asked.workers, asked.training)})


if __name__ == "__main__":
    main()
