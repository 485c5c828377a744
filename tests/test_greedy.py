"""What the greedy walk does between one proposal and the next."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pytest
from drawn import shipped
from hypothesis import given
from hypothesis import strategies as st

from nas.network.layers import Flatten, GlobalPool, Layer, Linear, Sequence, Shape
from nas.search.notes import Notes, write_notes
from nas.search.sampling.feasible import FeasibleSampler
from nas.search.sampling.proposals import suggest
from nas.search.sampling.walk import exchanges, notch, replaced
from nas.search.strategies import STRATEGIES
from nas.search.strategies.greedy_full import project
from nas.space.budget import Budget
from nas.space.space import Architecture, Knob, Knobs, Space, bind, knob, width_knob

GREEDY = ["greedy", "greedy-full"]


@dataclass(frozen=True)
class Hill(Architecture):
    """Two widths that share a budget, a depth and a choice."""

    left: int = width_knob(*range(1, 60), default=5)
    right: int = width_knob(*range(1, 60), default=5)
    depth: int = knob(0, 1, 2, 3)
    kind: str = knob("a", "b", "c")

    def network(self, shape: Shape, classes: int) -> Layer:
        deep = (Linear(self.right, self.right),) * self.depth
        name = {"a": (), "b": (Flatten(),), "c": (Flatten(), Flatten())}[self.kind]
        first = (Linear(shape[0], self.left), Linear(self.left, self.right))
        return Sequence((GlobalPool(), Flatten(), *name, *first, *deep, Linear(self.right, classes)))


def hill() -> Space:
    return bind(Hill, (3, 8, 8), 10)


def height(knobs: Knobs) -> float:
    """Highest at left 20, depth 2, kind c, with the right as wide as the budget leaves room for."""
    values: dict[str, float] = {name: value for name, value in knobs.items() if name != "kind"}  # type: ignore[misc]
    away = (math.log2(values["left"] / 20)) ** 2 + 0.5 * (values["depth"] - 2) ** 2 + (knobs["kind"] != "c")
    return 0.6 + 0.1 * math.log10(values["right"]) - 0.05 * away


def climb(
    strategy: str, trials: int, accuracy: Callable[[Knobs], float], budget: int = 1_500, **settings: Any
) -> tuple[optuna.Study, list[Knobs]]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = hill()
    study = optuna.create_study(
        direction="maximize", sampler=STRATEGIES[strategy](space, Budget(budget), seed=0, below=0, **settings)
    )
    found: list[Knobs] = []
    for _ in range(trials):
        trial = study.ask()
        found.append({k.name: suggest(trial, k) for k in space.knobs})
        study.tell(trial, accuracy(found[-1]))
    return study, found


def log(study: optuna.Study) -> list[str]:
    assert isinstance(study.sampler, FeasibleSampler)
    lines = study.sampler.explain(study)
    assert lines is not None
    return lines


def test_the_projection_is_the_gradient_less_its_part_along_the_parameters() -> None:
    """ort(a) = a - <a, n> / <n, n> n, by hand: <a, n> = 10, <n, n> = 5."""
    assert project(np.array([2.0, 4.0, 1.0]), np.array([1.0, 2.0, 0.0])).tolist() == [0.0, 0.0, 1.0]
    assert project(np.array([1.0, 2.0]), np.zeros(2)).tolist() == [1.0, 2.0]


vectors = st.lists(st.floats(-100, 100), min_size=3, max_size=3).map(np.array)


@given(vectors, vectors)
def test_a_projected_gradient_never_changes_the_parameters_to_first_order(a: np.ndarray, n: np.ndarray) -> None:
    along = project(a, n)
    assert abs(float(along @ n)) <= 1e-6 * (1 + float(np.linalg.norm(a)) * float(np.linalg.norm(n)))


def test_a_notch_is_the_next_option_or_the_square_root_of_two_of_a_width() -> None:
    ordered = Knob("k", (1, 2, 4), "ordered")
    assert [notch(ordered, 2, by) for by in (1, -1)] == [4, 1]
    assert [notch(ordered, 4, 1), notch(ordered, 1, -1)] == [None, None]
    width = Knob("w", tuple(range(1, 65)), "width")
    assert [notch(width, 20, by) for by in (1, -1)] == [28, 14]
    assert [notch(width, 1, 1), notch(width, 2, -1), notch(width, 60, 1)] == [2, 1, 64]


def test_exchanges_move_one_knob_by_a_notch_or_to_any_other_option() -> None:
    knobs = (Knob("c", ("a", "b", "c"), "choice"), Knob("k", (1, 2, 4), "ordered"), Knob("b", (False, True), "choice"))
    assert list(exchanges(knobs, ("b", 1, False))) == [(0, "a"), (0, "c"), (1, 2), (2, True)]
    assert replaced(("b", 1, False), {1: 2}) == ("b", 2, False)


@pytest.mark.parametrize("strategy", GREEDY)
def test_greedy_finds_the_top_of_a_hill_under_the_budget(strategy: str) -> None:
    """By trying all 41,772 of them: left 20, right 19, depth 2, kind c has 0.7279 within 1,500 parameters."""
    _, found = climb(strategy, 90, height)
    assert max(map(height, found)) > 0.7279 - 0.002


@pytest.mark.parametrize("strategy", GREEDY)
def test_greedy_begins_its_walk_at_the_best_of_the_networks_with_which_all_begin(strategy: str) -> None:
    beginnings = ({"kind": "b", "left": 20, "right": 20}, {"left": 9, "right": 9, "depth": 2, "kind": "c"})
    for accuracy, is_first in ((height, False), (lambda knobs: -height(knobs), True)):
        study, found = climb(strategy, 12, accuracy, beginnings=beginnings)
        best = max(range(1 + len(beginnings)), key=lambda number: accuracy(found[number]))
        assert (best == 0) == is_first
        assert next(line for line in log(study) if "start 1" in line).startswith(f"#{best} start 1 at")


@pytest.mark.parametrize("strategy", GREEDY)
def test_greedy_tells_its_walk_in_words(strategy: str) -> None:
    study, _ = climb(strategy, 40, height)
    told = "\n".join(log(study))
    for words in ("start 1 at", "noise: ", "floor", "projection along equal parameters", "step of 2 notches", "taken"):
        assert words in told


@pytest.mark.parametrize("strategy", GREEDY)
def test_the_log_accounts_for_every_trial_and_says_of_every_gradient_what_became_of_it(strategy: str) -> None:
    rng = np.random.default_rng(2)
    study, _ = climb(strategy, 60, lambda knobs: height(knobs) + float(rng.normal(0, 0.01)))
    told = log(study)
    named = {int(number) for line in told for number in re.findall(r"#(\d+)", line)}
    assert named == set(range(60))
    tried = [line for line in told if re.search(r"step of|exchange", line)]
    assert all(re.search(r"#\d+ .*(floor|has not ended).* (taken|left) \(against #\d+\)$", line) for line in tried)
    for number, line in enumerate(told[:-1]):
        if "projection along" in line:
            assert re.search(r"step of|no step", told[number + 1])


@pytest.mark.parametrize("strategy", GREEDY)
def test_greedy_takes_no_step_below_the_noise(strategy: str) -> None:
    """Pure noise of 2 points: nearly equal networks differ as much as any, and hardly a move counts."""
    rng = np.random.default_rng(1)
    study, _ = climb(strategy, 60, lambda knobs: 0.5 + float(rng.normal(0, 0.02)))
    told = log(study)
    moves = [line for line in told if ", taken (" in line or ", left (" in line]
    taken = sum(", taken (" in line for line in moves)
    assert len(moves) > 15
    assert taken < 0.3 * len(moves)


def test_without_a_fine_width_the_noise_is_said_to_be_unknown() -> None:
    @dataclass(frozen=True)
    class Coarse(Architecture):
        width: int = width_knob(4, 16, 64)
        kind: str = knob("a", "b")

        def network(self, shape: Shape, classes: int) -> Layer:
            extra = (Flatten(),) if self.kind == "b" else ()
            return Sequence((GlobalPool(), Flatten(), *extra, Linear(3, self.width), Linear(self.width, classes)))

    space = bind(Coarse, (3, 8, 8), 10)
    study = optuna.create_study(direction="maximize", sampler=STRATEGIES["greedy"](space, Budget(2_000), seed=0))
    for _ in range(4):
        trial = study.ask()
        study.tell(trial, float(sum(suggest(trial, k) == k.options[0] for k in space.knobs)))
    assert any("noise: not measured" in line for line in log(study))


@pytest.mark.parametrize("strategy", GREEDY)
def test_values_are_compared_by_log_loss_where_it_is_less_noisy(strategy: str) -> None:
    """The curve's losses are exact here, the accuracies pure noise."""
    rng = np.random.default_rng(0)
    space = shipped("plain")
    study = optuna.create_study(
        direction="maximize", sampler=STRATEGIES[strategy](space, Budget(20_000), seed=0, below=0)
    )
    for _ in range(12):
        trial = study.ask()
        knobs = {k.name: suggest(trial, k) for k in space.knobs}
        write_notes(trial, Notes(curve=[[1.0, 1.0 / float(knobs["width1"]), 0.5]]))
        study.tell(trial, 0.5 + float(rng.normal(0, 0.02)))
    assert any("compared by validation log-loss" in line for line in log(study))
