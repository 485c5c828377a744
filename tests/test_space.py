import math
import sys
from dataclasses import FrozenInstanceError, asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from drawn import IMAGES, shipped, shipped_class
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.cli.main import main
from nas.errors import SpaceError
from nas.network.folds import Cost, output_shape
from nas.network.layers import Activation, Conv, Flatten, Function, GlobalPool, Layer, Linear, Sequence, Shape
from nas.space.budget import Budget
from nas.space.designs import default_within, designs_for
from nas.space.draw import draw, fit
from nas.space.files import find_space, load_architecture, named_space, shipped_spaces, space_checksum, told_space
from nas.space.named import parse_knobs
from nas.space.space import Architecture, Knob, Knobs, Space, Value, bind, knob, knobs_of, width_knob
from nas.space.survey import survey

SPACES = sorted(shipped_spaces())


def refusal(action: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(SpaceError) as caught:
        action(*arguments, **named)
    text = str(caught.value)
    assert "\n" not in text
    return text


@dataclass(frozen=True)
class Tiny(Architecture):
    """Three knobs, one of which does not always matter."""

    width: int = width_knob(2, 4)
    deep: bool = knob(False, True)
    function: Function = knob("relu", "silu", "hardswish")

    def network(self, shape: Shape, classes: int) -> Layer:
        inner = (Linear(self.width, self.width), Activation(self.function)) if self.deep else ()
        return Sequence((GlobalPool(), Flatten(), Linear(shape[0], self.width), *inner, Linear(self.width, classes)))


# Knobs


def test_ascending_numbers_make_a_knob_ordered_and_anything_else_a_choice() -> None:
    @dataclass(frozen=True)
    class Roles(Architecture):
        ascending: int = knob(1, 2, 4)
        fractions: float = knob(0, 0.5, 0.75)
        descending: int = knob(4, 2, 1)
        negative: int = knob(-2, -1, 0)
        single: int = knob(3)
        truth: bool = knob(False, True)
        words: str = knob("a", "b")
        mixed: Any = knob(1, "b")
        width: int = width_knob(8, 16)

    assert {k.name: k.role for k in knobs_of(Roles)} == {
        "ascending": "ordered",
        "fractions": "ordered",
        "descending": "choice",
        "negative": "choice",
        "single": "choice",
        "truth": "choice",
        "words": "choice",
        "mixed": "choice",
        "width": "width",
    }


def test_the_default_of_a_knob_is_its_first_option_unless_another_is_named() -> None:
    @dataclass(frozen=True)
    class Defaults(Architecture):
        first: int = knob(3, 5, 7)
        named: int = knob(3, 5, 7, default=5)
        width: int = width_knob(8, 16, 32, default=32)

    assert Defaults() == Defaults(first=3, named=5, width=32)
    assert [k.start for k in knobs_of(Defaults)] == [0, 1, 2]
    assert Space(Defaults, (3, 8, 8), 10).defaults == {"first": 3, "named": 5, "width": 32}


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (knob, (), "a knob needs at least one option but got none; write knob(1, 2, 3)"),
        (knob, (1, 2, 1), "a knob needs distinct options but got (1, 2, 1)"),
        (knob, (1, None), "a knob's options must be numbers, booleans or strings but are (1, None)"),
        (knob, ((1, 2), (3, 4)), "a knob's options must be numbers, booleans or strings but are ((1, 2), (3, 4))"),
        (width_knob, (), "a knob needs at least one option"),
        (width_knob, (16, 8), "a width knob needs ascending positive whole numbers but got (16, 8)"),
        (width_knob, (8, 8), "a width knob needs ascending positive whole numbers but got (8, 8)"),
        (width_knob, (0, 8), "a width knob needs ascending positive whole numbers but got (0, 8)"),
        (width_knob, (8.0, 16.0), "a width knob needs ascending positive whole numbers but got (8.0, 16.0)"),
        (width_knob, ("a",), "a width knob needs ascending positive whole numbers but got ('a',)"),
    ],
)
def test_a_knob_that_makes_no_sense_is_refused(make: Any, options: tuple[Any, ...], words: str) -> None:
    assert words in refusal(make, *options)


