"""Trainings that any machine of a run may do, those of `nas confirm`: handed out through the database, a row each."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from nas.data.load import SearchData
from nas.errors import LostError, UserError, in_one_line, is_of_the_machine
from nas.machine.folders import WorkFolder, write_atomically, write_bytes_atomically
from nas.machine.pulse import Pulse
from nas.search.search import run_folder
from nas.search.sharing.postgres import Database
from nas.search.sharing.shared import Shared
from nas.search.sharing.weights import SharedWeights, Store
from nas.training.distillation.teacher import Teacher
from nas.training.distillation.teaching import folder_of, is_unchanged
from nas.training.train import DivergenceError
from nas.training.training import Metrics, Training, metrics_file, state_file, training_folder, weights_file
from nas.training.worker import run_training

DEATHS = 3
"""Processes that a training may kill within one epoch before it has failed."""

_KEY = "queue/"
"""How the pulse of a worker tells a training from a trial."""


class Queued(NamedTuple):
    """A training by its name (see `name_of`)."""

    name: str
    training: Training


State = Literal["waiting", "running", "done", "failed"]


class Standing(NamedTuple):
    """How far a training is: its state, its metrics.json so far, why it failed."""

    state: State
    metrics: str
    failure: str


class Queue:
    """The trainings of one run."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def is_open(self) -> bool:
        """Whether somebody waits for what is handed out, for whom workers stay."""
        return self.database.hands_out()

    def add(self, trainings: Mapping[str, Training]) -> None:
        """Hands out those that are not done, also what has failed before."""
        for name, training in trainings.items():
            self.database.session.ask(
                "INSERT INTO nas_trainings (run, name, settings, state) VALUES (%s, %s, %s, 'waiting') "
                "ON CONFLICT (run, name) DO UPDATE SET settings = excluded.settings, state = 'waiting', deaths = 0, "
                "metrics = '', failure = '' WHERE nas_trainings.state = 'failed'",
                [self.database.run, name, json.dumps(replace(training, dataset="").to_json())],
            )

    def standings(self) -> dict[str, Standing]:
        """How far each is, by name."""
        rows = self.database.session.ask(
            "SELECT name, state, metrics, failure FROM nas_trainings WHERE run = %s", [self.database.run]
        )
        return {name: Standing(state, metrics, failure) for name, state, metrics, failure in rows}

    def next(self) -> Queued | None:
        """A training that waits, or whose worker is gone, ours from now on. To be called when it is our turn."""
        rows = self.database.session.ask(
            "SELECT name, settings, state, lease, deaths FROM nas_trainings "
            "WHERE run = %s AND state IN ('waiting', 'running') ORDER BY name",
            [self.database.run],
        )
        alive = self.database.alive({lease for *_, lease, _ in rows if lease is not None})
        for name, settings, state, lease, deaths in rows:
            if state == "running" and lease in alive:
                continue
            if deaths >= DEATHS:
                self._set(name, "failed", failure=f"it killed its process {deaths} times within one epoch")
                continue
            self.database.session.ask(
                "UPDATE nas_trainings SET state = 'running', lease = %s WHERE run = %s AND name = %s",
                [self.database.lease, self.database.run, name],
            )
            return Queued(name, Training.from_json(json.loads(settings)))
        return None

    def note_death(self, key: str) -> None:
        """Notes that the process of that pulse died, if it was over a training."""
        for name in self.standings() if key.startswith(_KEY) else ():
            if key_of(name) == key:
                self.database.session.ask(
                    "UPDATE nas_trainings SET deaths = deaths + 1 WHERE run = %s AND name = %s",
                    [self.database.run, name],
                )

    def report(self, name: str, metrics: Metrics) -> None:
        """Notes an epoch."""
        self.database.session.ask(
            "UPDATE nas_trainings SET metrics = %s, deaths = 0 WHERE run = %s AND name = %s",
            [json.dumps(asdict(metrics)), self.database.run, name],
        )

    def end(self, name: str, failure: str = "") -> None:
        """Notes that it is done, or has failed."""
        self._set(name, "failed" if failure else "done", failure)

    def leave(self, name: str) -> None:
        """Gives it back."""
        self._set(name, "waiting")

    def _set(self, name: str, state: str, failure: str = "") -> None:
        self.database.session.ask(
            "UPDATE nas_trainings SET state = %s, failure = %s, lease = NULL WHERE run = %s AND name = %s",
            [state, failure, self.database.run, name],
        )


def queue_of(shared: Shared) -> Queue | None:
    """The trainings that are handed out in the run; None where its machine is alone."""
    return Queue(shared) if isinstance(shared, Database) else None


def key_of(name: str) -> str:
    """What the pulse of a worker tells of a training."""
    return _KEY + hashlib.sha256(name.encode()).hexdigest()[:16]


