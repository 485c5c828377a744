import hashlib
import json
from dataclasses import fields, replace
from functools import reduce
from typing import Any

import pytest
from drawn import Drawn, drawn_networks, layer_trees
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.network.layers import (
    KINDS,
    Activation,
    BatchNorm,
    Conv,
    Dropout,
    Identity,
    Layer,
    Linear,
    Pool,
    Residual,
    Sequence,
    Shape,
    sequence,
)
from nas.network.serial import LayerJSONError, fingerprint, from_json, to_json


def names_of(layer: Layer) -> list[str]:
    """Names of all sequences in the tree: equality of trees passes over them."""
    match layer:
        case Sequence():
            return [layer.name, *(name for inner in layer.layers for name in names_of(inner))]
        case Residual():
            return names_of(layer.body) + names_of(layer.shortcut)
        case _:
            return []


def test_a_layer_is_written_with_its_kind_and_every_field() -> None:
    assert to_json(Conv(3, 8, 3)) == {
        "layer": "Conv",
        "inputs": 3,
        "outputs": 8,
        "kernel": 3,
        "stride": 1,
        "padding": 1,
        "dilation": 1,
        "groups": 1,
        "bias": False,
    }
    assert to_json(Sequence((Residual(BatchNorm(4)),), "stage 1")) == {
        "layer": "Sequence",
        "layers": [
            {
                "layer": "Residual",
                "body": {"layer": "BatchNorm", "channels": 4},
                "shortcut": {"layer": "Identity"},
            }
        ],
        "name": "stage 1",
    }


@given(layer_trees)
def test_every_tree_survives_json(tree: Layer) -> None:
    read = from_json(json.loads(json.dumps(to_json(tree))))
    assert read == tree
    assert names_of(read) == names_of(tree)


@settings(max_examples=50)
@given(drawn_networks())
def test_every_network_of_a_space_survives_json(drawn: Drawn) -> None:
    read = from_json(json.loads(json.dumps(to_json(drawn.network))))
    assert read == drawn.network
    assert fingerprint(read, drawn.shape) == fingerprint(drawn.network, drawn.shape)


def test_fields_with_a_default_may_be_left_out() -> None:
    assert from_json({"layer": "Conv", "inputs": 3, "outputs": 8, "kernel": 3}) == Conv(3, 8, 3)
    assert from_json({"layer": "Residual", "body": {"layer": "Identity"}}) == Residual(Identity())


CONV: dict[str, Any] = {"layer": "Conv", "inputs": 3, "outputs": 8, "kernel": 3}


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (None, "but the JSON has None"),
        ([], "but the JSON has []"),
        ("Conv", "but the JSON has 'Conv'"),
        ({}, "but the JSON has None"),
        ({"layer": "Convolution"}, "but the JSON has 'Convolution'"),
        ({"layer": ["Conv"]}, "but the JSON has ['Conv']"),
        ({"layer": {}}, "but the JSON has {}"),
        ({"layer": "Conv", "inputs": 3}, "Conv in the JSON is incomplete"),
        (CONV | {"width": 3}, "Conv has no field 'width'; it has inputs, outputs, kernel"),
        (CONV | {"inputs": "3"}, "Conv.inputs must be a whole number of at least 1, but the JSON has '3'"),
        (CONV | {"inputs": 3.0}, "Conv.inputs must be a whole number of at least 1, but the JSON has 3.0"),
        (CONV | {"inputs": True}, "Conv.inputs must be a whole number of at least 1, but the JSON has True"),
        (CONV | {"inputs": None}, "Conv.inputs must be a whole number of at least 1, but the JSON has None"),
        (CONV | {"inputs": 0}, "Conv.inputs must be a whole number of at least 1, but the JSON has 0"),
        (CONV | {"stride": 0}, "Conv.stride must be a whole number of at least 1, but the JSON has 0"),
        (CONV | {"padding": -1}, "Conv.padding must be a whole number of at least 0, but the JSON has -1"),
        (CONV | {"bias": 1}, "Conv.bias must be True or False, but the JSON has 1"),
        ({"layer": "Activation", "function": "gelu"}, "must be one of relu, silu, hardswish, but the JSON has 'gelu'"),
        ({"layer": "Activation", "function": ["relu"]}, "must be one of relu, silu, hardswish, but the JSON has"),
        ({"layer": "Pool", "statistic": "sum", "size": 2}, "Pool.statistic must be one of max, average"),
        (
            {"layer": "Pool", "statistic": "max", "size": 2, "stride": 0},
            "Pool.stride must be a whole number of at least 1",
        ),
        ({"layer": "Dropout", "rate": 1}, "Dropout.rate must be a number from 0 and below 1, but the JSON has 1"),
        ({"layer": "Dropout", "rate": -0.1}, "Dropout.rate must be a number from 0 and below 1, but the JSON has -0.1"),
        (
            {"layer": "Dropout", "rate": float("nan")},
            "Dropout.rate must be a number from 0 and below 1, but the JSON has nan",
        ),
        (
            {"layer": "Dropout", "rate": "0.1"},
            "Dropout.rate must be a number from 0 and below 1, but the JSON has '0.1'",
        ),
        ({"layer": "Sequence"}, "Sequence in the JSON is incomplete"),
        ({"layer": "Sequence", "layers": {}}, "Sequence.layers must be a list, but the JSON has {}"),
        ({"layer": "Sequence", "layers": [1]}, "but the JSON has 1"),
        ({"layer": "Sequence", "layers": [], "name": None}, "Sequence.name must be text, but the JSON has None"),
        (
            reduce(lambda tree, _: {"layer": "Sequence", "layers": [tree]}, range(2000), CONV),
            "more than 50 layers lie one",
        ),
        ({"layer": "Residual", "body": []}, "but the JSON has []"),
        ({"layer": "Residual", "body": CONV, "shortcut": {"layer": "Skip"}}, "but the JSON has 'Skip'"),
    ],
)
def test_malformed_json_is_refused_in_one_line_that_names_the_fault(tree: Any, words: str) -> None:
    with pytest.raises(LayerJSONError) as caught:
        from_json(tree)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.floats() | st.text(max_size=5) | st.sampled_from(list(KINDS)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["layer", "layers", "body", "channels", "kernel", "name"]), inner)
    ),
    max_leaves=8,
)


