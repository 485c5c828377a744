"""The main job end to end: real processes, real training on tiny data, real files."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import searching

import nas
from nas.machine.timeline import ACTIVITIES, read_timelines, spent
from nas.search.notes import read_notes
from nas.search.search import run_folder
from nas.search.studies import same_space_of
from nas.space.designs import DESIGNS
from nas.stopping.rules import RULES

TWO_BUDGETS = ("--budget", "500,2000")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of two budgets and two strategies, run to its end by two workers."""
    folder = tmp_path_factory.mktemp("search")
    flags = (*TWO_BUDGETS, "--strategies", "tpe,random", "--no-baselines", "--workers", "2")
    done = searching.run_cli(searching.command(folder, folder / "out", *flags, trials=5))
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return folder


def test_every_strategy_gets_its_trials_at_every_budget_and_none_is_over_budget(finished: Path) -> None:
    counts = searching.result(finished / "out")["counts"]
    assert counts["proposed"] == 20
    assert counts["over_budget"] == 0
    assert counts["failed"] == 0
    assert counts["trained"] + counts["replayed"] + counts["stopped"] == 20


def test_the_workers_note_what_they_did_from_their_start_to_their_end(finished: Path) -> None:
    workers = read_timelines(finished / "out" / "workers")
    assert list(workers) == [0, 1]
    studies = {f"{strategy}-{budget}" for strategy in ("tpe", "random") for budget in (500, 2000)}
    for stretches in workers.values():
        assert stretches[0].seconds["start"] > 0
        assert stretches[-1].trial == ""
        assert {stretch.trial.rpartition("/")[0] for stretch in stretches[:-1]} <= studies
        for before, after in pairwise(stretches):
            assert after.began == pytest.approx(before.ended, abs=0.01)
    seconds = spent(workers)
    assert {*ACTIVITIES, "idle"} - {"wait"} <= set(seconds)
    assert seconds["steps"] > 0


def test_strategies_that_propose_the_same_network_share_its_training(finished: Path) -> None:
    content = searching.result(finished / "out")
    assert content["counts"]["replayed"] >= 2, "both strategies begin with the default network of each budget"
    shared = [entry for entry in content["front"] if len({found["strategy"] for found in entry["found_by"]}) == 2]
    for entry in shared:
        assert len(entry["curve"]) == 2


def test_the_front_rises_and_names_the_best_network_of_each_budget(finished: Path) -> None:
    content = searching.result(finished / "out")
    front = content["front"]
    sizes = [entry["parameters"] for entry in front]
    accuracies = [entry["validation_accuracy"] for entry in front]
    assert sizes == sorted(set(sizes))
    assert accuracies == sorted(set(accuracies))
    assert [best["budget"] for best in content["best"]] == [500, 2000]
    for best in content["best"]:
        within = [entry for entry in front if entry["parameters"] <= best["budget"]]
        assert best["network"] == within[-1]["network"]
        assert best["share_of_budget"] == best["parameters"] / best["budget"] <= 1


def test_weights_are_kept_for_the_front_alone(finished: Path) -> None:
    front = {entry["network"] for entry in searching.result(finished / "out")["front"]}
    assert {path.stem for path in (finished / "out" / "weights").glob("*.pt")} == front


def test_a_run_is_plain_optuna_storage(finished: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(finished / "out" / "journal.log")))
    names = set(optuna.get_all_study_names(storage))
    assert names == {"tpe-500", "random-500", "tpe-2000", "random-2000"}
    study = optuna.load_study(study_name="tpe-2000", storage=storage)
    assert set(study.trials[0].params) == {"kind", "blocks", "width", "kernel"}
    for trial in study.trials:
        noted = read_notes(trial)
        if not noted.replayed:
            assert sorted(trial.intermediate_values) == list(range(1, (noted.stopped or 2) + 1))
    assert study.best_value == max(trial.value or 0 for trial in study.trials)


def test_the_same_command_on_a_finished_run_changes_nothing(finished: Path) -> None:
    before = (finished / "out" / "pareto.json").read_bytes()
    flags = (*TWO_BUDGETS, "--strategies", "tpe,random", "--no-baselines", "--workers", "2")
    again = searching.run_cli(searching.command(finished, finished / "out", *flags, trials=5))
    assert again.returncode == 0
    assert (finished / "out" / "pareto.json").read_bytes() == before


