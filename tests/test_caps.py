"""The contract of every cap: one that is listed is tested here by being listed. Then what caps come to in a search."""

import json
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import searching
import torch
from drawn import IMAGES, Drawn, drawn_networks, shipped
from exported import plain_module
from hypothesis import given, settings
from hypothesis import strategies as st
from records import PLAN

from nas.errors import BudgetError, UserError
from nas.machine.options import differences
from nas.network import layers
from nas.network.blocks import conv_norm
from nas.network.deployment.memory import peak_activation
from nas.network.deployment.numbers import BYTES, Numbers
from nas.network.deployment.weights import weight_bytes
from nas.network.folds import cost
from nas.network.layers import (
    Activation,
    BatchNorm,
    Conv,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    Product,
    QuadraticLinear,
    Scale,
    Shape,
    SignLinear,
    Slice,
    SqueezeExcitation,
    Tied,
)
from nas.network.serial import from_json
from nas.results.export.formats.onnx import onnx_model
from nas.search.options import SearchOptions
from nas.search.search import Search
from nas.space.budget import (
    Budget,
    all_counted,
    counted,
    implied_parameters,
    parse_bytes,
    parse_caps,
    written_caps,
)
from nas.space.caps import CAPS
from nas.space.draw import check_satisfiable, draw, draw_within, fit, smallest
from nas.space.files import shipped_spaces

numbers = st.sampled_from(tuple(BYTES))


