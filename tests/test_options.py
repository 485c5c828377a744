"""Options: what derives from the fields of a dataclass agrees with them."""

import argparse
import inspect
from dataclasses import MISSING, dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import PLAN

import nas.api
from nas.cli.commands import COMMANDS
from nas.cli.flags import add_options, read_options
from nas.cli.main import build_parser
from nas.errors import UserError
from nas.machine.options import bounds, check, described, differences, explained, option, words
from nas.results.options import ConfirmOptions, ExportOptions, ReportOptions, TableOptions, TrainOptions
from nas.search.options import SearchOptions
from nas.search.search import Search
from nas.search.strategies import STRATEGIES
from nas.stopping.rules import RULES
from nas.training.recipe import Recipe

FUNCTIONS = {
    "search": SearchOptions,
    "train": TrainOptions,
    "table": TableOptions,
    "confirm": ConfirmOptions,
    "export": ExportOptions,
    "report": ReportOptions,
}
"""The options of each function of Python, which is a command too."""

names = st.text("abcdefghijklmnop", min_size=1, max_size=8)

searches = st.builds(
    SearchOptions,
    dataset=names,
    image_size=st.none() | st.integers(4, 64),
    validation_share=st.none() | st.floats(0.01, 0.5),
    augmentation=st.none() | st.lists(st.sampled_from(("crop", "flip", "cutout")), unique=True),
    space=names,
    budget=st.integers(1, 10**7) | st.lists(st.integers(1, 10**7), min_size=1, max_size=3),
    max_macs=st.none() | st.integers(1, 10**9),
    max=st.sampled_from(((), ("bytes=9000B", "memory=7000B"), "memory=64KiB")),
    numbers=st.sampled_from(("fp32", "int8")),
    strategies=st.lists(st.sampled_from(tuple(STRATEGIES)), min_size=1, unique=True),
    trials=st.integers(1, 1000),
    epochs=st.none() | st.integers(1, 100),
    below=st.floats(0, 1),
    stop=st.sampled_from(tuple(RULES)),
    stop_threshold=st.none() | st.floats(0, 1),
    audit=st.none() | st.floats(0, 1),
    warm_start=st.none() | names,
    seed=st.integers(0, 10**6),
    out=st.none() | names,
    baselines=st.none() | st.booleans(),
)

trainings = st.builds(
    TrainOptions,
    names,
    st.lists(names.map("width1={}".format), max_size=2),
    select=st.none() | names,
    dataset=st.none() | names,
    images=st.none() | st.integers(1, 10**6),
    seed=st.integers(0, 10**6),
    recipe=names,
    changes=st.lists(names.map("dropout={}".format), max_size=2) | st.just({"epochs": 3, "augmentation": ["crop"]}),
    epochs=st.none() | st.integers(1, 100),
    pretrained=st.booleans(),
)


def parsed(kind: Any, arguments: list[str]) -> Any:
    """The options that a command line says."""
    parser = argparse.ArgumentParser()
    add_options(parser, kind)
    return read_options(kind, parser.parse_args(arguments))


@given(searches)
def test_the_words_of_a_search_ask_for_the_same(asked: SearchOptions) -> None:
    assert parsed(SearchOptions, words(asked)) == asked


@given(trainings)
def test_the_words_of_a_training_ask_for_the_same(asked: TrainOptions) -> None:
    assert parsed(TrainOptions, words(asked)) == asked