def test_other_settings_on_the_same_folder_are_refused_with_what_differs(finished: Path) -> None:
    refused = searching.run_cli(searching.command(finished, finished / "out", *TWO_BUDGETS, trials=9))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "trials was 5, now 9" in refused.stderr
    assert "strategies was tpe,random, now tpe" in refused.stderr


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search in which most trainings are stopped, and some of them audited."""
    folder = tmp_path_factory.mktemp("stopped")
    flags = ("--strategies", "tpe,random", "--workers", "2", "--stop-threshold", "0.2", "--audit", "0.3")
    done = searching.run_cli(searching.command(folder, folder / "out", *flags, trials=11, epochs=6))
    assert done.returncode == 0, done.stderr
    assert "stopped early (extrapolate)" in done.stderr
    return folder / "out"


def test_a_predicted_value_is_told_and_flagged_but_never_reported_as_measured(stopped: Path) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    content = searching.result(stopped)
    counts = content["counts"]
    assert counts["stopped"] > 0
    assert counts["trained"] + counts["replayed"] + counts["stopped"] == counts["proposed"] == 22 + len(DESIGNS)
    assert all(len(entry["curve"]) == 6 for entry in content["front"])
    assert all(baseline["validation_accuracy"] is not None for baseline in content["baselines"])
    storage = JournalStorage(JournalFileBackend(str(stopped / "journal.log")))
    flagged = 0
    for name in ("tpe-2000", "random-2000"):
        study = optuna.load_study(study_name=name, storage=storage)
        for trial in study.trials:
            assert trial.state == optuna.trial.TrialState.COMPLETE
            noted = read_notes(trial)
            if noted.stopped:
                flagged += not noted.replayed
                assert len(noted.curve) == noted.stopped < 6
                assert trial.value is not None
                assert 0 <= trial.value <= 1
            else:
                assert len(noted.curve) == 6
                assert trial.value == noted.curve[-1][2]
    assert flagged >= counts["stopped"]


def test_what_stopping_saved_and_whether_it_was_right_is_reported(stopped: Path) -> None:
    content = searching.result(stopped)
    stopping = content["stopping"]
    assert stopping["rule"] == "extrapolate"
    assert stopping["stopped"] == content["counts"]["stopped"]
    assert 0 < stopping["epochs_spent"] < stopping["epochs_in_full"]
    assert stopping["audited"] >= stopping["false_stops"]
    assert stopping["predictions"] > 0
    assert 0 <= stopping["coverage"]["50"] <= stopping["coverage"]["80"] <= stopping["coverage"]["95"] <= 1
    assert [at["epoch"] for at in stopping["rank_correlation"]] == [1, 2, 3, 4, 5]


def test_weights_of_stopped_trainings_are_kept_while_they_may_go_on(stopped: Path, tmp_path: Path) -> None:
    front = {entry["network"] for entry in searching.result(stopped)["front"]}
    assert {path.stem for path in (stopped / "weights").glob("*.pt")} == front
    flags = ("--workers", "1", "--stop-threshold", "0.3")
    arguments = searching.command(tmp_path, tmp_path / "out", *flags, trials=60, epochs=6)
    search = subprocess.Popen(
        arguments, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, preexec_fn=searching.listen_to_interrupts
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (tmp_path / "out" / "pareto.json").exists() and searching.result(tmp_path / "out")["counts"]["stopped"] > 1:
            break
        time.sleep(0.1)
    search.send_signal(signal.SIGINT)
    search.wait(timeout=60)
    content = searching.result(tmp_path / "out")
    kept = {path.stem for path in (tmp_path / "out" / "weights").glob("*.pt")}
    assert len(kept - {entry["network"] for entry in content["front"]}) >= content["counts"]["stopped"] > 1


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"extrapolate"}))
def test_every_rule_runs(tmp_path: Path, rule: str) -> None:
    """The rule that nobody asks for has runs of its own above."""
    flags = ("--workers", "1", "--no-baselines", "--stop", rule)
    done = searching.run_cli(searching.command(tmp_path, tmp_path / "out", *flags, trials=8, epochs=4))
    assert done.returncode == 0, done.stderr
    content = searching.result(tmp_path / "out")
    assert content["stopping"]["rule"] == rule
    assert content["counts"]["trained"] >= 1
    assert content["counts"]["stopped"] > 0 or rule != "halving"
    assert content["counts"]["stopped"] == 0 or rule != "none"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--stop", "never"), f"stop must be of {', '.join(RULES)} but got 'never'"),
        (("--stop-threshold", "2"), "stop_threshold must be at least 0 and at most 1 but got 2.0"),
        (("--audit", "-0.1"), "audit must be at least 0 and at most 1 but got -0.1"),
    ],
)
def test_settings_of_stopping_that_make_no_sense_are_refused(
    tmp_path: Path, flags: tuple[str, ...], complaint: str
) -> None:
    refused = searching.run_cli(searching.command(tmp_path, tmp_path / "out", *flags))
    assert refused.returncode == 2
    assert refused.stderr == f"nas: {complaint}\n"


def test_show_and_list_and_count_read_a_run(finished: Path) -> None:
    from nas.cli.main import main

    assert main(["show", str(finished / "out")]) == 0
    assert main(["list", str(finished)]) == 0
    assert main(["count", str(finished / "out"), "--select", "2000"]) == 0


@pytest.mark.slow
def test_one_worker_gives_the_same_result_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        done = searching.run_cli(searching.command(tmp_path, tmp_path / name, "--workers", "1", trials=3, epochs=1))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "pareto.json").read_bytes() == (tmp_path / "b" / "pareto.json").read_bytes()


def test_interrupting_stops_at_the_next_epoch_and_says_how_to_go_on(tmp_path: Path) -> None:
    arguments = searching.command(tmp_path, tmp_path / "out", "--workers", "1", trials=40, epochs=4)
    search = subprocess.Popen(
        arguments,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        preexec_fn=searching.listen_to_interrupts,
    )
    searching.wait_for_trials(tmp_path / "out", 2)
    search.send_signal(signal.SIGINT)
    _, said = search.communicate(timeout=60)
    assert search.returncode == 130
    assert "the same command goes on from here" in said
    assert 0 < searching.result(tmp_path / "out")["counts"]["trained"] < 40


def test_a_time_limit_ends_the_search_with_what_it_has(tmp_path: Path) -> None:
    for limit in (8, 30):  # on a busy machine the first may pass before anything is trained
        flags = ("--workers", "1", "--no-baselines", "--time-limit", f"{limit}s")
        started = time.monotonic()
        done = searching.run(searching.command(tmp_path, tmp_path / f"out{limit}", *flags, trials=4000))
        assert time.monotonic() - started < limit + 45
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    assert "time limit reached" in done.stderr
    assert 0 < searching.result(tmp_path / f"out{limit}")["counts"]["trained"] < 4000


def test_two_searches_cannot_share_a_folder(tmp_path: Path) -> None:
    arguments = searching.command(tmp_path, tmp_path / "out", "--workers", "1", trials=400)
    first = subprocess.Popen(
        arguments, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, preexec_fn=searching.listen_to_interrupts
    )
    searching.wait_for_trials(tmp_path / "out", 1)
    second = searching.run_cli(arguments)
    first.send_signal(signal.SIGINT)
    first.wait(timeout=60)
    assert second.returncode == 2
    assert "another search is running" in second.stderr


def failing_space(statement: str) -> str:
    """The tiny space with a statement at the head of network() for inverted blocks."""
    body = f'        if self.kind == "inverted":\n            {statement}\n        body ='
    return searching.SPACE.replace("        body =", body)


TOO_LARGE = "Conv(shape[0], shape[0], 1, padding=30_000), "
"""A layer of one parameter whose output takes a terabyte."""


def test_a_network_that_does_not_fit_in_memory_fails_its_trial_and_the_search_goes_on(tmp_path: Path) -> None:
    returned = f"return Sequence(({TOO_LARGE}body, classifier(self.width, classes)))"
    code = searching.SPACE.replace(
        "        return", f'        if self.kind == "inverted":\n            {returned}\n        return'
    )
    searching.write_space(tmp_path, "from nas import Conv\n" + code)
    done = searching.run_cli(searching.command(tmp_path, tmp_path / "out", "--workers", "1", trials=24, epochs=1))
    assert done.returncode == 0, done.stderr
    content = searching.result(tmp_path / "out")
    assert content["counts"]["failed"] >= 1
    assert content["counts"]["trained"] >= 1
    assert sum(content["failures"].values()) == content["counts"]["failed"]
    assert all("can't allocate memory" in reason for reason in content["failures"])


def test_the_same_failure_in_every_trial_ends_the_search_with_that_reason(tmp_path: Path) -> None:
    code = "from nas import Conv\n" + searching.SPACE.replace("Sequence((body,", f"Sequence(({TOO_LARGE}body,")
    searching.write_space(tmp_path, code)
    done = searching.run_cli(searching.command(tmp_path, tmp_path / "out", "--workers", "1", trials=40))
    assert done.returncode == 1
    assert "every trial failed: RuntimeError" in done.stderr
    assert "can't allocate memory" in done.stderr
    assert searching.result(tmp_path / "out")["counts"]["failed"] == 3


def test_an_impossible_budget_names_the_smallest_network(tmp_path: Path) -> None:
    refused = searching.run_cli(searching.command(tmp_path, tmp_path / "out", "--budget", "20"))
    assert refused.returncode == 2
    assert refused.stderr.startswith("nas: no network of space 'tiny' has at most 20 parameters; its smallest has ")
    assert not (tmp_path / "out").exists()


def test_the_python_interface_searches_own_arrays(tmp_path: Path) -> None:
    arrays = np.load(searching.write_data(tmp_path))
    space = str(searching.write_space(tmp_path))
    arguments: dict[str, Any] = {"trials": 2, "epochs": 1, "space": space, "workers": 1, "out": tmp_path / "out"}
    result = nas.search(arrays=(arrays["x_train"], arrays["y_train"]), budget=1500, **arguments)
    assert result.ending == "complete"
    assert nas.parameters(result.network()) == result.front.networks[-1].parameters <= 1500
    best = result.front.best(1500)
    assert best is not None
    told = f"{best.validation_accuracy:.2%} with {best.parameters:,} parameters"
    assert repr(result) == f"Result({str(result.folder)!r}, complete, on the validation split: {told})"
    again = nas.search(arrays=(arrays["x_train"], arrays["y_train"]), budget=1500, **arguments)
    assert again.front == result.front


def test_the_test_split_is_not_read_by_a_search(tmp_path: Path) -> None:
    arrays = dict(np.load(searching.write_data(tmp_path)))
    arrays["x_test"] = np.full((3,), np.nan)
    np.savez(tmp_path / "data.npz", **arrays)
    done = searching.run_cli(searching.command(tmp_path, tmp_path / "out", "--workers", "1", trials=1, epochs=1))
    assert done.returncode == 0, done.stderr


def test_settings_describe_the_run(finished: Path) -> None:
    settings = json.loads((finished / "out" / "settings.json").read_text())
    assert settings["budgets"] == [500, 2000]
    assert settings["dataset"] == os.fspath(finished / "data.npz")


SCRIPT = """
import argparse
import nas

