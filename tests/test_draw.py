import statistics
from dataclasses import dataclass, field

import numpy as np
import pytest
from drawn import shipped
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nas.errors import BudgetError
from nas.network.folds import Cost
from nas.network.layers import Conv, Flatten, GlobalPool, Layer, Linear, Sequence, Shape
from nas.search.sampling.feasible import draw_target
from nas.search.sampling.mutants import mutated
from nas.seeds import derive_seed
from nas.space.budget import Budget
from nas.space.draw import check_satisfiable, draw, draw_within, fit, largest, smallest
from nas.space.files import shipped_spaces
from nas.space.space import Architecture, Knobs, Space, bind, knob, width_knob

SPACES = sorted(shipped_spaces())
seeds = st.integers(0, 2**32 - 1)
budgets = st.floats(np.log(500), np.log(1_000_000)).map(lambda exponent: int(np.exp(exponent)))


def cost_of(space: Space, knobs: Knobs) -> Cost:
    cost = space.cost(knobs)
    assert cost is not None
    return cost


def check_fit(space: Space, budget: Budget, seed: int) -> None:
    rng = np.random.default_rng(seed)
    try:
        check_satisfiable(space, budget, space.name)
    except BudgetError:
        assume(False)
    fitted = fit(space, draw(space, rng), budget, rng)
    assert space.check(fitted) == fitted
    assert budget.admits(space.network(fitted), space.shape)


@settings(max_examples=50)
@given(st.sampled_from(SPACES), st.sampled_from([10, 100]), budgets, seeds)
def test_a_fitted_network_is_never_over_budget(name: str, classes: int, parameters: int, seed: int) -> None:
    check_fit(shipped(name, classes=classes), Budget(parameters), seed)


@settings(max_examples=25)
@given(st.sampled_from(["plain", "residual"]), st.sampled_from([10, 100]), budgets, st.integers(20, 400), seeds)
def test_a_fitted_network_is_never_over_a_cap_on_multiply_adds(
    name: str, classes: int, parameters: int, macs_a_parameter: int, seed: int
) -> None:
    check_fit(shipped(name, classes=classes), Budget(parameters, macs_a_parameter * parameters), seed)


@given(st.integers(500, 1_000_000), st.integers(1, 1_000_000), st.floats(0, 1), seeds)
def test_a_target_lies_between_the_smallest_network_and_the_budget(
    parameters: int, smallest_network: int, below: float, seed: int
) -> None:
    assume(smallest_network <= parameters)
    budget = Budget(parameters, 10**6)
    target = draw_target(budget, smallest_network, below, np.random.default_rng(seed))
    assert smallest_network <= target.parameters <= parameters or target == budget
    assert target.parameters >= parameters // 16
    assert dict(target.caps)["macs"] == 10**6


def test_the_asked_share_of_targets_lies_below_the_budget_evenly_by_ratio() -> None:
    rng = np.random.default_rng(0)
    targets = [draw_target(Budget(16_000), 10, 0.25, rng).parameters for _ in range(4_000)]
    below = [target for target in targets if target < 16_000]
    assert len(below) / len(targets) == pytest.approx(0.25, abs=0.02)
    assert statistics.median(below) == pytest.approx(4_000, rel=0.1)
    assert min(below) >= 1_000


def test_no_target_lies_below_the_budget_where_none_is_asked() -> None:
    rng = np.random.default_rng(0)
    assert {draw_target(Budget(16_000), 10, 0.0, rng) for _ in range(200)} == {Budget(16_000)}


@pytest.mark.parametrize(
    ("classes", "parameters"),
    [(10, 1_000), (10, 10_000), (10, 100_000), (10, 1_000_000), (100, 2_000), (100, 20_000), (100, 1_000_000)],
)
def test_a_fitted_network_uses_its_budget(classes: int, parameters: int) -> None:
    space = shipped("mixed", classes=classes)
    rng = np.random.default_rng(0)
    used = [
        cost_of(space, fit(space, draw(space, rng), Budget(parameters), rng)).parameters / parameters for _ in range(30)
    ]
    assert statistics.median(used) >= 0.97
    assert max(used) <= 1


def test_a_fit_is_the_same_for_the_same_seed() -> None:
    space = shipped("mixed")

    def fitted(seed: int) -> dict[str, object]:
        rng = np.random.default_rng(seed)
        return dict(fit(space, draw(space, rng), Budget(20_000), rng))

    assert fitted(1) == fitted(1)
    assert fitted(1) != fitted(2)


@dataclass(frozen=True)
class Counting(Space):
    """A space that keeps the settings that were counted."""

    asked: set[str] = field(default_factory=set)

    def cost(self, knobs: Knobs) -> Cost | None:
        self.asked.add(str(knobs))
        return super().cost(knobs)


