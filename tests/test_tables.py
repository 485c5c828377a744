"""A table of evaluated networks stands in for training: `benchmarks/strategies.py` on tables made here."""

import csv
import gzip
import itertools
import json
import sys
from pathlib import Path

import pytest
from searching import run, run_here

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "strategies.py"
KNOBS = ("first", "second", "third")


def write_table(path: Path, *, scale: float = 100.0, words: bool = True) -> Path:
    """4 * 4 * 4 networks: every option adds parameters and accuracy, and the second knob is best in the middle."""
    rows = []
    for a, b, c in itertools.product(range(4), repeat=3):
        accuracy = scale * (0.5 + 0.05 * a + 0.04 * c - 0.03 * abs(b - 2))
        keys = (a, f"op{b}" if words else b, c)
        rows.append((*keys, 100 + 10 * a + 20 * b + 30 * c, round(accuracy, 4), round(accuracy + scale * 0.01, 4)))
    text = [",".join((*KNOBS, "size", "seen", "kept")), *(",".join(map(str, row)) for row in rows)]
    content = ("\n".join(text) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def asked(table: Path, *flags: str) -> list[str]:
    columns = ["--knobs", ",".join(KNOBS), "--parameters", "size", "--observe", "seen", "--final", "kept,seen"]
    return [str(table), *columns, *flags]


def strategies(table: Path, *flags: str) -> list[str]:
    return [sys.executable, str(SCRIPT), *asked(table, *flags)]


@pytest.mark.parametrize(("name", "scale"), [("table.csv", 1.0), ("table.csv.gz", 100.0)])
def test_every_strategy_is_judged_on_a_table_within_budget_and_without_duplicates(
    tmp_path: Path, name: str, scale: float
) -> None:
    table = write_table(tmp_path / name, scale=scale)
    flags = ("--budget", "190", "--trials", "20", "--seeds", "2", "--strategies", "all")
    done = run(strategies(table, *flags))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["strategies"]
    assert {"tpe", "greedy", "random", "evolution", "local", "gp", "constrained"} <= set(found)
    for strategy, figures in found.items():
        assert set(figures["regret"]) == {"20"}
        assert figures["ask_seconds"] > 0
        if strategy != "constrained":
            assert (figures["over_budget"], figures["duplicates"]) == (0, 0)
            assert 0 <= figures["regret"]["20"]["mean"] < 20
    assert found["greedy"]["regret"]["20"]["mean"] == pytest.approx(0, abs=1.01)


def test_a_search_ends_where_the_table_does(tmp_path: Path) -> None:
    """Within 140 parameters there are 9 networks; the best has a = 1, c = 1, b = 0: 0.5 + 0.05 + 0.04 - 0.06."""
    table = write_table(tmp_path / "table.csv")
    flags = ("--budget", "140", "--trials", "50", "--seeds", "1", "--strategies", "random,greedy,tpe,local")
    found = json.loads(run(strategies(table, *flags)).stdout)["strategies"]
    for figures in found.values():
        assert (figures["exhausted"], figures["duplicates"], figures["regret"]["50"]["mean"]) == (1, 0, 0.0)


def edited(path: Path, find: str, replace: str) -> Path:
    path.write_text(path.read_text().replace(find, replace, 1))
    return path


@pytest.mark.parametrize(
    ("find", "replace", "complaint"),
    [
        ("first,", "other,", "has no column 'first'; it has other, second, third, size, seen, kept"),
        ("0,op0,1,130,", "0,op0,1,many,", "line 3: size must be a number but is 'many'"),
        ("0,op0,1,130,", "0,op0,1,130.5,", "line 3: size must be a whole number but is '130.5'"),
        (
            "0,op0,1,130,",
            "0,op0,0,130,",
            "line 3: the network {'first': 0, 'second': 'op0', 'third': 0} is there twice",
        ),
        ("0,op0,0,100,44.0", "0,op0,0,100,nan", "line 2: seen must be a number but is 'nan'"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path: Path, find: str, replace: str, complaint: str) -> None:
    table = edited(write_table(tmp_path / "table.csv"), find, replace)
    done = run_here(SCRIPT, asked(table, "--budget", "190"))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_budget_below_every_row_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv")
    assert "no network of the table has at most 50 parameters; its smallest has 100" in (
        run_here(SCRIPT, asked(table, "--budget", "50")).stderr
    )
    refused = run(strategies(tmp_path / "none.csv", "--budget", "50"))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "cannot be read" in refused.stderr


def test_columns_of_the_table_are_read_as_csv(tmp_path: Path) -> None:
    """Quoted cells, and columns that nobody asks for."""
    table = write_table(tmp_path / "table.csv")
    rows = list(csv.reader(table.read_text().splitlines()))
    with table.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["note", *rows[0]], *(["a, b", *row] for row in rows[1:])])
    flags = ("--budget", "190", "--trials", "5", "--seeds", "1", "--strategies", "random")
    assert run(strategies(table, *flags)).returncode == 0


def sampled(path: Path) -> Path:
    """Every third row of the table: a sample of its space."""
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *rows[::3]]) + "\n")
    return path


def test_a_sample_of_a_space_is_searched_by_every_strategy_row_by_row(tmp_path: Path) -> None:
    """A proposal is answered by the nearest row within budget that is left, until none is."""
    table = sampled(write_table(tmp_path / "sample.csv"))
    flags = ("--budget", "190", "--trials", "60", "--seeds", "1", "--confirm", "3")
    done = run(strategies(table, *flags))
    assert done.returncode == 0, done.stderr
    for name, found in json.loads(done.stdout)["strategies"].items():
        assert (found["over_budget"], found["duplicates"], found["exhausted"]) == (0, 0, 1), name
        assert found["confirmed"]["60"]["mean"] <= found["regret"]["60"]["mean"] + 1e-9, name


def test_a_search_begins_at_the_start_that_is_given(tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", scale=1.0)
    flags = ("--budget", "10000", "--trials", "1", "--seeds", "1", "--strategies", "local,linear")
    found = json.loads(run(strategies(table, *flags, "--start", "first=3,second=op2,third=3")).stdout)["strategies"]
    assert {name: figures["regret"]["1"]["mean"] for name, figures in found.items()} == {"local": 0.0, "linear": 0.0}


def test_a_start_that_the_table_lacks_is_refused_in_one_line(tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv")
    for start, complaint in (("colour=red", "no knob"), ("nonsense", "KNOB=VALUE"), (f"{KNOBS[0]}=77", "is one of")):
        done = run_here(SCRIPT, asked(table, "--budget", "190", "--start", start))
        assert done.returncode == 2
        assert complaint in done.stderr
