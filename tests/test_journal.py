"""The journal and the notes on its trials: what we rely on of Optuna, with real files."""

import contextlib
import random
from pathlib import Path
from typing import Any

import optuna
import pytest
import searching
from optuna.distributions import IntDistribution
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import Trial, TrialState
from records import PLAN

from nas.errors import RunError
from nas.machine.folders import WorkFolder
from nas.search.journal import (
    journal_file,
    note_death,
    open_storage,
    open_study,
    open_trial,
    trial_key,
    written_together,
)
from nas.search.notes import Audited, Notes, Predicted, foreign_note, noted_trial, read_notes, write_notes
from nas.search.records import RecordReader, read_run
from nas.search.search import run_folder

ENDED = (TrialState.COMPLETE, TrialState.FAIL)

EVERY = Notes(
    worker=0,
    deaths=["0 0"],
    exhausted=True,
    parameters=10,
    macs=20,
    depth=2,
    network="a" * 16,
    waits_for="",
    replayed="tpe-1000/0",
    failure="it broke",
    curve=[[2.0, 2.1, 0.5]],
    seconds=[1.5],
    epochs_before=0,
    continues=0,
    least_chance=0.0,
    stopped=0,
    predicted_loss=0.0,
    predictions=(Predicted(9, 0.5, 0.1, 0.3), Predicted(10, 0.6, 0.1, 0.4)),
    audited=Audited(3, 0.5),
)
"""Every note, those that are false or zero among them."""


@pytest.fixture
def folder(tmp_path: Path) -> WorkFolder[Any]:
    run = run_folder(tmp_path / "run")
    run.enter(PLAN)
    return run


def opened(folder: WorkFolder[Any]) -> Study:
    """The study as a process that has just begun sees it."""
    return open_study(open_storage(folder), "tpe", 1_000)


def test_what_is_noted_is_read_as_it_was_written_by_another_process(folder: WorkFolder[Any]) -> None:
    trial = opened(folder).ask()
    write_notes(trial, EVERY)
    assert read_notes(trial) == EVERY
    assert read_notes(opened(folder).get_trials()[0]) == EVERY


def test_a_trial_can_be_added_with_its_notes(folder: WorkFolder[Any]) -> None:
    opened(folder).add_trial(noted_trial(EVERY, state=TrialState.RUNNING))
    assert read_notes(opened(folder).get_trials()[0]) == EVERY


def test_seconds_of_epochs_that_no_curve_has_are_damage(folder: WorkFolder[Any]) -> None:
    """As in a journal of which a line is lost: nobody may divide by its epochs."""
    write_notes(opened(folder).ask(), Notes(network="c", parameters=1, seconds=[1.5]))
    with pytest.raises(RunError, match="trial 0 has seconds of more epochs than its curve"):
        read_notes(opened(folder).get_trials()[0])


def test_notes_that_are_not_given_stay_as_they_are(folder: WorkFolder[Any]) -> None:
    trial = opened(folder).ask()
    assert read_notes(trial) == Notes()
    write_notes(trial, Notes(worker=3, predictions=(Predicted(1, 0.5, 0.1, 0.3),)))
    write_notes(trial, Notes(network="b", predictions=(Predicted(2, 0.6, 0.1, 0.3),)))
    noted = read_notes(opened(folder).get_trials()[0])
    assert (noted.worker, noted.network, [predicted.epoch for predicted in noted.predictions]) == (3, "b", [1, 2])


def test_a_network_is_noted_after_all_that_a_record_says_of_it(folder: WorkFolder[Any]) -> None:
    write_notes(opened(folder).ask(), Notes(network="c", parameters=1, macs=2, depth=3))
    written = [line for line in journal_file(folder).read_text().splitlines() if "user_attr" in line]
    assert '"network"' in written[-1]


def test_what_others_have_noted_is_left_aside_and_can_be_asked_for() -> None:
    study = optuna.create_study()
    study.ask().set_user_attr("size", 12)
    trial = study.get_trials()[0]
    assert read_notes(trial) == Notes()
    assert (foreign_note(trial, "size"), foreign_note(trial, "colour")) == (12, None)


