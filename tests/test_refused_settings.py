"""Settings of which a space's own code makes no network: they do not exist, and nothing stops over them."""

import sys
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import searching

from nas.cli.main import main
from nas.errors import Refusal, RefusedSettingError, SpaceError
from nas.network.blocks import stage
from nas.network.heads import classifier
from nas.network.layers import Conv, Flatten, GlobalPool, Layer, Linear, Sequence, Shape
from nas.search.search import run_folder
from nas.search.studies import BaselineSpace
from nas.search.workers.refused import read_refusals
from nas.space.budget import Budget
from nas.space.designs import default_within
from nas.space.draw import check_satisfiable, draw, draw_within, fit
from nas.space.space import Architecture, Space, bind, knob, width_knob
from nas.space.survey import survey

SHAPE, CLASSES = (1, 8, 8), 4


@dataclass(frozen=True)
class Picky(Architecture):
    """Refuses settings in every way that code can."""

    kind: str = knob("basic", "conv", "depthwise")
    kernel: int = knob(3, 5)
    stride: int = knob(1, 2)
    width: int = width_knob(*range(2, 40))

    def network(self, shape: Shape, classes: int) -> Layer:
        if self.kernel == 5 and self.stride == 2 and self.width >= 17:
            raise ValueError(f"kernel 5 with stride 2 is not for {self.width} channels")
        if self.kind == "conv" and self.kernel == 5:
            return 5  # type: ignore[return-value]
        if self.kind == "conv" and self.stride == 2:
            return Linear(1, 2)
        if self.kind == "depthwise" and self.width == 2:
            raise KeyError("narrow")
        if self.kind == "depthwise" and self.width == 3:
            sys.exit(3)
        if self.kind == "depthwise" and self.width == 4:
            return reduce(lambda inner, _: Sequence((inner,)), range(90), classifier(shape[0], classes))
        if self.kind == "depthwise" and self.width == 5:
            return classifier(shape[0], float(classes))
        body = stage(self.kind, 1, shape[0], self.width, kernel=self.kernel, stride=self.stride)
        return Sequence((body, classifier(self.width, classes + (self.kind == "conv" and self.width == 3))))


@dataclass(frozen=True)
class Lazy(Architecture):
    """Makes layers that nobody can count."""

    kind: str = knob("basic", "conv")
    kernel: int = knob(3, 5, 0)
    width: int = width_knob(*range(2, 40))

    def network(self, shape: Shape, classes: int) -> Layer:
        groups = "one" if self.kernel == 5 else 1
        first = Conv(shape[0], self.width, 3, padding=1, groups=groups if self.kernel else 0)  # type: ignore[arg-type]
        body = stage(self.kind, 1, self.width, self.width, kernel=3, stride=1)
        return Sequence((first, body, classifier(self.width, classes)))


@dataclass(frozen=True)
class Endless(Architecture):
    """Makes networks larger than a float can say."""

    kind: str = knob("basic", "conv")
    kernel: int = knob(3, 5)
    width: int = width_knob(*range(2, 40))

    def network(self, shape: Shape, classes: int) -> Layer:
        inner = 10**400 if self.kernel == 5 else 4
        body = stage(self.kind, 1, shape[0], self.width, kernel=3, stride=1)
        ends = (Linear(self.width, inner), Linear(inner, classes))
        return Sequence((body, GlobalPool(), Flatten(), *ends))


@dataclass(frozen=True)
class NeedsTwo(Architecture):
    """The default makes no network, and no single change mends it."""

    a: int = knob(1, 2, 3)
    b: int = knob(1, 2, 3)
    width: int = width_knob(*range(2, 40))

    def network(self, shape: Shape, classes: int) -> Layer:
        assert (self.a, self.b) in ((2, 2), (3, 2)), "a and b must go together"
        return Sequence(
            (stage("basic", self.a, shape[0], self.width, kernel=3, stride=2), classifier(self.width, classes))
        )


@dataclass(frozen=True)
class Never(Architecture):
    """Makes none at all."""

    width: int = width_knob(2, 4)

    def network(self, shape: Shape, classes: int) -> Layer:
        raise OSError("no such file:\n  weights.txt")