@pytest.mark.parametrize("make", [knob, width_knob])
def test_a_default_must_be_one_of_the_options(make: Any) -> None:
    assert refusal(make, 1, 2, default=3) == "a knob's default must be one of its options but is 3"


@pytest.mark.parametrize(("value", "option"), [(1, 1), (9, 8), (12, 16), (11, 8), (0.1, 1), (100, 16)])
def test_the_nearest_option_is_nearest_by_ratio(value: float, option: int) -> None:
    width = Knob("width", (1, 8, 16), "width")
    assert width.options[width.nearest(value)] == option


def test_the_lower_of_two_equally_near_options_is_taken() -> None:
    assert Knob("width", (1, 7), "width").nearest(3) == 0


# Files

HEADER = """
from dataclasses import dataclass
from nas.network.layers import *
from nas.space.space import Architecture, knob, width_knob
"""
GOOD = """
@dataclass(frozen=True)
class Mine(Architecture):
    width: int = width_knob(4, 8)

    def network(self, shape, classes):
        return Sequence((GlobalPool(), Flatten(), Linear(shape[0], self.width), Linear(self.width, classes)))
"""


def written(folder: Path, body: str, header: str = HEADER) -> Path:
    path = folder / "my_space.py"
    path.write_text(header + body)
    return path


def test_the_only_class_of_a_file_is_the_space(tmp_path: Path) -> None:
    architecture = load_architecture(written(tmp_path, GOOD))
    assert bind(architecture, (3, 8, 8), 10).cost({"width": 4}) == Cost(3 * 4 + 4 + 4 * 10 + 10, 3 * 4 + 4 * 10)


def test_one_of_several_classes_can_be_named(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD + GOOD.replace("Mine", "Other"))
    assert load_architecture(file, "Other").__name__ == "Other"
    assert named_space(f"{file}:Mine").__name__ == "Mine"
    assert refusal(named_space, str(file)) == f"{file} defines several spaces, Mine, Other; say which: {file}:Other"
    assert "must define a class Third derived from nas.Architecture but defines Mine, Other" in refusal(
        named_space, f"{file}:Third"
    )
    alias = written(tmp_path, GOOD + "\nBest = Mine\n")
    assert load_architecture(alias) is not None
    assert load_architecture(alias, "Best").__name__ == load_architecture(alias, "Mine").__name__ == "Mine"
    file = written(tmp_path, GOOD + GOOD.replace("Mine", "Other"))
    assert [told_space(file, name) for name in ("Mine", "Other")] == [f"{file}:Mine", f"{file}:Other"]


def test_a_class_without_knobs_of_its_own_is_what_others_are_derived_from(tmp_path: Path) -> None:
    body = "class Base(Architecture):\n    pass\n" + GOOD.replace("Mine(Architecture)", "Mine(Base)")
    file = written(tmp_path, body)
    assert named_space(str(file)).__name__ == "Mine"
    assert told_space(file, "Mine") == str(file)


