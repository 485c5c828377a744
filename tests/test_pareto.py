import json
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from drawn import layer_trees
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from records import PLAN, SPACE, record

from nas.errors import RunError
from nas.network.deployment.memory import peak_activation
from nas.network.deployment.weights import weight_bytes
from nas.network.folds import cost, output_shape
from nas.network.layers import KINDS, Function, Identity, Layer, Statistic
from nas.network.serial import fingerprint, from_json, to_json
from nas.search.result.front import (
    Baseline,
    Counts,
    CurvePoint,
    Found,
    FrontNetwork,
    front_of,
    read_front,
    write_front,
)
from nas.search.search import Search, run_folder
from nas.space.caps import CAPS

SCHEMA: dict[str, Any] = json.loads((Path(__file__).parents[1] / "docs/reference/pareto.schema.json").read_text())
PARETO = Draft202012Validator(SCHEMA)
LAYER = Draft202012Validator({"$ref": "#/$defs/layer", "$defs": SCHEMA["$defs"]})

SMALL = {"width": 4, "kernel": 3, "gate": False}
GATED = {"width": 4, "kernel": 3, "gate": True}
WIDE = {"width": 8, "kernel": 5, "gate": True}
RECORDS = [
    record(SMALL, 0.5, budget=1_000, number=0),
    record(GATED, 0.25, budget=1_000, number=1),
    record(SMALL, 0.5, budget=1_000, number=2, strategy="random", state="replayed"),
    record(WIDE, 0.75, number=0),
    record(GATED, 0.0, number=1, state="failed", failure="DivergenceError: the loss became nan"),
    record(GATED, 0.0, number=2, state="running"),
]


def content() -> dict[str, Any]:
    """What is read back from the file."""
    read: dict[str, Any] = json.loads(json.dumps(front_of(RECORDS, PLAN, SPACE).to_json(), allow_nan=False))
    return read


def test_the_schema_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_result_is_as_the_schema_says() -> None:
    PARETO.validate(content())


def test_a_result_of_nothing_yet_is_as_the_schema_says() -> None:
    search = replace(PLAN, max_macs=5_000, image_size=8, validation_share=0.3)
    empty = json.loads(json.dumps(front_of([], search, SPACE).to_json()))
    PARETO.validate(empty)
    assert (empty["front"], empty["best"], empty["failures"]) == ([], [], {})


def test_the_result_of_these_trials_is_this() -> None:
    found = content()
    assert found["schema_version"] == 1
    assert found["data"] == {"shape": [1, 8, 8], "classes": 10, "checksum": "0" * 64}
    assert found["counts"] == {"proposed": 6, "over_budget": 0, "replayed": 1, "trained": 3, "stopped": 0, "failed": 1}
    assert found["failures"] == {"DivergenceError: the loss became nan": 1}
    small, wide = found["front"]
    assert small["knobs"] == SMALL
    assert small["parameters"] == 40 + 144 + 8 + 288 + 90  # stem, body, its norm, the second residual, head
    assert small["macs"] == 9 * 4 * 64 + 144 * 16 + 288 * 4 + 80
    assert small["found_by"] == [
        {"strategy": "tpe", "budget": 1_000, "trial": 0},
        {"strategy": "random", "budget": 1_000, "trial": 2},
    ]
    assert small["validation_accuracy"] == 0.5
    assert small["validation_loss"] == 1.2
    assert small["curve"] == [
        {"epoch": 1, "train_loss": 2.0, "validation_loss": 2.1, "validation_accuracy": 0.25},
        {"epoch": 2, "train_loss": 1.0, "validation_loss": 1.2, "validation_accuracy": 0.5},
    ]
    assert found["best"] == [
        {
            "budget": 1_000,
            "network": small["network"],
            "parameters": 570,
            "macs": small["macs"],
            "share_of_budget": 0.57,
            "validation_accuracy": 0.5,
        },
        {
            "budget": 10_000,
            "network": wide["network"],
            "parameters": wide["parameters"],
            "macs": wide["macs"],
            "share_of_budget": wide["parameters"] / 10_000,
            "validation_accuracy": 0.75,
        },
    ]


def test_a_network_is_rebuilt_from_the_result_without_its_space() -> None:
    found = content()
    for entry in found["front"]:
        network, shape = from_json(entry["layers"]), tuple(found["data"]["shape"])
        assert cost(network, shape).parameters == entry["parameters"]
        assert cost(network, shape).macs == entry["macs"]
        assert peak_activation(network, shape) == entry["peak_activation"]
        assert entry["memory"] == 4 * entry["peak_activation"]
        assert entry["bytes"] == weight_bytes(network, shape, "fp32")
        assert fingerprint(network, shape) == entry["network"]
        assert output_shape(network, shape) == (found["data"]["classes"],)
    assert from_json(found["front"][1]["layers"]) == SPACE.network(WIDE)