@pytest.mark.parametrize("architecture", [Picky, Lazy, Endless, NeedsTwo])
@pytest.mark.parametrize("most", [300, 500])
def test_networks_are_drawn_and_fitted_around_them(architecture: type[Architecture], most: int) -> None:
    space, rng, budget = bind(architecture, SHAPE, CLASSES), np.random.default_rng(0), Budget(most)
    check_satisfiable(space, budget, space.name)
    every = [default_within(space, budget)]
    every += [fit(space, draw(space, rng), budget, rng) for _ in range(50)]
    every += [draw_within(space, budget, rng) for _ in range(50)]
    for knobs in every:
        cost = space.cost(knobs)
        assert cost is not None
        assert budget.covers(cost)
        assert space.settled(knobs)
    kinds = {(knobs.get("kind"), knobs["width"]) for knobs in every}
    assert len(kinds) > 1 or architecture is not Picky


def test_each_reason_is_counted_and_told_with_its_first_setting() -> None:
    space = Space(Picky, SHAPE, CLASSES)
    for width in (17, 20, 20, 3):
        space.cost(space.defaults | {"kernel": 5, "stride": 2, "width": width})
    space.cost(space.defaults | {"kind": "conv", "kernel": 5})
    space.cost(space.defaults | {"kind": "conv", "width": 3})
    assert space.refusals.told() == (
        ("ValueError: kernel 5 with stride 2 is not for 17 channels", 2, "kind=basic kernel=5 stride=2 width=17"),
        ("it must return a layer but returned int", 1, "kind=conv kernel=5 stride=1 width=2"),
        ("it must give (4,) scores but gives (5,)", 1, "kind=conv kernel=3 stride=1 width=3"),
    )
    for width, reason in ((3, "SystemExit: 3"), (4, "more than 50 layers lie one in another"), (5, "is 4.0")):
        assert space.cost(space.defaults | {"kind": "depthwise", "width": width}) is None
        assert any(refusal.reason.endswith(reason) for refusal in space.refusals.told())
    with pytest.raises(RefusedSettingError, match=r"network\(\) of space 'picky' failed for kind=depthwise .*KeyError"):
        space.network(space.defaults | {"kind": "depthwise"})


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "[[1]]", "{}", '[["a", "b", "c"]]'])
def test_a_damaged_log_of_refusals_is_passed_over(content: str, tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    for name in ("0.refused", "0 (copy).refused"):
        (tmp_path / "workers" / name).write_text(content)
    (tmp_path / "workers" / "1.refused").write_text('[["it is odd", 3, "width=1"]]')
    assert read_refusals(run_folder(tmp_path)) == [Refusal("it is odd", 3, "width=1")]


def test_a_space_that_makes_no_network_at_all_is_refused_with_the_reason() -> None:
    with pytest.raises(SpaceError, match=r"failed for width=2: OSError: no such file: weights\.txt") as caught:
        bind(Never, SHAPE, CLASSES)
    assert "\n" not in str(caught.value)


def test_a_survey_tells_what_share_of_the_settings_is_refused() -> None:
    found = survey(bind(Picky, SHAPE, CLASSES), Budget(2_000))
    assert found.draws > sum(refusal.settings for refusal in found.refusals) > 10
    assert found.refusals[0].reason.startswith("ValueError: kernel 5 with stride 2")
    assert survey(bind(NeedsTwo, SHAPE, CLASSES), Budget(2_000)).satisfiable


def test_a_search_skips_them_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = searching.SPACE.replace(
        "        body =",
        "        if self.kernel == 5 and self.width > 9:\n            raise ValueError('too wide')\n        body =",
    )
    searching.write_space(tmp_path, code)
    done = searching.run_cli(searching.command(tmp_path, tmp_path / "out", "--workers", "2", trials=10, epochs=1))
    assert done.returncode == 0, done.stderr
    counts = searching.result(tmp_path / "out")["counts"]
    assert (counts["proposed"], counts["failed"], counts["over_budget"]) == (10, 0, 0)
    (refusal,) = read_refusals(run_folder(tmp_path / "out"))
    assert refusal.reason == "ValueError: too wide"
    assert "of which the space's network() made none: ValueError: too wide (the first: kind=" in done.stderr
    assert main(["space", str(tmp_path / "tiny.py"), "--dataset", "digits"]) == 0
    assert "of which the space's network() made none" in " ".join(capsys.readouterr().err.split())


def test_knobs_that_a_space_or_the_baselines_lack_are_refused() -> None:
    """As of a journal whose studies were mixed up."""
    space = Space(Picky, SHAPE, CLASSES)
    with pytest.raises(SpaceError, match="space 'picky' has no knob 'network'"):
        space.network({"network": "vgg"})
    baselines = BaselineSpace(("resnet", "vgg"), Budget(10_000), SHAPE, CLASSES)
    for knobs in ({"kernel": 3}, {"network": "mobilenet"}, {}):
        with pytest.raises(SpaceError, match=r"the baselines are resnet, vgg; .* is none of them"):
            baselines.network(knobs)