@given(json_values)
def test_whatever_the_json_it_is_a_layer_or_refused(tree: Any) -> None:
    try:
        layer = from_json(tree)
    except LayerJSONError as error:
        refused = str(error)
    else:
        refused = ""
        assert to_json(layer).items() >= {(k, v) for k, v in tree.items() if k in ("layer", "channels", "kernel")}
    assert "\n" not in refused


def test_a_fingerprint_is_the_same_on_every_machine() -> None:
    assert fingerprint(Sequence((Conv(3, 8, 3), BatchNorm(8))), (3, 32, 32)) == "3848803eac7bd9ae"
    assert fingerprint(Sequence((Conv(3, 8, 3), BatchNorm(8)), "stem"), (3, 32, 32)) == "3848803eac7bd9ae"


@given(layer_trees)
def test_a_fingerprint_is_that_of_the_tree_as_sorted_json(tree: Layer) -> None:
    def nameless(value: Any) -> Any:
        if isinstance(value, dict):
            of_sequence = value["layer"] == "Sequence"
            return {name: nameless(inner) for name, inner in value.items() if not (of_sequence and name == "name")}
        return [nameless(inner) for inner in value] if isinstance(value, list) else value

    text = json.dumps([nameless(to_json(tree)), [3, 8, 8]], sort_keys=True, separators=(",", ":"))
    assert fingerprint(tree, (3, 8, 8)) == hashlib.sha256(text.encode()).hexdigest()[:16]


@given(layer_trees)
def test_names_do_not_change_a_fingerprint(tree: Layer) -> None:
    assert fingerprint(renamed(tree), (3, 8, 8)) == fingerprint(tree, (3, 8, 8))


def renamed(layer: Layer) -> Layer:
    match layer:
        case Sequence():
            return Sequence(tuple(map(renamed, layer.layers)), f"{layer.name}!")
        case Residual():
            return Residual(renamed(layer.body), renamed(layer.shortcut))
        case _:
            return layer


@given(layer_trees, layer_trees)
def test_fingerprints_are_equal_exactly_for_equal_trees(one: Layer, other: Layer) -> None:
    assert (fingerprint(one, (3, 8, 8)) == fingerprint(other, (3, 8, 8))) == (one == other)


WHOLE = Conv(6, 6, 3, 1, 1, 1, 1, False)


@pytest.mark.parametrize("name", [f.name for f in fields(Conv)])
def test_every_field_of_a_convolution_changes_the_fingerprint(name: str) -> None:
    other: dict[str, Any] = {name: 2 if name != "bias" else True}
    changed = replace(WHOLE, **other)
    assert fingerprint(changed, (6, 8, 8)) != fingerprint(WHOLE, (6, 8, 8))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Activation("relu"), Activation("silu")),
        (Pool("max", 2), Pool("average", 2)),
        (Pool("max", 2), Pool("max", 2, 1)),
        (Linear(8, 10), Linear(8, 10, bias=False)),
        (Dropout(0.1), Dropout(0.2)),
        (BatchNorm(8), BatchNorm(9)),
        (Residual(BatchNorm(8)), Residual(BatchNorm(8), BatchNorm(8))),
        (Residual(BatchNorm(8), Identity()), Residual(Identity(), BatchNorm(8))),
        (Sequence((BatchNorm(8), Identity())), Sequence((Identity(), BatchNorm(8)))),
        (Sequence((BatchNorm(8),)), BatchNorm(8)),
    ],
)
def test_networks_that_differ_have_different_fingerprints(one: Layer, other: Layer) -> None:
    assert fingerprint(one, (8, 8, 8)) != fingerprint(other, (8, 8, 8))


@pytest.mark.parametrize("shape", [(3, 32, 33), (3, 33, 32), (4, 32, 32)])
def test_the_input_shape_changes_the_fingerprint(shape: Shape) -> None:
    network = sequence([Activation()])
    assert fingerprint(network, shape) != fingerprint(network, (3, 32, 32))
