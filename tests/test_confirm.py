import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import wait_for
from searching import write_data, write_space

from nas.api import search
from nas.cli.main import build_parser, main
from nas.data.load import load_test
from nas.errors import DataError, RunError, SpaceError, UserError
from nas.network.layers import Flatten, Layer, Linear, Sequence
from nas.results.confirming.confirm import confirm
from nas.results.confirming.confirmed import interval, read_confirmed
from nas.results.confirming.racing import Candidate, Entrant, dropped
from nas.results.export.exportable import exportables
from nas.results.options import ConfirmOptions
from nas.results.report.whole import report_html
from nas.training.recipe import changed, parse_changes
from nas.training.recipes import named_recipe
from nas.training.train import Epoch
from nas.training.training import Metrics, read_metrics, training_folder

LINEAR: Layer = Sequence((Flatten(), Linear(64, 10)))
CHANGES = {"epochs": 2, "batch_size": 32, "learning_rate": 0.03, "warmup_steps": 0}


def confirmed(run: Path, **options: Any) -> dict[str, Any]:
    """What a confirmation of two epochs comes to, on the CPU."""
    return confirm(ConfirmOptions(run, changes=CHANGES, device="cpu", **options))


def candidate(label: str, budget: int, kind: Any) -> Candidate:
    return Candidate(label, kind, (budget,), LINEAR, label, 650, 640, 0.5)


def entrant(label: str, accuracies: list[float], budget: int = 1_000, kind: Any = "found") -> Entrant:
    trainings = {
        seed: Metrics(label, 650, 640, (Epoch(1, 1.0, 1.0, accuracy, 0.1),), True, accuracy, 1.0)
        for seed, accuracy in enumerate(accuracies)
    }
    return Entrant(candidate(label, budget, kind), trainings)


def test_who_is_clearly_behind_the_best_of_the_budget_is_dropped() -> None:
    racing = [entrant("best", [0.60]), entrant("close", [0.58]), entrant("far", [0.40])]
    after = dropped(racing, validation_images=5_000)
    assert [e.dropped for e in after] == ["", "", "20.0 points behind best after 1 seeds"]


def test_a_small_validation_split_drops_nobody_for_a_few_points() -> None:
    racing = [entrant("best", [0.60]), entrant("worse", [0.50])]
    assert [bool(e.dropped) for e in dropped(racing, validation_images=100)] == [False, False]
    assert [bool(e.dropped) for e in dropped(racing, validation_images=5_000)] == [False, True]


def test_more_seeds_tell_smaller_differences_apart() -> None:
    few = [entrant("best", [0.6]), entrant("worse", [0.57])]
    many = [entrant("best", [0.60, 0.601, 0.599]), entrant("worse", [0.57, 0.571, 0.569])]
    assert not dropped(few, 5_000)[1].dropped
    assert dropped(many, 50_000)[1].dropped == "3.0 points behind best after 3 seeds"


def test_baselines_and_networks_of_other_budgets_are_not_raced() -> None:
    racing = [
        entrant("best", [0.60]),
        entrant("resnet", [0.30], kind="baseline"),
        entrant("small", [0.30], budget=100),
    ]
    assert [e.dropped for e in dropped(racing, 5_000)] == ["", "", ""]


def test_on_a_front_only_networks_as_small_drop_one() -> None:
    racing = [entrant("large", [0.60]), entrant("small", [0.40]), entrant("worst", [0.20])]
    sizes = {"large": 900, "small": 300, "worst": 400}
    racing = [replace(e, candidate=replace(e.candidate, parameters=sizes[e.candidate.label])) for e in racing]
    after = dropped(racing, 5_000, front=True)
    assert [e.dropped for e in after] == ["", "", "20.0 points behind small after 1 seeds"]


def test_a_strong_baseline_drops_nobody() -> None:
    racing = [entrant("best", [0.50]), entrant("resnet", [0.90], kind="baseline")]
    assert [e.dropped for e in dropped(racing, 5_000)] == ["", ""]


