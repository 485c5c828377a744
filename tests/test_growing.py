"""Searches that are asked for more than before, whose data have moved, or whose space has changed: they go on."""

import io
import json
import re
import shutil
import subprocess
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import pytest
import searching

from nas.cli.main import main
from nas.machine.folders import WorkFolder
from nas.search.notes import left_aside, read_notes
from nas.search.records import read_run
from nas.search.search import run_folder
from nas.search.studies import open_studies


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of one strategy and one budget, of four trials of one epoch."""
    folder = tmp_path_factory.mktemp("small")
    done = searching.run_cli(command(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """The same again, at the same path for what it says of itself."""
    copy = shutil.copytree(finished, tmp_path / "copy")
    for name in ("settings.json", "pareto.json"):
        file = copy / "out" / name
        file.write_text(file.read_text().replace(str(finished), str(copy)))
    return copy


def command(folder: Path, *flags: str, trials: int = 4, space: str = "", data: str = "") -> list[str]:
    words = searching.command(folder, folder / "out", "--workers", "1", *flags, trials=trials, epochs=1)
    for flag, value in (("--space", space), ("--dataset", data)):
        if value:
            words[words.index(flag) + 1] = value
    return words


def trained(folder: Path) -> dict[tuple[str, int, int], tuple[str, float]]:
    """What each trial came to: network and accuracy."""
    _, records = read_run(run_folder(folder / "out"))
    return {(r.strategy, r.budget, r.number): (r.network, r.accuracy) for r in records if r.is_finished}


def test_more_trials_strategies_and_budgets_go_on_and_keep_what_there_was(folder: Path) -> None:
    before = trained(folder)
    more = ("--strategies", "tpe,random", "--no-baselines", "--budget", "500,2000")
    done = searching.run_cli(command(folder, *more, trials=6))
    assert done.returncode == 0, done.stderr
    assert "continues a smaller search, whose results are kept: " in done.stderr
    for change in ("trials was 4, now 6", "budgets was 2000, now 500,2000", "strategies was tpe, now tpe,random"):
        assert change in done.stderr
    after = trained(folder)
    assert len(after) == 4 * 6
    assert before.items() <= after.items()
    again = searching.run_cli(command(folder, *more, trials=6))
    assert again.returncode == 0
    assert "continues a smaller" not in again.stderr
    assert trained(folder) == after


def test_a_search_of_an_earlier_version_goes_on(folder: Path) -> None:
    settings = folder / "out" / "settings.json"
    of_now = json.loads(settings.read_text())
    earlier = {name: value for name, value in of_now.items() if name not in ("beginnings", "space_fingerprint")}
    settings.write_text(json.dumps(earlier))
    before = trained(folder)
    done = searching.run_cli(command(folder))
    assert done.returncode == 0, done.stderr
    assert "continues a smaller" not in done.stderr
    assert trained(folder) == before
    assert json.loads(settings.read_text()) == of_now


def longer(folder: Path, *flags: str, epochs: int, trials: int = 4) -> list[str]:
    words = command(folder, *flags, trials=trials)
    words[words.index("--epochs") + 1] = str(epochs)
    return words


def test_more_epochs_train_every_network_on_as_if_they_had_been_asked_for_at_once(folder: Path) -> None:
    front = (folder / "out" / "pareto.json").read_bytes()
    done = searching.run_cli(longer(folder, "--strategies", "tpe,random", epochs=3, trials=6))
    assert done.returncode == 0, done.stderr
    assert "epochs was 1, now 3" in done.stderr
    found = re.search(r"(\d+) networks came to epoch 1, then the last: each counts as stopped there", done.stderr)
    assert found
    assert int(found[1]) == len({network for network, _ in trained(folder).values()} & trained_before(folder))
    assert (folder / "out" / "pareto-1-epochs.json").read_bytes() == front
    search, records = read_run(run_folder(folder / "out"))
    assert len(records) == search.all_trials
    assert all(record.is_measured and len(record.curve) == 3 for record in records)
    shutil.rmtree(folder / "out")
    assert searching.run_cli(longer(folder, "--strategies", "tpe,random", epochs=3, trials=6)).returncode == 0
    at_once = {r.network: r.curve for r in read_run(run_folder(folder / "out"))[1]}
    common = [record for record in records if record.network in at_once]
    assert len(common) > len(records) / 2
    assert all(record.curve == at_once[record.network] for record in common)


def trained_before(folder: Path) -> set[str]:
    """The networks that were trained for fewer epochs."""
    search, _ = read_run(run_folder(folder / "out"))
    notes = (read_notes(t) for s in open_studies(search, run_folder(folder / "out"), None).values() for t in s.trials)
    return {noted.network for noted in notes if noted.cut}


def test_more_epochs_train_on_what_is_worth_it_where_a_rule_stops(tmp_path: Path) -> None:
    searching.write_data(tmp_path)
    stop = ("--strategies", "random,evolution", "--stop", "extrapolate", "--audit", "0")
    assert searching.run_cli(longer(tmp_path, *stop, epochs=2, trials=12)).returncode == 0
    before = {key: accuracy for key, (_, accuracy) in trained(tmp_path).items()}
    again = longer(tmp_path, *stop, epochs=5, trials=12)
    searching.run_cli([*again, "--time-limit", "0.3s"])
    done = searching.run_cli(again)
    assert done.returncode == 0, done.stderr
    search, records = read_run(run_folder(tmp_path / "out"))
    assert len(records) == len(before) == search.all_trials
    lengths = {len(record.curve) for record in records}
    assert {2, 5} <= lengths, "some have gone on, and some have not"
    for record in records:
        assert record.is_measured == (len(record.curve) == 5)
        assert record.predicted is None or 0 <= record.predicted <= 1
    best = max((record for record in records), key=lambda record: record.value)
    assert best.is_measured
    front = json.loads((tmp_path / "out" / "pareto.json").read_text())
    assert front["counts"]["proposed"] == len(before)


def test_what_one_strategy_has_taken_over_from_another_goes_on_too(tmp_path: Path) -> None:
    both = ("--strategies", "greedy-full,greedy", "--no-baselines")
    assert searching.run_cli(longer(tmp_path, *both, epochs=1, trials=2)).returncode == 0
    assert "replayed" in {record.state for record in read_run(run_folder(tmp_path / "out"))[1]}
    assert searching.run_cli(longer(tmp_path, *both, epochs=2, trials=2)).returncode == 0
    assert all(record.is_measured and len(record.curve) == 2 for record in read_run(run_folder(tmp_path / "out"))[1])


def test_what_a_worker_of_the_smaller_search_tells_afterwards_counts_as_cut_off(folder: Path) -> None:
    run = run_folder(folder / "out")
    before = run.read()
    run.renew(replace(before, epochs=2, recipe=replace(before.recipe, epochs=2)))
    _, records = read_run(run)
    assert {(record.state, record.stopped, record.cut) for record in records} == {("stopped", 1, True)}
    assert searching.run_cli(longer(folder, epochs=2)).returncode == 0
    assert all(record.is_measured and len(record.curve) == 2 for record in read_run(run)[1])


def test_a_search_that_died_while_it_grew_is_what_it_was_and_can_grow_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trained(folder)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(WorkFolder, "renew", die)
        assert searching.run_cli(longer(folder, epochs=2)).returncode != 0
    assert trained(folder).keys() == before.keys()
    assert searching.run_cli(command(folder)).returncode == 0
    assert trained(folder) == before
    assert searching.run_cli(longer(folder, epochs=2)).returncode == 0
    _, records = read_run(run_folder(folder / "out"))
    assert [len(record.curve) for record in records if record.is_measured] == [2] * len(before)


def test_fewer_trials_fewer_epochs_and_other_seeds_are_refused(folder: Path) -> None:
    for flags, change in ((("--seed", "1"), "seed was 0, now 1"), (("--below", "0"), "below was 0.25, now 0.0")):
        done = searching.run_cli(command(folder, *flags))
        assert done.returncode == 2
        assert change in done.stderr
    fewer = searching.run_cli(command(folder, trials=3))
    assert (fewer.returncode, "trials was 4, now 3" in fewer.stderr) == (2, True)


def test_data_that_have_moved_are_found_by_their_checksum(folder: Path) -> None:
    before = trained(folder)
    moved = folder / "elsewhere.npz"
    (folder / "data.npz").rename(moved)
    done = searching.run_cli(command(folder, data=str(moved), trials=5))
    assert done.returncode == 0, done.stderr
    assert before.items() <= trained(folder).items()
    assert json.loads((folder / "out" / "settings.json").read_text())["dataset"] == str(moved)


CHANGES: dict[str, tuple[str, str]] = {
    "a comment": ("kind: str", "# told apart\n    kind: str"),
    "an option that is refused now": ("        body =", "        assert self.kernel == 3\n        body ="),
    "another network": ("stride=2, expansion=2", "stride=2, expansion=1 + (self.kernel == 3)"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_space_goes_on_if_that_is_said(folder: Path, change: str) -> None:
    before = trained(folder)
    searching.write_space(folder, searching.SPACE.replace(*CHANGES[change]))
    refused = searching.run_cli(command(folder, trials=5))
    assert refused.returncode == 2
    assert "--changed-space" in refused.stderr
    done = searching.run_cli(command(folder, "--changed-space", trials=5))
    assert done.returncode == 0, done.stderr
    assert "the file of the space has changed since this search began" in done.stderr
    search, _ = read_run(run_folder(folder / "out"))
    (study,) = open_studies(search, run_folder(folder / "out"), None).values()
    aside = left_aside(study)
    after = trained(folder)
    assert len(after) == 5
    assert {number for _, _, number in before.keys() - after.keys()} == aside
    assert {key: value for key, value in before.items() if key in after}.items() <= after.items()
    assert bool(aside) == (change != "a comment")
    assert all((f"#{number}" in done.stderr) for number in aside)
    if not aside:
        assert "it makes every network as before" in done.stderr


def test_a_knob_with_other_options_cannot_go_on_in_the_same_study(folder: Path) -> None:
    searching.write_space(folder, searching.SPACE.replace('"conv", "basic"', '"conv", "basic", "bottleneck"'))
    done = searching.run_cli(command(folder, "--changed-space"))
    assert done.returncode == 2
    assert "knob 'kind' has other options than in tpe-2000" in done.stderr
    assert "--warm-start" in done.stderr


def run_cli(*arguments: object) -> "subprocess.CompletedProcess[str]":
    said = io.StringIO()
    with redirect_stderr(said):
        code = main(list(map(str, arguments)))
    return subprocess.CompletedProcess([], code, "", said.getvalue())


def test_what_is_made_of_a_run_finds_its_data_where_they_lie_now(tmp_path: Path) -> None:
    out, trained = tmp_path / "out", tmp_path / "trained"
    assert searching.run_cli(searching.command(tmp_path, out, "--workers", "1", trials=2, epochs=1)).returncode == 0
    training = ["train", "plain", "--dataset", tmp_path / "data.npz", "--epochs", 1, "--out", trained]
    assert run_cli(*training).returncode == 0
    moved = (tmp_path / "data.npz").rename(tmp_path / "elsewhere.npz")
    lost = run_cli("confirm", out, "--epochs", 1, "--seeds", 1, "--no-baselines")
    assert lost.returncode == 2
    assert "data.npz" in lost.stderr
    assert "--dataset" in lost.stderr
    quick = ["--epochs", 1, "--seeds", 1, "--no-baselines", "--workers", 1]
    done = run_cli("confirm", out, *quick, "--dataset", moved)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "settings.json").read_text())["dataset"] == str(moved)
    again = (tmp_path / "elsewhere.npz").rename(tmp_path / "again.npz")
    for source in (out, trained):
        exported = run_cli("export", source, "--to", tmp_path / f"models-{source.name}", "--dataset", again)
        assert exported.returncode == 0, exported.stderr


def test_other_data_are_not_taken_for_those_that_have_moved(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert searching.run_cli(searching.command(tmp_path, out, "--workers", "1", trials=2, epochs=1)).returncode == 0
    settings = (out / "settings.json").read_bytes()
    done = run_cli("confirm", out, "--epochs", 1, "--seeds", 1, "--dataset", "digits")
    assert done.returncode == 2
    assert "digits is not what the search began with: its images or labels differ" in done.stderr
    assert (out / "settings.json").read_bytes() == settings
