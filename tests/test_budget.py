import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import BudgetError
from nas.network.folds import Cost
from nas.network.layers import Conv, Linear
from nas.space.budget import Budget, parse_count, parse_counts


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1", 1),
        ("100000", 100_000),
        ("100_000", 100_000),
        ("100K", 100_000),
        ("100k", 100_000),
        ("1.5K", 1_500),
        ("1.5M", 1_500_000),
        ("0.5k", 500),
        ("2G", 2_000_000_000),
        (" 7k ", 7_000),
        ("3.0", 3),
        ("1e5", 100_000),
        ("2.5e3", 2_500),
        (".5k", 500),
        ("1.k", 1_000),
    ],
)
def test_counts_are_read_as_people_write_them(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "text", ["", "x", "12x", "K", "-1", "1e", "e5", "1e-3", "1,000", "1 000", ".", "_1", "1kk", "٣"]
)
def test_a_count_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BudgetError) as caught:
        parse_count(text)
    assert str(caught.value) == f"a count must be a number like 100000, 100K or 1.5M but got {text!r}"


@pytest.mark.parametrize("text", ["0", "0k", "1.5", "0.0001k"])
def test_a_count_that_is_not_whole_or_not_positive_is_refused(text: str) -> None:
    with pytest.raises(BudgetError) as caught:
        parse_count(text)
    assert str(caught.value) == f"a count must be a whole number of at least 1 but got {text!r}"


@given(st.integers(1, 10**12))
def test_a_count_written_out_is_read_as_itself(count: int) -> None:
    assert parse_count(str(count)) == parse_count(f"{count:_}") == count


def test_several_counts_are_sorted_and_each_is_taken_once() -> None:
    assert parse_counts("10K,1K, 1000,2M") == (1_000, 10_000, 2_000_000)


@pytest.mark.parametrize("text", ["", "1K,", ",1K", "1K,x"])
def test_one_bad_count_refuses_them_all(text: str) -> None:
    with pytest.raises(BudgetError):
        parse_counts(text)


@pytest.mark.parametrize(
    ("parameters", "macs", "words"),
    [
        (0, None, "a budget's parameters must be at least 1 but got 0"),
        (-5, None, "a budget's parameters must be at least 1 but got -5"),
        (10, 0, "a budget's macs must be at least 1 but got 0"),
    ],
)
def test_a_budget_of_nothing_is_refused(parameters: int, macs: int | None, words: str) -> None:
    with pytest.raises(BudgetError) as caught:
        Budget(parameters, macs)
    assert str(caught.value) == words


def test_a_budget_admits_a_network_with_exactly_as_many_parameters_and_not_one_more() -> None:
    assert Budget(650).admits(Linear(64, 10))
    assert not Budget(649).admits(Linear(64, 10))


def test_a_cap_on_multiply_adds_holds_as_exactly() -> None:
    conv = Conv(3, 8, 3)  # 216 parameters, 13,824 multiply-adds on 8 x 8
    assert Budget(216, macs=13_824).admits(conv, (3, 8, 8))
    assert not Budget(216, macs=13_823).admits(conv, (3, 8, 8))
    assert not Budget(215, macs=13_824).admits(conv, (3, 8, 8))


def test_a_cap_on_multiply_adds_admits_no_network_that_does_not_fit_the_images() -> None:
    assert not Budget(1_000, macs=10**9).admits(Conv(3, 8, 3), (4, 8, 8))


def test_a_cap_on_multiply_adds_needs_the_shape_of_the_images() -> None:
    with pytest.raises(ValueError, match="needs the shape of the images"):
        Budget(1_000, macs=1_000).admits(Linear(64, 10))


def test_the_load_is_the_share_used_of_the_scarcer_cap() -> None:
    assert Budget(1_000).load(Cost(500, 10**9)) == 0.5
    assert Budget(1_000, macs=100).load(Cost(500, 75)) == 0.75
    assert Budget(1_000, macs=100).load(Cost(900, 75)) == 0.9


@given(st.integers(1, 10**9), st.none() | st.integers(1, 10**12), st.integers(0, 10**9), st.integers(0, 10**12))
def test_a_cost_is_covered_exactly_if_no_cap_is_exceeded(
    cap: int, macs_cap: int | None, parameters: int, macs: int
) -> None:
    within = parameters <= cap and (macs_cap is None or macs <= macs_cap)
    assert Budget(cap, macs_cap).covers(Cost(parameters, macs)) == within


def test_a_budget_reads_as_a_sentence() -> None:
    assert str(Budget(100_000)) == "100,000 parameters"
    assert str(Budget(100_000, 15_000_000)) == "100,000 parameters and 15,000,000 multiply-adds"