@pytest.mark.parametrize("parameters", [10_000, 100_000, 1_000_000])
def test_a_mutant_is_fitted_by_counting_few_networks(parameters: int) -> None:
    """Fitting is most of the time of an ask: 3 to 4 networks here, and 6 to 7 by bisection alone."""
    space, budget = shipped("mixed"), Budget(parameters)
    rng = np.random.default_rng(0)
    counted = []
    for _ in range(120):  # means of 30 are between 2.3 and 5.4
        mutant = mutated(space.knobs, draw_within(space, budget, rng), rng)
        counting = Counting(space.architecture, space.shape, space.classes)
        fit(counting, mutant, budget, rng, goal=0.9)
        counted.append(len(counting.asked))
    assert statistics.fmean(counted) < 5


def test_knobs_within_budget_that_use_it_well_are_left_as_they_are() -> None:
    space = shipped("mixed")
    knobs = space.defaults
    parameters = cost_of(space, knobs).parameters
    assert fit(space, knobs, Budget(parameters), np.random.default_rng(0)) == knobs


def test_knobs_that_use_as_much_as_is_asked_for_are_left_as_they_are() -> None:
    space = shipped("mixed")
    knobs = space.defaults
    budget = Budget(round(cost_of(space, knobs).parameters / 0.6))
    assert fit(space, knobs, budget, np.random.default_rng(0), goal=0.5) == knobs
    assert cost_of(space, fit(space, knobs, budget, np.random.default_rng(0))).parameters >= 0.95 * budget.parameters


@pytest.mark.parametrize(("classes", "parameters"), [(10, 20_000), (100, 50_000)])
@pytest.mark.parametrize("name", SPACES)
def test_different_draws_stay_different_networks(name: str, classes: int, parameters: int) -> None:
    space = shipped(name, classes=classes)
    rng = np.random.default_rng(0)
    fits = [fit(space, draw(space, rng), Budget(parameters), rng) for _ in range(20)]
    assert len({space.identity(knobs) for knobs in fits}) == 20


@pytest.mark.parametrize("name", SPACES)
def test_no_draw_is_smaller_than_the_smallest_or_larger_than_the_largest(name: str) -> None:
    space = shipped(name)
    rng = np.random.default_rng(0)
    drawn = [cost_of(space, draw(space, rng)).parameters for _ in range(500)]
    assert cost_of(space, smallest(space)).parameters <= min(drawn)
    assert cost_of(space, largest(space)).parameters >= max(drawn)


def test_the_smallest_network_of_the_default_space_has_152_parameters() -> None:
    assert cost_of(shipped("mixed"), smallest(shipped("mixed"))).parameters == 152


def test_an_impossible_budget_is_refused_with_the_smallest_network_named() -> None:
    with pytest.raises(BudgetError) as caught:
        check_satisfiable(shipped("mixed"), Budget(100), "mixed")
    assert str(caught.value) == (
        "no network of space 'mixed' has at most 100 parameters; its smallest has 152 parameters. "
        "Raise --budget or choose another --space."
    )


def test_an_impossible_cap_on_multiply_adds_is_refused_with_both_costs_named() -> None:
    with pytest.raises(BudgetError) as caught:
        check_satisfiable(shipped("mixed"), Budget(100_000, 1_000), "mixed")
    assert "has at most 100,000 parameters and 1,000 multiply-adds; its smallest has" in str(caught.value)
    assert str(caught.value).count("multiply-adds") == 2


def test_a_fit_to_an_impossible_budget_is_refused() -> None:
    space = shipped("mixed")
    with pytest.raises(BudgetError, match="the space has no network with at most 100 parameters"):
        fit(space, space.defaults, Budget(100), np.random.default_rng(0))


# Spaces of unusual make


def head(inputs: int, hidden: int, classes: int) -> tuple[Layer, ...]:
    return GlobalPool(), Flatten(), Linear(inputs, hidden), Linear(hidden, classes)


@dataclass(frozen=True)
class Choices(Architecture):
    """Only choices: hidden units in no order."""

    hidden: int = knob(8, 2, 32)
    twice: bool = knob(True, False)

    def network(self, shape: Shape, classes: int) -> Layer:
        return Sequence(head(shape[0], self.hidden * (2 if self.twice else 1), classes))


@dataclass(frozen=True)
class Ordered(Architecture):
    """Only ordered knobs, none of them a width."""

    hidden: int = knob(2, 4, 8, 16, 32, 64)
    kernel: int = knob(1, 3, 5)

    def network(self, shape: Shape, classes: int) -> Layer:
        return Sequence((Conv(shape[0], 4, self.kernel), *head(4, self.hidden, classes)))


@dataclass(frozen=True)
class Single(Architecture):
    """One option a knob: one network."""

    hidden: int = width_knob(4)
    kind: str = knob("only")

    def network(self, shape: Shape, classes: int) -> Layer:
        return Sequence(head(shape[0], self.hidden, classes))


