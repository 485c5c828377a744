"""Optuna's storage of a run: one study a strategy and budget in a journal file, and the trials to write on.

The only file that reaches into what Optuna does not offer.
"""

import copy
import fcntl
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileOpenLock
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.errors import RunError, in_one_line
from nas.machine.folders import RESTORE, WorkFolder, check_last_line, cut_torn_line
from nas.search.notes import Notes, note_death_before, read_notes, write_notes
from nas.stored import parsed


class _FlockLock(JournalFileOpenLock):
    """A lock that dies with its holder (Optuna's own leave a file behind that blocks everyone for 30 seconds), and
    under which a last line torn by a power cut is cut off before anything is appended to it."""

    def __init__(self, journal: Path, lock: Path) -> None:
        self._journal = journal
        self._path = lock
        self._descriptor = -1

    def acquire(self) -> bool:
        """Waits for the lock."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        cut_torn_line(self._journal)
        return True

    def release(self) -> None:
        """Frees the lock."""
        os.close(self._descriptor)


class Journal(BaseJournalBackend):
    """The lines of a run, which can be kept back and appended in one step, and read once for many questions."""

    def __init__(self, lines: BaseJournalBackend) -> None:
        self._lines = lines
        self._kept: list[dict[str, Any]] | None = None
        self._reads_once = self._is_read = False

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The lines from that number on; none where they are read once and that is done."""
        if self._reads_once and self._is_read:
            return ()
        self._is_read = True
        return self._lines.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends lines, or keeps them back."""
        if self._kept is None:
            self._lines.append_logs(logs)
            self._is_read = False  # what was appended is applied when it is read
        else:
            self._kept += logs

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is appended meanwhile is there when it ends, however it ends."""
        self._kept = []
        try:
            yield
        finally:
            kept, self._kept = self._kept, None
            if kept:
                self.append_logs(kept)

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """What others append meanwhile is not seen before it ends, unless something is appended here."""
        before = self._reads_once
        self._reads_once, self._is_read = True, before and self._is_read
        try:
            yield
        finally:
            self._reads_once = before


class RunStorage(JournalStorage):
    """The journal of a run as Optuna's storage. Trials that have ended, which nothing changes any more, are gathered
    once: a study of thousands is asked for its trials many times for each that is trained."""

    def __init__(self, lines: BaseJournalBackend) -> None:
        self.journal = Journal(lines)
        self._gathered: dict[int, _Gathered] = {}
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        super().__init__(self.journal)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials of a study in these states, or all, in the order of their numbers."""
        gathered = self._gathered.setdefault(study_id, _Gathered())
        with self.journal.at_one_moment():
            self.get_study_name_from_id(study_id)  # raises KeyError where there is none
            with suppress(KeyError):
                while True:
                    gathered.add(self.get_trial_id_from_study_id_trial_number(study_id, len(gathered.ids)))
            gathered.update(self.get_trial)
        found = gathered.of(states)
        return copy.deepcopy(found) if deepcopy else found


@dataclass
class _Gathered:
    """The trials of a study as they were last seen, with their ids in the storage."""

    ids: list[int] = field(default_factory=list)
    trials: dict[int, FrozenTrial] = field(default_factory=dict)
    """Those trials by number."""
    unfinished: list[int] = field(default_factory=list)
    """Numbers of those that had not ended."""
    ended: dict[tuple[TrialState, ...], list[FrozenTrial]] = field(default_factory=dict)
    """Those that had ended in one of some states, as they were last asked for."""

    def add(self, trial_id: int) -> None:
        self.unfinished.append(len(self.ids))
        self.ids.append(trial_id)

    def update(self, read: Callable[[int], FrozenTrial]) -> None:
        """Takes in what has become of the trials that had not ended."""
        for number in self.unfinished:
            self.trials[number] = read(self.ids[number])
        unfinished = [number for number in self.unfinished if not self.trials[number].state.is_finished()]
        if len(unfinished) < len(self.unfinished):
            self.ended.clear()
        self.unfinished = unfinished

    def of(self, states: Container[TrialState] | None) -> list[FrozenTrial]:
        """Those in the states."""
        if states is None:
            return list(self.trials.values())
        asked = tuple(state for state in TrialState if state in states)
        if not any(state.is_finished() for state in asked):
            return [trial for number in self.unfinished if (trial := self.trials[number]).state in states]
        if not all(state.is_finished() for state in asked):
            return [trial for trial in self.trials.values() if trial.state in states]
        if asked not in self.ended:
            self.ended[asked] = [trial for trial in self.trials.values() if trial.state in states]
        return list(self.ended[asked])


def journal_file(folder: WorkFolder[Any]) -> Path:
    """Optuna's journal."""
    return folder / "journal.log"


