"""Values of the types that people have: paths, numpy's numbers, text, enums. Each works, or is refused in one line."""

from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

import nas
from nas import Budget, CurvePruner
from nas.errors import BudgetError, SpaceError, UserError
from nas.network.layers import Flatten, Layer, Linear, Sequence, Shape
from nas.results.options import ConfirmOptions, ExportOptions, TableOptions, TrainOptions
from nas.search.options import SearchOptions
from nas.space.named import parse_knobs
from nas.space.space import Architecture, bind, knob, knobs_of, width_knob
from nas.training.recipe import Recipe
from nas.training.recipes import named_recipe

FUNCTIONS: Any = nas

ASKED = SearchOptions(dataset="digits", budget=2_000)


def test_all_that_nas_offers_is_there() -> None:
    found: dict[str, Any] = {}
    exec("from nas import *", found)  # as space files and notebooks do
    assert set(nas.__all__) <= set(found)
    assert nas.peak_activation(Flatten(), (1, 2, 2)) == 4


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("dataset", Path("a/b.npz"), "a/b.npz"),
        ("space", Path("mine.py"), "mine.py"),
        ("budget", np.int64(2_000), (2_000,)),
        ("budget", 3e3, (3_000,)),
        ("budget", np.float32(3e3), (3_000,)),
        ("budget", "2K", (2_000,)),
        ("budget", "2K,1K", (1_000, 2_000)),
        ("budget", ["1K", 3e3, np.int16(500)], (500, 1_000, 3_000)),
        ("budget", np.array([500, 2_000]), (500, 2_000)),
        ("budget", range(500, 502), (500, 501)),
        ("budget", torch.tensor(700), (700,)),
        ("max_macs", "1.5M", 1_500_000),
        ("trials", np.int32(5), 5),
        ("trials", 2.0, 2),
        ("seed", np.uint8(3), 3),
        ("below", np.float32(0.25), 0.25),
        ("below", 1, 1),
        ("time_limit", "2m", 120.0),
        ("strategies", "random", ("random",)),
        ("strategies", {"random"}, ("random",)),
        ("augmentation", np.array(["crop"]), ("crop",)),
        ("baselines", np.bool_(False), False),
        ("out", Path("x"), Path("x")),
        ("device", torch.device("cpu"), "cpu"),
        ("max", {"memory": np.int64(8_000), "bytes": 2e4}, ("bytes=20000B", "memory=8000B")),
    ],
)
def test_a_search_takes_them(name: str, value: Any, expected: Any) -> None:
    found = getattr(replace(ASKED, **{name: value}), name)
    assert found == expected
    assert type(found) is type(expected)
    if isinstance(found, tuple):
        assert list(map(type, found)) == list(map(type, expected))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("trials", 2.5, "trials must be a whole number but got 2.5"),
        ("trials", "many", "trials must be a whole number but got 'many'"),
        ("trials", None, "trials must be a whole number but got None"),
        ("trials", True, "trials must be a whole number but got True"),
        ("trials", np.float64("inf"), "trials must be a whole number but got inf"),
        ("budget", True, "budget must be a whole number but got True"),
        ("budget", "much", "a count must be a number like 100000, 100K or 1.5M but got 'much'"),
        ("budget", np.zeros((2, 2)), "budget must be a whole number"),
        ("below", float("nan"), "below must be a finite number but got nan"),
        ("strategies", 3, "strategies must be of "),
        ("time_limit", "soon", "a time must be "),
        ("seed", 2**64, "seed must be at most 9,223,372,036,854,775,807 but got 18446744073709551616"),
        ("budget", 10**30, "budget must be at most 9,223,372,036,854,775,807 but got 1000"),
        ("baselines", "no", "baselines must be True or False but got 'no'"),
        ("changed_space", 1, "changed_space must be True or False but got 1"),
        ("device", None, "device must be text but got None"),
        ("dataset", np.zeros((3, 3)), "dataset must be text but got array([[0., 0., 0.], "),
        ("storage", 5, "storage must be text but got 5"),
        ("out", 5, "out must be text or a path but got 5"),
        ("image_size", "8", "image_size must be a whole number but got '8'"),
        ("stop", np.zeros(2), "stop must be of "),
        ("max", 5, "a cap must be NAME=MOST, of "),
        ("max", {"bytes": True}, "bytes: a size needs a unit"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(name: str, value: Any, told: str) -> None:
    with pytest.raises(UserError) as caught:
        replace(ASKED, **{name: value})
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def given(**values: Any) -> dict[str, Any]:
    """Values of any type, where a type checker would see that they are not those that are asked for."""
    return values


def test_trainings_tables_confirmations_and_exports_take_them() -> None:
    train = TrainOptions("plain", **given(images="1K", seed=np.int64(2), epochs=3.0, dataset=Path("x.npz")))
    assert (train.images, train.seed, train.epochs, train.dataset) == (1_000, 2, 3, "x.npz")
    assert TableOptions("plain", **given(seeds=np.int8(2))).seeds == 2
    assert ConfirmOptions(Path("run"), **given(budget="1K", top=2.0)).budget == (1_000,)
    assert ExportOptions("run", **given(budget=1e3, to=Path("out"))).budget == (1_000,)
    changed = TrainOptions("plain", changes={"epochs": np.int64(3), "learning_rate": np.float32(0.5), "momentum": 0})
    assert changed.all_changes == {"epochs": 3, "learning_rate": 0.5, "momentum": 0.0}


@pytest.mark.parametrize("arrays", [5, (np.zeros((4, 8, 8)),), np.zeros((3, 8, 8))])
def test_arrays_are_a_pair(arrays: Any) -> None:
    with pytest.raises(UserError, match=r"arrays must be a pair, \(images, labels\), but is (int|tuple|ndarray)"):
        nas.search(**given(arrays=arrays, budget=2_000))


@pytest.mark.parametrize("most", ["2K", 2.5, float("nan"), True])
def test_a_budget_is_a_whole_number(most: Any) -> None:
    assert Budget(**given(parameters=np.int64(5))) == Budget(**given(parameters=5.0)) == Budget(5)
    with pytest.raises(BudgetError, match="a budget's parameters must be a whole number but got"):
        Budget(most)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda: FUNCTIONS.search(dataset="digits", budget=9, unknwon=3),
            "nas.search: got an unexpected keyword argument 'unkn",
        ),
        (
            lambda: FUNCTIONS.export("run"),
            "nas.export: missing a required argument: 'to'; help(nas.export) has its arguments",
        ),
        (
            lambda: FUNCTIONS.train("a", "b", "c"),
            "nas.train: too many positional arguments; help(nas.train) has its arguments",
        ),
        (lambda: FUNCTIONS.report(5), "run must be text or a path but got 5"),
        (lambda: FUNCTIONS.report("run", out=5), "out must be text or a path but got 5"),
        (lambda: FUNCTIONS.report("a" * 300), "run must have names of at most 255 bytes but got 'aaa"),
        (lambda: FUNCTIONS.search(dataset="digits", budget=9, space=f"{'a' * 300}.py"), "there is no space file 'aaa"),
        (lambda: FUNCTIONS.parameters(None), "a layer must be one of Conv, BatchNorm, "),
        (lambda: FUNCTIONS.to_module(None), "a layer must be one of Conv, BatchNorm, "),
    ],
)
def test_calls_that_cannot_be_meant_are_refused_in_one_line(call: Any, told: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_a_recipe_takes_them() -> None:
    recipe = Recipe(**given(epochs=np.int64(3), batch_size=64.0, augmentation=["crop"], learning_rate=np.float64(0.5)))
    assert (recipe.epochs, recipe.batch_size, recipe.augmentation, recipe.learning_rate) == (3, 64, ("crop",), 0.5)
    assert {type(recipe.epochs), type(recipe.batch_size)} == {int}


def test_a_file_of_a_recipe_may_have_the_line_ends_and_the_mark_of_windows(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_bytes(b"\xef\xbb\xbfepochs = 3\r\nbatch_size = 64\r\n")
    recipe = named_recipe(str(file), 1_000)
    assert (recipe.epochs, recipe.batch_size) == (3, 64)


class Kind(StrEnum):
    """An option that is text besides."""

    WIDE = "wide"
    DEEP = "deep"


class Plain(Enum):
    """An option that is nothing besides."""

    A = 1
    B = 2


@dataclass(frozen=True)
class Typed(Architecture):
    """Knobs of every type that is accepted."""

    kind: str = knob(Kind.WIDE, Kind.DEEP)
    name: str = knob("ReLU", "relu", "GELU")
    rate: float = knob(0.25, 0.001, np.float64(2.0), default=2.0)
    width: int = width_knob(*np.arange(4, 9, 2), **given(default=np.int64(6)))

    def network(self, shape: Shape, classes: int) -> Layer:
        assert self.kind in (Kind.WIDE, Kind.DEEP)
        return Sequence((Flatten(), Linear(shape[0] * shape[1] * shape[2], self.width), Linear(self.width, classes)))


@pytest.mark.parametrize(
    ("given_space", "told"),
    [
        (5, "space must be a name, a .py file or a class derived from nas.Architecture but is 5"),
        (None, "space must be a name, a .py file or a class derived from nas.Architecture but is None"),
        (Typed(), "space must be a name, a .py file or a class derived from nas.Architecture but is an instance; give"),
    ],
)
def test_a_space_is_a_name_a_file_or_a_class(given_space: Any, told: str) -> None:
    with pytest.raises(SpaceError) as caught:
        nas.search(**given(space=given_space, dataset="digits", budget=2_000))
    assert str(caught.value).startswith(told)


def test_knobs_take_numpys_numbers_and_enums_that_are_text() -> None:
    space = bind(Typed, (1, 4, 4), 3)
    assert space.defaults == {"kind": "wide", "name": "ReLU", "rate": 2.0, "width": 6}
    assert {type(option) for each in knobs_of(Typed) for option in each.options} == {str, float, int}
    assert space.cost(space.defaults | {"kind": "deep"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rate=.25", 0.25), ("rate=1e-3", 0.001), ("rate=2", 2.0), ("rate=2.0", 2.0), ("name=ReLU", "ReLU"),
        ("name=relu", "relu"), ("name=gelu", "GELU"), ("kind=WIDE", "wide"), ("width=6.0", 6),
    ],
)  # fmt: skip
def test_settings_are_read_in_any_way_of_writing_them(text: str, expected: Any) -> None:
    assert parse_knobs(knobs_of(Typed), [text]) == {text.partition("=")[0]: expected}


def test_a_name_that_two_options_share_but_for_their_case_must_be_exact() -> None:
    with pytest.raises(SpaceError, match=r"knob 'name' must be one of 'ReLU', 'relu', 'GELU' but got 'RELU'"):
        parse_knobs(knobs_of(Typed), ["name=RELU"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((None, 1), "must be numbers, booleans or strings but are (None, 1)"),
        (((1, 2), (3, 4)), "must be numbers, booleans or strings"),
        ((Plain.A, Plain.B), "must be numbers, booleans or strings"),
        ((True, 1), "distinct options but got (True, 1)"),
        ((0.0, False), "distinct options but got (0.0, False)"),
        ((1, 1.0), "distinct options but got (1, 1.0)"),
        ((np.int64(1), True), "distinct options but got (1, True)"),
        ((1.0, float("nan")), "a knob's options[1] must be a finite number but is nan"),
        ((1, 10**400), "a knob's options[1] must be a number of at most 64 bits but has 1329"),
        ((1, 10**5000), "a knob's options[1] must be a number of at most 64 bits"),
        ((10**5000, None), "must be numbers, booleans or strings but are a value of type tuple"),
        (("a", "\udcff"), "a knob's options[1] must be text that UTF-8 can hold"),
        (([1], [2]), "must be numbers, booleans or strings"),
    ],
)
def test_knobs_that_cannot_be_told_apart_or_stored_are_refused_in_one_line(options: tuple[Any, ...], told: str) -> None:
    with pytest.raises(SpaceError) as caught:
        knob(*options)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_pruner_takes_numpys_numbers() -> None:
    study = optuna.create_study(direction="maximize", pruner=CurvePruner(**given(epochs=np.int64(6), size="size")))
    pruned = []
    for number in range(8):
        trial = study.ask()
        trial.set_user_attr("size", np.int64(1_000))
        for epoch in range(1, 7):
            trial.report(**given(value=np.float32((0.9 if number < 5 else 0.1) * epoch / (epoch + 1)), step=epoch))
            if epoch < 6 and trial.should_prune():
                pruned.append(number)
                break
        study.tell(trial, 0.0 if number in pruned else 0.77)
    assert pruned
    assert min(pruned) >= 5
    for epochs in (2.5, "6", True, 0):
        with pytest.raises(ValueError, match="epochs must be a whole number"):
            CurvePruner(**given(epochs=epochs))