@dataclass(frozen=True)
class Fixed(Architecture):
    """No knob at all."""

    def network(self, shape: Shape, classes: int) -> Layer:
        return Sequence(head(shape[0], 4, classes))


@dataclass(frozen=True)
class Partial(Architecture):
    """Networks of which some do not fit 8 x 8 images."""

    hidden: int = width_knob(2, 4, 8, 16)
    kernel: int = knob(9, 3, 5, 11, default=3)

    def network(self, shape: Shape, classes: int) -> Layer:
        return Sequence((Conv(shape[0], 4, self.kernel, padding=0), *head(4, self.hidden, classes)))


@dataclass(frozen=True)
class Narrow(Architecture):
    """Only the default of two entangled knobs, and what lies beside it, fits 8 x 8 images."""

    first: int = width_knob(3, 5, 7, 9, default=5)
    second: int = width_knob(3, 5, 7, 9, default=5)

    def network(self, shape: Shape, classes: int) -> Layer:
        kernel = 3 if 8 <= self.first + self.second <= 10 else 9
        return Sequence(
            (Conv(shape[0], self.first * self.second, kernel, padding=0), *head(self.first * self.second, 2, classes))
        )


UNUSUAL = [Choices, Ordered, Single, Fixed, Partial, Narrow]


@pytest.mark.parametrize("architecture", UNUSUAL, ids=lambda a: a.__name__)
def test_a_space_of_unusual_make_is_fitted_all_the_same(architecture: type[Architecture]) -> None:
    space = bind(architecture, (3, 8, 8), 10)
    low = cost_of(space, smallest(space)).parameters
    for parameters in (low, low + 50, 2 * low, 10_000):
        for seed in range(20):
            rng = np.random.default_rng(seed)
            fitted = fit(space, draw(space, rng), Budget(parameters), rng)
            assert cost_of(space, fitted).parameters <= parameters
    with pytest.raises(BudgetError):
        check_satisfiable(space, Budget(low - 1), "unusual")


@pytest.mark.parametrize(
    ("architecture", "least", "most"),
    [
        (Choices, 38, 906),  # hidden 2 and 64: 3 h + h + 10 h + 10
        (Ordered, 52, 1_270),  # 12 + 40 and 300 + 64 * 15 + 10
        (Single, 66, 66),
        (Fixed, 66, 66),
        (Partial, 148, 550),  # 108 + 2 * 15 + 10 and 300 + 16 * 15 + 10
        (Narrow, 467, 757),  # 27 c + 2 c + 2 + 2 * 10 + 10 of c = 3 * 5 and c = 5 * 5 channels
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_the_ends_of_a_space_of_unusual_make_are_found(architecture: type[Architecture], least: int, most: int) -> None:
    space = bind(architecture, (3, 8, 8), 10)
    assert cost_of(space, smallest(space)).parameters == least
    assert cost_of(space, largest(space)).parameters == most


@dataclass(frozen=True)
class FromNothing(Architecture):
    """Ordered knobs that begin at 0, and no width."""

    first: int = knob(0, 1, 2)
    second: int = knob(0, 1, 2)

    def network(self, shape: Shape, classes: int) -> Layer:
        return Sequence((GlobalPool(), Flatten(), *[Linear(shape[0], shape[0])] * (self.first + self.second)))


@pytest.mark.parametrize("budget", range(0, 60, 12))
def test_a_fit_that_climbs_from_nothing_stays_within_budget(budget: int) -> None:
    """Each layer has 3 * 3 + 3 = 12 parameters."""
    space = Space(FromNothing, (3, 8, 8), 3)
    for first in range(3):
        for second in range(3):
            knobs = fit(space, {"first": first, "second": second}, Budget(budget or 1), np.random.default_rng(0))
            cost = space.cost(knobs)
            assert cost is not None
            assert cost.parameters <= budget


def test_a_fit_without_widths_climbs_the_ordered_knobs() -> None:
    space = bind(Ordered, (3, 8, 8), 10)
    fitted = fit(space, {"hidden": 2, "kernel": 1}, Budget(300), np.random.default_rng(0))
    assert fitted == {"hidden": 8, "kernel": 3} or cost_of(space, fitted).parameters > 238
    assert cost_of(space, fitted).parameters <= 300


# Seeds


def test_a_seed_is_the_same_on_every_machine_and_differs_by_purpose() -> None:
    assert derive_seed(0, "tpe", 100_000, 7) == 3_957_075_163
    assert len({derive_seed(0, "a"), derive_seed(1, "a"), derive_seed(0, "b"), derive_seed(0, "a", 0)}) == 4
    assert 0 <= derive_seed(2**40, "weights") < 2**32