def test_a_space_may_import_modules_beside_it_and_another_those_beside_itself(tmp_path: Path) -> None:
    files = []
    for name, width in (("one", 4), ("two", 8)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sizes.py").write_text(f"WIDTHS = ({width}, {2 * width})\n")
        body = "from sizes import WIDTHS\n" + GOOD.replace("width_knob(4, 8)", "width_knob(*WIDTHS)")
        files.append(written(tmp_path / name, body))
    assert [knobs_of(named_space(str(file)))[0].options for file in files] == [(4, 8), (8, 16)]
    assert "sizes" not in sys.modules
    assert str(tmp_path / "one") not in sys.path


def test_a_class_that_is_no_dataclass_is_not_passed_over_for_its_base(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD + "\nclass Derived(Mine):\n    kernel: int = knob(3, 5)\n")
    assert refusal(named_space, str(file)).startswith(
        f"{file} defines several spaces, Mine, Derived; say which: {file}"
    )
    assert refusal(named_space, f"{file}:Derived").startswith("space class 'Derived' must be a dataclass; write @data")
    assert named_space(f"{file}:Mine").__name__ == "Mine"
    body = "class Base(Architecture):\n    kernel: int = knob(3, 5)\n" + GOOD.replace("(Architecture)", "(Base)")
    assert "space class 'Base' must be a dataclass" in refusal(named_space, str(written(tmp_path, body)))


def test_where_a_class_was_not_found_it_is_said_where_it_belongs(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text(HEADER + GOOD)
    told = refusal(named_space, str(written(tmp_path, "from elsewhere import Mine")))
    assert told.endswith("but defines none; Mine comes from elsewhere, whose file can be given")
    hidden = 'if __name__ == "__main__":\n' + GOOD.replace("\n", "\n    ")
    assert "neither in a function nor below" in refusal(named_space, f"{written(tmp_path, hidden)}:Mine")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "must define one class derived from nas.Architecture but defines none"),
        ("class Mine: pass", "but defines none"),
        ("class Mine(Architecture)\n    pass", "cannot be imported: SyntaxError"),
        ("import no_such_module", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise ValueError('two\\nlines')", "cannot be imported: ValueError: two lines"),
        (GOOD.replace("@dataclass(frozen=True)", ""), "space class 'Mine' must be a dataclass; write @dataclass(fro"),
        (
            GOOD.replace("width_knob(4, 8)", "4"),
            "space class 'Mine': field 'width' must be a knob; write width = knob(",
        ),
        (GOOD.replace("width_knob(4, 8)", "knob()"), "cannot be imported: a knob needs at least one option"),
        (GOOD.replace("width_knob(4, 8)", "width_knob(8, 4)"), "needs ascending positive whole numbers but got (8, 4)"),
    ],
)
def test_a_file_that_defines_no_space_is_refused_in_one_line(tmp_path: Path, body: str, words: str) -> None:
    assert words in refusal(load_architecture, written(tmp_path, body))


