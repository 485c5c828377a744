"""The fixed networks of the reports: what they cost, what they are made of, that they train."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn import shipped
from torch import nn
from torchvision import models

from nas.errors import SpaceError, UserError
from nas.network.blocks import stage, stem
from nas.network.folds import depth, macs, output_shape, parameters
from nas.network.heads import classifier
from nas.network.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Pool,
    Residual,
    Sequence,
    Shape,
    Subsample,
)
from nas.network.modules.module import to_module
from nas.network.modules.vision import count_module, torchvision_model
from nas.space.models import MODELS, Model, TorchvisionModel, model_network
from nas.space.space import Knobs

PUBLISHED = {
    "s0-2k": 2_250,
    "s0-5k": 4_850,
    "s0-10k": 10_161,
    "s0-50k": 49_525,
    "s0-100k": 99_949,
    "s0-500k": 503_396,
    "s0-1m": 1_001_362,
    "s1-50k": 50_548,
    "s1-100k": 99_844,
    "s1-350k": 352_388,
    "s1-500k": 491_524,
    "s1-1m": 1_068_740,
    "s2-cnn2": 219_044,
    "s2-cnn3": 168_036,
    "s2-cnn5": 1_116_388,
    "s2-vgg19": 139_979_940,
    "s2-resnet101": 42_705_060,
    "s2-vit_b_32": 87_532_132,
    "s2-swin_b": 86_845_724,
    "s4-resnet20": 269_722,
    "s4-resnet32": 464_154,
    "s4-resnet44": 658_586,
    "s4-resnet56": 853_018,
    "s4-resnet110": 1_727_962,
    "s4-resnet1202": 19_421_274,
}
"""Parameters as the reports give them."""

LISTED = [name for name, model in MODELS.items() if isinstance(model, Model)]


def listed(name: str, shape: Shape | None = None, classes: int | None = None) -> Layer:
    model = MODELS[name]
    assert isinstance(model, Model)
    return model_network(model, shape, classes)


def leaves(layer: Layer) -> list[Layer]:
    """The layers in order; a residual is one of them."""
    return [leaf for inner in layer.layers for leaf in leaves(inner)] if isinstance(layer, Sequence) else [layer]


def refusal(action: Callable[[], Any], kind: type[UserError] = SpaceError) -> str:
    with pytest.raises(kind) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    return text


# What they cost


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_fixed_network_has_the_published_number_of_parameters(name: str) -> None:
    model = MODELS[name]
    if isinstance(model, TorchvisionModel):
        cost = count_module(lambda: torchvision_model(model.torchvision, model.classes), model.shape)
        assert cost.parameters == PUBLISHED[name]
    else:
        assert parameters(model_network(model)) == PUBLISHED[name]


def test_every_fixed_network_is_counted_and_named_after_its_system() -> None:
    assert list(MODELS) == list(PUBLISHED)
    assert all(model.name == name and name.startswith(model.system.lower()) for name, model in MODELS.items())
    assert {(model.system, model.dataset, model.classes) for model in MODELS.values()} == {
        ("S0", "cifar100", 100),
        ("S1", "cifar100", 100),
        ("S2", "cifar100", 100),
        ("S4", "cifar10", 10),
    }


def test_a_published_error_is_kept_as_an_accuracy() -> None:
    assert MODELS["s4-resnet20"].published_accuracy == 0.9125
    assert MODELS["s4-resnet110"].published_accuracy == 0.9357
    assert MODELS["s1-50k"].published_accuracy == 0.297


@pytest.mark.parametrize("number", [20, 32, 44, 56, 110, 1202])
def test_a_cifar_resnet_is_as_deep_as_its_name_says(number: int) -> None:
    assert depth(listed(f"s4-resnet{number}")) == number


# What they are made of


def test_the_network_of_10161_parameters_is_the_published_list_of_layers() -> None:
    assert leaves(listed("s0-10k")) == [
        Conv(3, 6, 3, padding=0, bias=True),
        Activation("relu"),
        Pool("max", 2),
        BatchNorm(6),
        Conv(6, 10, 3, padding=0, bias=True),
        Activation("relu"),
        Pool("max", 2),
        BatchNorm(10),
        Conv(10, 12, 3, padding=0, bias=True),
        Activation("relu"),
        Pool("max", 2),
        BatchNorm(12),
        Flatten(),
        Linear(48, 55),
        Activation("relu"),
        Linear(55, 100),
    ]


def test_the_network_of_503396_parameters_has_one_residual_block_and_two_pools() -> None:
    block = Sequence(
        (
            Conv(64, 64, 3, bias=True),
            BatchNorm(64),
            Activation("relu"),
            Conv(64, 64, 3, bias=True),
            BatchNorm(64),
        )
    )
    assert leaves(listed("s0-500k")) == [
        Conv(3, 32, 3, bias=True),
        BatchNorm(32),
        Activation("relu"),
        Conv(32, 64, 3, bias=True),
        BatchNorm(64),
        Activation("relu"),
        Pool("max", 2),
        Residual(block, Identity()),
        Activation("relu"),
        Pool("max", 2),
        Flatten(),
        Linear(4096, 100),
    ]


def mbconv(inputs: int, inner: int, outputs: int) -> Sequence:
    return Sequence(
        (
            Conv(inputs, inner, 1, bias=True),
            BatchNorm(inner),
            Activation("relu"),
            Conv(inner, inner, 3, groups=inner, bias=True),
            BatchNorm(inner),
            Activation("relu"),
            Conv(inner, outputs, 1, bias=True),
            BatchNorm(outputs),
            Activation("relu"),
        )
    )


def test_the_network_of_50548_parameters_is_the_published_list_of_blocks() -> None:
    assert leaves(listed("s1-50k")) == [
        Conv(3, 16, 1, bias=True),
        BatchNorm(16),
        Activation("relu"),
        Residual(mbconv(16, 64, 16), Identity()),
        Pool("max", 2),
        Residual(mbconv(16, 64, 32), Conv(16, 32, 1, bias=True)),
        Pool("max", 2),
        Residual(mbconv(32, 128, 32), Identity()),
        Pool("max", 2),
        Residual(mbconv(32, 128, 100), Conv(32, 100, 1, bias=True)),
        GlobalPool("average"),  # of 4 x 4, as published
        Flatten(),
        Linear(100, 100),
    ]


def test_the_cnn_of_two_convolutions_normalises_before_it_rectifies_and_pools() -> None:
    assert leaves(listed("s2-cnn2")) == [
        Conv(3, 16, 5, bias=True),
        BatchNorm(16),
        Activation("relu"),
        Pool("max", 2),
        Conv(16, 32, 5, bias=True),
        BatchNorm(32),
        Activation("relu"),
        Pool("max", 2),
        Flatten(),
        Linear(2048, 100),
    ]


def test_resnet_20_is_three_stages_of_basic_blocks_with_shortcuts_without_parameters() -> None:
    stages = [
        stage("basic", 3, inputs, outputs, kernel=3, stride=stride, transition="pad", name=f"stage {number}")
        for number, (inputs, outputs, stride) in enumerate([(16, 16, 1), (16, 32, 2), (32, 64, 2)], start=1)
    ]
    assert listed("s4-resnet20") == Sequence((stem(3, 16), *stages, classifier(64, 10)))


def test_a_cifar_resnet_can_be_had_without_norm_or_sum_and_with_dropout_in_its_blocks() -> None:
    space = shipped("cifar_resnet")
    knobs = {"blocks": 1, "residual": False, "norm": False, "block_dropout": 0.15}
    assert leaves(space.network(knobs))[2:7] == [
        Conv(16, 16, 3, bias=True),
        Activation("relu"),
        Dropout(0.15),
        Conv(16, 16, 3, bias=True),
        Activation("relu"),
    ]
    assert BatchNorm(16) not in leaves(space.network(knobs))


def test_a_bottleneck_of_a_cifar_resnet_is_four_times_as_wide_outside_as_inside() -> None:
    first = leaves(shipped("cifar_resnet").network({"blocks": 1, "kind": "bottleneck"}))[3]
    assert isinstance(first, Residual)
    assert first.shortcut == Subsample(16, 64)
    assert [layer for layer in leaves(first.body) if isinstance(layer, Conv)] == [
        Conv(16, 16, 1),
        Conv(16, 16, 3),
        Conv(16, 64, 1),
    ]


def test_a_projection_of_a_cifar_resnet_is_a_strided_1x1_convolution_with_its_norm() -> None:
    layers = leaves(shipped("cifar_resnet").network({"blocks": 1, "shortcut": "projection"}))
    assert [layer.shortcut for layer in layers if isinstance(layer, Residual)] == [
        Identity(),
        Sequence((Conv(16, 32, 1, 2), BatchNorm(32))),
        Sequence((Conv(32, 64, 1, 2), BatchNorm(64))),
    ]


def test_blocks_of_convolutions_are_counted_by_their_eight_numbers() -> None:
    """A block of k convolutions to c channels: 9 * inputs * c + c and then 9 * c * c + c each, and 2 * c a norm."""
    knobs = {"k1": 1, "k2": 2, "k3": 1, "k4": 1, "c1": 2, "c2": 3, "c3": 4, "c4": 5}
    expected = (54 + 2 + 4) + (54 + 3 + 6) + (81 + 3 + 6) + (108 + 4 + 8) + (180 + 5 + 10) + (5 * 10 + 10)
    assert parameters(shipped("conv_blocks").network(knobs)) == expected


def test_convolutions_with_too_little_to_pool_keep_what_they_have() -> None:
    """8 x 8 images leave 3 x 3, then 1 x 1: no pool fits there, and the third convolution is padded."""
    knobs: Knobs = {"convolutions": 3, "padding": "valid", "width1": 2, "width2": 3, "width3": 4}
    assert leaves(shipped("conv_fc", (1, 8, 8)).network(knobs)) == [
        Conv(1, 2, 3, padding=0, bias=True),
        Activation("relu"),
        Pool("max", 2),
        BatchNorm(2),
        Conv(2, 3, 3, padding=0, bias=True),
        Activation("relu"),
        BatchNorm(3),
        Conv(3, 4, 3, padding=1, bias=True),
        Activation("relu"),
        BatchNorm(4),
        Flatten(),
        Linear(4, 10),
    ]


# Other images


def test_a_fixed_network_takes_other_images_and_classes() -> None:
    network = listed("s0-10k", (1, 28, 28), 10)
    assert output_shape(network, (1, 28, 28)) == (10,)
    assert leaves(network)[13] == Linear(12, 55)


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        ("s0-10k", (3, 8, 8), "3 × 8 × 8"),  # the third convolution would be padded
        ("s2-cnn5", (1, 16, 16), "1 × 16 × 16"),  # the fifth pool would be left out
        ("s1-50k", (3, 4, 4), "3 × 4 × 4"),  # the third pool has nothing to pool
        ("s1-50k", (3, 32, 4), "3 × 32 × 4"),
    ],
)
def test_images_too_small_for_a_fixed_network_are_refused(name: str, shape: Shape, size: str) -> None:
    assert refusal(lambda: listed(name, shape, 10)) == (
        f"model '{name}' was made for images 3 × 32 × 32 and those of {size} are too small for all of its layers. "
        "Enlarge them (--image-size) or choose another model."
    )


# They train


def check_that_it_trains(name: str, shape: Shape) -> None:
    classes = MODELS[name].classes
    torch.manual_seed(0)
    module = to_module(listed(name, shape))
    before = [p.detach().clone() for p in module.parameters()]
    loss = nn.functional.cross_entropy(module(torch.randn(2, *shape)), torch.tensor([0, classes - 1]))
    loss.backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    assert loss.isfinite()
    moved = [not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2  # a bias before a batch norm has no gradient but for rounding
    assert all(p.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("name", [name for name in LISTED if name != "s4-resnet1202"])
def test_a_fixed_network_takes_a_step_of_training(name: str) -> None:
    check_that_it_trains(name, (3, 32, 32))


@pytest.mark.parametrize("side", [8, pytest.param(32, marks=pytest.mark.slow)])
def test_a_network_of_1202_layers_takes_a_step_of_training(side: int) -> None:
    check_that_it_trains("s4-resnet1202", (3, side, side))


def test_1202_layers_without_shortcuts_are_counted_and_built() -> None:
    plain = shipped("cifar_resnet").network({"blocks": 200, "residual": False})
    assert parameters(plain) == 19_421_274
    with torch.device("meta"):
        assert sum(p.numel() for p in to_module(plain).parameters()) == 19_421_274


# torchvision


FAMILIES = ["alexnet", "convnext_tiny", "googlenet", "inception_v3", "mnasnet0_5", "squeezenet1_1", "vit_b_32"]


def check_ends(name: str) -> None:
    with torch.device("meta"):
        module = torchvision_model(name, 7, channels=1)
    ends = [inner for inner in module.modules() if isinstance(inner, nn.Conv2d | nn.Linear)]
    first, last = next(inner for inner in ends if isinstance(inner, nn.Conv2d)), ends[-1]
    assert first.in_channels == 1
    assert (last.out_features if isinstance(last, nn.Linear) else last.out_channels) == 7
    assert module.eval()(torch.empty(2, 1, 224, 224, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_torchvision_model_gets_a_new_head_and_takes_other_channels(name: str) -> None:
    check_ends(name)


def test_auxiliary_heads_are_left_out_in_training_too() -> None:
    module = torchvision_model("googlenet", 7)
    assert module(torch.randn(2, 3, 32, 32)).shape == (2, 7)


def test_a_module_costs_what_torchvision_says() -> None:
    cost = count_module(lambda: torchvision_model("resnet18", 1000), (3, 224, 224))
    assert (cost.parameters, cost.macs) == (11_689_512, 1_814_073_344)
    assert (cost.rows[0].path, cost.rows[0].kind, cost.rows[0].parameters) == ("conv1", "Conv2d", 9_408)
    assert (cost.rows[-1].path, cost.rows[-1].kind, cost.rows[-1].parameters) == ("fc", "Linear", 513_000)


def test_parameters_outside_of_leaf_modules_have_a_row() -> None:
    cost = count_module(lambda: torchvision_model("vit_b_32", 100), (3, 224, 224))
    assert sum(row.parameters for row in cost.rows) == cost.parameters == 87_532_132
    assert next(row.parameters for row in cost.rows if row.path == "encoder") == 50 * 768  # position embedding
    assert round(cost.macs / 1e9, 2) == 4.41


def test_a_module_whose_making_needs_numbers_is_counted_too() -> None:
    cost = count_module(lambda: torchvision_model("regnet_y_400mf", 1000), (3, 224, 224))
    assert cost.parameters == 4_344_144


@pytest.mark.parametrize("name", ["s0-10k", "s1-100k", "s4-resnet20"])
def test_a_module_costs_what_its_layer_tree_does(name: str) -> None:
    network = listed(name)
    cost = count_module(lambda: to_module(network), (3, 32, 32))
    assert (cost.parameters, cost.macs) == (parameters(network), macs(network, (3, 32, 32)))


def test_images_of_a_size_that_a_module_does_not_take_are_refused() -> None:
    words = refusal(lambda: count_module(lambda: torchvision_model("vit_b_32", 10), (3, 32, 32)))
    assert words == "VisionTransformer does not take images 3 × 32 × 32: Wrong image height! Expected 224 but got 32!"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resnet_50", 10), "torchvision has no classifier named 'resnet_50'; it has resnet50, "),
        (("fcn_resnet50", 10), "torchvision has no classifier named 'fcn_resnet50'; it has "),
        (("nothing-like-it", 10), "it has resnet18, mobilenet_v3_small, vit_b_32 and "),
        (("resnet18", 1), "a classifier needs at least 2 classes but got 1"),
        (("resnet18", 10, 0), "images need at least 1 channel but got 0"),
        (("resnet18", 10, 1, True), "pretrained weights need 3 channels but got 1"),
    ],
)
def test_a_torchvision_model_that_cannot_be_is_refused(arguments: tuple[Any, ...], words: str) -> None:
    assert words in refusal(lambda: torchvision_model(*arguments))


def test_weights_that_cannot_be_downloaded_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    words = refusal(lambda: torchvision_model("squeezenet1_1", 10, pretrained=True), UserError)
    assert words.startswith("the pretrained weights of 'squeezenet1_1' cannot be downloaded (")
    assert words.endswith(
        f"Connect to the network, put squeezenet1_1-b8a52dc0.pth into {tmp_path}/hub/checkpoints, "
        "or train from scratch."
    )


@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet"])
def test_pretrained_weights_are_kept_but_for_the_head(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = models.get_model_weights(name).DEFAULT
    known = {"init_weights": False} if name == "googlenet" else {}
    trained = models.get_model(name, weights=None, **known).state_dict()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(trained, tmp_path / "hub" / "checkpoints" / weights.url.rpartition("/")[2])
    found = torchvision_model(name, 7, pretrained=True).state_dict()
    head = "fc" if name == "googlenet" else "classifier.1"
    assert found.keys() == {key for key in trained if not key.startswith("aux")}
    assert found[f"{head}.weight"].shape[0] == 7
    assert all(torch.equal(value, trained[key]) for key, value in found.items() if not key.startswith(head))


@pytest.mark.slow
def test_every_classifier_of_torchvision_gets_a_new_head() -> None:
    for name in models.list_models(module=models):
        if not name.startswith("regnet"):  # not to be made on the meta device
            check_ends(name)
    assert torchvision_model("regnet_x_400mf", 7)(torch.randn(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x0_5"])
def test_a_torchvision_model_trains_on_a_single_image(name: str) -> None:
    """Whose last values are one a channel, which have no variance."""
    torch.manual_seed(0)
    module = torchvision_model(name, 3)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    nn.functional.cross_entropy(module(torch.randn(1, 3, 16, 16)), torch.tensor([1])).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())
    assert any((value != before[key]).any() for key, value in module.state_dict().items())
    assert module(torch.randn(2, 3, 16, 16)).shape == (2, 3)


def test_a_network_of_ours_trains_on_a_single_image() -> None:
    module = to_module(Sequence((Conv(3, 4, 3), BatchNorm(4), GlobalPool(), Flatten(), Linear(4, 2))))
    images = torch.randn(1, 3, 1, 1)
    nn.functional.cross_entropy(module(images), torch.tensor([1])).backward()  # type: ignore[no-untyped-call]
    assert all(value.grad is not None and torch.isfinite(value.grad).all() for value in module.parameters())
