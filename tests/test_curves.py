"""Predictions of the last epoch: what must hold for any curve, and that they are right on curves of known shape."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from nas.stopping.curves import Curve, Prediction
from nas.stopping.extrapolator import Extrapolator, link_ends
from nas.stopping.families import FAMILIES, Array, forecast_by_families
from nas.stopping.transforms import Transform

accuracies = st.floats(0, 1, allow_subnormal=False)
SHARES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)

Shape = Callable[..., list[list[float]]]


def power_law(last: float, gain: float, exponent: float, epochs: int, noise: float = 0.0, seed: int = 0) -> list[float]:
    """A curve that ends near `last`."""
    e = np.arange(1, epochs + 1)
    curve = last - gain * (e**-exponent - epochs**-exponent)
    return [float(value) for value in curve + noise * np.random.default_rng(seed).standard_normal(epochs)]


def population(count: int, epochs: int, seed: int = 0) -> list[list[float]]:
    """Curves of networks that differ in level, gain and speed; the gain goes with the level."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(0.3, 0.7, count)
    return [
        power_law(level, 0.2 + 0.3 * level, rng.uniform(0.4, 1.2), epochs, noise=0.005, seed=i)
        for i, level in enumerate(levels)
    ]


def curve(values: list[float], length: int | None = None) -> Curve:
    return Curve(tuple(values[:length]))


@settings(deadline=None, max_examples=60)
@given(st.lists(accuracies, min_size=1, max_size=500), st.integers(0, 300), st.booleans())
def test_any_curve_gets_a_finite_prediction_with_ordered_quantiles(
    values: list[float], more: int, taught: bool
) -> None:
    epochs = len(values) + more
    others = [curve(values), curve(values[::-1]), curve([0.5] * epochs)] if taught else []
    prediction = Extrapolator(others, epochs).predict(curve(values))
    quantiles = [prediction.quantile(share) for share in SHARES]
    assert all(map(math.isfinite, (prediction.mean, prediction.scale, *quantiles)))
    assert prediction.scale >= 0
    assert quantiles == sorted(quantiles)
    assert 0 <= prediction.chance_above(0.5) <= 1


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(accuracies, min_size=1, max_size=12), min_size=1, max_size=8),
    st.lists(accuracies, min_size=1, max_size=11),
    st.floats(-2, 2),
)
def test_adding_a_constant_to_all_curves_adds_it_to_the_prediction(
    others: list[list[float]], values: list[float], constant: float
) -> None:
    plain = Extrapolator([curve(other) for other in others], 12).predict(curve(values))
    shifted_others = [curve([v + constant for v in other]) for other in others]
    shifted = Extrapolator(shifted_others, 12).predict(curve([v + constant for v in values]))
    assert shifted.mean == pytest.approx(plain.mean + constant, abs=1e-6)
    assert shifted.scale == pytest.approx(plain.scale, abs=1e-6)


@settings(deadline=None)
@given(accuracies, st.integers(1, 200), st.integers(0, 100), st.integers(0, 6))
def test_constant_curves_predict_themselves(value: float, length: int, more: int, others: int) -> None:
    epochs = length + more
    taught = [curve([value] * epochs)] * others
    prediction = Extrapolator(taught, epochs).predict(curve([value] * length))
    assert prediction.mean == pytest.approx(value, abs=1e-9)


def test_the_last_epoch_needs_no_prediction() -> None:
    prediction = Extrapolator([], 3).predict(curve([0.1, 0.2, 0.3]))
    assert prediction == Prediction(0.3, 0.0)
    assert prediction.chance_above(0.29) == 1.0
    assert prediction.chance_above(0.3) == 0.0


def test_knowing_nothing_it_says_so_and_less_so_as_the_curve_goes_on() -> None:
    values = power_law(0.6, 0.4, 0.8, 20)
    scales = [Extrapolator([], 20).predict(curve(values, t)).scale for t in (1, 2, 4, 8, 16)]
    assert scales == sorted(scales, reverse=True)
    low, high = Extrapolator([], 20).predict(curve(values, 1)).interval(0.95)
    assert low < 0.6 < high