def open_storage(folder: WorkFolder[Any]) -> RunStorage:
    """The journal of the run, as its folder has it. Raises RunError where it cannot be read, or lacks trials that
    results of the run beside it count."""
    lock = _FlockLock(journal_file(folder), folder.path / "locks" / "journal.lock")
    counted = _counted(folder / "pareto.json")  # before the journal, which others append to
    try:
        storage = RunStorage(JournalFileBackend(str(journal_file(folder)), lock_obj=lock))
        check_last_line(journal_file(folder))
    except OSError as error:
        raise RunError(f"{journal_file(folder)} cannot be read: {error.strerror}; {RESTORE}") from error
    except Exception as error:  # whatever Optuna stumbles over in lines that are not its own
        raise RunError(f"{journal_file(folder)} is damaged: {in_one_line(error):.100}; {RESTORE}") from error
    names = [] if counted is None else optuna.get_all_study_names(storage)
    held = sum(storage.get_n_trials(storage.get_study_id_from_name(name)) for name in names)
    if counted is not None and (held < counted or not names):
        lacks = f"has {held} of the {counted} trials that pareto.json beside it counts"
        gone = "is gone or empty, and pareto.json beside it tells of what it held"
        raise RunError(
            f"{journal_file(folder)} {lacks if held else gone}; restore it, or delete pareto.json to "
            f"{'go on with these' if held else 'begin anew'}"
        )
    return storage


def _counted(front: Path) -> int | None:
    """The trials that pareto.json counts, 0 where it does not say; None where there is none."""
    try:
        found = parsed(front.read_bytes())["counts"]["proposed"]
    except OSError:
        return None
    except (ValueError, KeyError, TypeError):
        return 0
    return found if isinstance(found, int) else 0


def parse_study_name(name: str) -> tuple[str, int]:
    """(strategy, budget) of a study.

    >>> parse_study_name("greedy-full-1000")
    ('greedy-full', 1000)
    """
    strategy, _, budget = name.rpartition("-")
    return strategy, int(budget)


def open_study(storage: JournalStorage, strategy: str, budget: int, sampler: BaseSampler | None = None) -> Study:
    """The study, created if need be. Opening one that is there writes nothing."""
    name = f"{strategy}-{budget}"
    if name in optuna.get_all_study_names(storage):
        return optuna.load_study(study_name=name, storage=storage, sampler=sampler)
    return optuna.create_study(
        storage=storage, study_name=name, direction="maximize", sampler=sampler, load_if_exists=True
    )


def study_to_read(storage: JournalStorage, strategy: str, budget: int, sampler: BaseSampler | None = None) -> Study:
    """The study; where it has not begun an empty one that is written nowhere: who only reads leaves no trace."""
    begun = f"{strategy}-{budget}" in optuna.get_all_study_names(storage)
    return open_study(storage if begun else RunStorage(_Nowhere()), strategy, budget, sampler)


class _Nowhere(BaseJournalBackend):
    """Lines that are gone with the process."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        return self._lines[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._lines += logs


def open_trial(study: Study, number: int) -> Trial:
    """The running trial of that number, to write on, whoever asked for it. Raises KeyError if there is none."""
    storage = study._storage  # a study has no public way to its storage, nor to a trial that another process asked for
    study_id = storage.get_study_id_from_name(study.study_name)
    return Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))


@contextmanager
def written_together(study: Study) -> Iterator[None]:
    """What is suggested and noted meanwhile for trials of the study is written in one step, for which the disk is
    waited for once; nothing else may be read of them until then."""
    storage = study._storage  # as in open_trial
    assert isinstance(storage, RunStorage)
    with storage.journal.together():
        yield


@contextmanager
def at_one_moment(studies: Mapping[Any, Study]) -> Iterator[None]:
    """The studies of a run are read once meanwhile, however often they are asked. Only what was written here is sure to
    be seen beside that."""
    study = next(iter(studies.values()))
    storage = study._storage  # as in open_trial
    assert isinstance(storage, RunStorage)
    with storage.journal.at_one_moment():
        yield


def tell(trial: Trial, noted: Notes, value: float | None = None, state: TrialState = TrialState.COMPLETE) -> None:
    """Notes on a trial what else is known of it and tells its value, in one write."""
    with written_together(trial.study):
        write_notes(trial, noted)
        trial.study.tell(trial, value, state)


def trial_key(study: Study, trial: Trial | FrozenTrial) -> str:
    """ "study/number": how one trial refers to another."""
    return key_of(study, trial.number)


def key_of(study: Study, number: int) -> str:
    """The key of the trial of that number, which need not be there yet."""
    return f"{study.study_name}/{number}"


def note_death(studies: Mapping[tuple[str, int], Study], key: str, place: str) -> None:
    """Notes on the trial of that key, if it still runs, that a worker died over it at that place. Another worker may
    have taken it over and told it by now. Where it is still to be drawn, that is noted on its study."""
    for study in studies.values():
        number = len(study.get_trials(deepcopy=False))
        if key_of(study, number) == key:
            note_death_before(study, number, place)
        for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial_key(study, frozen) == key:
                with suppress(UpdateFinishedTrialError):
                    write_notes(open_trial(study, frozen.number), Notes(deaths=[*read_notes(frozen).deaths, place]))