parser = argparse.ArgumentParser()
parser.add_argument("--widest", type=int, required=True)
parser.add_argument("--password", default="")
WIDEST = parser.parse_args().widest
{space}
result = nas.search(
    space=Tiny, dataset="data.npz", budget=2_000, trials=2, epochs=1, strategies="random", device="cpu", workers=1,
    out="out",
)
print(result.ending, all(network.knobs["width"] <= WIDEST for network in result.front.networks))
"""


def test_the_workers_of_a_script_import_it_with_its_arguments(tmp_path: Path) -> None:
    searching.write_data(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(space=searching.SPACE.replace("range(2, 40)", "range(2, WIDEST + 1)")))

    def called(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, str(script), *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=240
        )

    done = called("--widest", "5", "--password", "x://me:secret@there")
    assert done.stdout == "complete True\n", done.stderr
    assert json.loads((tmp_path / "out/arguments.json").read_text())[:2] == ["--widest", "5"]
    assert "secret" not in (tmp_path / "out/arguments.json").read_text()
    other = called("--widest", "6")
    assert "with other settings: what the file of the space makes (--changed-space" in other.stderr.splitlines()[-1]
    (tmp_path / "out/arguments.json").write_text('["--widest", "7"]')
    folder = run_folder(tmp_path / "out")
    with pytest.raises(nas.SpaceError, match="makes other knobs, or another network of their defaults, than where the"):
        same_space_of(folder.read(), folder, (1, 8, 8), 4)