@pytest.mark.parametrize("exponent", [0.4, 0.8, 1.5])
def test_families_follow_a_curve_of_their_kind(exponent: float) -> None:
    values = power_law(0.7, 0.4, exponent, 30)
    prediction = Extrapolator([], 30).predict(curve(values, 10))
    assert abs(prediction.mean - 0.7) < abs(values[9] - 0.7)
    low, high = prediction.interval(0.95)
    assert low < 0.7 < high


def test_every_family_forecasts_alone_and_is_named() -> None:
    values = np.array([power_law(0.7, 0.4, 0.8, 30)[:10]])
    sizes = [len(shapes(np.arange(1.0, 31.0), 30)) for shapes in FAMILIES.values()]
    assert sizes == [6, 7, 1, 6, 6]
    for start, size in zip(np.cumsum((0, *sizes)), sizes, strict=False):
        found = forecast_by_families(values, [20, 30], 30, only=slice(int(start), int(start) + size))
        assert found.mean[0, 0] < found.mean[0, 1]
        assert (abs(found.mean) < 0.2).all()
        assert (found.variance > 0).all()


def test_completed_trainings_teach_what_early_values_come_to() -> None:
    curves = population(60, 20)
    finals = np.array([values[-1] for values in curves[40:]])

    def error(taught: int, length: int) -> float:
        extrapolator = Extrapolator([curve(values) for values in curves[:taught]], 20)
        means = [p.mean for p in extrapolator.predict_all([curve(values, length) for values in curves[40:]])]
        return float(np.sqrt(np.mean((np.array(means) - finals) ** 2)))

    for length in (1, 3):
        assert error(40, length) < error(4, length) < error(0, length)


def test_a_jump_that_every_training_makes_is_foreseen_once_seen() -> None:
    curves = [[v + 0.15 * (e >= 15) for e, v in enumerate(values)] for values in population(20, 20)]
    prediction = Extrapolator([curve(values) for values in curves[:10]], 20).predict(curve(curves[15], 10))
    assert prediction.mean == pytest.approx(curves[15][-1], abs=0.05)


def test_trainings_that_were_stopped_teach_the_links_that_they_went_through() -> None:
    rng = np.random.default_rng(0)
    firsts = rng.uniform(0.1, 0.5, 80)  # who begins low gains most, within the epochs that all go through
    epochs = np.arange(20)
    curves = [list(f + (0.6 - 0.8 * f) * (1 - np.exp(-epochs)) + 0.005 * rng.standard_normal(20)) for f in firsts]
    complete, stopped = [curve(values) for values in curves[:2]], [curve(values, 6) for values in curves[2:60]]
    finals = np.array([values[-1] for values in curves[60:]])

    def error(others: list[Curve]) -> float:
        found = Extrapolator(others, 20).predict_all([curve(values, 1) for values in curves[60:]])
        return float(np.sqrt(np.mean((np.array([p.mean for p in found]) - finals) ** 2)))

    assert error(complete + stopped) < 0.5 * error(complete)


def test_intervals_hold_what_they_promise() -> None:
    curves = population(400, 20)
    extrapolator = Extrapolator([curve(values) for values in curves[:200]], 20)
    for length in (1, 2, 5, 10):
        found = extrapolator.predict_all([curve(values, length) for values in curves[200:]])
        inside = [
            p.interval(0.8)[0] <= values[-1] <= p.interval(0.8)[1]
            for p, values in zip(found, curves[200:], strict=True)
        ]
        assert 0.68 < np.mean(inside) < 0.92


@pytest.mark.parametrize(
    "values",
    [
        [0.5, 0.6, 0.65, 0.01, 0.01, 0.01],  # diverged
        [0.01] * 6 + [0.6, 0.7],  # a late start
        [0.7, 0.6, 0.5, 0.4, 0.3],  # falling
        [0.2, 0.6, 0.2, 0.6, 0.2],  # jumping
    ],
)
def test_strange_curves_are_not_extrapolated_boldly(values: list[float]) -> None:
    prediction = Extrapolator([curve(v) for v in population(10, 20)], 20).predict(curve(values))
    assert -0.5 < prediction.mean < 1.2
    alone = Extrapolator([], 20).predict(curve(values))
    low, high = alone.interval(0.95)
    assert low < values[-1] < high


