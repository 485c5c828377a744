"""benchmarks/curves.py on small recorded curves: the JSON that it promises, and what it refuses."""

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import searching

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "curves.py"
EPOCHS, NETWORKS = 12, 40


def write_curves(path: Path, *, percent: bool = False, parameters: bool = True) -> Path:
    """Networks that differ in level and speed; larger ones end higher."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(NETWORKS):
        level = rng.uniform(0.4, 0.8)
        curve = level - 0.3 * np.arange(1, EPOCHS + 1) ** -rng.uniform(0.5, 1.2) + 0.005 * rng.standard_normal(EPOCHS)
        row = {f"acc_{e}": value * (100 if percent else 1) for e, value in enumerate(curve, 1)}
        rows.append({"name": "n", "params": int(1e5 * level)} | row if parameters else row)
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def asked(path: Path, *flags: str) -> list[str]:
    return [str(path), "--epochs-prefix", "acc_", "--processes", "1", *flags]


def run(path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return searching.run([sys.executable, str(SCRIPT), *asked(path, *flags)])


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = write_curves(tmp_path_factory.mktemp("curves") / "curves.csv.gz")
    done = run(path, "--networks", "30", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_policy_is_replayed_in_every_setting(replayed: dict[str, Any]) -> None:
    policies = replayed["policies"]
    names = {policy["name"] for policy in policies}
    assert names >= {"ours", "full training", "MedianPruner", "SuccessiveHalvingPruner", "HyperbandPruner"}
    assert names >= {"k epochs, then the best", "successive halving with promotion", "exponential alone"}
    assert len({(policy["name"], policy["setting"]) for policy in policies}) == len(policies)
    assert sum(policy["name"] == "ours" for policy in policies) >= 5
    for policy in policies:
        assert policy["regret"]["mean"] >= 0
        assert policy["regret"]["sem"] >= 0
        assert 0 < policy["share"] <= 1
    full = next(policy for policy in policies if policy["name"] == "full training")
    assert (full["regret"]["mean"], full["share"]) == (0, 1)


def test_a_lower_threshold_spends_more_and_misses_less(replayed: dict[str, Any]) -> None:
    ours = [policy for policy in replayed["policies"] if policy["name"] == "ours"]
    shares = [policy["share"] for policy in ours]
    regrets = [policy["regret"]["mean"] for policy in ours]
    assert shares == sorted(shares)
    assert shares[0] < 0.3
    assert regrets[-1] <= regrets[0]


def test_predictions_are_judged_at_every_epoch(replayed: dict[str, Any]) -> None:
    assert list(replayed["coverage"]) == ["50", "80", "95"]
    assert 0.2 < replayed["coverage"]["50"] < replayed["coverage"]["80"] < replayed["coverage"]["95"] <= 1
    ranks = replayed["rank_correlation"]
    assert list(ranks) == [str(epoch) for epoch in range(1, EPOCHS)]
    assert all(set(at) == {"ours", "last"} for at in ranks.values())
    assert ranks["11"]["last"] > 0.9
    assert 0 < replayed["seconds_per_prediction"] < 1


def test_percent_and_a_missing_column_of_parameters_are_fine(tmp_path: Path) -> None:
    done = run(write_curves(tmp_path / "c.csv", percent=True, parameters=False), "--networks", "10", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    regrets = [policy["regret"]["mean"] for policy in json.loads(done.stdout)["policies"]]
    assert max(regrets) < 50, "in points, not in hundredths of points"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("acc_1,acc_2\n0.1,0.2\n", "needs at least the columns acc_1 to acc_4; it has acc_1, acc_2"),
        ("acc_1,acc_2,acc_3,acc_4\n" + "0.1,0.2,0.3,0.4\n" * 2, "holds 2 networks; at least 4 are needed"),
        ("acc_1,acc_2,acc_3,acc_4\n" + "0.1,0.2,,0.4\n" * 5, "line 2: acc_3 must be a number but is ''"),
        ("acc_1,acc_2,acc_3,acc_4,loss1\n" + "0.1,0.2,0.3,0.4,2\n" * 5, "has 4 epochs acc_1, … but 1 of loss1, …"),
        ("acc_1,acc_2,acc_3,acc_4,params\n" + "0.1,0.2,0.3,0.4,0\n" * 5, "column 'params' must be above 0"),
    ],
)
def test_files_without_curves_are_refused_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(text)
    refused = searching.run_here(SCRIPT, asked(path))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert complaint in refused.stderr


def test_a_file_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    refused = run(tmp_path / "nothing.csv")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    refused = searching.run_here(SCRIPT, asked(write_curves(tmp_path / "c.csv"), "--networks", "2"))
    assert refused.returncode == 2
    assert "--networks must be at least 4" in refused.stderr
