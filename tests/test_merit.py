"""Merits: observed accuracies smoothed, and the shortlist that they make."""

from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import PLAN, SPACE, record

from nas.search.records import Record
from nas.search.result.merit import FEWEST, MOST, Merit, merits, noise_of, shortlist, smoothed
from nas.search.sampling.proposals import distribution
from nas.search.strategies import STRATEGIES
from nas.space.budget import Budget
from nas.space.designs import default_within
from nas.space.files import named_space
from nas.space.space import bind

KNOBS = {"width": 4, "kernel": 3, "gate": False}

ACCURACY = st.floats(0.01, 0.99)


def networks(accuracies: list[float], parameters: int = 1_000) -> list[Record]:
    """A record for each accuracy, of networks called 0, 1, …."""
    made = [record(KNOBS, accuracy, number=number) for number, accuracy in enumerate(accuracies)]
    return [replace(each, network=str(number), parameters=parameters) for number, each in enumerate(made)]


@given(st.lists(st.tuples(ACCURACY, ACCURACY), min_size=1, max_size=30), st.integers(100, 10_000))
def test_a_smoothed_mean_lies_between_what_was_observed_and_what_was_expected(
    pairs: list[tuple[float, float]], images: int
) -> None:
    accuracies, expected = map(np.array, zip(*pairs, strict=True))
    noise = np.array([noise_of(accuracy, images) for accuracy in accuracies])
    for merit, accuracy, prior, variance in zip(
        smoothed(accuracies, noise, expected), accuracies, expected, noise, strict=True
    ):
        low, high = sorted((float(accuracy), float(prior)))
        assert low - 1e-12 <= merit.mean <= high + 1e-12
        assert 0 < merit.deviation <= variance**0.5


def test_the_best_by_smoothed_mean_of_equal_networks_is_flattered_less() -> None:
    rng = np.random.default_rng(0)
    search = replace(PLAN, validation_images=5_000)
    observed, smooth = [], []
    for _ in range(50):
        records = networks(list(0.4 + noise_of(0.4, 5_000) ** 0.5 * rng.standard_normal(60)))
        observed.append(max(each.accuracy for each in records) - 0.4)
        smooth.append(max(merit.mean for merit in merits(search, SPACE, records).values()) - 0.4)
    assert np.mean(observed) > 0.018
    assert abs(np.mean(smooth)) < 0.006


def test_networks_that_differ_by_far_more_than_the_noise_keep_what_was_observed() -> None:
    found = merits(replace(PLAN, validation_images=5_000), SPACE, networks([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert [found[str(i)].mean for i in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5], abs=0.002)


def test_a_network_is_expected_to_be_like_others_of_its_size() -> None:
    small, large = networks([0.30, 0.31, 0.32], 1_000), networks([0.50, 0.51, 0.52], 16_000)
    large = [replace(each, network=f"large{each.network}") for each in large]
    found = merits(replace(PLAN, validation_images=200), SPACE, [*small, *large])
    assert [found[name].mean for name in ("0", "large2")] == pytest.approx([0.312, 0.507], abs=0.004)


def test_only_measured_networks_have_a_merit_and_each_has_one() -> None:
    records = [*networks([0.3, 0.4]), replace(networks([0.4, 0.4])[1], strategy="random", state="replayed")]
    records += [replace(each, network="x", state="stopped", stopped=1) for each in networks([0.9])]
    assert set(merits(PLAN, SPACE, records)) == {"0", "1"}
    assert merits(PLAN, SPACE, []) == {}


@pytest.mark.parametrize(
    ("means", "listed"), [([0.5] * 9, 5), ([0.5, 0.3, 0.2, 0.1], 3), ([0.5, 0.49, 0.495, 0.492, 0.3], 4), ([0.5], 1)]
)
def test_the_shortlist_has_those_that_cannot_be_told_from_the_first_three_to_five(
    means: list[float], listed: int
) -> None:
    records = networks(means)
    known = {each.network: Merit(mean, 0.006) for each, mean in zip(records, means, strict=True)}
    chosen = shortlist(records, known, 1_000)
    assert len(chosen) == listed
    assert [known[r.network].mean for r in chosen] == sorted(means, reverse=True)[:listed]
    assert FEWEST <= len(shortlist(networks([0.5] * 4), dict.fromkeys("0123", Merit(0.5, 0.1)), 1_000)) <= MOST


def test_the_shortlist_is_of_the_budget_without_the_default_and_as_long_as_is_asked() -> None:
    records = networks([0.5, 0.4, 0.3, 0.2])
    records[0] = replace(records[0], parameters=2_000)
    known = {each.network: Merit(each.accuracy, 0.01) for each in records}
    assert [r.network for r in shortlist(records, known, 1_000, besides="2")] == ["1", "3"]
    assert [r.network for r in shortlist(records, known, 2_000, top=1)] == ["0"]


@pytest.mark.parametrize("budget", [1_000, 10_000])
def test_the_default_within_a_budget_is_the_network_with_which_every_strategy_begins(budget: int) -> None:
    space = bind(named_space("mixed"), (1, 8, 8), 10)
    expected = default_within(space, Budget(budget))
    for name in ("random", "tpe", "greedy"):
        study = optuna.create_study(
            sampler=STRATEGIES[name](space, Budget(budget), seed=3, beginnings=space.beginnings)
        )
        trial = study.ask({knob.name: distribution(knob) for knob in space.knobs})
        assert trial.params == expected


def test_one_bad_network_does_not_make_the_others_count_as_they_were_observed() -> None:
    accuracies = np.linspace(0.50, 0.52, 20)
    best = smoothed(accuracies, np.full(20, 1e-4), np.full(20, 0.51))[-1].mean
    with_one = np.append(accuracies, 0.01)
    assert smoothed(with_one, np.full(21, 1e-4), np.full(21, 0.51))[-2].mean == pytest.approx(best, abs=0.002)