class States(SharedWeights):
    """The states of trainings, by the names of their folders in one folder."""

    def __init__(self, folder: Path, database: Database) -> None:
        assert database.store is not None
        super().__init__(run_folder(folder), database.store, database.check)
        self._folder = folder

    def file(self, name: str) -> Path:
        """The checkpoint."""
        return state_file(training_folder(self._folder / name))

    def stored(self, name: str) -> str:
        """See `SharedWeights`."""
        return f"trainings/{name}/state.pt"


def name_of(folder: WorkFolder[Training]) -> str:
    """What the training of a folder is called in the run: commands that call others of other settings by the same name
    do not meet, wherever their data lie."""
    settings = json.dumps(replace(folder.read(), dataset="").to_json())
    return f"{folder.path.name}-{hashlib.sha256(settings.encode()).hexdigest()[:16]}"


def weights_name(name: str) -> str:
    """Under which the trained weights lie among the files of a run."""
    return f"trainings/{name}/weights.pt"


def lend(teacher: Teacher, store: Store) -> None:
    """Puts the teacher among the files of the run, once. Raises RunError where it is no longer what it was, LostError
    where they cannot be reached."""
    for file in _of_teacher(folder_of(teacher)):
        if not store.has(_lent_as(teacher, file)):
            store.put(_lent_as(teacher, file), file.read_bytes())


def borrowed(teacher: Teacher, store: Store, folder: Path) -> Teacher:
    """The same in the folder of this machine. Raises LostError where the files of the run cannot be reached."""
    own = training_folder(folder / teacher.checksum[:16])
    (own / "locks").mkdir(parents=True, exist_ok=True)
    here = replace(teacher, folder=str(own.path.resolve()))
    with own.lock("borrowed", wait=True):  # of the workers of this machine, one fetches it
        if not is_unchanged(here):
            for file in _of_teacher(own):
                content = store.get(_lent_as(teacher, file))
                if content is None:
                    raise LostError(f"the files of the run lack the teacher {teacher.model}")
                write_bytes_atomically(file, content)
    return here


def _of_teacher(folder: WorkFolder[Training]) -> tuple[Path, Path]:
    return folder.settings, weights_file(folder)  # the settings first: where the weights are, both are


def _lent_as(teacher: Teacher, file: Path) -> str:
    return f"teachers/{teacher.checksum}/{file.name}"


class _LeftError(Exception):
    """The worker was asked to stop."""


def train_queued(
    queued: Queued,
    queue: Queue,
    folder: Path,
    device: torch.device,
    stopping: threading.Event,
    load: Callable[[Training], SearchData],
    pulse: Pulse,
) -> None:
    """Trains it in a folder of this machine, from where any has left it, until it is done or we are to stop. Raises
    LostError, and what is the machine's fault, after which others go on with it."""
    (name, training), database = queued, queue.database
    assert database.store is not None
    states, own, store = States(folder, database), training_folder(folder / name), database.store

    def report(metrics: Metrics) -> None:
        queue.report(name, replace(metrics, teacher=training.teacher))  # as who asked for it knows the teacher

    def on_epoch(metrics: Metrics) -> None:
        leaves = stopping.is_set() and len(metrics.epochs) < training.recipe.all_epochs
        states.keep(name, last=leaves)
        report(metrics)
        if leaves:
            raise _LeftError

    def on_step(epoch: int, step: int) -> None:
        pulse.write(key_of(name), epoch, step)
        database.beat()

    with _given_back(queue, name, pulse):
        teacher = training.teacher and borrowed(training.teacher, store, folder / "teachers")
        own.enter(replace(training, teacher=teacher))
        states.fetch(name)
        metrics = run_training(own, device, on_epoch, load, on_step)
        store.put(weights_name(name), weights_file(own).read_bytes())
        report(metrics)
        queue.end(name)


@contextmanager
def _given_back(queue: Queue, name: str, pulse: Pulse) -> Iterator[None]:
    try:
        yield
    except LostError:
        pulse.clear()
        with suppress(LostError):  # where the files alone are out of reach, others may have them
            queue.leave(name)
        raise
    except _LeftError:
        queue.leave(name)
    except (UserError, DivergenceError) as error:
        queue.end(name, str(error))
    except Exception as error:  # whatever a network's code raises is the training's failure, but for the machine's
        if is_of_the_machine(error):
            pulse.clear()
            queue.leave(name)
            raise
        queue.end(name, in_one_line(error))
    pulse.clear()


def finished(folder: WorkFolder[Training], store: Store, standing: Standing) -> None:
    """Brings what a training came to into its folder. Raises LostError."""
    weights = store.get(weights_name(name_of(folder)))
    if weights is None:
        raise LostError(f"the files of the run lack the weights of {folder.path.name}")
    write_bytes_atomically(weights_file(folder), weights)
    write_atomically(metrics_file(folder), standing.metrics + "\n")