def test_the_network_and_the_losses_are_clues() -> None:
    rng = np.random.default_rng(0)
    curves = []
    for _ in range(60):
        size, speed = rng.uniform(3, 5), rng.uniform(0.5, 1.5)
        values = power_law(0.1 * size + 0.1 * speed, 0.3, 0.8, 12)
        curves.append((values, size, tuple((2 - speed * (e + 1) / 12, 2.0) for e in range(12))))

    def error(*, network: bool, losses: bool) -> float:
        def of(i: int, length: int) -> Curve:
            values, size, lost = curves[i]
            values = [values[e] + 0.05 * rng.standard_normal() * (e == 0) for e in range(length)]
            return Curve(tuple(values), lost[:length] if losses else (), (size,) if network else ())

        extrapolator = Extrapolator([of(i, 12) for i in range(40)], 12)
        found = extrapolator.predict_all([of(i, 1) for i in range(40, 60)])
        return float(np.mean([abs(p.mean - curves[40 + i][0][-1]) for i, p in enumerate(found)]))

    assert error(network=True, losses=True) < 0.6 * error(network=True, losses=False)
    assert error(network=True, losses=True) < error(network=False, losses=True)


def test_a_curve_without_clues_is_predicted_beside_others_that_have_them() -> None:
    rich = [Curve(tuple(values), ((1.0, 1.0),) * 12, (4.0, 5.0)) for values in population(8, 12)]
    bare = Extrapolator(rich, 12).predict(Curve((0.3, 0.4)))
    assert math.isfinite(bare.mean)
    assert math.isfinite(Extrapolator([Curve((0.3, 0.4, 0.5))], 12).predict(Curve((0.3,), ((1, 1),), (4.0,))).mean)


def test_predicting_many_at_once_changes_nothing() -> None:
    curves = population(12, 20)
    extrapolator = Extrapolator([curve(values) for values in curves], 20)
    asked = [curve(values, 1 + i % 7) for i, values in enumerate(population(10, 20, seed=1))]
    together = extrapolator.predict_all(asked)
    for one, found in zip(asked, together, strict=True):
        assert extrapolator.predict(one).mean == pytest.approx(found.mean, abs=1e-12)


def test_a_larger_scale_scales_the_prediction() -> None:
    curves = population(6, 12)
    plain = Extrapolator([curve(values) for values in curves], 12).predict(curve(curves[0], 3))
    large = Extrapolator([curve([100 * v for v in values]) for values in curves], 12, scale=100)
    found = large.predict(curve([100 * v for v in curves[0]], 3))
    assert found.mean == pytest.approx(100 * plain.mean, rel=1e-6)
    assert found.scale == pytest.approx(100 * plain.scale, rel=1e-6)


