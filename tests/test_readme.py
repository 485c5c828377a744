"""The Python that the documentation shows works as it is shown, and README is short."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main

CHECKOUT = Path(__file__).parent.parent


def python_block(page: str, words: str) -> str:
    """The one Python block of a page of the documentation that has these words."""
    text = (CHECKOUT / "docs" / page).read_text()
    (block,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.S) if words in code]
    return str(block)


def run_python(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example_searches_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "example.py").write_text(python_block("python.md", "best = result"))
    said = run_python(tmp_path, "example.py").splitlines()
    proposed, over_budget = map(int, said[0].split())
    assert (proposed, over_budget) == (4 + 4 + 4 + 3, 0)  # linear, tpe, greedy, baselines
    assert 0 < int(said[1].split()[0]) <= 5000
    monkeypatch.chdir(tmp_path)
    rebuilt: dict[str, Any] = {}
    exec(python_block("python.md", "from_json"), rebuilt)
    assert 0 < sum(p.numel() for p in rebuilt["module"].parameters()) <= 5000


def test_the_space_example_can_be_surveyed_and_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(python_block("own-spaces.md", "class Mine"))
    flags = ["mine.py", "--budget", "20K", "--dataset", "digits"]
    monkeypatch.chdir(tmp_path)
    assert main(["space", *flags, "--json"]) == 0
    assert '"satisfiable": true' in capsys.readouterr().out
    short = ["--trials", "2", "--epochs", "1", "--workers", "1"]
    run_python(tmp_path, "-m", "nas.cli", "search", "--space", *flags, *short)
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_readme_is_one_screen_or_two() -> None:
    assert len((CHECKOUT / "README.md").read_text().split()) <= 700
