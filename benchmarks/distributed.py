"""Many workers on one database: how many claims they make a second, how long each waits for its turn and holds it, how
many statements it sends. The claims, the proposals and the judging are the real ones, trainings are made up.

Server and clients share the cores of this machine, so that with many clients the cores are what limits them: `idle` is
the share of a worker's time in which it neither trains nor works on its claim.
"""

import gc
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from machine import Figures, parser, percentile, show
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
from nas.search.sharing.open import open_shared
from nas.search.sharing.postgres import Database
from nas.search.studies import load_data_of, open_studies, space_of
from nas.search.workers import worker
from nas.search.workers.claims import Claims
from nas.search.workers.refused import RefusedLog
from nas.search.workers.supervisor import Supervisor
from nas.training.epoch import Epoch

EPOCHS = 3


def made_up(seconds: float, network: Layer, data: DeviceData, *_: Any, **__: Any) -> Iterator[Epoch]:
    """Epochs of a training that takes so many seconds, and only waits."""
    drawn = np.random.default_rng(int(fingerprint(network, (1, 8, 8)), 16) % 2**32)
    last = float(np.clip(drawn.normal(0.4, 0.05), 0, 1))
    for epoch in range(1, EPOCHS + 1):
        time.sleep(seconds / EPOCHS)
        accuracy = last - 0.2 / epoch
        yield Epoch(epoch, 4 - 4 * accuracy, 4.1 - 4 * accuracy, accuracy, max(seconds / EPOCHS, 0.001))


@dataclass
class Timed:
    """What one worker saw: seconds waited for each turn and held, statements of each claim, when claims were made."""

    waited: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    statements: list[int] = field(default_factory=list)
    made: list[float] = field(default_factory=list)
    trained: float = 0.0
    between: list[int] = field(default_factory=list)
    """Statements from one claim to the next: epochs and the telling of a value."""

    @contextmanager
    def claiming(self, shared: Database) -> Iterator[None]:
        """As `Database.claiming`."""
        asked, before = time.perf_counter(), shared.session.statements
        if self.statements:
            self.between.append(before - self._after)
        with Database.claiming(shared):
            began = time.perf_counter()
            yield
        ended = time.perf_counter()
        self._after = shared.session.statements
        self.waited.append(began - asked)
        self.held.append(ended - began)
        self.statements.append(self._after - before)
        self.made.append(time.time())

    _after: int = 0


def work(folder: WorkFolder[Search], slot: int, seconds: float, data: DeviceData, results: Any) -> None:
    """One worker, in a process of its own."""
    torch.set_num_threads(1)
    search = folder.read()
    began = time.time()
    shared = open_shared(folder, slot)
    assert isinstance(shared, Database)
    space = space_of(search, (1, 8, 8), 10)
    studies = open_studies(search, folder, space, shared.storage)
    joined = time.time() - began
    timed = Timed()
    claims = Claims(search, shared, space, studies, Pulse(worker_file(folder, slot, "pulse")))
    timeline = Timeline(worker_file(folder, slot, "timeline"), time.time())
    refused = RefusedLog(folder, slot, space.refusals)
    with (
        mock.patch.object(worker, "train", partial(made_up, seconds)),
        mock.patch.object(shared, "claiming", partial(timed.claiming, shared)),
        mock.patch.object(shared.weights, "keep"),
    ):
        worker.Worker(claims, data, threading.Event(), timeline, refused).run()
    results.put((joined, timed, time.time() - began))


def measure(folder: WorkFolder[Search], workers: int, seconds: float) -> Figures:
    """So many workers until the search is done."""
    data = DeviceData.of(load_data_of(folder.read(), folder), torch.device("cpu"), ())
    gc.collect()
    gc.freeze()  # what was imported is shared by the processes that are forked now
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    processes = [fork.Process(target=work, args=(folder, i, seconds, data, results)) for i in range(workers)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return figures_of([timed for _, timed, _ in found], [joined for joined, _, _ in found], seconds, workers)


def figures_of(timed: Sequence[Timed], joined: Sequence[float], seconds: float, workers: int) -> Figures:
    """From the claims after each worker's first to the last at which all still had work."""
    made = sorted(at for each in timed for at in each.made[1:])
    first, last = made[0], min(each.made[-1] for each in timed)
    steady = [at for at in made if at <= last]
    held = [x for each in timed for x in each.held]
    waited = [x for each in timed for x in each.waited[1:]]
    statements = [x for each in timed for x in each.statements[1:]]
    between = [x for each in timed for x in each.between]
    claimed = len(steady) / max(last - first, 1e-9)
    return {
        "workers": workers,
        "training_seconds": seconds,
        "claims": len(held),
        "claims_a_second": round(claimed, 1),
        "turn_held_ms": {"median": 1000 * percentile(held, 0.5), "p95": 1000 * percentile(held, 0.95)},
        "turn_waited_ms": {"median": 1000 * percentile(waited, 0.5), "p95": 1000 * percentile(waited, 0.95)},
        "statements_a_claim": {"median": percentile(statements, 0.5), "most": max(statements)},
        "statements_between_claims": {"median": percentile(between, 0.5), "epochs": EPOCHS},
        "busy_share": round(min(1.0, claimed * seconds / workers), 3) if seconds else None,
        "join_seconds": {"median": percentile(joined, 0.5), "most": max(joined)},
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
