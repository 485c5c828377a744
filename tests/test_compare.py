"""Strategies compared: what a search had found for what it had cost, and verdicts that may be "no difference"."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import data_of
from records import PLAN, record
from searching import command, result, run_cli

from nas.cli.main import main
from nas.errors import RunError
from nas.results.confirming.against import against_default
from nas.search.records import Record
from nas.search.result.compare import (
    EFFORTS,
    Course,
    average_random,
    compare,
    compare_runs,
    courses,
    interval_of_mean,
    rank_test,
    superiority,
    verdict,
)
from nas.search.strategies import STRATEGIES
from nas.space.designs import DESIGNS

SMALL = {"width": 4, "kernel": 3, "gate": False}
LARGE = {"width": 16, "kernel": 3, "gate": False}
WIDE = {"width": 8, "kernel": 5, "gate": True}


def course(strategy: str, seed: int, *best: float, epochs: int = 2, seconds: float = 3.0) -> Course:
    counts = range(1, len(best) + 1)
    spent = tuple(epochs * n for n in counts), tuple(seconds * n for n in counts)
    return Course(strategy, 100, seed, best, tuple(counts), *spent)


def test_a_course_keeps_the_best_so_far_and_charges_replays_and_epochs_of_failures() -> None:
    found = courses(
        PLAN,
        [
            record(SMALL, 0.3, number=0),
            record(LARGE, 0.2, number=1, state="failed", failure="diverged"),
            record(SMALL, 0.3, number=0, strategy="random", state="replayed"),
            record(WIDE, 0.5, number=2),
            record(LARGE, 0.9, number=3, state="running"),
        ],
    )
    assert found == [
        Course("tpe", 10_000, 0, (0.3, 0.3, 0.5), (1, 2, 3), (2, 2, 4), (1.5, 1.5, 3.0)),
        Course("random", 10_000, 0, (0.3,), (1,), (2,), (1.5,)),
    ]


def test_a_course_tells_the_best_for_a_cost() -> None:
    found = course("tpe", 0, 0.1, 0.4, 0.4, 0.6)
    assert [found.at("trials", n) for n in (0, 1, 2, 4, 9)] == [0.0, 0.1, 0.4, 0.6, 0.6]
    assert found.at("epochs", 5) == 0.4
    assert found.at("seconds", 11.9) == 0.4


def test_strategies_are_compared_for_the_cost_that_every_search_has_spent() -> None:
    at = compare([course("tpe", 0, 0.1, 0.2, 0.9), course("greedy", 0, 0.3, 0.4, epochs=1)], {100: 0.05})[0]
    by_cost = {pair["cost"]: (pair["limit"], round(pair["difference"], 6)) for pair in at["pairs"]}
    assert by_cost == {"trials": (2, -20.0), "epochs": (2, -30.0), "seconds": (6.0, -20.0)}
    assert [found["gain_over_average_random"] for found in at["strategies"]] == pytest.approx([85.0, 35.0])


def test_a_cost_for_which_a_search_had_found_nothing_yet_is_not_compared() -> None:
    """The first search had no network within the 3 seconds that the second took in all."""
    slow, quick = course("tpe", 0, 0.7, seconds=10.0), course("greedy", 0, 0.6, seconds=3.0)
    assert [pair["cost"] for pair in compare([slow, quick], {})[0]["pairs"]] == ["trials", "epochs"]


def test_only_seeds_that_every_strategy_searched_with_are_paired() -> None:
    at = compare([course("tpe", 0, 0.5), course("tpe", 1, 0.9), course("greedy", 1, 0.8)], {})[0]
    assert at["searches"] == 1
    assert at["pairs"][0]["difference"] == pytest.approx(10.0)


def test_the_average_random_network_is_of_random_trials_that_use_the_budget() -> None:
    search = dataclasses.replace(PLAN, budgets=(2_700,))
    cost = record(LARGE, 0).parameters
    records = [
        record(LARGE, 0.9, strategy="random", budget=cost, number=0),  # the default
        record(LARGE, 0.4, strategy="random", budget=cost, number=1),
        record(LARGE, 0.2, strategy="random", budget=cost, number=2, state="replayed"),
        record(LARGE, 0.3, strategy="random", budget=cost, number=5),
        record(SMALL, 0.9, strategy="random", budget=cost, number=3),
        record(LARGE, 0.9, strategy="tpe", budget=cost, number=4),
    ]
    assert average_random(search, records) == {cost: pytest.approx(0.3)}
    assert average_random(search, records[:3]) == {}  # of two nothing is told
    warm = dataclasses.replace(search, budgets=(cost,), starts=([{}],))
    assert average_random(warm, [*records, record(LARGE, 0.6, strategy="random", budget=cost, number=6)]) == {
        cost: pytest.approx((0.2 + 0.3 + 0.6) / 3)
    }
    begun = dataclasses.replace(search, budgets=(cost,), beginnings=({"width": 8},))
    assert average_random(begun, [*records, record(LARGE, 0.6, strategy="random", budget=cost, number=6)]) == {
        cost: pytest.approx((0.2 + 0.3 + 0.6) / 3)
    }


def test_an_interval_covers_the_mean_it_is_of() -> None:
    low, high = interval_of_mean(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) or (0, 0)
    assert 1.0 < low < 3.0 < high < 5.0
    assert interval_of_mean(np.array([2.0, 2.0, 2.0])) == [2.0, 2.0]
    assert interval_of_mean(np.array([1.0, 2.0])) is None


def test_five_searches_cannot_be_told_apart_by_ranks_and_six_can() -> None:
    assert rank_test(np.ones(5) + np.arange(5)) == pytest.approx(0.0625)
    assert rank_test(np.ones(6) + np.arange(6)) == pytest.approx(0.03125)
    assert rank_test(np.zeros(6)) == 1.0
    assert rank_test(np.ones(1)) is None


def test_superiority_is_the_chance_of_ending_above() -> None:
    assert superiority(np.array([2.0, 3.0]), np.array([1.0, 2.0])) == 0.875
    assert superiority(np.array([1.0]), np.array([1.0])) == 0.5


def test_equal_strategies_are_said_not_to_differ_and_unequal_ones_to_differ() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(0.5, 0.01, (2, 12))
    same = [course(name, s, float(draws[i, s])) for i, name in enumerate(("a", "b")) for s in range(12)]
    better = [course("c", s, float(draws[0, s]) + 0.03 + 0.001 * s) for s in range(12)]
    pairs = {(p["first"], p["second"]): p for p in compare([*same, *better], {})[0]["pairs"] if p["cost"] == "trials"}
    assert pairs["a", "b"]["verdict"].startswith("no difference seen, n = 12")
    assert pairs["a", "c"]["verdict"].startswith("c finds better networks than a, n = 12 (c +3.55 points")
    assert pairs["a", "c"]["effect"] < 0.1


@pytest.mark.parametrize("difference", [0.0, 1.0])
def test_a_single_search_has_no_verdict(difference: float) -> None:
    assert "chance cannot be told from skill" in verdict("a", "b", difference, None, None, 1)


def test_runs_that_differ_in_more_than_their_seed_are_not_compared() -> None:
    other = dataclasses.replace(PLAN, epochs=7, seed=1)
    with pytest.raises(RunError, match="must differ in seed only, but epochs is 2 here and 7 there"):
        compare_runs([(PLAN, []), (other, [])])


def test_the_same_seed_twice_is_not_two_searches() -> None:
    with pytest.raises(RunError, match="two of the runs have searched with tpe and seed 0; leave one out"):
        compare_runs([(PLAN, []), (PLAN, [])])


def test_independent_searches_are_run_and_compared_by_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--strategies", "random,greedy", "--seeds", "2", "--seed", "3", "--workers", "1")
    done = run_cli(command(tmp_path, tmp_path / "out", *flags, trials=3, epochs=1))
    assert done.returncode == 0, done.stderr
    assert "no difference seen, n = 2" in done.stderr
    for seed in (3, 4):
        content = result(tmp_path / "out" / f"seed{seed}")
        assert content["settings"]["seed"] == seed
        assert [b["baseline"] for b in content["baselines"]] == list(DESIGNS)
        assert [s["strategy"] for s in content["comparison"][0]["strategies"]] == ["random", "greedy"]
        assert content["counts"]["proposed"] == 6 + len(DESIGNS)
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "out"), "--json", "--html", str(tmp_path / "page.html")]) == 0
    at = json.loads(capsys.readouterr().out)[0]
    assert (at["budget"], at["searches"]) == (2_000, 2)
    reached = {cost: [value for s in at["strategies"] for value in s["at_equal"][cost]] for cost in EFFORTS}
    assert min(*reached["trials"], *reached["epochs"]) > 0
    # of seconds alone one has perhaps nothing yet when another is over: then they are not compared
    assert [pair["cost"] for pair in at["pairs"]] == [cost for cost in EFFORTS if min(reached[cost]) > 0]
    assert at["against_default"]["is_confirmed"] is False
    pareto = tmp_path / "out" / "seed3" / "pareto.json"
    before = pareto.read_bytes()
    assert main(["compare", str(tmp_path / "out"), "--html", str(pareto)]) == 2
    assert pareto.read_bytes() == before
    page = (tmp_path / "page.html").read_text()
    assert "greedy (n = 2)" in data_of(page)
    assert "default-src 'none'" in page  # nothing is loaded from elsewhere
    assert 'data-figure="best-2000-seconds"' in page

    assert main(["show", str(tmp_path / "out" / "seed3"), "--strategy", "greedy"]) == 0
    assert "start 1 at" in capsys.readouterr().err
    assert main(["show", str(tmp_path / "out" / "seed3"), "--strategy", "random"]) == 2
    keeping = " and ".join(name for name, strategy in STRATEGIES.items() if strategy.keeps_log())
    assert capsys.readouterr().err == f"nas: strategy 'random' keeps no log; {keeping} do\n"


def write_verdict(run: Path, difference: float, low: float, high: float) -> Path:
    margin = {"difference": difference, "low": low, "high": high, "n": 5}
    verdict = {"budget": 10_000, "winner": "a", "default": "b", "margin": margin, "words": ""}
    run.mkdir()
    told = {"dataset": "digits", "recipe": {}, "commands": [], "seeds": 5, "test_reads": 1}
    (run / "confirmed.json").write_text(json.dumps({"schema_version": 2, "networks": [], "verdicts": [verdict]} | told))
    return run


def test_confirmed_margins_over_the_default_are_told_of_one_search_and_of_several(tmp_path: Path) -> None:
    margins = [(1.0, 0.2, 1.8), (2.0, 1.1, 2.9), (1.5, -0.1, 3.1)]
    runs = [(write_verdict(tmp_path / str(i), *each), PLAN, [record(SMALL, 0.3)]) for i, each in enumerate(margins)]
    assert [(each.budget, each.is_confirmed, each.words) for each in against_default(runs)] == [
        (
            10_000,
            True,
            "confirmed, against the default: +1.5 points, 95 % interval 0.3 to 2.7, n = 3 searches; "
            "2 of 3 intervals above 0",
        )
    ]
    (one,) = against_default(runs[:1])
    assert one.words == "confirmed, against the default: +1.0 points, 95 % interval 0.2 to 1.8, n = 5"


def test_what_was_only_searched_is_told_beside_what_luck_alone_would_show(tmp_path: Path) -> None:
    records = [record(SMALL, 0.30, number=0), record(LARGE, 0.33, number=1), record(WIDE, 0.32, number=2)]
    searched = [(tmp_path, replace(PLAN, validation_images=5_000), records)]
    (found,) = against_default(searched)
    assert not found.is_confirmed
    assert found.margin.difference == pytest.approx(3.0)
    assert found.words == (
        "the best observed is 3.0 points above the default as searched; that is not confirmed: the best of 3 equal "
        "networks looks 0.7 points better by luck"
    )
    (none,) = against_default([(tmp_path, PLAN, records[:1])])
    assert none.words == "nothing was observed above the default as searched"
    stopped = replace(records[0], state="stopped", stopped=1)
    assert against_default([(tmp_path, PLAN, [stopped, *records[1:]])]) == []


def test_a_training_that_went_on_costs_what_it_cost_when_it_did_and_counts_from_then_on() -> None:
    def trial(number: int, accuracy: float, epochs: int = 8, **noted: Any) -> Record:
        made = record({"width": 4, "kernel": 3, "gate": False}, accuracy, number=number)
        curve = tuple((1.0, 1.0, accuracy) for _ in range(epochs))
        accuracies = (accuracy,) * epochs
        noted = {"latest": number} | noted
        return replace(made, network=f"{number:016x}", curve=curve, accuracies=accuracies, seconds=8.0, **noted)

    later = trial(0, 0.9, latest=3, resumed=1, first_epochs=2)
    stopped = replace(trial(2, 0.5, epochs=1), state="stopped", stopped=1, predicted=0.95)
    (course,) = courses(replace(PLAN, budgets=(10_000,), strategies=("tpe",)), [later, trial(1, 0.4), stopped])
    assert course.best == (0.0, 0.4, 0.4, 0.9), "measured at last, and never what was predicted"
    assert course.trials == (1, 2, 3, 3)
    assert all(type(count) is int for count in course.trials), "as the schema says"
    assert course.epochs == (2, 10, 11, 17)
    assert course.seconds == (2.0, 10.0, 18.0, 24.0)
    assert [course.at("trials", n) for n in (1, 2, 3)] == [0.0, 0.4, 0.9]
    assert [course.at("epochs", n) for n in (2, 10, 16, 17)] == [0.0, 0.4, 0.4, 0.9]
