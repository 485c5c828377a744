"""What a model of the space forecasts of networks in training."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import shipped
from records import record

from nas.search.judging.forecasts import FEWEST, Forecaster
from nas.search.records import Record
from nas.space.budget import Budget
from nas.space.draw import draw_within

SPACE = shipped("residual")


def networks(count: int, state: str = "trained") -> list[Record]:
    """Networks whose accuracy adds up over their knobs, with noise of half a point."""
    rng = np.random.default_rng(count)
    made = []
    for number in range(count):
        knobs = draw_within(SPACE, Budget(20_000), rng)
        accuracy = 0.5 - 0.05 * float(knobs["blocks2"]) + 0.005 * float(rng.normal())
        made.append(replace(record({}, accuracy, number=number), knobs=knobs, network=f"{count}-{number}"))
    return [replace(each, state=state) for each in made]  # type: ignore[arg-type]


def test_few_networks_forecast_nothing() -> None:
    few = networks(FEWEST - 1)
    assert Forecaster(SPACE).forecast(few)(few) == [None] * len(few)


def test_networks_are_forecast_from_the_others_within_what_is_said_to_be_uncertain() -> None:
    known = networks(60)
    waiting = [replace(each, state="running", network=f"w{each.number}") for each in networks(20)]
    forecast = Forecaster(SPACE).forecast([*known, *waiting])
    new = [replace(each, network=f"n{each.number}") for each in waiting]
    asked = [np.array(forecast(group)) for group in (new, waiting)]
    assert asked[0] == pytest.approx(asked[1])
    for group in (known, waiting):
        told = np.array(forecast(group))
        truth = np.array([0.5 - 0.05 * float(each.knobs["blocks2"]) for each in group])
        assert np.corrcoef(told[:, 0], truth)[0, 1] > 0.9
        assert np.mean(np.abs(told[:, 0] - truth) < 2 * told[:, 1]) > 0.8


def test_baselines_are_not_forecast() -> None:
    foreign = replace(record({}, 0.5), knobs={"baseline": "resnet"}, network="b")
    assert Forecaster(SPACE).forecast([*networks(20), foreign])([foreign]) == [None]


def test_a_network_measured_by_one_strategy_and_stopped_by_another_is_measured() -> None:
    known = networks(FEWEST)
    stopped = replace(known[0], strategy="greedy", state="stopped", stopped=1)
    with_it, without = Forecaster(SPACE).forecast([*known, stopped]), Forecaster(SPACE).forecast(known)
    assert with_it([*known, stopped]) == without([*known, known[0]])
