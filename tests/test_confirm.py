import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import children, kill, wait_for
from searching import write_data, write_space

from nas.api import export, search
from nas.cli.main import build_parser, main
from nas.data.load import SearchData, Split, load_test
from nas.errors import DataError, RunError, SpaceError, UserError
from nas.network.layers import Flatten, Layer, Linear, Sequence
from nas.results.confirming.candidates import Candidate, Kind
from nas.results.confirming.confirm import RACE_SEEDS, confirm
from nas.results.confirming.confirmed import interval
from nas.results.confirming.content import read_confirmed
from nas.results.confirming.margin import Margin, margin, margin_of
from nas.results.confirming.racing import Entrant, decided, dropped, racers, winner
from nas.results.export.card import card_text
from nas.results.export.exportable import exportables
from nas.results.options import ConfirmOptions
from nas.results.report.whole import report_html
from nas.results.words import verdict_lines
from nas.search.search import run_folder
from nas.search.studies import load_data_of
from nas.training import several
from nas.training.epoch import Epoch
from nas.training.recipe import changed, parse_changes
from nas.training.recipes import named_recipe
from nas.training.training import Metrics, Training, read_metrics, training_folder
from nas.training.worker import read_test

LINEAR: Layer = Sequence((Flatten(), Linear(64, 10)))
CHANGES = {"epochs": 2, "batch_size": 32, "learning_rate": 0.03, "warmup_steps": 0}


def confirmed(run: Path, **options: Any) -> dict[str, Any]:
    """What a confirmation of two epochs comes to, on the CPU."""
    return confirm(ConfirmOptions(run, changes=CHANGES, device="cpu", **options))


def candidate(label: str, budget: int, kind: Kind, default_of: tuple[int, ...] = ()) -> Candidate:
    raced = () if kind == "default" else (budget,)
    return Candidate(label, kind, raced, LINEAR, label, 650, 640, 0.5, default_of)


def trainings(label: str, accuracies: Iterable[float], losses: Iterable[float]) -> dict[int, Metrics]:
    return {
        seed: Metrics(label, 650, 640, (Epoch(1, 1.0, 1.0, accuracy, 0.1),), True, accuracy, loss)
        for seed, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True))
    }


def entrant(
    label: str, accuracies: list[float], budget: int = 1_000, kind: Kind = "found", losses: Iterable[float] = ()
) -> Entrant:
    """Of the race alone; its losses are 1 unless said otherwise."""
    race = trainings(label, accuracies, losses or [1.0] * len(accuracies))
    return Entrant(candidate(label, budget, kind, (budget,) if kind == "default" else ()), race)


def test_who_is_clearly_behind_the_best_of_the_budget_is_dropped() -> None:
    racing = [entrant("best", [0.60]), entrant("close", [0.58]), entrant("far", [0.40])]
    after = dropped(racing, validation_images=5_000)
    assert [e.dropped for e in after] == ["", "", "20.0 points behind best after 1 seed"]


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
    assert [e.dropped for e in after] == ["", "", "20.0 points behind small after 1 seed"]


def test_a_strong_baseline_drops_nobody() -> None:
    racing = [entrant("best", [0.50]), entrant("resnet", [0.90], kind="baseline")]
    assert [e.dropped for e in dropped(racing, 5_000)] == ["", ""]


def test_the_interval_is_students_t_over_the_seeds() -> None:
    assert interval([0.5, 0.52]) is None
    assert interval([0.5, 0.5, 0.5]) is None
    assert interval([0.50, 0.52, 0.54]) == pytest.approx(
        (0.52 - 4.302653 * 0.02 / 3**0.5, 0.52 + 4.302653 * 0.02 / 3**0.5)
    )