def test_a_result_is_written_whole_and_read_back(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    written = write_front(folder, RECORDS, PLAN, SPACE)
    assert read_front(tmp_path) == read_front(tmp_path / "pareto.json") == written
    assert [path.name for path in tmp_path.iterdir()] == ["pareto.json"]
    first = (folder / "pareto.json").read_bytes()
    write_front(folder, RECORDS, PLAN, SPACE)
    assert (folder / "pareto.json").read_bytes() == first


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no pareto.json at"),
        ("{", "is not JSON"),
        ("\udcff", "is not JSON"),
        ("[]", "is no pareto.json of schema version 1"),
        ('{"schema_version": 2}', "is no pareto.json of schema version 1"),
    ],
)
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "pareto.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RunError) as caught:
        read_front(tmp_path)
    assert words in str(caught.value)


# The schema and the code say the same


def test_the_schema_has_every_kind_of_layer_with_every_field() -> None:
    assert {choice["$ref"].rpartition("/")[2] for choice in SCHEMA["$defs"]["layer"]["oneOf"]} == set(KINDS)
    for name, kind in KINDS.items():
        assert list(SCHEMA["$defs"][name]["properties"]) == ["layer", *(f.name for f in fields(kind))]
    assert tuple(SCHEMA["$defs"]["Activation"]["properties"]["function"]["enum"]) == get_args(Function)
    assert tuple(SCHEMA["$defs"]["statistic"]["enum"]) == get_args(Statistic)


def test_the_schema_has_every_field_of_the_search_the_recipe_the_counts_and_the_networks() -> None:
    search = SCHEMA["$defs"]["settings"]["properties"]
    assert list(search) == [f.name for f in fields(Search)]
    assert list(search["recipe"]["properties"]) == list(PLAN.to_json()["recipe"])
    assert list(SCHEMA["properties"]["counts"]["properties"]) == [f.name for f in fields(Counts)]
    network = SCHEMA["$defs"]["network"]["properties"]
    *own, counted = (f.name for f in fields(FrontNetwork))
    assert counted == "counted"  # all that can be capped beside parameters and multiply-adds
    assert list(network) == [*own, *(name for name, cap in CAPS.items() if not cap.is_quick)]
    for name, kind in (("found_by", Found), ("curve", CurvePoint)):
        assert list(network[name]["items"]["properties"]) == [f.name for f in fields(kind)]
    assert list(SCHEMA["$defs"]["baseline"]["properties"]) == [f.name for f in fields(Baseline)]


def objects(schema: Any) -> list[dict[str, Any]]:
    inner = [found for value in schema.values() for found in objects(value)] if isinstance(schema, dict) else []
    if isinstance(schema, list):
        inner = [found for value in schema for found in objects(value)]
    return [schema, *inner] if isinstance(schema, dict) and "properties" in schema and "type" in schema else inner


def test_every_object_of_the_schema_is_closed_complete_and_described() -> None:
    assert len(objects(SCHEMA)) >= 20
    for found in objects(SCHEMA):
        assert found["additionalProperties"] is False
        assert found["required"] == list(found["properties"])
        assert found["description"]


@settings(max_examples=50)
@given(layer_trees)
def test_every_layer_tree_is_as_the_schema_says(tree: Layer) -> None:
    LAYER.validate(to_json(tree))


@pytest.mark.parametrize("name", list(KINDS))
def test_a_layer_with_a_field_more_or_less_is_not_as_the_schema_says(name: str) -> None:
    whole = to_json(example(KINDS[name]))
    LAYER.validate(whole)
    with pytest.raises(jsonschema.ValidationError):
        LAYER.validate(whole | {"colour": "red"})
    for field in whole:
        with pytest.raises(jsonschema.ValidationError):
            LAYER.validate({k: v for k, v in whole.items() if k != field})


def example(kind: Any) -> Layer:
    """A layer of the kind, whatever has a default left at it."""
    special: dict[str, Any] = {"statistic": "max", "rate": 0.5, "layers": (), "branches": ()}
    special |= dict.fromkeys(("body", "gate", "block"), Identity())
    layer: Layer = kind(**{f.name: special.get(f.name, 3) for f in fields(kind) if f.default is MISSING})
    return layer


def spoiled(path: str, value: Any) -> dict[str, Any]:
    found = content()
    *way, last = path.split("/")
    place: Any = found
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema_version", 2),
        ("time", "12:00"),
        ("counts/over_budget", 1),
        ("front/0/validation_accuracy", 93.5),
        ("front/0/network", "xyz"),
        ("front/0/seconds", 3.5),
        ("front/0/layers/layers/0/layer", "Convolution"),
        ("front/0/layers/layers/0/layers/0/kernel", 0),
        ("best/0/share_of_budget", 1.5),
        ("settings/augmentation", [1]),
        ("data/shape", [1, 8]),
    ],
)
def test_a_result_that_is_wrong_somewhere_is_not_as_the_schema_says(path: str, value: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        PARETO.validate(spoiled(path, value))