@pytest.fixture(params=list(CAPS))
def cap(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# Every cap


@settings(max_examples=40)
@given(st.sampled_from(list(CAPS)), drawn_networks(), numbers)
def test_a_network_is_within_a_cap_of_what_it_has_and_not_of_one_less(name: str, drawn: Drawn, own: Numbers) -> None:
    found = cost(drawn.network, drawn.shape)
    has = counted(found, name, own)
    assert has == CAPS[name].count(found, own)
    assert Budget(**{name: has}, numbers=own).covers(found)
    assert Budget(**{name: has}, numbers=own).load(found) == 1
    assert not Budget(**{name: max(1, has - 1)}, numbers=own).covers(found)


@given(st.sampled_from(list(CAPS)), st.integers(1, 10**12))
def test_a_cap_is_read_as_it_was_written(name: str, most: int) -> None:
    assert parse_caps(written_caps({name: most})) == {name: most}


def test_a_cap_tells_what_it_counts_and_how_more_is_asked_for(cap: str) -> None:
    own = CAPS[cap]
    assert own.meaning[0].isalpha()
    assert not own.meaning.endswith(".")
    assert "1,234" in own.words(1_234, "int8")
    assert own.flag in ("--budget", "--max-macs", f"--max {cap}")
    assert own.brief(1_234) in ("1,234", "1.2 KB")
    assert (own.parameters(10_000, "int8") or 1) >= 1


@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_what_is_fitted_under_every_cap_at_once_is_within_each(name: str) -> None:
    shape, classes = IMAGES[0]
    space = shipped(name, shape, classes)
    rng = np.random.default_rng(0)
    least = space.cost(smallest(space))
    assert least is not None
    for own in BYTES:
        small = all_counted(least, own)
        for _ in range(1 if name == "cifar_resnet" else 4):  # hundreds of layers
            caps: dict[str, int] = {cap: int(has * rng.uniform(1, 8)) + 1 for cap, has in small.items()}
            budget = Budget(**caps, numbers=own)
            found = space.cost(fit(space, draw(space, rng), budget, rng))
            assert found is not None
            assert budget.covers(found)
            assert all(counted(found, cap, own) <= most for cap, most in caps.items())


def test_a_fit_uses_the_size_that_is_capped() -> None:
    space, rng = shipped("mixed", *IMAGES[0]), np.random.default_rng(0)
    budget = Budget(20_000, numbers="int8", bytes=10_000)
    used = [cost(space.network(draw_within(space, budget, rng)), space.shape) for _ in range(12)]
    assert np.median([counted(one, "bytes", "int8") / 10_000 for one in used]) > 0.95


def test_a_cap_that_nothing_meets_is_refused_with_the_smallest_network_and_the_cap_that_binds(cap: str) -> None:
    space = shipped("mixed", *IMAGES[0])
    least = space.cost(smallest(space, Budget(**{cap: 1}, numbers="int8")))
    assert least is not None
    has = counted(least, cap, "int8")
    roomy = {name: 10**9 for name in CAPS if name != cap}
    budget = Budget(**roomy, **{cap: has - 1}, numbers="int8")
    with pytest.raises(BudgetError) as caught:
        check_satisfiable(space, budget, "mixed")
    told = str(caught.value)
    assert f"no network of space 'mixed' has at most {budget}; its smallest has " in told
    assert CAPS[cap].words(has, "int8") in told
    assert told.endswith(f"above the cap on {cap}. Raise {CAPS[cap].flag} or choose another --space.")


def test_caps_that_only_together_are_too_much_are_all_told() -> None:
    space = shipped("mixed", *IMAGES[0])
    with pytest.raises(BudgetError, match=r"above the cap on bytes and memory\. Raise --max bytes and --max memory or"):
        check_satisfiable(space, Budget(10**6, bytes=10, memory=10), "mixed")


# Bytes


BY_HAND: list[tuple[Layer, Shape, int, int]] = [
    (conv_norm(3, 8, 3), (3, 4, 4), 216 + 8, 216 + 64),
    (Conv(3, 8, 3), (3, 4, 4), 216, 216 + 64),
    (Conv(3, 8, 3, bias=True), (3, 4, 4), 216 + 8, 216 + 64),
    (Linear(8, 10), (8,), 90, 160),
    (Linear(8, 10, bias=False), (8,), 80, 160),
    (SignLinear(8, 10), (8,), 80 + 10 + 10, 160),
    (QuadraticLinear(3, 10), (9,), 90, 170),
    (SqueezeExcitation(8, 2), (8, 4, 4), 32 + 10, 32 + 80),
    (Scale(8), (8, 4, 4), 8, 72),
    (BatchNorm(8), (8, 4, 4), 32, 72),
    (layers.Sequence((Activation(), GlobalPool(), Flatten())), (8, 4, 4), 0, 0),
    # the convolution that the blocks have in common is there once in fp32, beside two norms, and with each norm in int8
    (Tied(conv_norm(8, 8, 1), 2), (8, 4, 4), 64 + 2 * 32, 2 * (64 + 64)),
    (Tied(layers.Sequence((Conv(8, 8, 1), Activation())), 2), (8, 4, 4), 64, 64 + 64),
    (Tied(SqueezeExcitation(8, 2), 3), (8, 4, 4), 42, 112),
    (Tied(conv_norm(8, 8, 3, groups=8), 2), (8, 4, 4), 2 * (72 + 8), 2 * (72 + 64)),
]


@pytest.mark.parametrize(("layer", "shape", "values", "in_int8"), BY_HAND)
def test_the_bytes_of_weights_are_those_counted_by_hand(layer: Layer, shape: Shape, values: int, in_int8: int) -> None:
    assert weight_bytes(layer, shape, "fp32") == 4 * values
    assert weight_bytes(layer, shape, "int8") == in_int8


def initialisers(layer: Layer, shape: Shape) -> int:
    """Bytes of the floating-point numbers in the network's ONNX, whose weights all differ. It is made of the source:
    nas's own modules leave out taps that meet padding alone."""
    torch.manual_seed(0)
    module = plain_module(layer, shape)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            value.uniform_(0.5, 2) if name.endswith("running_var") else value.normal_()
    model = onnx_model(module, shape)
    return 4 * sum(int(prod(tensor.dims)) for tensor in model.graph.initializer if tensor.data_type == 1)


def test_the_bytes_in_fp32_are_those_that_the_onnx_file_holds() -> None:
    every = layers.Sequence(
        (
            conv_norm(3, 8, 3, function="relu"),
            Tied(layers.Sequence((conv_norm(8, 8, 1), conv_norm(8, 8, 3, groups=8))), 3),
            BatchNorm(8),
            Scale(8),
            SqueezeExcitation(8, 2),
            Product(Slice(8, 4), layers.Sequence((Slice(8, 4, 4), BatchNorm(4)))),
            GlobalPool(),
            Flatten(),
            SignLinear(4, 9),
            QuadraticLinear(3, 10),
        )
    )
    assert weight_bytes(every, (3, 8, 8), "fp32") == initialisers(every, (3, 8, 8))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_the_bytes_of_every_space_are_those_that_the_onnx_file_holds(name: str) -> None:
    space, rng = shipped(name, *IMAGES[0]), np.random.default_rng(0)
    for _ in range(3):
        network = space.network(draw_within(space, Budget(20_000), rng))
        assert weight_bytes(network, space.shape, "fp32") == initialisers(network, space.shape)


@settings(max_examples=60)
@given(drawn_networks(), numbers)
def test_no_network_has_more_parameters_than_its_bytes_leave_room_for(drawn: Drawn, own: Numbers) -> None:
    found = cost(drawn.network, drawn.shape)
    room = implied_parameters({"bytes": counted(found, "bytes", own)}, own)
    assert room is not None
    assert found.parameters <= room


# What is asked


@pytest.mark.parametrize(
    ("text", "size"), [("64KB", 64_000), ("64KiB", 65_536), ("1.5MB", 1_500_000), ("800 b", 800), ("1gib", 2**30)]
)
def test_a_size_is_read_with_its_unit(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("caps", "told"),
    [
        ("flops=3M", r"there is no cap 'flops'; what can be capped is bytes, macs, memory, parameters"),
        ("memory=64000", r"memory: a size needs a unit, as 64KB .* but got '64000'"),
        ("memory=64K", r"memory: a size needs a unit"),
        ("memory=0KB", r"memory: a size must be a whole number of bytes of at least 1"),
        ("bytes=0.5B", r"bytes: a size must be a whole number of bytes"),
        ("memory", r"a cap must be NAME=MOST, of bytes, macs, memory, parameters, but got 'memory'"),
        ("", r"max must not be empty"),
        ("memory=8KB,memory=8KB", r"the cap on memory is given twice; leave one out"),
        ("parameters=2KB", r"parameters: a count must be a number"),
    ],
)
def test_a_cap_that_makes_no_sense_is_told_in_one_line(caps: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        SearchOptions(budget=1_000, max=[caps])


def test_the_short_forms_are_caps() -> None:
    asked = SearchOptions(max=["parameters=100K,macs=15M", "memory=64KB,bytes=256KB"], numbers="int8")
    assert asked == SearchOptions(
        budget=100_000, max_macs=15_000_000, max=("bytes=256000B", "memory=64000B"), numbers="int8"
    )
    assert asked == SearchOptions(
        max={"parameters": "100K", "macs": 15_000_000, "memory": 64_000, "bytes": "256KB"}, numbers="int8"
    )
    assert asked.within(100_000) == Budget(100_000, 15_000_000, memory=64_000, bytes=256_000, numbers="int8")
    assert SearchOptions(budget=5, max="parameters=5").budgets == (5,)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"budget": 10, "max": "parameters=20"}, "--budget says 10 and --max parameters=20; leave one out"),
        ({"budget": [10, 20], "max": "parameters=20"}, "--budget says 10, 20 and --max parameters=20; leave one out"),
        ({"budget": 10, "max_macs": 5, "max": "macs=6"}, "--max-macs says 5 and --max macs=6; leave one out"),
        ({"max": "memory=8KB"}, "a search needs a size: give --budget, or parameters or bytes in --max"),
        ({}, "a search needs a size: give --budget, or parameters or bytes in --max"),
        ({"budget": 10, "numbers": "int4"}, "numbers must be of fp32, int8 but got 'int4'"),
    ],
)
def test_caps_that_contradict_one_another_or_leave_the_size_open_are_told(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        SearchOptions(**asked)
    assert str(caught.value) == told


def test_a_cap_on_bytes_alone_leaves_room_for_as_many_parameters_as_fit() -> None:
    assert SearchOptions(max="bytes=20KB", numbers="int8").budgets == (20_000,)
    assert SearchOptions(max="bytes=20KB").budgets == (10_000,)


# In a search


def test_settings_of_earlier_versions_cap_nothing_else() -> None:
    content = {name: value for name, value in PLAN.to_json().items() if name not in ("max", "numbers")}
    assert Search.from_json(content) == PLAN
    assert Search.from_json(content).budget(10_000) == Budget(10_000, PLAN.max_macs)


def test_other_caps_are_another_search() -> None:
    assert differences(PLAN, replace(PLAN, max=("memory=8000B",), numbers="int8")) == [
        "max was none, now memory=8000B",
        "numbers was fp32, now int8",
    ]


def test_a_search_under_caps_stays_within_them_and_says_what_each_network_takes(tmp_path: Path) -> None:
    caps = {"bytes": 1_500, "memory": 2_000}
    arguments = ["--max", "bytes=1.5KB,memory=2KB", "--numbers", "int8", "--workers", "1"]
    searching.write_space(tmp_path)
    done = searching.run(searching.command(tmp_path, tmp_path / "out", *arguments, trials=8, epochs=1))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "pareto.json").read_text())
    assert found["counts"]["over_budget"] == 0
    assert found["settings"]["max"] == ["bytes=1500B", "memory=2000B"]
    assert found["settings"]["numbers"] == "int8"
    for entry in found["front"]:
        network, shape = from_json(entry["layers"]), tuple(found["data"]["shape"])
        assert entry["memory"] == peak_activation(network, shape) <= caps["memory"]
        assert entry["bytes"] == weight_bytes(network, shape, "int8") <= caps["bytes"]
    assert "weights, int8" in done.stderr + done.stdout
    assert "front-memory" in (tmp_path / "out" / "report.html").read_text()