def test_the_winner_of_the_race_has_the_lowest_log_loss_and_the_others_go_no_further() -> None:
    racing = [
        entrant("accurate", [0.61, 0.61], losses=[1.3, 1.3]),
        entrant("sure", [0.60, 0.60], losses=[1.2, 1.2]),
        entrant("small", [0.50, 0.50], budget=100, losses=[1.5, 1.5]),
        entrant("default", [], kind="default"),
        entrant("resnet", [0.9], kind="baseline", losses=[0.1]),
    ]
    after = decided(racing, (100, 1_000))
    assert [e.dropped for e in after] == ["log-loss 0.100 above sure after 2 seeds", "", "", "", ""]
    first = winner(after, 1_000)
    assert first is not None
    assert first.candidate.label == "sure"


def test_who_loses_the_race_is_told_from_the_winner_of_the_own_budget() -> None:
    both = entrant("both", [0.5, 0.5], losses=[1.4, 1.4])
    both = replace(both, candidate=replace(both.candidate, raced=(100, 1_000)))
    racing = [both, entrant("large", [0.6, 0.6], losses=[1.1, 1.1]), entrant("loser", [0.55, 0.55], losses=[1.3, 1.3])]
    assert [e.dropped for e in decided(racing, (100, 1_000))] == ["", "", "log-loss 0.200 above large after 2 seeds"]


def test_the_default_never_races_for_its_own_budget_but_may_for_another() -> None:
    both = Candidate("both", "default", (1_000,), LINEAR, "both", 650, 640, 0.5, (100,))
    racing = [Entrant(both, trainings("both", [0.5], [1.0])), entrant("other", [0.4], losses=[2.0])]
    assert winner(racing, 100) is None
    assert winner(racing, 1_000) is racing[0]
    assert [e.candidate.label for e in racers(racing)] == ["both", "other"]
    assert not racers([entrant("alone", []), entrant("default", [], kind="default")])


def test_a_margin_is_of_the_seeds_that_both_were_trained_with() -> None:
    found = margin({0: 0.52, 1: 0.53, 2: 0.51, 7: 0.9}, {0: 0.50, 1: 0.50, 2: 0.50, 3: 0.1})
    reach = 4.302653 / 3**0.5
    assert found is not None
    assert (found.difference, found.low, found.high) == pytest.approx((2.0, 2 - reach, 2 + reach))
    assert (found.n, found.is_claim) == (3, False)
    assert margin({0: 0.5}, {1: 0.4}) is None
    assert margin({0: 0.5, 1: 0.75}, {0: 0.25, 1: 0.5}) == Margin(25, None, None, 2)


def claims(gain: float, deviations: list[float], seeds: int, simulations: int) -> float:
    """The share of simulated confirmations that claim a margin over the default, which is the first of the networks,
    where all others are better by `gain`. One value deviates by a network's deviation. All in accuracy points."""
    rng = np.random.default_rng(0)
    claimed = 0
    for _ in range(simulations):
        drawn = 50 + gain + np.array(deviations)[:, None] * rng.standard_normal((len(deviations), RACE_SEEDS + seeds))
        drawn[0] -= gain
        race = {
            str(i): entrant(str(i), list(own[:RACE_SEEDS] / 100), losses=list(1 - own[:RACE_SEEDS] / 100))
            for i, own in enumerate(drawn)
            if i
        }
        first = winner(decided(dropped(list(race.values()), 5_000), (1_000,)), 1_000)
        assert first is not None
        after = drawn[int(first.candidate.label)][RACE_SEEDS:] - drawn[0][RACE_SEEDS:]
        found = margin_of(list(after))
        claimed += found is not None and found.is_claim
    return claimed / simulations


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("deviations", [[0.5] * 6, [0.3, 0.3, 0.5, 0.8, 1.2, 2.0], [1.0, 0.2, 0.2, 0.2]])
def test_where_nothing_is_better_than_the_default_at_most_5_in_100_confirmations_claim_so(
    deviations: list[float], seeds: int
) -> None:
    assert claims(0.0, deviations, seeds, simulations=1_000) <= 0.05