@pytest.mark.parametrize("storage", ["journal", "memory"])
def test_a_trial_that_another_process_asked_for_can_be_written_on_and_told(
    storage: str, folder: WorkFolder[Any]
) -> None:
    """Optuna has no public way from a study to such a trial: this holds its private field to what we make of it."""
    shared: BaseStorage = InMemoryStorage() if storage == "memory" else open_storage(folder)
    optuna.create_study(storage=shared, study_name="another one").ask()  # ids of trials are not their numbers
    here, there = (optuna.create_study(storage=shared, study_name="s", load_if_exists=True) for _ in range(2))
    here.ask()
    asked = here.ask()
    asked.suggest_int("width", 1, 9)
    taken_over = open_trial(there, asked.number)
    assert (taken_over.number, taken_over.params) == (1, asked.params)
    write_notes(taken_over, Notes(network="d"))
    taken_over.report(0.25, 1)
    there.tell(taken_over, 0.5)
    seen = here.get_trials()
    assert [trial.state for trial in seen] == [TrialState.RUNNING, TrialState.COMPLETE]
    assert (read_notes(seen[1]).network, seen[1].intermediate_values, seen[1].value) == ("d", {1: 0.25}, 0.5)
    with pytest.raises(KeyError):
        open_trial(there, 2)


def test_a_death_is_noted_on_a_running_trial_alone(folder: WorkFolder[Any]) -> None:
    study = opened(folder)
    running, done = study.ask(), study.ask()
    study.tell(done, 0.5)
    for key in (trial_key(study, running), trial_key(study, done), "tpe-1000/7", "random-1000/0"):
        note_death({("tpe", 1_000): opened(folder)}, key, "2 5")
    note_death({("tpe", 1_000): opened(folder)}, "tpe-1000/0", "2 6")
    assert [list(read_notes(trial).deaths) for trial in study.get_trials()] == [["2 5", "2 6"], []]


def test_opening_a_study_that_is_there_writes_nothing(folder: WorkFolder[Any]) -> None:
    opened(folder)
    before = journal_file(folder).read_bytes()
    opened(folder)
    assert journal_file(folder).read_bytes() == before


def test_a_line_torn_by_a_power_cut_is_cut_off_before_the_next_is_written(folder: WorkFolder[Any]) -> None:
    opened(folder).ask()
    whole = journal_file(folder).read_bytes()
    with open(journal_file(folder), "ab") as file:
        file.write(b'{"op_code": 4, "tri')
    opened(folder).ask()
    assert len(opened(folder).get_trials()) == 2
    assert journal_file(folder).read_bytes().startswith(whole)


def test_a_training_that_was_stopped_and_went_on_is_one_record(folder: WorkFolder[Any]) -> None:
    study = opened(folder)
    first = study.ask({"width": IntDistribution(1, 9)})
    stopped = Notes(network="e", parameters=10, curve=[[2.0, 2.1, 0.3]], seconds=[1.0], stopped=1, predicted_loss=1.0)
    write_notes(first, stopped)
    study.tell(first, 0.6)
    (record,) = read_run(folder)[1]
    assert (record.state, record.value, record.accuracy, record.is_measured) == ("stopped", 0.6, 0.3, False)
    went_on = Notes(network="e", parameters=10, continues=0, epochs_before=1, least_chance=0.5)
    study.add_trial(
        noted_trial(went_on, state=TrialState.RUNNING, params=first.params, distributions=first.distributions)
    )
    write_notes(open_trial(study, 1), Notes(curve=[[2.0, 2.1, 0.3], [1.0, 1.1, 0.7]], seconds=[1.0, 1.0]))
    study.tell(open_trial(study, 1), 0.7)
    (record,) = read_run(folder)[1]
    assert (record.number, record.latest, record.resumed, record.first_epochs) == (0, 1, 1, 1)
    assert (record.state, record.value, record.accuracies) == ("trained", 0.7, (0.3, 0.7))


def test_what_is_written_together_is_there_in_one_step_also_if_it_fails(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    folder.enter(PLAN)
    study = open_study(open_storage(folder), "tpe", 1000)
    trial, other = study.ask(), open_study(open_storage(folder), "tpe", 1000)
    with contextlib.suppress(KeyError), written_together(study):
        width = trial.suggest_int("width", 3, 9)
        write_notes(trial, Notes(parameters=10, network="a"))
        assert trial.suggest_int("width", 3, 9) == width
        assert read_notes(trial).parameters == 10
        assert other.get_trials()[0].params == {}
        raise KeyError
    for seen_by in (study, other):
        assert seen_by.get_trials()[0].params == {"width": width}
        assert read_notes(seen_by.get_trials()[0]).network == "a"
    study.tell(trial, 0.5)
    assert other.get_trials()[0].value == 0.5


def test_trials_are_those_of_optunas_own_storage_whatever_is_written(folder: WorkFolder[Any]) -> None:
    """Ours gathers those that have ended once; beside it, another process writes on two studies of the journal."""
    ours, writer, plain = open_storage(folder), open_storage(folder), _plain(folder)
    studies = [open_study(writer, "random", budget) for budget in (10, 20)]
    rng = random.Random(0)
    running: list[tuple[Study, Trial]] = []
    for _ in range(120):
        study = rng.choice(studies)
        if not running or rng.random() < 0.5:
            running.append((study, study.ask({"k": IntDistribution(1, 9)})))
        else:
            study, trial = running.pop(rng.randrange(len(running)))
            if rng.random() < 0.5:
                trial.set_user_attr("x", rng.random())
                running.append((study, trial))
            else:
                study.tell(trial, *((rng.random(),) if rng.random() < 0.7 else (None, TrialState.FAIL)))
        number = rng.choice((0, 1))
        for states in (
            None,
            (TrialState.RUNNING,),
            (TrialState.COMPLETE,),
            (TrialState.FAIL, TrialState.RUNNING),
            ENDED,
        ):
            assert ours.get_all_trials(number, False, states) == plain.get_all_trials(number, False, states)
    found = ours.get_all_trials(0, deepcopy=True)
    found[0].user_attrs["spoilt"] = True
    assert ours.get_all_trials(0) == plain.get_all_trials(0)
    with pytest.raises(KeyError):
        ours.get_all_trials(7)


def _plain(folder: WorkFolder[Any]) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(journal_file(folder))))


