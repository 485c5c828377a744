"""Trainings of `nas train`: real processes on tiny data, killed, repeated, refused."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import searching
import torch
from processes import children, is_alive, kill, wait_for

from nas.cli.main import main
from nas.data.augment import DeviceData, DeviceSplit
from nas.data.load import load_search_data
from nas.errors import DataError, RunError, UserError
from nas.machine.checkpoint import read_checkpoint
from nas.machine.folders import PAUSE, TRIES, WorkFolder
from nas.machine.process import pick_device
from nas.results.networks import find_network
from nas.space.named import to_stored
from nas.training import worker
from nas.training.epoch import validation_losses
from nas.training.recipe import Recipe
from nas.training.several import DEATHS, Failure, Trainers, train_all
from nas.training.steps.evaluate import evaluate
from nas.training.train import DivergenceError, build
from nas.training.training import (
    Metrics,
    Training,
    is_finished,
    load_data,
    log_file,
    metrics_file,
    network_of,
    read_metrics,
    state_file,
    training_folder,
    weights_file,
    write_metrics,
)
from nas.training.worker import DataOnce, run_test, run_training

CPU = torch.device("cpu")
EPOCHS = 80
TRAIN = ["train", "cifar_resnet", "blocks=1", "width=2", "--dataset", "digits", "--images", "200", "--device", "cpu"]
"""A training of which an epoch takes some hundredths of a second."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of one command."""
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def without_times(metrics: Metrics) -> dict[str, Any]:
    content = asdict(metrics)
    for epoch in content["epochs"]:
        del epoch["seconds"]
    return content


def weights(folder: WorkFolder[Training]) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(weights_file(folder), weights_only=True)
    return loaded


def same_weights(one: WorkFolder[Training], other: WorkFolder[Training]) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def tiny_plan(folder: Path, recipe: Recipe, *, seed: int = 0) -> Training:
    """For the four classes of searching.write_data."""
    path = folder / "data.npz"
    if not path.exists():
        searching.write_data(folder)
    data = load_search_data(str(path), seed=seed, images=80)
    named = find_network("cifar_resnet", ["blocks=1", "width=2"], shape=data.shape, classes=data.classes)
    return Training(
        model=named.label,
        network=to_stored(named.network),
        dataset=str(path),
        data_checksum=data.checksum,
        image_size=None,
        validation_share=None,
        images=80,
        recipe=recipe,
        seed=seed,
    )


RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.05, warmup_steps=0)


def begun(folder: Path, recipe: Recipe = RECIPE, out: str = "out") -> WorkFolder[Training]:
    """A folder with its settings, not yet trained."""
    training = training_folder(folder / out)
    training.enter(tiny_plan(folder, recipe))
    return training


# What a training leaves behind


