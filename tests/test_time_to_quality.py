"""benchmarks/time_to_quality.py: both ways search, what they found is trained anew, and nothing is done twice."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from searching import run

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "time_to_quality.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script as a module; it sets the number of torch's threads."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    threads = torch.get_num_threads()
    yield importlib.import_module("time_to_quality")
    torch.set_num_threads(threads)


def command(out: Path, *flags: str) -> list[str]:
    """Legs of some seconds on the digits."""
    search = ["--dataset", "digits", "--budget", "2000", "--seconds", "4", "--epochs", "1", "--trials", "2"]
    ways = ["--strategy", "random", "--usual-start", "--retrain-epochs", "1", "--device", "cpu", "--processes", "1"]
    return [sys.executable, str(SCRIPT), "--out", str(out), *search, *ways, *flags]


@pytest.mark.slow
def test_both_ways_search_and_the_same_command_goes_on_from_what_is_there(
    tmp_path: Path, script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(command(tmp_path))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (repeat,) = found["repeats"]
    for way in ("usual", "nas"):
        assert repeat[way]["trained_in_full"] <= repeat[way]["trials"]
        curve = repeat[way]["curve"]
        assert [at["seconds"] for at in curve] == sorted(at["seconds"] for at in curve)
        assert [at["observed"] for at in curve] == sorted(at["observed"] for at in curve)
        assert all(at["parameters"] <= 2_000 and at["seconds"] <= 4 and 0 <= at["retrained"] <= 1 for at in curve)
    assert found["machine"]["cores"] > 0

    code, out, err = run_here(script, monkeypatch, capsys, command(tmp_path, "--accuracies", "0.01,1.01"))
    assert code == 0
    assert "searches for" not in err
    (repeated,) = json.loads(out)["repeats"]
    assert (repeated["usual"], repeated["nas"]) == (repeat["usual"], repeat["nas"])
    easy, impossible = repeated["times"]
    assert (easy["accuracy"], impossible["usual"], impossible["nas"], impossible["ratio"]) == (0.01, None, None, None)

    code, out, err = run_here(script, monkeypatch, capsys, command(tmp_path, "--max-macs", "1M"))
    assert (code, out) == (2, "")
    assert "holds searches of other settings; repeat their command or give --out another folder" in err


def run_here(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> tuple[int, str, str]:
    """The command in this process, which has imported torch already."""
    monkeypatch.setattr(sys, "argv", words[1:])
    code = script.main()
    return code, *capsys.readouterr()


def at(seconds: float, retrained: float) -> dict[str, float]:
    return {"seconds": seconds, "retrained": retrained}


def test_the_time_to_an_accuracy_is_that_of_the_first_best_network_that_has_it_when_trained_anew(script: Any) -> None:
    curves = {
        "usual": [at(100, 0.20), at(600, 0.28), at(900, 0.30)],
        "nas": [at(50, 0.25), at(90, 0.31), at(200, 0.29)],
    }
    rows = script.compared(curves, [])
    assert [(row["accuracy"], row["usual"], row["nas"], row["ratio"]) for row in rows] == [
        (0.30, 900, 90, 10.0),
        (0.29, 900, 90, 10.0),
        (0.28, 600, 90, 6.67),
        (0.26, 600, 90, 6.67),
    ]
    assert script.compared(curves, [0.31]) == [
        {"label": "0.31", "accuracy": 0.31, "usual": None, "nas": 90, "ratio": None}
    ]
    assert script.compared(curves | {"usual": []}, [0.25])[0]["usual"] is None
    assert script.compared(curves | {"usual": []}, [])[0] == {
        "label": "usual's last - 0.0",
        "accuracy": None,
        "usual": None,
        "nas": None,
        "ratio": None,
    }


def test_the_summary_counts_how_often_each_way_came_there(script: Any) -> None:
    times = [
        {"label": "0.3", "accuracy": 0.3, "usual": 900, "nas": 90, "ratio": 10.0},
        {"label": "0.3", "accuracy": 0.3, "usual": None, "nas": 80, "ratio": None},
    ]
    assert script.summary([{"times": [row]} for row in times]) == [
        {"label": "0.3", "n": 2, "reached_by_usual": 1, "reached_by_nas": 2, "ratios": [10.0], "median_ratio": 10.0}
    ]