def test_records_that_have_not_changed_are_the_same_ones(folder: WorkFolder[Any]) -> None:
    storage = open_storage(folder)
    studies = {key: open_study(storage, *key) for key in PLAN.studies}
    study = studies[PLAN.studies[0]]
    trial = study.ask({"k": IntDistribution(1, 9)})
    write_notes(trial, Notes(parameters=5, macs=6, network="f" * 16))
    reader = RecordReader(PLAN, studies)
    before = reader.read()
    assert reader.read() is before
    assert reader.record_of(*PLAN.studies[0], trial) is before[0]
    trial.report(0.5, 1)
    assert reader.record_of(*PLAN.studies[0], trial).accuracies == (0.5,)
    assert reader.read() is not before
    assert reader.read()[0].accuracies == (0.5,)


@pytest.mark.parametrize("left", [None, b"", b"\0" * 2_000])
def test_a_journal_that_is_gone_is_not_begun_anew_beside_the_results_of_its_run(
    tmp_path: Path, left: bytes | None
) -> None:
    command = searching.command(tmp_path, tmp_path / "out", "--workers", "1", trials=1, epochs=1)
    assert searching.run_cli(command).returncode == 0
    folder = run_folder(tmp_path / "out")
    whole, front = journal_file(folder).read_bytes(), (folder / "pareto.json").read_bytes()
    journal_file(folder).unlink()
    if left is not None:
        journal_file(folder).write_bytes(left)
    for words in (command, [*command[:3], "show", str(folder.path)], [*command[:3], "report", str(folder.path)]):
        done = searching.run_cli(words)
        assert done.returncode == 2, done.stderr
        told = f"nas: {journal_file(folder)} is gone or empty, and pareto.json beside it tells of what it held; "
        assert done.stderr == f"{told}restore it, or delete pareto.json to begin anew\n"
    assert (folder / "pareto.json").read_bytes() == front
    journal_file(folder).write_bytes(whole)
    assert searching.run_cli(command).returncode == 0


def test_a_journal_that_lost_trials_or_has_a_foreign_last_line_is_refused(tmp_path: Path) -> None:
    command = searching.command(tmp_path, tmp_path / "out", "--workers", "1", trials=3, epochs=1)
    assert searching.run_cli(command).returncode == 0
    folder = run_folder(tmp_path / "out")
    journal, show = journal_file(folder), [*command[:3], "show", str(folder.path)]
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    new = b'{"op_code":4,'  # as Optuna writes a trial that begins
    trials = [number for number, line in enumerate(lines) if line.startswith(new)]
    journal.write_bytes(b"".join(lines[: trials[-1]]) + lines[trials[-1]][:40])
    for words in (command, show):
        done = searching.run_cli(words)
        lacks = f"nas: {journal} has {len(trials) - 1} of the {len(trials)} trials that pareto.json beside it counts; "
        assert (done.returncode, done.stderr) == (2, f"{lacks}restore it, or delete pareto.json to go on with these\n")
    journal.write_bytes(whole + b"garbage\n")
    for words in (command, show):
        done = searching.run_cli(words)
        assert done.returncode == 2
        assert done.stderr.startswith(f"nas: {journal} is damaged: ")
        assert done.stderr.count("\n") == 1
    journal.write_bytes(whole + b"torn")
    assert searching.run_cli(command).returncode == 0
    (folder / "pareto.json").unlink()
    journal.write_bytes(b"".join(lines[: trials[-1]]))
    assert searching.run_cli(command).returncode == 0
