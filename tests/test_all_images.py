"""Trainings on all training images: nothing is set aside, nothing is judged but by the test split."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from searching import write_data, write_space

from nas.api import search
from nas.cli.main import main
from nas.data.load import load_search_data
from nas.results.confirming.confirm import confirm
from nas.results.export.exportable import exportables
from nas.results.options import ConfirmOptions
from nas.results.report.whole import report_html
from nas.results.table import load_lines, markdown
from nas.training.training import load_data, read_metrics, training_folder

RECIPE = ["--recipe", "final", "--set", "epochs=2", "batch_size=32", "learning_rate=0.03"]


def trained(tmp_path: Path, *options: str) -> int:
    """The exit code of `nas train` of a small network on the data of a search."""
    data = tmp_path / "data.npz"
    data = data if data.exists() else write_data(tmp_path)
    model = ["cifar_resnet", "blocks=1", "width=2", "--dataset", str(data), *RECIPE]
    return main(["train", *model, "--device", "cpu", "--out", str(tmp_path / "out"), *options])


def test_all_images_are_for_training_and_none_for_validation(tmp_path: Path) -> None:
    data = str(write_data(tmp_path))
    divided, whole = (load_search_data(data, seed=3, all_images=each) for each in (False, True))
    assert len(whole.train.labels) == len(divided.train.labels) + len(divided.validation.labels)
    assert len(whole.validation.labels) == 0
    assert whole.validation.images.shape[1:] == whole.train.images.shape[1:]
    assert whole.checksum == divided.checksum
    rows = {image.tobytes() for image in np.concatenate([divided.train.images, divided.validation.images])}
    assert rows == {image.tobytes() for image in whole.train.images}


def test_a_training_on_all_images_has_no_validation_and_can_be_tested_exported_and_tabled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained(tmp_path, "--all-images", "--test") == 0
    told = capsys.readouterr().err
    assert "trained on all images, without validation" in told
    assert "validation loss" not in told
    folder = training_folder(tmp_path / "out")
    metrics = read_metrics(folder)
    assert [(e.validation_loss, e.validation_accuracy) for e in metrics.epochs] == [(None, None)] * 2
    assert (metrics.accuracy, metrics.validation_loss, metrics.test_reads) == (None, None, 1)
    assert metrics.test_accuracy is not None
    assert folder.read().all_images
    assert len(load_data(folder.read()).validation.labels) == 0
    (line,) = load_lines([tmp_path / "out"])
    assert f"{100 * metrics.test_accuracy:.2f}" in markdown([line])
    card = exportables(tmp_path / "out", None)[""].card
    assert [own.split for own in card.measured] == ["test"]
    assert "--all-images" in card.commands[0]
    assert main(["table", str(tmp_path / "out"), "--html", str(tmp_path / "page.html")]) == 0


def test_what_follows_the_validation_loss_is_refused_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for changes in (["schedule=plateau", "patience=2"], ["schedule=constant", "stop_patience=2"]):
        assert trained(tmp_path, "--all-images", "--set", *changes) == 2
        follows = "schedule plateau" if "patience=2" in changes else "stop_patience"
        assert f"{follows} follows the validation loss, which is not there" in capsys.readouterr().err
    assert trained(tmp_path, "--all-images", "--validation-share", "0.3") == 2
    assert "--all-images sets nothing aside" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_after_everything_is_chosen_the_best_is_trained_on_all_images_and_exported(tmp_path: Path) -> None:
    run = tmp_path / "run"
    search(
        dataset=str(write_data(tmp_path)), budget=(300, 900), trials=2, epochs=1, strategies=("random",), below=0.0,
        stop="none", space=str(write_space(tmp_path)), out=run, workers=1, device="cpu",
    )  # fmt: skip
    changes = {"epochs": 2, "batch_size": 32, "learning_rate": 0.03, "warmup_steps": 0}

    def confirmed(all_images: bool) -> dict[str, Any]:
        asked = ConfirmOptions(
            run, changes=changes, seeds=2, top=1, baselines=False, all_images=all_images, workers=1, device="cpu"
        )
        return confirm(asked)

    content = confirmed(all_images=True)
    assert content["test_reads"] == 1
    assert "--all-images" in content["commands"][0]
    entries = [entry for entry in content["networks"] if entry["all_images"]]
    assert {entry["network"] for entry in entries} == {
        min(own, key=lambda entry: entry["validation_loss"])["network"]
        for budget in (300, 900)
        if (own := [e for e in content["networks"] if e["parameters"] <= budget])
    }
    for entry in entries:
        assert (entry["validation"]["n"], entry["test"]["n"], entry["all_images"]["test"]["n"]) == (2, 2, 2)
        training = training_folder(run / entry["all_images"]["best"]).read()
        assert training.all_images
        assert entry["all_images"]["best"].endswith("-all0")
    exported = exportables(run, (900,))["900"]
    best = next(entry for entry in entries if entry["network"] == exported_network(content, 900))
    weights = torch.load(run / best["all_images"]["best"] / "weights.pt", weights_only=True)
    assert all(torch.equal(exported.weights[name], weights[name]) for name in weights)
    assert {own.split: own.values for own in exported.card.measured} == {
        "test": tuple(best["all_images"]["test"]["values"])
    }
    assert report_html(run).count(", on all training images</span>") == len(entries)
    assert confirmed(all_images=False)["networks"] == content["networks"]  # what was measured stays
    assert json.loads((run / "confirmed.json").read_text())["test_reads"] == 1


def exported_network(content: dict[str, Any], budget: int) -> str:
    """The network that an export of a confirmation takes."""
    own = [entry for entry in content["networks"] if entry["parameters"] <= budget]
    return str(min(own, key=lambda entry: entry["validation_loss"])["network"])