def test_the_interval_is_students_t_over_the_seeds() -> None:
    assert interval([0.5, 0.52]) is None
    assert interval([0.5, 0.5, 0.5]) is None
    assert interval([0.50, 0.52, 0.54]) == pytest.approx(
        (0.52 - 4.302653 * 0.02 / 3**0.5, 0.52 + 4.302653 * 0.02 / 3**0.5)
    )


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished search of two budgets, two networks each, and of its data and space."""
    folder = tmp_path_factory.mktemp("searched")
    search(
        dataset=str(write_data(folder)), budget=(300, 900), trials=2, epochs=1, strategies=("random",), below=0.0,
        stop="none", space=str(write_space(folder)), out=folder / "run", workers=1, device="cpu",
    )  # fmt: skip
    return folder


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    """A copy of that search, of data and a space that are its own."""
    run = shutil.copytree(searched, tmp_path / "searched") / "run"
    for name in ("settings.json", "pareto.json"):
        (run / name).write_text((run / name).read_text().replace(str(searched), str(run.parent)))
    return run


def without_test_split(run: Path) -> None:
    """From here on, reading the test split fails."""
    file = run.parent / "data.npz"
    with np.load(file) as arrays:
        kept = dict(arrays)
    np.savez(file, **(kept | {"y_test": kept["y_test"][:3]}))


def trained(run: Path) -> dict[str, float]:
    """When each training last wrote its metrics."""
    return {path.parent.name: path.stat().st_mtime for path in sorted(run.glob("confirmed/*/metrics.json"))}


def test_winners_and_baselines_are_trained_with_every_seed_and_the_test_split_is_read_once(run: Path) -> None:
    content = confirmed(run, seeds=2, workers=2)
    found = [budget for entry in content["networks"] if entry["kind"] == "found" for budget in entry["budgets"]]
    baselines = {entry["label"] for entry in content["networks"] if entry["kind"] == "baseline"}
    assert found == [300, 900]
    assert baselines >= {"resnet scaled to 900", "vgg scaled to 900"}
    for entry in content["networks"]:
        assert entry["parameters"] <= entry["budget"]
        assert entry["validation"]["n"] == entry["test"]["n"] == 2
        assert entry["test"]["deviation"] is not None
        assert entry["gap"] == pytest.approx(entry["validation"]["mean"] - entry["test"]["mean"])
        assert (run / entry["best"] / "weights.pt").exists()
    assert content["test_reads"] == 1
    assert json.loads((run / "confirmed.json").read_text()) == content == read_confirmed(run)

    (best,) = (entry for entry in content["networks"] if 900 in entry["budgets"] and entry["kind"] == "found")
    exported = exportables(run, (900,))["900"]
    weights = torch.load(run / best["best"] / "weights.pt", weights_only=True)
    assert exported.weights.keys() == weights.keys()
    assert all(torch.equal(exported.weights[name], weights[name]) for name in weights)
    measured = {own.split: own.values for own in exported.card.measured}
    assert measured == {
        "validation": tuple(best["validation"]["values"]),
        "test": tuple(best["test"]["values"]),
    }

    before = trained(run)
    without_test_split(run)
    with pytest.raises(DataError):
        load_test(str(run.parent / "data.npz"))
    again = confirmed(run, seeds=2, workers=2)
    assert again == content  # neither trained nor read again
    assert trained(run) == before


def test_a_network_more_is_tested_by_one_more_reading(run: Path) -> None:
    first = confirmed(run, seeds=1, baselines=False, workers=1)
    assert first["test_reads"] == 1
    assert [entry["test"]["low"] for entry in first["networks"]] == [None] * len(first["networks"])
    more = confirmed(run, seeds=1, top=2, baselines=False, workers=1)
    assert more["test_reads"] == 2
    assert len(more["networks"]) > len(first["networks"])
    assert len(more["commands"]) == 2
    fewer = confirmed(run, seeds=1, baselines=False, workers=1)
    assert fewer["test_reads"] == 2
    assert {entry["network"]: entry["test"] for entry in fewer["networks"]} == {
        entry["network"]: entry["test"] for entry in more["networks"]
    }


def test_a_seed_that_was_tested_stays_in_the_mean_when_fewer_are_asked_for(run: Path) -> None:
    two = confirmed(run, seeds=2, baselines=False, workers=1)
    one = confirmed(run, seeds=1, baselines=False, workers=1)
    assert one["networks"] == two["networks"]
    assert (one["seeds"], one["test_reads"]) == (2, 1)
    flags = build_parser().parse_args(shlex.split(one["commands"][0])[1:])
    assert (flags.run, flags.seeds, flags.top, flags.baselines) == (str(run), 2, 1, False)
    base = named_recipe("final", 192)
    assert changed(base, parse_changes(flags.changes)) == changed(base, CHANGES | {"augmentation": ()})


def test_one_budget_of_several_can_be_confirmed(run: Path) -> None:
    content = confirmed(run, seeds=1, baselines=False, budget=(300,), workers=1)
    assert [entry["budgets"] for entry in content["networks"]] == [[300]]
    assert "--budget 300" in content["commands"][0]
    with pytest.raises(UserError, match=r"has not searched within 7; its budgets are 300, 900"):
        confirmed(run, seeds=1, budget=(7,), workers=1)


def test_a_space_that_now_makes_other_networks_is_refused(run: Path) -> None:
    space = run.parent / "tiny.py"
    space.write_text(space.read_text().replace("stage(self.kind, self.blocks", "stage(self.kind, 3"))
    with pytest.raises(SpaceError, match="makes another network of the knobs of random"):
        confirmed(run, seeds=1, workers=1)
    assert not (run / "confirmed").exists()
    assert "Layer tables are missing: the space makes another network" in report_html(run)


def test_a_search_of_arrays_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with np.load(write_data(tmp_path)) as arrays:
        images, labels = arrays["x_train"], arrays["y_train"]
    space = str(write_space(tmp_path))
    search(
        arrays=(images, labels), budget=900, trials=1, epochs=1, strategies=("random",), stop="none", space=space,
        out=tmp_path / "run", workers=1, device="cpu",
    )  # fmt: skip
    with pytest.raises(RunError, match="searched arrays given from Python, which have no test split; save them"):
        confirmed(tmp_path / "run", seeds=1, workers=1)
    assert sorted(path.name for path in (tmp_path / "run").glob("confirm*")) == []


TWO_SEEDS = ["--seeds", "2", "--workers", "1", "--epochs", "6", "--no-baselines", "--device", "cpu"]


def begun_and_killed(run: Path, trainings: int) -> None:
    """Kills the command and what it has started as soon as so many trainings have an epoch behind them."""
    command = [sys.executable, "-m", "nas.cli", "confirm", str(run), *TWO_SEEDS]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        wait_for(lambda: len(trained(run)) >= trainings or process.poll() is not None)
        assert process.poll() is None, "it was over before it was killed: it proves nothing"
        os.killpg(process.pid, signal.SIGKILL)


def same_but_for_time(metrics: Metrics) -> Metrics:
    return replace(metrics, epochs=tuple(replace(epoch, seconds=0.0) for epoch in metrics.epochs))


def test_killed_and_repeated_it_comes_to_the_same_and_reads_the_test_split_once(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "whole")
    assert main(["confirm", str(tmp_path / "whole"), *TWO_SEEDS]) == 0
    for trainings in (1, 2):
        begun_and_killed(run, trainings)
    assert main(["confirm", str(run), *TWO_SEEDS]) == 0
    whole, parts = read_confirmed(tmp_path / "whole"), read_confirmed(run)
    assert parts is not None
    assert whole is not None
    assert len(parts["commands"]) == 1
    assert parts | {"commands": None} == whole | {"commands": None}  # they name their runs
    assert parts["test_reads"] == 1
    for path in sorted((tmp_path / "whole" / "confirmed").iterdir()):
        unbroken, killed = training_folder(path), training_folder(run / "confirmed" / path.name)
        assert same_but_for_time(read_metrics(killed)) == same_but_for_time(read_metrics(unbroken))


def test_other_settings_a_run_without_networks_and_nonsense_are_refused_in_one_line(run: Path, tmp_path: Path) -> None:
    confirmed(run, seeds=1, baselines=False, workers=1)
    with pytest.raises(RunError, match="was confirmed with another recipe: epochs was 2, now 3"):
        confirm(ConfirmOptions(run, changes=CHANGES | {"epochs": 3}, seeds=1, device="cpu"))
    with pytest.raises(UserError, match="seeds must be at least 1 but got 0"):
        confirmed(run, seeds=0, workers=1)
    with pytest.raises(RunError, match="is no folder of a search"):
        confirmed(tmp_path / "nowhere", seeds=1, workers=1)