@given(st.data())
def test_the_command_of_a_search_asks_for_what_was_decided(data: st.DataObject) -> None:
    search = replace(
        PLAN,
        budgets=tuple(sorted(data.draw(st.sets(st.integers(1, 10**6), min_size=1, max_size=3)))),
        stop=data.draw(st.sampled_from(tuple(RULES))),
        max_macs=data.draw(st.none() | st.integers(1, 10**9)),
        max=data.draw(st.sampled_from(((), ("bytes=9000B", "memory=7000B")))),
        numbers=data.draw(st.sampled_from(("fp32", "int8"))),
        baselines=data.draw(st.sampled_from(((), ("resnet",)))),
    )
    assert parsed(SearchOptions, words(search.asked())) == search.asked()
    assert Search.from_json(search.to_json()) == search


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_python_takes_the_options_of_its_command(name: str) -> None:
    kind, function = FUNCTIONS[name], getattr(nas.api, name)
    taken = set(inspect.signature(function).parameters)
    assert set(described(kind)) <= taken
    assert taken - set(described(kind)) <= {"view", "on_epoch"}
    assert inspect.signature(function).return_annotation is not None
    for option_name, (described_field, about) in described(kind).items():
        assert f"{option_name}: {about.meaning}" in function.__doc__
        if described_field.default is not MISSING:
            assert inspect.signature(function).parameters[option_name].default == described_field.default
    flags = vars(build_parser().parse_args([name, *NEEDED[name]]))
    assert {n for n, (_, about) in described(kind).items() if about.flag is not None} <= set(flags)
    assert name in COMMANDS


NEEDED = {
    "search": ["--budget", "1"],
    "train": ["mixed"],
    "table": [],
    "confirm": ["run"],
    "export": ["run", "--to", "x"],
    "report": ["run"],
}
"""Words without which the command complains."""


@pytest.mark.parametrize("kind", [Recipe, *FUNCTIONS.values()])
def test_every_option_has_a_meaning_and_a_default_that_is_allowed(kind: Any) -> None:
    for name, (described_field, about) in described(kind).items():
        assert about.meaning[0].isalnum() or about.meaning[0] == "`", name
        assert not about.meaning.endswith("."), name
        if described_field.default not in (MISSING, None):
            assert about.meaning in explained(described_field, about)
    needed: dict[str, Any] = {
        name: "x" for name, (f, _) in described(kind).items() if f.default is MISSING and f.type is not int
    }
    needed |= {"budget": 1} if kind is SearchOptions else {}
    kind(**needed)  # the defaults pass the checks


@dataclass(frozen=True)
class Sample:
    """One option of every sort."""

    count: int = option("a count", default=1, least=1, most=9)
    share: float = option("a share", default=0.5, above=0, below=1)
    several: tuple[int, ...] = option("several", default=(), least=0)
    kind: str = option("a kind", default="a", choices=("a", "b"))
    unset: int | None = option("perhaps", default=None, unset="as many as there are", least=1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"count": 0}, "count must be at least 1 and at most 9 but got 0"),
        ({"count": True}, "count must be a whole number but got True"),
        ({"count": 2.0}, "count must be a whole number but got 2.0"),
        ({"count": None}, "count must be a whole number but got None"),
        ({"share": 1}, "share must be above 0 and below 1 but got 1"),
        ({"share": float("nan")}, "share must be a finite number but got nan"),
        ({"several": 3}, "several must be a list but got 3"),
        ({"several": (1, -1)}, "several must be at least 0 but got -1"),
        ({"kind": "c"}, "kind must be of a, b but got 'c'"),
        ({"unset": 0}, "unset must be at least 1 but got 0"),
        ({"unset": (1,)}, "unset must be one value but got (1,)"),
    ],
)
def test_what_may_not_be_is_told_in_one_line(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        check(Sample(**changes))
    assert str(caught.value) == told


def test_what_is_allowed_passes() -> None:
    check(Sample(count=9, share=0.1, several=(0, 5), kind="b", unset=3))


def test_differences_are_told_option_by_option_and_into_recipes() -> None:
    asked = replace(PLAN, trials=7, recipe=replace(PLAN.recipe, dropout=0.5), validation_images=9)
    assert differences(PLAN, asked) == ["trials was 3, now 7", "dropout was 0.0, now 0.5"]
    assert differences(PLAN, PLAN) == []


def test_an_option_explains_itself() -> None:
    told = {name: explained(*about) for name, about in described(Sample).items()}
    assert told["count"] == "a count (default: 1)"
    assert told["kind"] == "a kind: a, b (default: a)"
    assert told["unset"] == "perhaps (default: as many as there are)"
    assert bounds(described(Sample)["share"][1]) == "above 0 and below 1"