def test_a_training_keeps_its_metrics_up_to_date_and_its_weights_reproduce_them(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    seen: list[tuple[int, bool, Metrics]] = []
    final = run_training(folder, CPU, lambda metrics: seen.append((len(metrics.epochs), False, read_metrics(folder))))
    assert [(count, metrics.finished, len(metrics.epochs)) for count, _, metrics in seen] == [
        (1, False, 1),
        (2, False, 2),
        (3, False, 3),
    ]
    assert final == read_metrics(folder)
    assert (final.finished, final.model, final.parameters) == (True, "cifar_resnet blocks=1 width=2", 1_266)
    assert final.accuracy == final.epochs[-1].validation_accuracy
    assert final.last_loss == final.epochs[-1].train_loss
    assert final.lowest_loss == min(epoch.train_loss for epoch in final.epochs)
    assert final.megabytes == 4 * 1_266 / 1e6
    assert (final.test_accuracy, final.test_reads) == (None, 0)
    training = folder.read()
    data = load_data(training)
    module = build(network_of(training, data))
    module.load_state_dict(weights(folder))
    on_device = DeviceData.of(data, CPU, ())
    assert evaluate(module, on_device, on_device.validation) == (final.validation_loss, final.accuracy)


def test_a_training_that_stops_early_tells_what_its_best_epoch_came_to(tmp_path: Path) -> None:
    recipe = Recipe(
        epochs=30, batch_size=16, optimiser="adam", learning_rate=0.2, warmup_steps=0, stop_patience=2, dropout=0.5
    )
    folder = begun(tmp_path, recipe)
    final = run_training(folder, CPU)
    losses = validation_losses(final.epochs)
    assert len(losses) == losses.index(min(losses)) + 3 < 30
    assert final.validation_loss == min(losses)
    assert final.accuracy == final.epochs[losses.index(min(losses))].validation_accuracy
    training = folder.read()
    data = load_data(training)
    module = build(network_of(training, data), 0.5)
    module.load_state_dict(weights(folder))
    on_device = DeviceData.of(data, CPU, ())
    assert evaluate(module, on_device, on_device.validation) == (final.validation_loss, final.accuracy)


def test_an_interrupted_training_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    def interrupt(metrics: Metrics) -> None:
        if len(metrics.epochs) == 2:
            raise KeyboardInterrupt

    whole, broken = begun(tmp_path, out="whole"), begun(tmp_path, out="broken")
    run_training(whole, CPU)
    with pytest.raises(KeyboardInterrupt):
        run_training(broken, CPU, interrupt)
    assert not is_finished(broken)
    assert len(read_metrics(broken).epochs) == 2
    run_training(broken, CPU)
    assert without_times(read_metrics(broken)) == without_times(read_metrics(whole))
    assert same_weights(broken, whole)


def test_a_training_killed_before_its_weights_were_written_writes_them(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    final = run_training(folder, CPU)
    trained = weights(folder)
    weights_file(folder).unlink()
    write_metrics(folder, replace(final, finished=False))
    assert run_training(folder, CPU) == final
    assert all(torch.equal(value, trained[name]) for name, value in weights(folder).items())


def test_damaged_weights_are_named_and_the_test_split_is_not_read_for_them(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    run_training(folder, CPU)
    weights_file(folder).write_bytes(weights_file(folder).read_bytes()[:100])
    with pytest.raises(RunError, match=r"weights\.pt cannot be read: .*; delete it and repeat the command"):
        run_test(folder, CPU)
    assert read_metrics(folder).test_reads == 0
    weights_file(folder).unlink()
    run_training(folder, CPU)
    assert run_test(folder, CPU).test_reads == 1


def test_a_training_that_diverges_keeps_the_epochs_before(tmp_path: Path) -> None:
    folder = begun(tmp_path, DIVERGING)
    with pytest.raises(DivergenceError):
        run_training(folder, CPU)
    assert not is_finished(folder)
    assert not weights_file(folder).exists()


# The test split


def test_the_test_split_is_read_once_and_the_result_kept(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    run_training(folder, CPU)
    first = run_test(folder, CPU)
    assert first.test_reads == 1
    training = folder.read()
    data = load_data(training)
    module = build(network_of(training, data))
    module.load_state_dict(weights(folder))
    arrays = dict(np.load(tmp_path / "data.npz"))
    test = DeviceSplit(torch.from_numpy(arrays["x_test"][..., None]), torch.from_numpy(arrays["y_test"]))
    assert evaluate(module, DeviceData.of(data, CPU, ()), test) == (first.test_loss, first.test_accuracy)
    arrays["y_test"] = (arrays["y_test"] + 1) % 4
    np.savez(tmp_path / "data.npz", **arrays)
    assert run_test(folder, CPU) == first == read_metrics(folder)
    write_metrics(folder, replace(first, test_accuracy=None, test_loss=None, test_reads=0))
    assert run_test(folder, CPU).test_accuracy != first.test_accuracy  # or the above would prove nothing


def test_a_reading_that_was_cut_off_counts(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    final = run_training(folder, CPU)
    write_metrics(folder, replace(final, test_reads=1))
    assert run_test(folder, CPU).test_reads == 2


def test_a_reading_is_not_forgotten_with_the_weights(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    run_training(folder, CPU)
    tested, first = run_test(folder, CPU), weights(folder)
    weights_file(folder).unlink()
    assert run_training(folder, CPU) == tested
    assert all(torch.equal(first[name], value) for name, value in weights(folder).items())
    weights_file(folder).unlink()
    state_file(folder).unlink()
    again = run_training(folder, CPU)
    assert (again.test_accuracy, again.test_reads) == (None, 1)
    assert run_test(folder, CPU).test_reads == 2


def test_memory_that_is_too_short_to_judge_shows_before_the_test_split_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(tmp_path)
    run_training(folder, CPU)

    def short(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as context:
        context.setattr("nas.training.worker.evaluate", short)
        with pytest.raises(MemoryError):
            run_test(folder, CPU)
    assert read_metrics(folder).test_reads == 0
    assert run_test(folder, CPU).test_reads == 1


def test_weights_of_another_network_are_not_judged(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    run_training(folder, CPU)
    torch.save({"0.weight": torch.zeros(3)}, weights_file(folder))
    with pytest.raises(RunError, match="is of another network than the one told beside it; delete it and repeat"):
        run_test(folder, CPU)
    assert read_metrics(folder).test_reads == 0


def test_a_test_split_that_cannot_be_read_is_no_reading(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    run_training(folder, CPU)
    with np.load(tmp_path / "data.npz") as stored:
        arrays = dict(stored)
    np.savez(tmp_path / "data.npz", **(arrays | {"y_test": arrays["y_test"][:3]}))
    with pytest.raises(DataError):
        run_test(folder, CPU)
    assert read_metrics(folder).test_reads == 0


def test_a_training_that_has_not_finished_is_not_tested(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    with pytest.raises(RunError) as caught:
        run_test(folder, CPU)
    assert str(caught.value) == f"{folder.path} holds no finished epoch yet; train it first"
    write_metrics(folder, replace(run_training(folder, CPU), finished=False))
    with pytest.raises(RunError) as caught:
        run_test(folder, CPU)
    assert str(caught.value) == f"the training in {folder.path} has not finished; repeat its command first"


# What is refused


def refusal(act: Callable[[], object], kind: type[Exception] = RunError) -> str:
    with pytest.raises(kind) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (" ", "has no name"),
        ("plain 'width1=8", 'must be words as of a command but is "plain \'width1=8"'),
        ("found", "was found by a search and has no trial"),
    ],
)
def test_settings_whose_model_is_no_command_are_refused(tmp_path: Path, model: str, said: str) -> None:
    folder = begun(tmp_path)
    settings = folder / "settings.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"model": model}))
    assert said in refusal(folder.read)


@pytest.mark.parametrize(("failing", "reads"), [(TRIES - 1, 1), (TRIES, 2)])
def test_a_test_result_that_cannot_be_written_is_tried_again_before_the_split_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, reads: int
) -> None:
    """A folder lies where the file is written before it is renamed, until so many tries have failed: first when the
    reading is noted, then when its result is."""
    folder = begun(tmp_path)
    run_training(folder, CPU)
    obstacle = folder / "metrics.json.partial"
    pauses = []
    if failing < TRIES:
        obstacle.mkdir()

    def judged(*arguments: Any) -> tuple[float, float]:
        if read_metrics(folder).test_reads:  # training images are judged before the test split is
            obstacle.mkdir()
        return evaluate(*arguments)

    def paused(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) % failing == 0:
            obstacle.rmdir()

    with monkeypatch.context() as patch:
        patch.setattr(worker, "evaluate", judged)
        patch.setattr(time, "sleep", paused)
        with pytest.raises(OSError, match="metrics") if failing == TRIES else nullcontext():
            run_test(folder, CPU)
    if obstacle.exists():
        obstacle.rmdir()
    assert pauses == [PAUSE] * (TRIES - 1) * (2 if failing < TRIES else 1)
    assert run_test(folder, CPU).test_reads == reads


def test_other_settings_are_refused_and_the_difference_named(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    training = folder.read()
    folder.enter(training)
    head = f"{folder.path} holds a training with other settings: "
    tail = ". Repeat its own command to continue it, or give --out another folder."
    others = [
        (replace(training, seed=3), "seed was 0, now 3"),
        (replace(training, images=None), "images was 80, now None"),
        (replace(training, network={"layer": "Flatten"}), "another network"),
        (replace(training, data_checksum="0" * 64), "the data set has changed"),
        (replace(training, recipe=replace(training.recipe, dropout=0.5)), "dropout was 0.0, now 0.5"),
        (replace(training, recipe=replace(training.recipe, augmentation=("crop",))), "augmentation was None, now crop"),
    ]
    for other, difference in others:
        assert refusal(lambda other=other: folder.enter(other)) == head + difference + tail  # type: ignore[misc]
    assert folder.read() == training


def test_a_folder_of_another_version_or_of_other_work_is_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    training = folder.read()
    content = json.loads(folder.settings.read_text())
    without_recipe = {name: value for name, value in content.items() if name != "recipe"}
    for other, told in (
        (content | {"format": 1}, f"{folder.path} is of another version of nas; begin anew in another folder"),
        (content | {"what": "search"}, f"{folder.path} holds a search, not a training"),
        (
            without_recipe,
            f"{folder.settings} cannot be read: the training has no 'recipe'; restore it, or choose another folder",
        ),
    ):
        folder.settings.write_text(json.dumps(other))
        assert refusal(folder.read) == told
        assert refusal(lambda: folder.enter(training)) == told


def test_a_changed_data_set_is_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    searching.write_data(tmp_path, images=120)
    told = refusal(lambda: run_training(folder, CPU), DataError)
    advice = "give --out another folder, or --dataset where that lies"
    assert told == f"data set {tmp_path / 'data.npz'} is not what the training began with; {advice}"


def test_a_device_that_is_none_is_refused() -> None:
    assert (
        refusal(lambda: pick_device("banana", 0), UserError)
        == "device must be auto, cpu, cuda or cuda:N but got 'banana'"
    )


def test_a_folder_in_which_somebody_trains_is_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    with folder.lock("training", wait=False) as held:
        assert held
        told = refusal(lambda: run_training(folder, CPU))
    assert told == f"another process is training in {folder.path}; wait for it or give --out another folder"
    assert not state_file(folder).exists()


def test_places_that_are_no_trainings_are_refused(tmp_path: Path) -> None:
    training = tiny_plan(tmp_path, RECIPE)
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "settings.json").write_text('{"model": ')
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "settings.json").write_text("[]")

    def told(name: str) -> str:
        return refusal(lambda: training_folder(tmp_path / name).enter(training)).replace(str(tmp_path), "")

    assert told("file") == "/file is a file; give --out a folder"
    assert told("full") == "/full is no folder of a training and not empty; give --out another folder"
    assert told("file/inside") == "/file/inside cannot be written: Not a directory; give --out another folder"
    assert told("torn").startswith("/torn/settings.json cannot be read: JSONDecodeError: ")
    assert (
        told("list") == "/list/settings.json cannot be read: it is no JSON object; restore it, or choose another folder"
    )
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["thesis.tex"]


# The command


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> WorkFolder[Training]:
    """What TRAIN comes to in EPOCHS epochs without being disturbed."""
    out = tmp_path_factory.mktemp("unbroken") / "out"
    assert main([*TRAIN, "--epochs", str(EPOCHS), "--out", str(out)]) == 0
    return training_folder(out)


def command(out: Path, *flags: str) -> list[str]:
    return [*TRAIN, "--epochs", str(EPOCHS), "--out", str(out), *flags]


def test_the_same_command_again_trains_nothing_and_prints_the_same(
    unbroken: WorkFolder[Training], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sorted(path.name for path in unbroken.path.iterdir()) == [
        "locks",
        "log",
        "metrics.json",
        "settings.json",
        "state.pt",
        "weights.pt",
    ]
    assert log_file(unbroken).read_text() == ""
    before = {path: path.stat().st_mtime_ns for path in unbroken.path.iterdir()}
    code, out, err = run(command(unbroken.path, "--json"), capsys)
    assert code == 0
    assert json.loads(out) == json.loads(metrics_file(unbroken).read_text())
    assert err.splitlines()[0].startswith(
        "cifar_resnet blocks=1 width=2: 1,320 parameters, 12,752 multiply-adds, 80 ep"
    )
    assert err.splitlines()[-1] == f"weights: {weights_file(unbroken)}"
    assert run(command(unbroken.path, "--json"), capsys) == (code, out, err)
    assert {path: path.stat().st_mtime_ns for path in unbroken.path.iterdir()} == before


def test_a_command_with_other_settings_is_refused_in_one_line(
    unbroken: WorkFolder[Training], capsys: pytest.CaptureFixture[str]
) -> None:
    for flags, difference in (
        (["--set", "dropout=0.5", "batch_size=64"], "batch_size was 32, now 64; dropout was 0.0, now 0.5"),
        (["--seed", "4"], "seed was 0, now 4"),
        (["--epochs", "3"], f"epochs was {EPOCHS}, now 3"),
    ):
        code, out, err = run(command(unbroken.path, *flags), capsys)
        assert (code, out) == (2, "")
        assert err == (
            f"nas: {unbroken.path} holds a training with other settings: {difference}. "
            "Repeat its own command to continue it, or give --out another folder.\n"
        )


def test_the_command_reads_the_test_split_once(
    unbroken: WorkFolder[Training], capsys: pytest.CaptureFixture[str]
) -> None:
    first = json.loads(run(command(unbroken.path, "--test", "--json"), capsys)[1])
    assert first["test_reads"] == 1
    assert 0 <= first["test_accuracy"] <= 1
    code, out, err = run(command(unbroken.path, "--test", "--json"), capsys)
    assert (code, json.loads(out)) == (0, first)
    assert f"test accuracy {100 * first['test_accuracy']:.2f} % (the test split was read once)" in err
    assert json.loads(run(command(unbroken.path, "--json"), capsys)[1]) == first


def start(arguments: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "nas.cli", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=searching.listen_to_interrupts,
    )


def epochs_in(folder: WorkFolder[Training]) -> int:
    return len(read_metrics(folder).epochs) if metrics_file(folder).exists() else 0


def cut_off(folder: WorkFolder[Training], epochs: int, how: str) -> tuple[int, str]:
    """Starts the command, disturbs it after that many epochs, and returns (exit code, stderr) when nobody trains."""
    process = start(command(folder.path))
    wait_for(lambda: (epochs_in(folder) >= epochs and children(process.pid)) or process.poll() is not None)
    (child,) = children(process.pid)
    time.sleep(random.Random(epochs).uniform(0, 0.05))
    match how:
        case "parent":
            process.kill()
        case "interrupt":
            process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    wait_for(lambda: not is_alive(child), timeout=10)
    return process.returncode, said


def test_a_command_that_is_killed_or_interrupted_again_and_again_comes_to_the_same(
    unbroken: WorkFolder[Training], tmp_path: Path
) -> None:
    folder = training_folder(tmp_path / "out")
    done: list[Any] = []
    for epochs, how in ((2, "parent"), (7, "interrupt")):
        code, said = cut_off(folder, epochs, how)
        assert not is_finished(folder), "it was over before it was disturbed: it proves nothing"
        if how == "interrupt":
            assert "Traceback" not in said
            assert code == 130
        stored = read_checkpoint(state_file(folder), torch.device("cpu"))[0]["epochs"]
        assert stored[: len(done)] == done  # with their times: no epoch that was done is trained again
        assert epochs <= len(stored) < EPOCHS
        done = stored
    assert main(command(folder.path)) == 0
    final = read_metrics(folder)
    assert [asdict(epoch) for epoch in final.epochs[: len(done)]] == done
    untested = replace(read_metrics(unbroken), test_accuracy=None, test_loss=None, test_reads=0)
    assert without_times(final) == without_times(untested)
    assert same_weights(folder, unbroken)


# Several in one process


def several_begun(folder: Path, *plans: tuple[Recipe, int]) -> list[WorkFolder[Training]]:
    """A folder with its settings for each (recipe, seed)."""
    folders = []
    for number, (recipe, seed) in enumerate(plans):
        folders.append(training_folder(folder / str(number)))
        folders[-1].enter(tiny_plan(folder, recipe, seed=seed))
    return folders


DIVERGING = replace(RECIPE, learning_rate=1e6, optimiser="sgd", warmup_steps=5, epochs=4)


def test_trainings_one_after_another_in_a_process_equal_those_in_processes_of_their_own(tmp_path: Path) -> None:
    plans = [(RECIPE, 0), (DIVERGING, 0), (replace(RECIPE, dropout=0.5), 0), (RECIPE, 1)]
    (tmp_path / "kept").mkdir()
    (tmp_path / "own").mkdir()
    kept = several_begun(tmp_path / "kept", *plans)
    others, seen = set(children(os.getpid())), set()
    failures = train_all(kept, workers=1, device="cpu", on_epoch=lambda folder, _: seen.update(children(os.getpid())))
    assert len(seen - others) == 1
    assert list(failures) == [kept[1].path]
    assert failures[kept[1].path].reason.startswith("the loss became ")
    assert not failures[kept[1].path].is_wrong_use
    assert [len(log_file(folder).read_text().splitlines()) for folder in kept] == [0, 1, 0, 0]
    own = several_begun(tmp_path / "own", *plans[2:])
    assert train_all(own, workers=2, device="cpu") == {}  # each its own, as there are two
    for one, other in zip(kept[2:], own, strict=True):
        assert weights_file(one).read_bytes() == weights_file(other).read_bytes()
        assert without_times(read_metrics(one)) == without_times(read_metrics(other))


def test_processes_that_train_are_kept_from_one_list_of_trainings_to_the_next(tmp_path: Path) -> None:
    folders = several_begun(tmp_path, (RECIPE, 0), (RECIPE, 1))
    others = set(children(os.getpid()))
    with Trainers(1, "cpu") as trainers:
        assert trainers.train(folders[:1]) == {}
        first = set(children(os.getpid())) - others
        assert trainers.train(folders[1:]) == {}
        assert set(children(os.getpid())) - others == first
    assert len(first) == 1
    assert set(children(os.getpid())) == others
    assert all(map(is_finished, folders))


def test_a_training_whose_processes_are_killed_again_and_again_fails_alone(tmp_path: Path) -> None:
    folders = several_begun(tmp_path, (RECIPE, 0), (replace(RECIPE, epochs=100_000), 0), (RECIPE, 1))
    others, seen = children(os.getpid()), list[int]()

    def kill_the_second(folder: WorkFolder[Training], metrics: Metrics) -> None:
        seen.extend(child for child in children(os.getpid()) if child not in others)
        if folder == folders[1]:
            kill(seen[-1])

    failures = train_all(folders, workers=1, device="cpu", on_epoch=kill_the_second)
    reason = f"the process was killed by signal 9; see {log_file(folders[1])}"
    assert failures == {folders[1].path: Failure(reason, is_wrong_use=False)}
    assert [is_finished(folder) for folder in folders] == [True, False, True]
    assert len(set(seen)) == 1 + DEATHS


def test_a_training_whose_process_is_killed_goes_on_in_another(tmp_path: Path) -> None:
    folders = several_begun(tmp_path, (RECIPE, 0), (RECIPE, 0))
    others, killed = children(os.getpid()), list[int]()

    def kill_once(folder: WorkFolder[Training], metrics: Metrics) -> None:
        if folder == folders[1] and not killed:
            killed.extend(child for child in children(os.getpid()) if child not in others)
            kill(killed[0])

    assert train_all(folders, workers=1, device="cpu", on_epoch=kill_once) == {}
    assert killed, "nothing was killed: it proves nothing"
    assert weights_file(folders[0]).read_bytes() == weights_file(folders[1]).read_bytes()


def test_where_the_machine_gives_out_no_training_is_to_blame(tmp_path: Path) -> None:
    folders = several_begun(tmp_path, (RECIPE, 0), (RECIPE, 1))
    partial = state_file(folders[0]).with_name("state.pt.partial")
    partial.mkdir()
    with pytest.raises(RunError, match=r"state\.pt\.partial: Is a directory; nothing is lost: mend that and repeat"):
        train_all(folders, workers=1, device="cpu")
    partial.rmdir()
    assert train_all(folders, workers=1, device="cpu") == {}
    assert all(map(is_finished, folders))


def test_data_are_loaded_anew_for_another_seed_alone(tmp_path: Path) -> None:
    load = DataOnce()
    first, again, other = (
        tiny_plan(tmp_path, RECIPE),
        tiny_plan(tmp_path, DIVERGING),
        tiny_plan(tmp_path, RECIPE, seed=1),
    )
    data = load(first)
    assert load(replace(again, model="another", network={})) is data
    assert load(other) is not data
    assert np.array_equal(load(first).train.images, data.train.images)
    assert not np.array_equal(load(other).train.images, data.train.images)


def test_a_second_command_in_the_same_folder_is_told_so_in_one_line_and_disturbs_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = begun(tmp_path)
    log_file(folder).write_text("what the first says\n")
    training = folder.read()
    arguments = [
        "train",
        *training.model.split(),
        "--dataset",
        training.dataset,
        "--images",
        "80",
        "--recipe",
        "search",
    ]
    changes = ["--set", "epochs=3", "batch_size=16", "learning_rate=0.05", "warmup_steps=0"]
    with folder.lock("training", wait=False):
        code, out, err = run([*arguments, *changes, "--out", str(folder.path)], capsys)
    told = f"another process is training in {folder.path}; wait for it or give --out another folder\n"
    assert (code, out, err) == (2, "", f"nas: {told}")
    assert log_file(folder).read_text() == f"what the first says\n{told}"
    assert not state_file(folder).exists()


def test_a_training_that_diverges_ends_with_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["norm=False", "--out", str(tmp_path / "out"), "--epochs", "9", "--set", "learning_rate=1e6"]
    code, out, err = run([*TRAIN[:4], *flags, "schedule=constant", "optimiser=sgd", *TRAIN[4:]], capsys)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("the training failed: the loss became ")
    assert " in training, in epoch " in err.splitlines()[-1]
    assert "Traceback" not in err


# Whatever there is to train


def trained(arguments: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> Metrics:
    code, printed, err = run([*arguments, "--device", "cpu", "--out", str(out), "--json"], capsys)
    assert code == 0, err
    metrics = read_metrics(training_folder(out))
    assert json.loads(printed) == json.loads(json.dumps(asdict(metrics)))
    assert metrics.finished
    return metrics


def test_a_network_that_a_search_found_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = searching.run_cli(searching.command(tmp_path, tmp_path / "run", "--workers", "1", trials=2, epochs=1))
    assert found.returncode == 0, found.stderr
    front = searching.result(tmp_path / "run")["front"]
    short = ["--epochs", "2", "--set", "augmentation=none"]  # on the data of the search
    largest = trained(["train", str(tmp_path / "run"), *short], tmp_path / "a", capsys)
    assert (largest.model, largest.parameters) == (f"found {front[-1]['network']}", front[-1]["parameters"])
    training = training_folder(tmp_path / "a").read()
    assert (training.network, training.dataset) == (front[-1]["layers"], str(tmp_path / "data.npz"))
    code, out, err = run(["train", str(tmp_path / "run"), "--dataset", "digits", "--out", str(tmp_path / "b")], capsys)
    assert (code, out, err) == (
        2,
        "",
        f"nas: the networks of {tmp_path / 'run'} are for images (1, 8, 8) of 4 classes, not (1, 8, 8) of 10\n",
    )
    assert not (tmp_path / "b").exists()


def test_a_space_of_ones_own_is_trained_in_a_folder_named_after_what_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    space = searching.write_space(tmp_path)
    arguments = ["train", str(space), "kind=basic", "width=5", "--dataset", "digits", "--images", "100"]
    code, _, err = run([*arguments, "--recipe", "search", "--epochs", "1", "--seed", "2", "--device", "cpu"], capsys)
    assert code == 0, err
    (path,) = (tmp_path / "trained").iterdir()
    assert path.name == "digits-tiny-kind=basic-width=5-search-seed2"
    folder = training_folder(path)
    assert read_metrics(folder).model == "tiny kind=basic width=5"
    space.unlink()  # the training has its network and needs the space no more
    weights_file(folder).unlink()
    assert run_training(folder, CPU).finished


def test_a_classifier_of_torchvision_is_trained_on_enlarged_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "torchvision:squeezenet1_1", "--dataset", "digits", "--images", "100", "--recipe", "s2-tune"]
    flags = ["--epochs", "1", "--set", "input_size=64", "dropout=0.1", "batch_size=32"]
    metrics = trained([*arguments, *flags, "--test"], tmp_path / "out", capsys)
    assert metrics.model == "torchvision:squeezenet1_1"
    assert metrics.test_reads == 1
    assert weights(training_folder(tmp_path / "out"))["classifier.1.weight"].shape == (10, 512, 1, 1)
    assert weights(training_folder(tmp_path / "out"))["features.0.weight"].shape == (64, 1, 3, 3)
    assert metrics.parameters == 726_474


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            "cifar_resnet --dataset digits --recipe s3",
            "augmentation 'randaugment' needs images of 3 channels but these have 1; leave it out",
        ),
        (
            "torchvision:alexnet --dataset digits",
            "AlexNet does not take images 1 × 8 × 8: ",
        ),
        ("torchvision:resnet --dataset digits", "torchvision has no classifier named 'resnet'; it has resnet"),
        ("cifar_resnet --dataset digits --pretrained", "there are pretrained weights for torchvision's models only; "),
        (
            "torchvision:resnet18 --dataset digits --pretrained",
            "pretrained weights need 3 channels but got 1",
        ),
        ("s4-resnet20 blocks=3 --dataset digits", "s4-resnet20 is a fixed model and has no knobs; leave out blocks=3"),
        ("cifar_resnet --dataset digits --images 5", "--images is 5; it must be from 10, one a class, to 1,"),
        ("cifar_resnet --dataset digits --set epochs=2 epochs=3", "epochs is changed twice; give it one value"),
        ("cifar_resnet --dataset digits --set rate=2", "a recipe has no 'rate'; it has epochs, "),
        ("cifar_resnet --dataset digits --recipe nothing", "no recipe is named 'nothing'; shipped are search, "),
        ("cifar_resnet --dataset digits --epochs 0", "epochs must be at least 1 but got 0"),
        ("cifar_resnet --dataset digits --seed -1", "seed must be at least 0 but got -1"),
        ("cifar_resnet --dataset nowhere", "data set 'nowhere' is no known name and no such file or folder exists"),
        ("nowhere --dataset digits", "no model or space is named 'nowhere': `nas models` lists the models; spaces are"),
        ("mixed --dataset digits --select 10K", "--select needs a pareto.json"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_line_and_leaves_nothing_behind(
    arguments: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(["train", *arguments.split()], capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"nas: {told}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
