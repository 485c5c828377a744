"""A trained network that teaches another: what it says, what it costs, and what is refused."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from searching import digits_searched
from torch.nn.functional import kl_div, log_softmax

from nas.cli.main import main
from nas.data.augment import DeviceData
from nas.data.load import load_search_data
from nas.errors import RecipeError, RunError, UserError
from nas.network.blocks import stem
from nas.network.heads import classifier
from nas.network.layers import Sequence
from nas.results.confirming.confirm import confirm
from nas.results.options import ConfirmOptions
from nas.training.distillation.loss import distillation_loss
from nas.training.distillation.teacher import Teacher, teachers_in_words
from nas.training.distillation.teaching import taught
from nas.training.recipe import Distillation, Recipe
from nas.training.train import train
from nas.training.training import read_metrics, training_folder, weights_file

COMMON = ["--dataset", "digits", "--images", "200", "--device", "cpu", "--recipe", "search", "--epochs", "2"]
TEACHER = ["train", "cifar_resnet", "blocks=1", "width=4", *COMMON]
PUPIL = ["train", "cifar_resnet", "blocks=1", "width=2", *COMMON]
KINDS: tuple[Distillation, ...] = ("kd", "dkd")
SMALL = Sequence((stem(1, 4), classifier(4, 10)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training."""
    folder = tmp_path_factory.mktemp("teacher") / "of"
    assert main([*TEACHER, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def digits() -> DeviceData:
    return DeviceData.of(load_search_data("digits", seed=0, images=200), torch.device("cpu"), ())


def scores_and_labels(seed: int, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = (3 * torch.randn(7, classes, generator=generator) for _ in range(2))
    return ours, theirs, torch.randint(classes, (7,), generator=generator)


@given(st.integers(0, 1000), st.sampled_from([1.0, 4.0]))
def test_the_loss_is_nothing_where_both_say_the_same_and_above_it_elsewhere(seed: int, temperature: float) -> None:
    ours, theirs, labels = scores_and_labels(seed)
    for kind in KINDS:
        same = distillation_loss(ours, ours + 1, labels, distillation=kind, temperature=temperature)
        other = distillation_loss(ours, theirs, labels, distillation=kind, temperature=temperature)
        assert same.item() == pytest.approx(0, abs=1e-5)
        assert other.item() > 0.01


def test_kd_is_the_divergence_at_that_temperature_times_its_square() -> None:
    ours, theirs, labels = scores_and_labels(0)
    expected = 4 * kl_div(log_softmax(ours / 2, 1), theirs.div(2).softmax(1), reduction="sum") / 7
    found = distillation_loss(ours, theirs, labels, distillation="kd", temperature=2.0)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_dkd_weighs_the_label_against_the_others_once_and_the_others_among_themselves_eightfold() -> None:
    ours, theirs = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[0.6, 0.3, 0.1]]).log()
    label = torch.tensor([0])
    of_label = 0.6 * torch.tensor(0.6 * 3).log() + 0.4 * torch.tensor(0.4 * 3 / 2).log()
    among = 0.75 * torch.tensor(0.75 * 2).log() + 0.25 * torch.tensor(0.25 * 2).log()
    found = distillation_loss(ours, theirs, label, distillation="dkd", temperature=1.0)
    assert found.item() == pytest.approx((of_label + 8 * among).item(), rel=1e-5)


def test_a_pupil_that_listens_to_its_teacher_alone_comes_to_say_what_it_says(digits: DeviceData) -> None:
    def says(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.full((len(images),), 7), 10) * 9.0

    recipe = Recipe(epochs=3, batch_size=16, learning_rate=0.1, warmup_steps=0, teacher_weight=1.0)
    *_, last = train(SMALL, digits, recipe, seed=0, teacher=says)
    sevens = (digits.validation.labels == 7).double().mean().item()
    assert last.validation_accuracy == pytest.approx(sevens), "it calls all of them a seven"


@pytest.mark.parametrize("kind", ["kd", "dkd"])
def test_a_taught_training_goes_on_as_if_it_had_never_stopped(
    kind: str, teacher: Path, digits: DeviceData, tmp_path: Path
) -> None:
    own = training_folder(tmp_path / "pupil")
    assert main([*PUPIL, "--teacher", str(teacher), "--set", f"distillation={kind}", "--out", str(own.path)]) == 0
    training = own.read()
    assert training.teacher is not None
    says = taught(training.teacher, load_search_data("digits", seed=0, images=200), torch.device("cpu"))
    whole = [e.validation_loss for e in train(SMALL, digits, training.recipe, seed=0, teacher=says)]
    state = tmp_path / "state.pt"
    begun = train(SMALL, digits, training.recipe, seed=0, teacher=says, checkpoint=state)
    next(begun)
    begun.close()
    resumed = [e.validation_loss for e in train(SMALL, digits, training.recipe, seed=0, teacher=says, checkpoint=state)]
    assert resumed == whole
    untaught = [e.validation_loss for e in train(SMALL, digits, training.recipe, seed=0)]
    assert untaught != whole


def test_a_training_keeps_who_taught_it_and_what_that_costs(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pupil"
    assert main([*PUPIL, "--teacher", str(teacher), "--out", str(out)]) == 0
    size, kept = read_metrics(training_folder(teacher)), training_folder(out).read().teacher
    assert kept is not None
    assert (kept.folder, kept.parameters, kept.macs) == (str(teacher), size.parameters, size.macs)
    assert not kept.knows
    costs = f"{size.parameters:,} parameters, {size.macs:,} multiply-adds an image"
    assert f"Taught by cifar_resnet blocks=1 width=4 ({costs})" in capsys.readouterr().err.replace("\n", " ")
    assert read_metrics(training_folder(out)).parameters < size.parameters, "the pupil's own alone are counted"


def test_a_teacher_of_another_split_is_said_to_know_the_images_that_judge(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pupil"
    assert main([*PUPIL, "--teacher", str(teacher), "--seed", "1", "--out", str(out)]) == 0
    assert "validation accuracies are flattered" in capsys.readouterr().err.replace("\n", " ")
    kept = training_folder(out).read().teacher
    assert kept is not None
    assert kept.knows


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--teacher", "nowhere"], "the teacher nowhere is no folder of a training; train one: nas train MODEL --out"),
        (["--teacher", "begun"], "the training of the teacher in begun has not finished; repeat its command first"),
        (["--teacher", "of", "--dataset", "other.npz"], "was trained on digits, not on these images"),
        (["--set", "distillation=rkd"], "distillation must be of kd, dkd but got 'rkd'"),
        (["--set", "temperature=0"], "temperature must be above 0 but got 0.0"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused_in_one_line(
    flags: list[str],
    words: str,
    teacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "of").symlink_to(teacher)
    training_folder(tmp_path / "begun").enter(training_folder(teacher).read())
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), dtype=np.uint8)
    labels = np.arange(40) % 10
    np.savez(tmp_path / "other.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert main([*PUPIL, "--images", "20", *flags, "--out", "pupil"]) == 2
    error = capsys.readouterr().err
    assert words in error.replace("\n", " ")
    assert not (tmp_path / "pupil" / "metrics.json").exists()


def test_another_teacher_is_refused_where_a_training_has_begun(teacher: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "pupil")
    assert main([*PUPIL, "--teacher", str(teacher), "--out", out]) == 0
    assert main([*PUPIL, "--teacher", str(teacher), "--out", out]) == 0, "the same goes on"
    assert main([*PUPIL, "--out", out]) == 2


def test_a_teacher_whose_weights_have_changed_is_refused(teacher: Path, tmp_path: Path) -> None:
    out = training_folder(tmp_path / "pupil")
    assert main([*PUPIL, "--teacher", str(teacher), "--out", str(out.path)]) == 0
    kept = out.read().teacher
    assert kept is not None
    data = load_search_data("digits", seed=0, images=200)
    with pytest.raises(RunError, match="is not the one that this training began with; restore it"):
        taught(replace(kept, checksum="0" * 64), data, torch.device("cpu"))
    with pytest.raises(RunError, match="is not the one"):
        taught(replace(kept, folder=str(tmp_path / "gone")), data, torch.device("cpu"))
    assert weights_file(training_folder(teacher)).exists()


def test_dkd_and_mixed_labels_contradict_each_other() -> None:
    with pytest.raises(RecipeError, match="distillation dkd needs one label an image"):
        Recipe(distillation="dkd", mixup=0.2)


def test_the_card_of_an_exported_pupil_says_who_taught_it(teacher: Path, tmp_path: Path) -> None:
    out, exported = tmp_path / "pupil", tmp_path / "exported"
    assert main([*PUPIL, "--teacher", str(teacher), "--out", str(out)]) == 0
    assert main(["export", str(out), "--to", str(exported)]) == 0
    card = (exported / "card.md").read_text()
    assert "Taught by cifar_resnet blocks=1 width=4 (" in card
    assert f"--teacher {teacher}" in card
    assert "Taught by" in json.loads((exported / "architecture.json").read_text())["teacher"]


def test_the_loss_is_computed_without_a_look_at_the_values_as_a_recorded_step_must() -> None:
    scores, labels = torch.empty(7, 5, device="meta"), torch.empty(7, dtype=torch.int64, device="meta")
    for kind in KINDS:
        assert distillation_loss(scores, scores, labels, distillation=kind, temperature=4.0).shape == ()


def test_options_that_count_with_a_teacher_alone_are_refused_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*PUPIL, "--set", "temperature=9", "--out", str(tmp_path / "pupil")]) == 2
    assert "count with a teacher alone; give --teacher or leave them out" in capsys.readouterr().err.replace("\n", " ")
    assert main([*PUPIL, "--teacher", "", "--out", str(tmp_path / "pupil")]) == 2
    assert capsys.readouterr().err == "nas: teacher must not be empty\n"


def test_a_table_names_the_teacher_of_each_line(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pupil"
    assert main([*PUPIL, "--teacher", str(teacher), "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["table", str(out), str(teacher), "--json", "--markdown", str(tmp_path / "table.md")]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [bool(line["teacher"]) for line in lines] == [True, False]
    assert (tmp_path / "table.md").read_text().count("Taught by cifar_resnet blocks=1 width=4") == 1


def test_one_teacher_that_knows_the_images_of_one_of_several_pupils_is_told_as_one_that_knows() -> None:
    fair = Teacher("of", "large", 100, 200, "a", knows=False)
    knowing = replace(fair, folder="moved", knows=True)
    assert teachers_in_words([None, fair, fair]) == "Taught by large (100 parameters, 200 multiply-adds an image)."
    assert "flattered" in teachers_in_words([fair, knowing, fair])
    assert teachers_in_words([None]) == ""


def test_who_was_taught_by_one_that_knows_knows_too(teacher: Path, tmp_path: Path) -> None:
    between, last = tmp_path / "between", tmp_path / "last"
    assert main([*PUPIL, "--teacher", str(teacher), "--seed", "1", "--out", str(between)]) == 0
    assert main([*PUPIL, "--teacher", str(between), "--seed", "1", "--out", str(last)]) == 0
    kept = training_folder(last).read().teacher
    assert kept is not None
    assert kept.knows


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of two budgets, the larger of which is confirmed."""
    run = digits_searched(tmp_path_factory.mktemp("search") / "run", 1_000, 4_000)
    confirmed(run, budget=4_000)
    return run


def confirmed(run: Path, **options: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"changes": {"epochs": 1}, "device": "cpu", "seeds": 1, "top": 1, "baselines": False}
    return confirm(ConfirmOptions(run, **asked | options))


def test_the_best_of_one_budget_teaches_those_of_the_others(searched: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(searched, run)
    untaught = confirmed(run, budget=1_000)
    assert not any(entry["teacher"] for entry in untaught["networks"])
    content = confirmed(run, teacher="4000", changes={"epochs": 1, "temperature": 2.0})
    taught_ones = [entry for entry in content["networks"] if entry["teacher"]]
    assert taught_ones
    assert all(entry["budgets"] == [1_000] for entry in taught_ones), "nobody teaches its own budget"
    kept_untaught = {entry["network"] for entry in content["networks"] if not entry["teacher"]}
    assert {entry["network"] for entry in untaught["networks"]} <= kept_untaught
    folder = run / taught_ones[0]["best"]
    kept = training_folder(folder).read().teacher
    assert kept is not None
    assert kept.folder == str((run / content["teachers"]["4000"]).resolve())
    again = confirmed(run, teacher="4K", changes={"epochs": 1, "temperature": 2.0})
    assert again["networks"] == content["networks"]
    assert again["test_reads"] == content["test_reads"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"teacher": "4K", "budget": 4_000}, "the best network within 4,000 is the teacher; give --budget others"),
        ({"teacher": "1K"}, "the budget of the teacher, 1,000, is not confirmed; first do that: nas confirm"),
        ({"teacher": "3000"}, "the teacher must be a folder or a budget of .*: 1,000, 4,000; 3,000 is none of them"),
        ({"teacher": "nobody"}, "the teacher nobody is no folder of a training"),
        ({"changes": {"epochs": 1, "temperature": 2.0}}, "count with a teacher alone; give --teacher"),
    ],
)
def test_a_teacher_that_a_confirmation_does_not_have_is_refused(
    searched: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        confirmed(searched, **options)
