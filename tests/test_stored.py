"""What is read back from JSON is of the types of its fields, or refused in words that say where it is wrong."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.stored import Count, Loss, Share, StoredError, stored


class Point(NamedTuple):
    epoch: Count
    value: float = 1.0


class Told(TypedDict):
    words: str
    later: NotRequired[int | None]


@dataclass(frozen=True)
class Example:
    name: str
    kind: Literal["one", "two"]
    count: Count
    share: Share | None
    loss: Loss
    points: tuple[Point, ...]
    pair: tuple[int, int]
    knobs: Mapping[str, int | float | bool | str]
    told: Told
    late: bool = False


GOOD: dict[str, Any] = {
    "name": "é",
    "kind": "one",
    "count": 3,
    "share": 0.5,
    "loss": 2,
    "points": [[1, 0.5], [2]],
    "pair": [1, 2],
    "knobs": {"a": 1, "b": True, "c": "x", "d": 0.5},
    "told": {"words": "w", "more": 1},
}

WRONG: dict[str, tuple[Any, str]] = {
    "name": (3, "it.name must be text but is 3"),
    "kind": ("three", "it.kind must be one of one, two but is 'three'"),
    "count": (-1, "it.count must be at least 0 but is -1"),
    "share": (1.5, "it.share must be at least 0 and at most 1 but is 1.5"),
    "loss": (None, "it.loss must be a number but is None"),
    "points": ([[1, 0.5], [True]], "it.points[1].epoch must be a whole number but is True"),
    "pair": ([1], "it.pair must be a list of 2 but is [1]"),
    "knobs": ({"a": []}, "it.knobs['a'] must be a whole number or a number or true or false or text but is []"),
    "told": ({}, "it.told has no 'words'"),
    "late": (0, "it.late must be true or false but is 0"),
}


def test_values_come_back_as_their_types() -> None:
    found = stored(json.loads(json.dumps(GOOD)), Example)
    assert found.points == (Point(1, 0.5), Point(2))
    assert found.pair == (1, 2)
    assert (found.knobs["b"], found.told["more"], found.late) == (True, 1, False)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    value, words = WRONG[name]
    with pytest.raises(StoredError) as caught:
        stored(GOOD | {name: value}, Example)
    assert str(caught.value) == words


def test_fields_that_lack_and_that_nobody_knows_are_named() -> None:
    with pytest.raises(StoredError, match="it has no 'pair'"):
        stored({name: value for name, value in GOOD.items() if name != "pair"}, Example)
    with pytest.raises(StoredError, match="it has 'other', which nobody knows"):
        stored(GOOD | {"other": 1}, Example)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**30])
def test_numbers_are_numbers_but_losses_of_trainings_that_exploded(value: float) -> None:
    with pytest.raises(StoredError):
        stored(GOOD | {"share": value}, Example)
    with pytest.raises(StoredError):
        stored({"anything": [{"within": value}]}, dict[str, Any])
    if isinstance(value, float):
        assert str(stored(GOOD | {"loss": value}, Example).loss) == str(value)


def test_text_can_be_written_as_utf_8() -> None:
    with pytest.raises(StoredError, match="text that UTF-8 can hold"):
        stored(GOOD | {"name": "\ud800"}, Example)
    with pytest.raises(StoredError, match="text that UTF-8 can hold"):
        stored({"\ud800": 1}, dict[str, Any])


@given(st.builds(Point, st.integers(0, 2**62), st.floats(allow_nan=False, allow_infinity=False)))
def test_named_tuples_come_back_as_they_were_written(point: Point) -> None:
    assert stored(json.loads(json.dumps(point)), Point) == point


@dataclass(frozen=True)
class Inner:
    a: int
    b: str | None = None


@given(
    st.lists(st.builds(Inner, st.integers(-(2**62), 2**62), st.none() | st.text(alphabet=st.characters(codec="utf-8"))))
)
def test_dataclasses_come_back_as_they_were_written(values: list[Inner]) -> None:
    assert stored(json.loads(json.dumps([asdict(value) for value in values])), list[Inner]) == values


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(json_values)
def test_anything_else_is_refused_and_never_stumbled_over(value: Any) -> None:
    for kind in (Example, Point, Told, list[Inner], Share, Mapping[str, Count]):
        with suppress(StoredError):
            stored(value, kind)
