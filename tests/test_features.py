"""Numbers that describe a network, and the model that learns from them."""

import math

import numpy as np
import pytest
from drawn import shipped
from hypothesis import assume, given
from hypothesis import strategies as st

from nas.network import layers
from nas.network.blocks import stage, stem
from nas.network.features import features
from nas.network.folds import cost, rows
from nas.network.heads import classifier
from nas.network.layers import Sequence
from nas.search.sampling.mutants import MOST_CHANGES, mutated
from nas.search.sampling.surrogate import DESCRIPTIONS, Describer, Encoder, learnt
from nas.space.budget import Budget
from nas.space.draw import draw, draw_within
from nas.space.files import shipped_spaces
from nas.space.space import Knob

SPACES = sorted(shipped_spaces())


@pytest.mark.parametrize("name", SPACES)
def test_every_network_of_a_space_is_described_by_as_many_finite_numbers(name: str) -> None:
    space = shipped(name)
    rng = np.random.default_rng(0)
    found = [space.features(draw_within(space, Budget(30_000), rng)) for _ in range(8)]
    assert len({len(each) for each in found}) == 1
    assert all(math.isfinite(number) for each in found for number in each)
    assert len(set(found)) > 1


def test_the_numbers_are_those_of_the_network() -> None:
    network = Sequence((stem(3, 8), stage("depthwise", 1, 8, 16, kernel=5, stride=2, expansion=2), classifier(16, 10)))
    numbers = features(network, (3, 32, 32))
    counted = cost(network, (3, 32, 32))
    assert numbers[0] == pytest.approx(math.log2(1 + counted.parameters))
    assert numbers[1] == pytest.approx(math.log2(1 + counted.macs))
    assert numbers[3:5] == (3.0, 4.0)  # 8 channels behind the stem, 16 before the classifier
    assert 2 ** numbers[5] == 3 + 4  # a 3 x 3 and a 5 x 5 window
    assert numbers[7] == pytest.approx(16 * 10 / counted.parameters, rel=0.1)  # and biases
    assert 0 < numbers[8] < 1
    assert 0 < numbers[9] < 1


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_numbers_are_those_of_the_table_of_its_layers(name: str, seed: int) -> None:
    space = shipped(name)
    knobs = draw(space, np.random.default_rng(seed))
    assume(space.cost(knobs) is not None)
    every = list(rows(space.network(knobs), space.shape))
    weighted = [
        row
        for row in every
        if isinstance(row.layer, layers.Conv | layers.Linear | layers.SignLinear | layers.QuadraticLinear)
    ]
    linear = [row for row in weighted if not isinstance(row.layer, layers.Conv)]
    depthwise = [r for r in weighted if isinstance(r.layer, layers.Conv) and r.layer.groups == r.layer.inputs > 1]
    counted, work = sum(row.parameters for row in every), sum(row.macs for row in every)
    numbers = space.features(knobs)
    assert numbers[:5] == (
        math.log2(1 + counted),
        math.log2(1 + work),
        math.log2(1 + sum(math.prod(row.output) for row in weighted)),
        math.log2(weighted[0].output[0]),
        math.log2(weighted[-1].input[0]),
    )
    assert numbers[7:] == (
        sum(row.parameters for row in linear) / counted,
        sum(row.parameters for row in depthwise) / counted,
        sum(row.macs for row in weighted if row.input[1:] == space.shape[1:]) / work,
    )


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_mutant_differs_by_one_to_three_knobs_and_stays_in_the_space(name: str, seed: int) -> None:
    space = shipped(name)
    rng = np.random.default_rng(seed)
    parent = draw(space, rng)
    mutant = mutated(space.knobs, parent, rng)
    assert space.check(mutant) == mutant
    assert 1 <= sum(mutant[knob] != parent[knob] for knob in parent) <= MOST_CHANGES


def test_a_mutant_of_a_space_of_one_network_is_that() -> None:
    assert mutated((Knob("k", (3,), "choice"),), {"k": 3}, np.random.default_rng(0)) == {"k": 3}


@given(seed=st.integers(0, 2**32 - 1), factor=st.sampled_from([0.5, 2.0]))
def test_widths_count_by_their_proportions(seed: int, factor: float) -> None:
    widths = tuple(Knob(f"width{i}", tuple(range(1, 200)), "width") for i in range(3))
    rng = np.random.default_rng(seed)
    knobs = {knob.name: int(rng.integers(8, 33)) * 2 for knob in widths}
    scaled = {name: int(factor * (1 + width)) - 1 for name, width in knobs.items()}
    encoder = Encoder(widths)
    assert encoder.columns([scaled]) == pytest.approx(encoder.columns([knobs]), abs=0.15)