PARSED = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--wide", action="store_true")
asked = parser.parse_args()
"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("exit()", "cannot be imported: SystemExit: None; what a script does goes below `if __name__"),
        (GOOD + "raise SystemExit('bye')", "cannot be imported: SystemExit: bye; what a script does goes below"),
        ("class Own(BaseException): pass\nraise Own('x')", "cannot be imported: Own: x"),
        ("raise GeneratorExit", "cannot be imported: GeneratorExit"),
        ("class Own(Exception):\n    def __str__(self): return 5\nraise Own", "cannot be imported: Own"),
        ("raise ValueError('x' * 1000)", "cannot be imported: ValueError: xxx"),
        (
            PARSED.replace("default=0.1", "required=True"),
            "cannot be imported: SystemExit: argparse: the following arguments are required: --lr; what a script does",
        ),
    ],
)
def test_whatever_ends_a_file_is_told_in_one_line(
    tmp_path: Path, body: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, body)
    assert main(["count", str(file)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert words in said
    assert len(said) < len(str(file)) + 400


def test_a_file_sees_the_arguments_it_is_given_and_none_of_a_command(tmp_path: Path) -> None:
    body = PARSED + GOOD.replace("width_knob(4, 8)", "width_knob(4, 16 if asked.wide else 8)")
    file, before = written(tmp_path, body), list(sys.argv)
    options = [knobs_of(load_architecture(file, arguments=words))[0].options for words in ([], ["--wide", "--lr", "1"])]
    assert options == [(4, 8), (4, 16)]
    assert "unrecognized arguments: --deep" in refusal(load_architecture, file, None, ["--deep"])
    assert sys.argv == before
    assert main(["count", str(file)]) == 0


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("return 1 / 0", "network() of space 'mine' failed for width=4: ZeroDivisionError: division by zero"),
        ("return 5", "it must return a layer but returned int"),
        ("return None", "it must return a layer but returned NoneType"),
        ("return [Flatten()]", "it must return a layer but returned list"),
        ("return Sequence((Flatten(), Linear(192, 9)))", "must give (10,) scores but give (9,)"),
        ("return Conv(3, 10, 1)", "must give (10,) scores but give (10, 8, 8)"),
        ("return Linear(192, 10)", "does not fit images (3, 8, 8): Linear(inputs=192, outputs=10, bias=True) needs"),
        ("raise SystemExit('bye')", "network() of space 'mine' failed for width=4: SystemExit: bye"),
        ("raise GeneratorExit", "network() of space 'mine' failed for width=4: GeneratorExit"),
        ("return Sequence([Flatten(), Linear(192, 10)])", "Sequence takes a tuple of layers, Sequence((one, other)), "),
        ("return Sequence((Flatten, Linear(192, 10)))", "a layer must be one of Conv, BatchNorm, "),
        (
            "return Sequence((Conv(3, -4, 1), Linear(1, 10)))",
            "Conv.outputs must be a whole number of at least 1 but is",
        ),
        (
            "import random; w = random.randrange(1, 10**6); "
            "return Sequence((Conv(3, w, 1), GlobalPool(), Flatten(), Linear(w, 10)))",
            "makes another network each time it is called with the same knobs; what it makes must",
        ),
        ("return self.height", "AttributeError: 'Mine' object has no attribute 'height'"),
    ],
)
def test_a_space_whose_default_network_fails_is_refused_in_one_line(tmp_path: Path, network: str, words: str) -> None:
    body = GOOD.partition("        return")[0] + f"        {network}\n"
    architecture = load_architecture(written(tmp_path, body))
    assert words in refusal(bind, architecture, (3, 8, 8), 10)


@pytest.mark.filterwarnings("error")
def test_a_network_that_is_awaited_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD.replace("def network", "async def network"))
    assert "it must return a layer but returned coroutine" in refusal(bind, load_architecture(file), (3, 8, 8), 10)


def test_a_space_without_a_network_method_is_refused(tmp_path: Path) -> None:
    body = GOOD.partition("    def network")[0]
    assert "NotImplementedError" in refusal(bind, load_architecture(written(tmp_path, body)), (3, 8, 8), 10)


def test_a_file_or_a_name_that_does_not_exist_is_refused() -> None:
    assert refusal(find_space, "nowhere.py") == "there is no space file 'nowhere.py'"
    assert "no space is named 'nowhere'; shipped are " in refusal(find_space, "nowhere")
    assert "mixed" in refusal(find_space, "nowhere")


def test_the_checksum_of_a_space_changes_with_its_file(tmp_path: Path) -> None:
    before = space_checksum(written(tmp_path, GOOD))
    assert space_checksum(written(tmp_path, GOOD)) == before
    assert space_checksum(written(tmp_path, GOOD + "#")) != before


# The shipped spaces


def test_the_spaces_of_the_documentation_are_shipped() -> None:
    assert {"cifar_resnet", "conv_blocks", "conv_fc", "mbconv", "mixed", "mobile", "plain", "residual"} <= set(SPACES)


@pytest.mark.parametrize(("shape", "classes"), IMAGES)
@pytest.mark.parametrize("name", SPACES)
def test_the_default_network_of_a_shipped_space_fits_the_images(name: str, shape: Shape, classes: int) -> None:
    space = shipped(name, shape, classes)
    assert output_shape(space.network(space.defaults), shape) == (classes,)


@pytest.mark.parametrize("name", SPACES)
def test_a_shipped_space_is_frozen_named_after_its_file_and_made_of_knobs_alone(name: str) -> None:
    architecture = shipped_class(name)
    assert architecture.__name__.lower() == name.replace("_", "")
    assert [k.name for k in knobs_of(architecture)] == [f.name for f in fields(architecture)]  # type: ignore[arg-type]
    assert any(k.role == "width" for k in knobs_of(architecture))
    with pytest.raises(FrozenInstanceError):
        architecture().new = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SPACES)
def test_a_shipped_space_loads_by_name_and_by_path(name: str) -> None:
    by_name = named_space(name)
    by_path = named_space(str(shipped_spaces()[name]))
    assert knobs_of(by_name) == knobs_of(by_path)


@pytest.mark.parametrize("name", SPACES)
def test_a_shipped_space_and_each_option_of_it_give_a_network(name: str) -> None:
    space = shipped(name)
    costs = [space.cost(space.defaults | {k.name: option}) for k in space.knobs for option in k.options]
    assert None not in costs


@pytest.mark.parametrize("name", SPACES)
def test_a_shipped_space_says_what_it_is(name: str) -> None:
    architecture = shipped_class(name)
    assert "." in (architecture.__doc__ or "")
    assert not (architecture.__doc__ or "").startswith(f"{architecture.__name__}(")  # what a dataclass makes up


# Settings


def test_knobs_are_completed_with_defaults() -> None:
    assert Space(Tiny, (3, 8, 8), 10).check({"deep": True}) == {"width": 2, "deep": True, "function": "relu"}


@pytest.mark.parametrize("name", SPACES)
def test_what_a_shipped_space_begins_with_are_networks_of_their_own(name: str) -> None:
    space = shipped(name)
    begun = [space.defaults, *(space.defaults | knobs for knobs in space.beginnings)]
    assert len({space.identity(knobs) for knobs in begun}) == len(begun)


@given(budget=st.integers(200, 20_000_000), classes=st.sampled_from([2, 10, 100]))
def test_designs_come_in_the_order_of_how_near_their_own_size_is_to_the_budget(budget: int, classes: int) -> None:
    space = shipped("mixed", classes=classes)
    designs = designs_for(space, space.beginnings, Budget(budget))
    kept, *sized = space.beginnings  # the first is of the default's size

    def distance(own: dict[str, Value]) -> float:
        cost = space.cost(space.defaults | own)
        assert cost is not None
        return abs(math.log(cost.parameters / budget))

    far = [distance({} if own == space.defaults | kept else own) for own in designs]
    assert far == sorted(map(distance, ({}, {}, *sized)))
    assert designs.index(space.defaults | kept) == designs.index(space.defaults) + 1
    assert sorted(map(repr, designs)) == sorted(repr(space.defaults | own) for own in ({}, *space.beginnings))


def test_the_default_of_a_budget_is_the_design_that_was_made_for_about_its_size() -> None:
    space = shipped("mixed", classes=100)
    large = default_within(space, Budget(100_000))
    assert {k.name for k in space.knobs if large[k.name] != space.defaults[k.name]} <= {
        "stem",
        "width1",
        "width2",
        "width3",
    }
    small = default_within(space, Budget(1_000))
    assert {small["blocks1"], small["blocks2"], small["blocks3"]} == {1}
    assert small == space.settled(space.defaults | space.beginnings[-1]), (
        "981 of 1,000 parameters are as many as asked for"
    )
    assert default_within(space, Budget(980)) != small
    other = shipped("plain", classes=100)  # names no other
    assert default_within(other, Budget(1_000)) == fit(other, other.defaults, Budget(1_000), np.random.default_rng(0))


@pytest.mark.parametrize("head", ["linear", "low-rank"])
def test_a_head_of_mixed_without_bias_saves_a_parameter_a_class(head: str) -> None:
    space = shipped("mixed")
    whole, bare = (
        space.cost(space.defaults | {"head": own}) for own in (head, f"{head} bias-free".removeprefix("linear "))
    )
    assert whole is not None
    assert bare is not None
    assert whole.parameters - bare.parameters == space.classes


@dataclass(frozen=True)
class Begun(Tiny):
    """Tiny, with a good design that is told."""

    beginnings: ClassVar[tuple[Knobs, ...]] = ({"width": 4, "deep": True},)


@pytest.mark.parametrize(
    ("beginnings", "told"),
    [
        (({"width": 99},), "knob 'width' must be one of 2, 4 but got 99"),
        (({"wide": 2},), "space 'begun' has no knob 'wide'; its knobs are width, deep, function"),
        ({"width": 2}, "beginnings of space 'begun' must be knobs like ({'width': 8},) but is {'width': 2}"),
        (("width",), "beginnings of space 'begun' must be knobs like ({'width': 8},) but is ('width',)"),
    ],
)
def test_what_a_space_begins_with_has_to_be_in_it(
    monkeypatch: pytest.MonkeyPatch, beginnings: object, told: str
) -> None:
    assert bind(Begun, (3, 8, 8), 10).beginnings == ({"width": 4, "deep": True},)
    monkeypatch.setattr(Begun, "beginnings", beginnings)
    assert refusal(bind, Begun, (3, 8, 8), 10) == told


@dataclass(frozen=True)
class Widened(Architecture):
    """A knob of fractions."""

    expansion: float = knob(1.0, 1.5, 2.0)

    def network(self, shape: Shape, classes: int) -> Layer:
        return Sequence((Flatten(), Linear(shape[0] * shape[1] * shape[2], classes)))


def test_a_whole_number_stands_for_an_equal_fraction() -> None:
    space = Space(Widened, (3, 8, 8), 10)
    assert [space.check({"expansion": given})["expansion"] for given in (2, 2.0, 1.5)] == [2.0, 2.0, 1.5]
    assert isinstance(space.check({"expansion": 2})["expansion"], float)
    written = [parse_knobs(space.knobs, [f"expansion={text}"])["expansion"] for text in ("2", "2.0", "1.5", "1")]
    assert written == [2.0, 2.0, 1.5, 1.0]
    assert refusal(space.check, {"expansion": True}) == "knob 'expansion' must be one of 1.0, 1.5, 2.0 but got True"
    assert refusal(parse_knobs, space.knobs, ["expansion=3"]) == (
        "knob 'expansion' must be one of 1.0, 1.5, 2.0 but got '3'"
    )


def test_knobs_that_do_nothing_are_settled_at_their_defaults() -> None:
    space = Space(Tiny, (3, 8, 8), 10)
    assert space.settled({"width": 4, "deep": False, "function": "silu"})["function"] == "relu"
    assert space.settled({"width": 4, "deep": True, "function": "silu"})["function"] == "silu"


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_assignments_that_differ_in_a_knob_that_does_nothing_settle_alike(name: str, seed: int) -> None:
    space, rng = shipped(name, (3, 32, 32), 100), np.random.default_rng(seed)
    knobs = draw(space, rng)
    settled, network = space.settled(knobs), space.network(knobs)
    assert space.network(settled) == network
    assert space.settled(settled) == settled
    for decision in space.knobs:
        other = settled | {decision.name: decision.options[rng.integers(len(decision.options))]}
        does_nothing = settled[decision.name] == space.defaults[decision.name] and space.network(other) == network
        assert space.settled(other) == settled or not does_nothing


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"depth": 1}, "space 'tiny' has no knob 'depth'; its knobs are width, deep, function"),
        ({"width": 3}, "knob 'width' must be one of 2, 4 but got 3"),
        ({"width": 2.0}, "knob 'width' must be one of 2, 4 but got 2.0"),
        ({"deep": 1}, "knob 'deep' must be one of False, True but got 1"),
        ({"function": "gelu"}, "knob 'function' must be one of 'relu', 'silu', 'hardswish' but got 'gelu'"),
    ],
)
def test_knobs_that_the_space_lacks_are_refused(knobs: dict[str, Any], words: str) -> None:
    assert refusal(Space(Tiny, (3, 8, 8), 10).check, knobs) == words


def test_knobs_are_read_as_python_prints_the_options_in_any_case() -> None:
    assert parse_knobs(knobs_of(Tiny), ["width=4", "deep=true", "function=SiLU"]) == {
        "width": 4,
        "deep": True,
        "function": "silu",
    }


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("depth=1", "settings must be KNOB=VALUE with a knob of width, deep, function but got 'depth=1'"),
        ("width", "settings must be KNOB=VALUE with a knob of width, deep, function but got 'width'"),
        ("", "settings must be KNOB=VALUE with a knob of width, deep, function but got ''"),
        ("width=3", "knob 'width' must be one of 2, 4 but got '3'"),
        ("width=", "knob 'width' must be one of 2, 4 but got ''"),
        ("deep=1", "knob 'deep' must be one of False, True but got '1'"),
    ],
)
def test_knobs_that_cannot_be_read_are_refused(assignment: str, words: str) -> None:
    assert refusal(parse_knobs, knobs_of(Tiny), [assignment]) == words


def test_a_long_list_of_options_is_shortened_in_a_refusal() -> None:
    widths = (Knob("width", tuple(range(1, 101)), "width"),)
    words = refusal(parse_knobs, widths, ["width=0"])
    assert words == "knob 'width' must be one of 1, 2, 3, 4, 5, …, 98, 99, 100 but got '0'"


def test_knobs_that_do_not_fit_the_images_cost_nothing_that_can_be_told() -> None:
    @dataclass(frozen=True)
    class Shrinking(Architecture):
        kernel: int = knob(3, 9)

        def network(self, shape: Shape, classes: int) -> Layer:
            return Sequence((Conv(shape[0], classes, self.kernel, padding=0), GlobalPool(), Flatten()))

    space = bind(Shrinking, (1, 8, 8), 10)
    assert space.cost({"kernel": 3}) == Cost(90, 36 * 90)
    assert space.cost({"kernel": 9}) is None


# Survey


def test_a_survey_counts_the_settings_and_the_networks_of_a_small_space_exactly() -> None:
    """2 widths x (shallow, in which the function does not matter, or deep with 3 functions) = 8 networks."""
    found = survey(bind(Tiny, (3, 8, 8), 10), Budget(60))
    assert found.settings == 12
    assert found.distinct_networks == 8
    assert found.distinct_is_exact
    # 3 * 2 + 2 and 2 * 10 + 10 parameters; the image and its means are held at once
    assert found.smallest == {"parameters": 38, "macs": 26, "memory": 4 * (192 + 3), "bytes": 4 * 38}
    # 3 * 4 + 4, 4 * 4 + 4 and 4 * 10 + 10
    assert found.largest == {"parameters": 86, "macs": 68, "memory": 4 * (192 + 3), "bytes": 4 * 86}
    assert found.share_feasible == pytest.approx(0.5, abs=0.06)  # 38 and 44 are within 60, 66 and 86 are not
    assert found.satisfiable is True


def test_a_survey_estimates_the_networks_of_a_space_too_large_to_enumerate() -> None:
    @dataclass(frozen=True)
    class Large(Architecture):
        width: int = width_knob(*range(1, 101))
        deep: bool = knob(False, True)
        inner: int = width_knob(*range(1, 101))

        def network(self, shape: Shape, classes: int) -> Layer:
            middle = (Linear(self.width, self.inner), Linear(self.inner, self.width)) if self.deep else ()
            return Sequence((Flatten(), Linear(64, self.width), *middle, Linear(self.width, classes)))

    found = survey(bind(Large, (1, 8, 8), 10), None)
    assert found.settings == 20_000
    assert not found.distinct_is_exact
    # exactly 100 shallow and 10,000 deep ones; the estimate rests on 25 draws
    assert found.distinct_networks == pytest.approx(10_100, rel=0.4)
    assert (found.budget, found.share_feasible, found.satisfiable) == (None, None, None)


def test_a_survey_says_when_a_budget_cannot_be_met() -> None:
    found = survey(bind(Tiny, (3, 8, 8), 10), Budget(37))
    assert found.satisfiable is False
    assert found.share_feasible == 0


def test_a_survey_passes_over_knobs_that_give_no_network() -> None:
    @dataclass(frozen=True)
    class Sometimes(Architecture):
        kernel: int = knob(3, 5, 9)

        def network(self, shape: Shape, classes: int) -> Layer:
            return Sequence((Conv(shape[0], classes, self.kernel, padding=0), GlobalPool(), Flatten()))

    found = survey(bind(Sometimes, (1, 8, 8), 10), None)
    assert (found.settings, found.distinct_networks) == (3, 2)
    assert [found.smallest[name] for name in ("parameters", "macs")] == [90, 3_240]
    assert [found.largest[name] for name in ("parameters", "macs")] == [250, 4_000]


@dataclass(frozen=True)
class Rare(Architecture):
    """Makes a network of one setting of three thousand, and has a knob of thousands of options."""

    a: int = knob(*range(5000), default=1234)
    b: int = knob(*range(200), default=7)

    def network(self, shape: Shape, classes: int) -> Layer:
        assert self.a % 40 == 34
        assert self.b % 80 == 7
        return Sequence((Flatten(), Linear(shape[1] * shape[2], classes)))


def test_a_survey_of_a_space_full_of_holes_tells_what_is_known_in_little_time() -> None:
    found = survey(bind(Rare, (1, 8, 8), 10), Budget(1_000))
    assert found.smallest["parameters"] == found.largest["parameters"] == 650
    assert sum(refusal.settings for refusal in found.refusals) > 900


def test_a_survey_as_json_lists_the_knobs_with_their_options() -> None:
    content = asdict(survey(bind(Tiny, (3, 8, 8), 10), Budget(60)))
    assert [k["name"] for k in content["knobs"]] == ["width", "deep", "function"]
    assert content["smallest"]["parameters"] == 38
    assert content["smallest"]["macs"] == 26