def test_where_the_search_gained_two_points_nearly_every_confirmation_of_five_seeds_says_so() -> None:
    assert claims(2.0, [0.5] * 6, seeds=5, simulations=300) > 0.95


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


def test_winner_default_and_baselines_are_trained_with_every_seed_and_the_test_split_is_read_once(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = confirmed(run, seeds=2, workers=2)
    verdicts = {verdict["budget"]: verdict for verdict in content["verdicts"]}
    by_network = {entry["network"]: entry for entry in content["networks"]}
    assert list(verdicts) == [300, 900]
    for budget, verdict in verdicts.items():
        winner, default = by_network[verdict["winner"]], by_network[verdict["default"]]
        assert (winner["dropped"], default["dropped"], default["default_of"]) == (None, None, [budget])
        ours, theirs = winner["validation"]["values"], default["validation"]["values"]
        difference = 100 * sum(a - b for a, b in zip(ours, theirs, strict=True)) / 2
        assert verdict["margin"] == {"difference": pytest.approx(difference), "low": None, "high": None, "n": 2}
        assert (
            verdict["words"]
            == f"no difference to the default shown: {difference:+.1f} points, n = 2, too few for an interval"
        )
    baselines = {entry["label"] for entry in content["networks"] if entry["kind"] == "baseline"}
    assert baselines >= {"resnet scaled to 900", "vgg scaled to 900"}
    confirmed_ones = [entry for entry in content["networks"] if not entry["dropped"]]
    assert content["networks"][: len(confirmed_ones)] == confirmed_ones  # the others come last
    for entry in confirmed_ones:
        assert entry["parameters"] <= entry["budget"]
        assert entry["validation"]["n"] == entry["test"]["n"] == 2
        assert entry["test"]["deviation"] is not None
        assert entry["gap"] == pytest.approx(entry["validation"]["mean"] - entry["test"]["mean"])
        assert (run / entry["best"] / "weights.pt").exists()
    for entry in content["networks"][len(confirmed_ones) :]:
        assert (entry["validation"], entry["test"]) == (None, None)
        assert entry["race"]["n"] <= RACE_SEEDS
    assert content["test_reads"] == 1
    assert json.loads((run / "confirmed.json").read_text()) == content == read_confirmed(run)

    ours = [by_network[verdicts[900][role]] for role in ("winner", "default")]
    best = min(ours, key=lambda entry: entry["validation_loss"])
    exported = exportables(run, (900,))["900"]
    weights = torch.load(run / best["best"] / "weights.pt", weights_only=True)
    assert exported.weights.keys() == weights.keys()
    assert all(torch.equal(exported.weights[name], weights[name]) for name in weights)
    measured = {own.split: own.values for own in exported.card.measured}
    assert measured == {
        "validation": tuple(best["validation"]["values"]),
        "test": tuple(best["test"]["values"]),
    }
    said = "the space's default, than which nothing that was found is better; confirmed, weights of "
    assert exported.origin.startswith(said if best["default_of"] else "confirmed, weights of ")
    assert exported.origin.endswith(" on the test split over 2 seeds")
    assert bool(exported.card.found) == bool(best["default_of"])
    assert card_text(exported.network, exported.card, {}).count("Over 2 seeds") == 1

    assert set(best["int8"]) == {"validation", "test", "failure"}
    assert best["int8"]["failure"] is None
    metrics = read_metrics(training_folder(run / best["best"]))
    for split, of_torch in (("validation", metrics.accuracy), ("test", metrics.test_accuracy)):
        found = best["int8"][split]
        assert found["fp32"] == pytest.approx(of_torch, abs=0.03)  # torch may judge in bf16
        assert abs(found["int8"] - found["fp32"]) <= 0.2
    judged = {entry["network"] for entry in content["networks"] if entry["int8"]}
    assert len(judged) == 2  # the best of each budget

    assert main(["show", str(run)]) == 0
    shown = capsys.readouterr().err
    assert all(f"confirmed {line}" in shown for line in verdict_lines(content))
    page = report_html(run)
    assert "<td class=n>the default</td>" in page
    assert all(escape(line) in page for line in verdict_lines(content))

    before = trained(run)
    without_test_split(run)
    with pytest.raises(DataError):
        load_test(str(run.parent / "data.npz"))
    again = confirmed(run, seeds=2, workers=2)
    assert again == content  # neither trained nor read again
    assert trained(run) == before


def test_the_trainings_of_a_confirmation_have_seeds_and_splits_that_the_search_has_not(run: Path) -> None:
    confirmed(run, seeds=2, baselines=False, workers=1)
    seeds = {path.name.rpartition("-")[2]: training_folder(path).read().seed for path in (run / "confirmed").iterdir()}
    assert {"race0", "race1", "seed0", "seed1"} >= set(seeds) >= {"seed0", "seed1"}
    assert len(set(seeds.values())) == len(seeds)
    assert run_folder(run).read().seed not in seeds.values()


def test_a_network_more_is_tested_by_one_more_reading(run: Path) -> None:
    first = confirmed(run, seeds=1, baselines=False, budget=(300,), workers=1)
    assert first["test_reads"] == 1
    assert [entry["test"]["low"] for entry in first["networks"]] == [None] * len(first["networks"])
    more = confirmed(run, seeds=1, baselines=False, workers=1)
    assert more["test_reads"] == 2
    assert len(more["networks"]) > len(first["networks"])
    assert [verdict["budget"] for verdict in more["verdicts"]] == [300, 900]
    assert len(more["commands"]) == 2
    fewer = confirmed(run, seeds=1, baselines=False, budget=(300,), workers=1)
    assert fewer["test_reads"] == 2
    assert fewer["verdicts"] == more["verdicts"]
    assert {entry["network"]: entry["test"] for entry in fewer["networks"]} == {
        entry["network"]: entry["test"] for entry in more["networks"]
    }


def test_that_the_test_split_was_read_is_known_without_confirmed_json_too(run: Path) -> None:
    before = confirmed(run, seeds=1, baselines=False, top=1, workers=1)
    (run / "confirmed.json").write_text("")
    with pytest.raises(RunError, match=r"\.json cannot be read: .*; restore it, or delete it and confirm again"):
        confirmed(run, seeds=1, baselines=False, top=1, workers=1)
    (run / "confirmed.json").unlink()
    assert confirmed(run, seeds=1, baselines=False, top=1, workers=1) == before


def test_nothing_but_judging_is_left_when_the_test_split_has_been_read(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as context:
        context.setattr("nas.results.export.int8.judging.quantised_network", short)
        with pytest.raises(MemoryError):
            confirmed(run, seeds=1, baselines=False, top=1, workers=1)
    assert confirmed(run, seeds=1, baselines=False, top=1, workers=1)["test_reads"] == 1


@pytest.mark.parametrize("where", ["int8.json", "locks/training.lock"])
def test_a_write_that_fails_once_while_networks_are_judged_is_tried_again(
    run: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A folder lies where a file is to be, from when the split is read until somebody waits."""
    obstacles: list[Path] = []

    def read(training: Training, data: SearchData) -> Split:
        split = read_test(training, data)
        for folder in (run / "confirmed").iterdir():
            place = folder / where
            obstacle = place if place.parent.name == "locks" else place.with_name(f"{place.name}.partial")
            obstacle.unlink(missing_ok=True)
            obstacle.mkdir()
            obstacles.append(obstacle)
        return split

    def paused(seconds: float) -> None:
        while obstacles:
            obstacles.pop().rmdir()

    with monkeypatch.context() as context:
        context.setattr("nas.results.confirming.confirm.read_test", read)
        context.setattr(time, "sleep", paused)
        found = confirmed(run, seeds=1, baselines=False, top=1, workers=1)
    assert not obstacles
    assert found["test_reads"] == 1


def test_a_seed_that_was_tested_stays_in_the_mean_when_fewer_are_asked_for(run: Path) -> None:
    two = confirmed(run, seeds=2, baselines=False, top=1, workers=1)
    one = confirmed(run, seeds=1, baselines=False, top=1, workers=1)
    assert one["networks"] == two["networks"]
    assert one["verdicts"] == two["verdicts"]
    assert (one["seeds"], one["test_reads"]) == (2, 1)
    flags = build_parser().parse_args(shlex.split(one["commands"][0])[1:])
    assert (flags.run, flags.seeds, flags.top, flags.baselines) == (str(run), 2, 1, False)
    base = named_recipe("final", 192)
    assert changed(base, parse_changes(flags.changes)) == changed(base, CHANGES | {"augmentation": ()})


def test_who_fails_in_the_race_is_out_of_it_and_the_verdict_is_of_the_others(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several, "DEATHS", 1)
    lost: list[str] = []

    def lose(label: str, metrics: Metrics, epochs: int) -> None:
        """The process of the first training of the race is killed, which is as often as it may be."""
        if label.startswith("race, 1 of ") and not lost:
            lost.append(label.partition(": ")[2].rpartition(", ")[0])
            for child in set(children(os.getpid())) - others:
                kill(child)

    others = set(children(os.getpid()))
    asked = ConfirmOptions(run, changes=CHANGES | {"epochs": 40}, seeds=1, baselines=False, workers=1, device="cpu")
    content = confirm(asked, lose)
    (loser,) = [entry for entry in content["networks"] if entry["failures"]]
    assert [loser["label"]] == lost
    assert loser["failures"][0].startswith("the process was killed by signal 9")
    assert loser["dropped"] == ("failed in the race" if loser["kind"] == "found" else None)
    assert loser["network"] not in [verdict["winner"] for verdict in content["verdicts"]]
    small, large = content["verdicts"]
    assert small["words"] == "no network of the search is left beside the default"
    assert (small["winner"], small["margin"], large["margin"]["n"]) == (None, None, 1)


def test_one_budget_of_several_can_be_confirmed(run: Path) -> None:
    content = confirmed(run, seeds=1, baselines=False, budget=(300,), workers=1)
    assert [entry["budgets"] for entry in content["networks"]] == [[300], [300]]  # the winner and the default
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


def test_arrays_of_a_search_lie_in_its_folder_until_they_are_gone(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    with np.load(data) as arrays:
        images, labels = arrays["x_train"], arrays["y_train"]
    run = tmp_path / "run"
    search(
        arrays=(images, labels), budget=900, trials=1, epochs=1, strategies=("random",), stop="none",
        space=str(write_space(tmp_path)), out=run, workers=1, device="cpu",
    )  # fmt: skip
    before = (run / "settings.json").read_bytes()
    with pytest.raises(RunError, match="which lie in it; leave the data set out"):
        export(run, to=tmp_path / "models", dataset=str(data))
    folder = run_folder(run)
    np.savez(run / "data.npz", x_train=images[::-1], y_train=labels, x_test=images[:0], y_test=labels[:0])
    with pytest.raises(DataError, match=r"data.npz is not what the search began with: .* differ; restore it$"):
        load_data_of(folder.read(), folder)
    (run / "data.npz").unlink()
    with pytest.raises(DataError, match=r"data.npz is gone, the arrays that were searched; restore it, or give --data"):
        load_data_of(folder.read(), folder)
    assert (run / "settings.json").read_bytes() == before
    np.savez(tmp_path / "kept.npz", x_train=images, y_train=labels, x_test=images[:0], y_test=labels[:0])
    export(run, to=tmp_path / "models", dataset=str(tmp_path / "kept.npz"))
    assert (tmp_path / "models").is_dir()
    assert load_data_of(folder.read(), folder).checksum == folder.read().data_checksum


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
