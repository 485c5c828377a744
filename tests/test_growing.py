"""Searches that are asked for more than before, whose data have moved, or whose space has changed: they go on."""

import io
import json
import shutil
import subprocess
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import searching

from nas.cli.main import main
from nas.search.notes import left_aside
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


def test_fewer_trials_other_epochs_and_other_seeds_are_refused(folder: Path) -> None:
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
    assert f"digits is not what {out} searched on: its images or labels differ" in done.stderr
    assert (out / "settings.json").read_bytes() == settings