def test_links_reach_the_last_epoch() -> None:
    for epochs in range(1, 120):
        for t in range(1, epochs + 1):
            ends = link_ends(t, epochs)
            assert ends == sorted(set(ends))
            assert (ends[-1:] or [t]) == [epochs]
            assert all(end > t for end in ends)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (((),), "at least one value"),
        (((0.1, math.nan),), "finite"),
        (((0.1, 0.2), ((1.0, 1.0),)), "2 values but 1 pairs"),
        (((0.1,), (), (math.inf,)), "finite"),
    ],
)
def test_what_is_no_curve_is_refused(arguments: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Curve(*arguments)


def test_a_curve_longer_than_the_training_is_refused() -> None:
    with pytest.raises(ValueError, match="5 epochs, more than the last, 4"):
        Extrapolator([curve([0.1] * 5)], 4)
    with pytest.raises(ValueError, match="more than the last"):
        Extrapolator([], 4).predict(curve([0.1] * 5))
    with pytest.raises(ValueError, match="scale above 0"):
        Extrapolator([], 4, scale=0)


def crowded(count: int, epochs: int, seed: int = 0) -> list[list[float]]:
    """Accuracies that crowd below a ceiling: errors vary and fall by factors."""
    rng = np.random.default_rng(seed)
    e = np.arange(1, epochs + 1)
    errors = (
        0.03 * np.exp(0.6 * rng.standard_normal(count))[:, None] * (1 + 5 * e ** -rng.uniform(0.6, 1.2, (count, 1)))
    )
    found: list[list[float]] = (1 - np.minimum(errors * np.exp(0.08 * rng.standard_normal(errors.shape)), 0.9)).tolist()
    return found


def swinging(count: int, epochs: int, seed: int = 0) -> list[list[float]]:
    """Curves that oscillate with a period of three epochs, each in its own phase."""
    rng = np.random.default_rng(seed)
    phases = rng.uniform(0, 2 * np.pi, (count, 1))
    swing = 0.06 * np.sin(2 * np.pi * np.arange(epochs) / 3 + phases)
    found: list[list[float]] = (np.array(population(count, epochs, seed)) + swing).tolist()
    return found


def flat(count: int, epochs: int, seed: int = 0) -> list[list[float]]:
    """Random walks: nothing is better than the last value."""
    rng = np.random.default_rng(seed)
    steps = 0.01 * rng.standard_normal((count, epochs))
    found: list[list[float]] = (0.5 + 0.1 * rng.standard_normal((count, 1)) + steps.cumsum(axis=1)).tolist()
    return found


def halves(curves: list[list[float]], length: int, final_epochs: int) -> tuple[list[Prediction], Array]:
    """Predictions for the second half, taught by the first, and the final values."""
    half, epochs = len(curves) // 2, len(curves[0])
    extrapolator = Extrapolator([curve(values) for values in curves[:half]], epochs, final_epochs=final_epochs)
    found = extrapolator.predict_all([curve(values, length) for values in curves[half:]])
    return found, np.array(curves[half:])[:, -final_epochs:].mean(axis=1)


@pytest.mark.parametrize("shape", [population, crowded, swinging, flat])
@pytest.mark.parametrize("count", [40, 200])
def test_no_prediction_ranks_trainings_worse_than_their_last_values_do(shape: Shape, count: int) -> None:
    for length in (1, 3, 5, 10, 19):
        gains = []
        for seed in range(4):
            curves = shape(count, 20, seed)
            found, finals = halves(curves, length, 3)
            last = [values[length - 1] for values in curves[count // 2 :]]
            gains.append(spearmanr([p.mean for p in found], finals)[0] - spearmanr(last, finals)[0])
        assert np.mean(gains) > -0.01


@pytest.mark.parametrize("shape", [population, crowded, swinging, flat])
@pytest.mark.parametrize("final_epochs", [1, 3])
def test_intervals_hold_whatever_the_shape_and_whatever_final_means(shape: Shape, final_epochs: int) -> None:
    inside: dict[float, list[bool]] = {0.5: [], 0.8: [], 0.95: []}
    for length in (1, 2, 5, 10, 18, 19):
        found, finals = halves(shape(200, 20), length, final_epochs)
        for level, held in inside.items():
            bounds = [prediction.interval(level) for prediction in found]
            held += [low <= final <= high for (low, high), final in zip(bounds, finals, strict=True)]
    assert 0.40 < np.mean(inside[0.5]) < 0.62
    assert 0.72 < np.mean(inside[0.8]) < 0.88
    assert np.mean(inside[0.95]) > 0.91


def test_of_a_final_mean_what_is_known_is_known() -> None:
    taught = [curve(values) for values in population(20, 12)]
    extrapolator = Extrapolator(taught, 12, final_epochs=3)
    assert extrapolator.predict(taught[0]).mean == pytest.approx(np.mean(taught[0].values[-3:]))
    scales = [extrapolator.predict(Curve(taught[0].values[:length])).scale for length in (9, 10, 11, 12)]
    assert scales[0] > max(scales[1:]) > scales[3] == 0
    with pytest.raises(ValueError, match="final_epochs must be from 1 to 12 but got 13"):
        Extrapolator([], 12, final_epochs=13)


def with_forecasts(count: int, epochs: int, *, useful: bool, seed: int) -> tuple[list[Curve], list[Curve]]:
    """Networks whose final value depends on a feature: their curves as they are, and with forecasts made from it, or
    from one that has nothing to do with them."""
    rng = np.random.default_rng(seed)
    feature, other = rng.standard_normal((2, count))
    levels = 0.5 + 0.08 * feature + 0.03 * rng.standard_normal(count)
    plain = [
        curve(power_law(level, 0.25, rng.uniform(0.5, 1.2), epochs, noise=0.03, seed=i))
        for i, level in enumerate(levels)
    ]
    told = 0.5 + 0.08 * (feature if useful else other)
    deviation = 0.04 if useful else 0.1
    return plain, [replace(one, forecast=(float(f), deviation)) for one, f in zip(plain, told, strict=True)]


def forecast_errors(taught: int, *, useful: bool) -> tuple[float, float]:
    """Mean errors after the first epoch without the forecasts and with them."""
    errors = []
    for seed in range(8):
        row = []
        for curves in with_forecasts(taught + 40, 12, useful=useful, seed=seed):
            found = Extrapolator(curves[:taught], 12).predict_all(
                [replace(each, values=each.values[:1]) for each in curves[taught:]]
            )
            row.append(np.mean([abs(p.mean - c.values[-1]) for p, c in zip(found, curves[taught:], strict=True)]))
        errors.append(row)
    without, heard = np.mean(errors, axis=0)
    return float(without), float(heard)


@pytest.mark.parametrize("taught", [0, 2, 10, 40])
def test_a_forecast_from_the_shape_of_the_network_helps(taught: int) -> None:
    without, heard = forecast_errors(taught, useful=True)
    assert heard < without


@pytest.mark.parametrize("taught", [10, 40])
def test_a_useless_forecast_does_no_harm(taught: int) -> None:
    without, heard = forecast_errors(taught, useful=False)
    assert heard < 1.02 * without


def test_a_forecast_without_deviation_is_refused() -> None:
    with pytest.raises(ValueError, match="deviation of a forecast must be above 0 but is 0"):
        Curve((0.1,), forecast=(0.5, 0.0))


def test_training_losses_may_come_alone() -> None:
    rng = np.random.default_rng(0)
    merits = rng.standard_normal(160)
    curves = [
        Curve(
            tuple(0.6 + 0.05 * m + 0.05 * rng.standard_normal(6)),
            tuple((2 - 0.2 * m - 0.1 * e, None) for e in range(6)),
        )
        for m in merits
    ]
    finals = [each.values[-1] for each in curves[80:]]

    def ranked(losses: bool) -> float:
        known = [each if losses else replace(each, losses=()) for each in curves]
        found = Extrapolator(known[:80], 6).predict_all(
            [Curve(each.values[:1], each.losses[:1]) for each in known[80:]]
        )
        return float(spearmanr([p.mean for p in found], finals)[0])

    assert ranked(True) > ranked(False) + 0.05


@given(st.floats(-3, 3), st.floats(0.01, 1), st.floats(0.25, 3), st.floats(0.001, 0.999))
def test_the_chance_above_a_quantile_is_what_is_left(mean: float, scale: float, power: float, share: float) -> None:
    prediction = Prediction(mean, scale, power)
    assert prediction.chance_above(prediction.quantile(share)) == pytest.approx(1 - share, abs=1e-6)


@given(st.lists(accuracies, min_size=1, max_size=20), st.floats(0.001, 10) | st.just(math.inf), st.floats(-1, 2))
def test_a_transform_keeps_the_order_and_is_undone(values: list[float], bend: float, top: float) -> None:
    transform = Transform(top, bend)
    found = transform.of(np.array(values))
    assert (np.diff(found[np.argsort(values)]) >= 0).all()
    assert transform.back(found) == pytest.approx(np.array(values), abs=1e-9)
    assert ((transform.slope(np.array(values)) > 0) & (transform.slope(np.array(values)) <= 1)).all()