def test_what_some_networks_show_is_foretold_of_others_with_what_is_uncertain() -> None:
    """An accuracy that adds up over the knobs, with noise of a tenth of its spread."""
    space = shipped("mixed")
    rng = np.random.default_rng(1)
    all_knobs = [draw_within(space, Budget(20_000), rng) for _ in range(120)]
    shown = np.array(
        [
            0.5 + 0.03 * (k["kernel2"] == 3) - 0.02 * float(k["blocks3"]) + 0.03 * (k["kind3"] == "depthwise")
            for k in all_knobs
        ]
    )
    noisy = shown + 0.003 * rng.normal(size=len(shown))
    describer = Describer(space)
    columns, description = describer.columns(all_knobs), describer.description(all_knobs)
    model = learnt(columns[:80], description[:80], list(noisy[:80]))
    mean, uncertain = model.predict(columns[80:], description[80:])
    assert np.corrcoef(mean, shown[80:])[0, 1] > 0.8
    assert np.mean(np.abs(mean - shown[80:]) < 3 * uncertain + 0.01) > 0.9


def test_what_is_foretold_is_that_of_a_gaussian_process_under_the_likeliest_weight() -> None:
    rng = np.random.default_rng(2)
    columns, description = rng.normal(size=(30, 4)), rng.normal(size=(30, 3))
    values = list(columns @ [0.3, -0.2, 0.1, 0.0] + 0.2 * description[:, 0] + 0.05 * rng.normal(size=30))
    weighed = [learnt(columns, description, values, weights=[weight]) for weight in DESCRIPTIONS]
    model = learnt(columns, description, values)
    assert model.likelihood == max(one.likelihood for one in weighed)
    assert model.weight == 1.0  # the description does say something here
    inverse = np.linalg.inv(model.factor @ model.factor.T)
    target = (model.values - model.centre) / model.scale
    kernel = model.known.kernel(columns, description, model.weight, model.local)
    own = model.known.own(columns, description, model.weight, model.local)
    mean, uncertain = model.predict(columns, description)
    assert mean == pytest.approx(model.centre + model.scale * kernel @ inverse @ target)
    left = model.variance * (own - np.diag(kernel @ inverse @ kernel.T))
    assert uncertain == pytest.approx(model.scale * np.sqrt(left), rel=1e-6)
    mean, uncertain = model.left_out()
    assert mean == pytest.approx(model.values - model.scale * (inverse @ target) / np.diag(inverse))
    assert uncertain == pytest.approx(model.scale * np.sqrt(model.variance / np.diag(inverse)))


def test_a_value_that_is_a_guess_counts_for_less() -> None:
    knob = (Knob("k", ("a", "b"), "choice"),)
    columns = Encoder(knob).columns([{"k": option} for option in "aabb"])
    empty = np.zeros((4, 0))
    sure, _ = learnt(columns, empty, [0.5, 0.5, 0.6, 0.9]).predict(columns, empty)
    doubted, _ = learnt(columns, empty, [0.5, 0.5, 0.6, 0.9], [0, 0, 0, 1.0]).predict(columns, empty)
    assert doubted[3] < sure[3] - 0.02


def test_the_network_with_the_best_observed_value_is_not_the_one_of_most_merit_where_noise_is_large() -> None:
    space = shipped("residual")
    rng = np.random.default_rng(3)
    all_knobs = [draw_within(space, Budget(20_000), rng) for _ in range(100)]
    worth = np.array([0.5 - 0.01 * float(k["blocks2"]) for k in all_knobs])
    errors = []
    for _ in range(20):
        observed = worth + 0.01 * rng.normal(size=len(worth))
        smoothed, _ = Describer(space).smoothed(all_knobs, list(observed))
        errors.append((worth[observed.argmax()], worth[smoothed.argmax()]))
    best_observed, best_smoothed = np.mean(errors, axis=0)
    assert best_smoothed > best_observed


def test_values_that_are_all_the_same_teach_nothing_and_do_no_harm() -> None:
    space = shipped("plain")
    all_knobs = [draw(space, np.random.default_rng(seed)) for seed in range(5)]
    mean, uncertain = Describer(space).smoothed(all_knobs, [0.25] * 5)
    assert mean == pytest.approx([0.25] * 5)
    assert np.all(np.isfinite(uncertain))


def test_a_width_of_one_option_is_no_column() -> None:
    knobs = (Knob("stem", (16,), "width"), Knob("width", (4, 8), "width"), Knob("k", (3, 5), "ordered"))
    encoder = Encoder(knobs)
    assert encoder.columns([{"stem": 16, "width": 4, "k": 3}]).shape == (1, 3)  # the width, the kernel and its square
