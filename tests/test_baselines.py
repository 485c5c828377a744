"""Networks that nobody searched for, scaled to the budget."""

import pytest
from torchvision.models import mobilenet_v2

from nas.network.folds import macs, output_shape, parameters
from nas.network.layers import Layer, Shape
from nas.network.modules.module import to_module
from nas.network.serial import from_json, to_json
from nas.search.studies import BaselineSpace, feasible_baselines
from nas.space.budget import Budget
from nas.space.designs import DESIGNS, scaled
from nas.space.space import Space

SHAPE: Shape = (3, 32, 32)


@pytest.mark.parametrize("budget", [10_000, 50_000, 100_000, 1_000_000])
@pytest.mark.parametrize("name", DESIGNS)
def test_a_scaled_design_uses_the_whole_budget_and_no_more(name: str, budget: int) -> None:
    network = scaled(name, Budget(budget), SHAPE, 10)
    assert network is not None
    assert 0.99 * budget <= parameters(network) <= budget
    assert output_shape(network, SHAPE) == (10,)
    assert sum(p.numel() for p in to_module(network).parameters()) == parameters(network)
    assert from_json(to_json(network)) == network


def test_a_cap_on_multiply_adds_holds_for_baselines_too() -> None:
    network = scaled("vgg", Budget(100_000, macs=3_000_000), SHAPE, 10)
    assert network is not None
    assert macs(network, SHAPE) <= 3_000_000


def test_unscaled_designs_have_the_parameters_of_their_originals() -> None:
    """torchvision's mobilenet_v2 with ten classes has 2,236,682; ResNet-8 with projections, by hand, 78,042."""
    counts = {name: parameters(network_of(name)) for name in ("resnet", "mobilenetv2", "vgg")}
    assert counts == {"resnet": 78_042, "mobilenetv2": 2_236_682, "vgg": 1_148_874}
    assert sum(p.numel() for p in mobilenet_v2(num_classes=10).parameters()) == 2_236_682


def network_of(name: str) -> Layer:
    space = Space(DESIGNS[name], SHAPE, 10)
    return space.network(space.defaults)


def test_a_design_too_large_for_a_budget_is_left_out() -> None:
    assert scaled("mobilenetv2", Budget(1_500), SHAPE, 10) is None
    feasible = feasible_baselines([Budget(1_500), Budget(100_000)], SHAPE, 10)
    assert [name in feasible for name in ("resnet", "mobilenetv2", "vgg")] == [True, False, True]
    assert feasible_baselines([Budget(20)], SHAPE, 10) == ()


def test_the_baselines_of_a_budget_are_a_space_of_one_knob() -> None:
    space = BaselineSpace(("resnet", "vgg"), Budget(10_000), SHAPE, 10)
    assert [(knob.name, knob.options) for knob in space.knobs] == [("network", ("resnet", "vgg"))]
    assert space.network({"network": "vgg"}) == scaled("vgg", Budget(10_000), SHAPE, 10)
    assert space.cost({"network": "vgg"}).parameters == parameters(space.network({"network": "vgg"}))
    assert space.identity({"network": "vgg"}) != space.identity({"network": "resnet"})
