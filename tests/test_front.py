from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import PLAN, record

from nas.search.records import Record
from nas.search.result.front import Counts, best_within, count, measured, pareto_front

TEMPLATE = record({"width": 4, "kernel": 3, "gate": False}, 0.5)


def trial(parameters: int, accuracy: float, **changes: object) -> Record:
    return replace(TEMPLATE, parameters=parameters, accuracies=(accuracy,), **changes)  # type: ignore[arg-type]


def points(records: list[Record]) -> list[tuple[int, float]]:
    return [(r.parameters, r.accuracy) for r in records]


trials = st.lists(
    st.builds(
        trial,
        st.integers(1, 12),
        st.integers(0, 8).map(lambda eighths: eighths / 8),
        state=st.sampled_from(["trained", "trained", "trained", "replayed", "failed", "running", "waiting"]),
        number=st.integers(0, 1_000),
    ),
    max_size=12,
)


def beats(one: Record, other: Record) -> bool:
    no_worse = one.parameters <= other.parameters and one.accuracy >= other.accuracy
    return no_worse and (one.parameters, one.accuracy) != (other.parameters, other.accuracy)


@given(trials)
def test_no_network_on_the_front_is_beaten_by_any_other(records: list[Record]) -> None:
    for member in pareto_front(records):
        assert not any(beats(other, member) for other in measured(records))


@given(trials)
def test_every_trained_network_off_the_front_is_beaten_or_equalled_by_one_on_it(records: list[Record]) -> None:
    front = pareto_front(records)
    for other in measured(records):
        assert any(m.parameters <= other.parameters and m.accuracy >= other.accuracy for m in front)


@given(trials)
def test_the_front_ascends_in_parameters_and_in_accuracy(records: list[Record]) -> None:
    found = points(pareto_front(records))
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(found))


@given(trials)
def test_only_networks_trained_to_the_end_are_on_the_front(records: list[Record]) -> None:
    assert {r.state for r in pareto_front(records)} <= {"trained", "replayed"}


def test_a_front_counted_by_hand() -> None:
    records = [trial(10, 0.5), trial(20, 0.4), trial(30, 0.7), trial(5, 0.1), trial(30, 0.6), trial(40, 0.7)]
    assert points(pareto_front(records)) == [(5, 0.1), (10, 0.5), (30, 0.7)]


def test_of_equal_networks_the_first_told_is_on_the_front() -> None:
    records = [trial(10, 0.5, number=4), trial(10, 0.5, number=2)]
    assert [r.number for r in pareto_front(records)] == [4]


def test_without_a_trained_network_the_front_is_empty() -> None:
    assert pareto_front([]) == []
    assert pareto_front([trial(10, 0.5, state="failed"), trial(10, 0.5, state="running")]) == []


@pytest.mark.parametrize(
    ("parameters", "expected"), [(4, None), (5, (5, 0.1)), (29, (10, 0.5)), (30, (30, 0.7)), (10**9, (30, 0.7))]
)
def test_the_best_network_within_a_budget_is_the_most_accurate_that_fits(
    parameters: int, expected: tuple[int, float] | None
) -> None:
    records = [trial(10, 0.5), trial(20, 0.4), trial(30, 0.7), trial(5, 0.1), trial(40, 0.7)]
    best = best_within(pareto_front(records), parameters)
    assert (None if best is None else (best.parameters, best.accuracy)) == expected


@given(trials, st.integers(0, 13))
def test_no_trained_network_within_the_budget_is_better_than_the_best(records: list[Record], parameters: int) -> None:
    best = best_within(pareto_front(records), parameters)
    within = [r for r in measured(records) if r.parameters <= parameters]
    assert (best is None) == (not within)
    if best is not None:
        assert best.parameters <= parameters
        assert best.accuracy == max(r.accuracy for r in within)
        assert best.parameters == min(r.parameters for r in within if r.accuracy == best.accuracy)


def test_the_counts_tell_what_became_of_the_trials() -> None:
    records = [
        trial(10, 0.5),
        trial(10, 0.5, state="replayed"),
        trial(10, 0.5, state="failed"),
        trial(10, 0.5, state="failed"),
        trial(10, 0.5, state="running"),
        trial(10, 0.5, state="waiting"),
    ]
    assert count(records, PLAN) == Counts(proposed=6, over_budget=0, replayed=1, trained=1, stopped=0, failed=2)


def test_the_counts_show_a_stored_network_over_its_budget() -> None:
    records = [trial(1_000, 0.5, budget=1_000), trial(1_001, 0.5, budget=1_000), trial(1_001, 0.5, budget=10_000)]
    assert count(records, PLAN).over_budget == 1


def test_the_counts_show_a_stored_network_over_the_cap_on_multiply_adds() -> None:
    records = [trial(10, 0.5, macs=500), trial(10, 0.5, macs=501)]
    assert count(records, PLAN).over_budget == 0
    assert count(records, replace(PLAN, max_macs=500)).over_budget == 1
