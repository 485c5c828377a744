import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from drawn import Drawn, drawn_networks
from hypothesis import given, settings
from torch import nn

from nas.network.blocks import stage, stem
from nas.network.checked import LayerError, ShapeError
from nas.network.deployment.memory import peak_activation
from nas.network.folds import Cost, cost, depth, macs, output_shape, parameters, rows
from nas.network.heads import classifier
from nas.network.layers import (
    KINDS,
    Activation,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Pool,
    Product,
    QuadraticLinear,
    Residual,
    Scale,
    Sequence,
    Shape,
    Shift,
    SignLinear,
    Slice,
    SqueezeExcitation,
    Subsample,
    Tied,
)
from nas.network.modules.module import to_module
from nas.network.modules.parts import QuadraticLinear as QuadraticModule
from nas.network.modules.parts import SignLinear as SignLinearModule
from nas.network.modules.parts import quadratic
from nas.network.remembered import Remembered
from nas.network.serial import fingerprint, to_json

TIED = Sequence((Conv(4, 4, 1), Conv(4, 4, 3, groups=4), BatchNorm(4), SqueezeExcitation(4, 1)))

EXPECTED: list[tuple[Layer, Shape, int, int, Shape, int]] = [
    # layer, input, parameters, multiply-adds, output, peak activation
    (Conv(3, 8, 3), (3, 32, 32), 216, 221_184, (8, 32, 32), 11_264),
    (Conv(3, 8, 3, bias=True), (3, 32, 32), 224, 221_184, (8, 32, 32), 11_264),
    (Conv(8, 16, 3, stride=2), (8, 32, 32), 1_152, 294_912, (16, 16, 16), 12_288),
    (Conv(8, 16, 3, stride=2), (8, 7, 7), 1_152, 18_432, (16, 4, 4), 648),
    (Conv(4, 4, 5, groups=4), (4, 8, 8), 100, 6_400, (4, 8, 8), 512),
    (Conv(4, 6, 3, groups=2), (4, 8, 8), 108, 6_912, (6, 8, 8), 640),
    (Conv(2, 6, 3, dilation=2), (2, 8, 8), 108, 6_912, (6, 8, 8), 512),
    (Conv(1, 2, 2, padding=0), (1, 5, 7), 8, 192, (2, 4, 6), 83),
    (BatchNorm(16), (16, 4, 4), 32, 0, (16, 4, 4), 256),
    (Activation("silu"), (16, 4, 4), 0, 0, (16, 4, 4), 256),
    (Pool("max", 2), (4, 7, 7), 0, 0, (4, 3, 3), 232),
    (Pool("average", 3, 2, 1), (4, 7, 7), 0, 0, (4, 4, 4), 260),
    (GlobalPool("max"), (4, 7, 7), 0, 0, (4, 1, 1), 200),
    (Flatten(), (4, 7, 7), 0, 0, (196,), 196),
    (Linear(196, 10), (196,), 1_970, 1_960, (10,), 206),
    (Linear(196, 10, bias=False), (196,), 1_960, 1_960, (10,), 206),
    (Dropout(0.5), (7,), 0, 0, (7,), 7),
    (Identity(), (4, 7, 7), 0, 0, (4, 7, 7), 196),
    (Subsample(4, 6, 2), (4, 7, 7), 0, 0, (6, 4, 4), 292),
    (Subsample(4, 3, 1), (4, 7, 7), 0, 0, (3, 7, 7), 343),
    # the vectors of the gate beside the image
    (SqueezeExcitation(8, 2), (8, 4, 4), 42, 32, (8, 4, 4), 138),
    (Sequence(()), (4, 7, 7), 0, 0, (4, 7, 7), 196),
    (Sequence((Conv(4, 8, 1), BatchNorm(8))), (4, 7, 7), 48, 1_568, (8, 7, 7), 588),
    # the input of the body is kept for the sum
    (Residual(Conv(4, 4, 3)), (4, 8, 8), 144, 9_216, (4, 8, 8), 512),
    (Residual(Activation()), (4, 8, 8), 0, 0, (4, 8, 8), 512),
    (Residual(Sequence((Conv(4, 4, 1), Conv(4, 4, 1)))), (4, 8, 8), 32, 2_048, (4, 8, 8), 768),
    (Residual(Conv(4, 8, 3, 2), Conv(4, 8, 1, 2)), (4, 8, 8), 320, 5_120, (8, 4, 4), 512),
    # a part of the image, where that lies
    (Slice(6, 4, 1), (6, 5, 5), 0, 0, (4, 5, 5), 150),
    # the input, which is a branch, the other branch's result, and both in one
    (Concat((Identity(), Conv(4, 2, 3))), (4, 8, 8), 72, 4_608, (6, 8, 8), 768),
    # the input is read once more after the second branch, which holds 4 * 9 channels at most
    (Concat((Identity(), Sequence((Conv(4, 9, 1), Conv(9, 1, 1))))), (4, 8, 8), 45, 2_880, (5, 8, 8), 896),
    (Concat((Slice(4, 1), Slice(4, 3, 1))), (4, 8, 8), 0, 0, (4, 8, 8), 512),
    (Product(Conv(4, 4, 1), Activation()), (4, 8, 8), 16, 1_024, (4, 8, 8), 512),
    (Scale(8), (8, 4, 4), 8, 0, (8, 4, 4), 128),
    (Shift(8, 5), (8, 4, 4), 0, 0, (8, 4, 4), 256),
    # 16 + 13 once, 36 + 8 three times
    (Tied(TIED, 3), (4, 8, 8), 161, 10_008, (4, 8, 8), 512),
    (SignLinear(16, 10), (16,), 20, 160, (10,), 26),
    (SignLinear(16, 10, bias=False), (16,), 10, 160, (10,), 26),
    # four values and ten products of two of them
    (QuadraticLinear(4, 10), (14,), 40, 140, (10,), 24),
]


def title(value: Any) -> str:
    return f"{value}"[:40] if type(value) in KINDS.values() else ""


@pytest.mark.parametrize(("layer", "shape", "weights", "multiply_adds", "output", "peak"), EXPECTED, ids=title)
def test_a_layer_counts_what_is_counted_by_hand(
    layer: Layer, shape: Shape, weights: int, multiply_adds: int, output: Shape, peak: int
) -> None:
    assert parameters(layer) == weights
    assert macs(layer, shape) == multiply_adds
    assert output_shape(layer, shape) == output
    assert peak_activation(layer, shape) == peak
    assert cost(layer, shape) == Cost(weights, multiply_adds)


def test_every_kind_of_layer_is_counted_by_hand() -> None:
    assert {type(layer).__name__ for layer, *_ in EXPECTED} == set(KINDS)


def resnet20() -> Sequence:
    """ResNet-20 for CIFAR-10 as published: widths 16, 32, 64, three blocks a stage, parameter-free shortcuts."""
    layers: list[Layer] = [stem(3, 16)]
    for number, (inputs, outputs, stride) in enumerate([(16, 16, 1), (16, 32, 2), (32, 64, 2)], start=1):
        name = f"stage {number}"
        layers.append(stage("basic", 3, inputs, outputs, kernel=3, stride=stride, transition="pad", name=name))
    return Sequence((*layers, classifier(64, 10)))


def test_resnet_20_has_the_published_269_722_parameters() -> None:
    assert parameters(resnet20()) == 269_722
    assert macs(resnet20(), (3, 32, 32)) == 40_551_040
    assert output_shape(resnet20(), (3, 32, 32)) == (10,)
    assert peak_activation(resnet20(), (3, 32, 32)) == 3 * 16 * 32 * 32


def test_a_small_cnn_with_99_949_parameters_is_counted_layer_by_layer() -> None:
    network = Sequence(
        (
            Sequence((Conv(3, 16, 3, padding=0, bias=True), Pool("max", 2), BatchNorm(16)), "one"),
            Sequence((Conv(16, 32, 3, padding=0, bias=True), Pool("max", 2), BatchNorm(32)), "two"),
            Sequence((Conv(32, 64, 3, padding=0, bias=True), Pool("max", 2), BatchNorm(64)), "three"),
            Flatten(),
            Sequence((Linear(256, 213), Activation("relu"), Linear(213, 100)), "head"),
        )
    )
    assert parameters(network) == 99_949
    assert macs(network, (3, 32, 32)) == 1_538_292
    assert peak_activation(network, (3, 32, 32)) == 18_000
    listed = list(rows(network, (3, 32, 32)))
    assert [row.parameters for row in listed] == [448, 0, 32, 4640, 0, 64, 18496, 0, 128, 0, 54741, 0, 21400]
    assert [row.macs for row in listed if row.macs] == [388_800, 778_752, 294_912, 54_528, 21_300]
    assert [row.path for row in listed][8:11] == [("three",), (), ("head",)]
    assert listed[3].input == (16, 15, 15)
    assert listed[3].output == (32, 13, 13)


def test_layers_are_counted_right_however_many_were_counted_before() -> None:
    """What was counted is remembered by identity, and all is forgotten at a number of layers."""
    with mock.patch.object(Remembered, "MOST", 5):
        for width in range(1, 40):
            network = stage("basic", 3, width, width + 1, kernel=3, stride=2)
            module = to_module(network)
            for _ in range(2):
                assert parameters(network) == sum(p.numel() for p in module.parameters())
                assert output_shape(network, (width, 9, 9)) == (width + 1, 5, 5)
                assert macs(network, (width, 18, 18)) > macs(network, (width, 9, 9))


def test_rows_list_the_body_of_a_residual_before_its_shortcut() -> None:
    body = Sequence((Conv(4, 8, 3, 2), BatchNorm(8)), "body")
    listed = list(rows(Residual(body, Conv(4, 8, 1, 2)), (4, 8, 8), ("stage",)))
    assert [(row.path, type(row.layer).__name__, row.input, row.output) for row in listed] == [
        (("stage", "body"), "Conv", (4, 8, 8), (8, 4, 4)),
        (("stage", "body"), "BatchNorm", (8, 4, 4), (8, 4, 4)),
        (("stage", "shortcut"), "Conv", (4, 8, 8), (8, 4, 4)),
    ]


def test_rows_of_tied_blocks_have_what_is_theirs_alone() -> None:
    listed = list(rows(Tied(TIED, 3), (4, 8, 8)))
    assert [row.parameters for row in listed] == [16, 36, 8, 13, 0, 36, 8, 0, 0, 36, 8, 0]
    assert depth(Tied(TIED, 3)) == 6


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (Conv(3, 8, 3), (4, 8, 8), "needs 3 channels but gets (4, 8, 8)"),
        (Conv(3, 8, 3), (3,), "needs (channels, height, width) but gets (3,)"),
        (Conv(3, 8, 9, padding=0), (3, 8, 8), "leaves nothing of the shape (3, 8, 8)"),
        (Conv(3, 8, 3, dilation=4, padding=0), (3, 8, 8), "leaves nothing of the shape (3, 8, 8)"),
        (Conv(3, 8, 3, groups=2), (3, 8, 8), "cannot divide its channels into 2 groups"),
        (Conv(4, 9, 3, groups=2), (4, 8, 8), "cannot divide its channels into 2 groups"),
        (BatchNorm(4), (3, 8, 8), "needs 4 channels but gets (3, 8, 8)"),
        (SqueezeExcitation(4, 1), (5, 8, 8), "needs 4 channels but gets (5, 8, 8)"),
        (Subsample(4, 8, 2), (5, 8, 8), "needs 4 channels but gets (5, 8, 8)"),
        (Pool("max", 9), (3, 8, 8), "leaves nothing of the shape (3, 8, 8)"),
        (Pool("max", 2), (8,), "needs (channels, height, width) but gets (8,)"),
        (Pool("max", 3, padding=2), (3, 8, 8), "pads more than half of its window"),
        (GlobalPool(), (8,), "needs (channels, height, width) but gets (8,)"),
        (Linear(8, 10), (9,), "needs the shape (8,) but gets (9,)"),
        (Linear(8, 10), (8, 1, 1), "needs the shape (8,) but gets (8, 1, 1)"),
        (Residual(Conv(4, 8, 3)), (4, 8, 8), "body gives (8, 8, 8) but its shortcut (4, 8, 8)"),
        (Product(Conv(4, 8, 3), Identity()), (4, 8, 8), "body gives (8, 8, 8) but its gate (4, 8, 8)"),
        (Concat((Identity(), Conv(4, 8, 3, 2))), (4, 8, 8), "to be concatenated give (4, 8, 8) and (8, 4, 4)"),
        (Concat((Identity(), Flatten())), (4, 8, 8), "needs (channels, height, width) but gets (256,)"),
        (Concat(()), (4, 8, 8), "has nothing to concatenate"),
        (Slice(4, 2), (5, 8, 8), "needs 4 channels but gets (5, 8, 8)"),
        (Slice(4, 2, 3), (4, 8, 8), "reaches beyond its 4 channels"),
        (Scale(4), (5, 8, 8), "needs 4 channels but gets (5, 8, 8)"),
        (Shift(4), (5, 8, 8), "needs 4 channels but gets (5, 8, 8)"),
        (Tied(Conv(4, 8, 3), 2), (4, 8, 8), "must keep the shape (4, 8, 8) but gives (8, 8, 8)"),
        (SignLinear(8, 10), (9,), "needs the shape (8,) but gets (9,)"),
        (QuadraticLinear(2, 10), (2,), "needs the shape (5,) but gets (2,)"),
    ],
    ids=title,
)
@pytest.mark.parametrize("fold", [output_shape, macs, lambda *of: list(rows(*of))])
def test_a_layer_that_does_not_fit_its_input_is_refused(
    fold: Callable[[Layer, Shape], Any], layer: Layer, shape: Shape, words: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        fold(layer, shape)
    assert words in str(caught.value)


@pytest.mark.parametrize("shape", [[4, 8, 8], np.zeros((4, 8, 8)).shape, np.array([4, 8, 8]), torch.Size([4, 8, 8])])
@pytest.mark.parametrize("fold", [output_shape, macs, peak_activation])
def test_a_shape_may_be_of_any_type_that_lists_numbers(fold: Callable[[Layer, Any], Any], shape: Any) -> None:
    assert fold(Conv(4, 8, 3), shape) == fold(Conv(4, 8, 3), (4, 8, 8))


@pytest.mark.parametrize(
    "shape",
    [
        None,
        "x",
        4,
        np.array(3),
        {4: 1, 8: 1, 9: 1},
        (),
        (4, 8),
        (4, 8, 8, 1),
        (4, -8, 8),
        (4, 0, 8),
        (4.5, 8, 8),
        (True,),
    ],
)
@pytest.mark.parametrize("fold", [output_shape, macs, peak_activation])
def test_what_is_no_shape_is_refused(fold: Callable[[Layer, Any], Any], shape: Any) -> None:
    with pytest.raises(ShapeError, match="a shape must be"):
        fold(Conv(4, 8, 3), shape)


@dataclass(frozen=True)
class Novelty:
    """A kind of layer that no fold knows."""

    channels: int = 3


@pytest.mark.parametrize("fold", [parameters, to_module])
def test_an_unknown_kind_of_layer_is_refused_rather_than_counted_as_nothing(fold: Callable[[Any], Any]) -> None:
    with pytest.raises(LayerError, match="Novelty"):
        fold(Sequence((Novelty(),)))  # type: ignore[arg-type]


@pytest.mark.parametrize("fold", [output_shape, macs, peak_activation, lambda *of: list(rows(*of))])
def test_an_unknown_kind_of_layer_has_no_shape_either(fold: Callable[[Any, Shape], Any]) -> None:
    with pytest.raises(LayerError, match="Novelty"):
        fold(Novelty(), (3, 8, 8))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Conv(3, -4, 3), "Conv.outputs must be a whole number of at least 1 but is -4"),
        (Conv(3, 4.0, 3), "Conv.outputs must be a whole number of at least 1 but is 4.0"),  # type: ignore[arg-type]
        (Conv(3, True, 3), "Conv.outputs must be a whole number of at least 1 but is True"),
        (Conv(3, 4, 3, bias=1), "Conv.bias must be True or False but is 1"),  # type: ignore[arg-type]
        (Conv(3, 4, 3, padding=-2), "Conv.padding must be a whole number of at least 0 but is -2"),
        (Activation("softmax"), "Activation.function must be one of relu, silu, hardswish but is 'softmax'"),  # type: ignore[arg-type]
        (Dropout(1), "Dropout.rate must be a number from 0 and below 1 but is 1"),
        (Slice(4, 2, -1), "Slice.first must be a whole number of at least 0 but is -1"),
        (Tied(Conv(3, 3, 1), 0), "Tied.times must be a whole number of at least 1 but is 0"),
        (Sequence([Identity()]), "Sequence takes a tuple of layers, Sequence((one, other)), but got a list"),  # type: ignore[arg-type]
        (Concat([Identity()]), "Concat takes a tuple of layers, Concat((one, other)), but got a list"),  # type: ignore[arg-type]
        (Flatten, "a layer must be one of Conv, BatchNorm, "),
        (None, "a layer must be one of Conv, BatchNorm, "),
        (reduce(lambda inner, _: Sequence((inner,)), range(60), Sequence(())), "more than 50 layers lie one in anoth"),
    ],
)
def test_layers_that_cannot_be_stored_and_built_are_not_counted(layer: Any, words: str) -> None:
    for whole in (layer, Residual(layer, layer), Sequence((layer,))):
        with pytest.raises(LayerError) as caught:
            cost(whole, (3, 8, 8))
        assert words in str(caught.value)


def test_numbers_of_numpy_count_as_those_of_python() -> None:
    def made(four: Any) -> Layer:
        return Sequence((Conv(3, four, four - 1), Tied(Conv(four, four, 1), four), Flatten(), Linear(four * 64, four)))

    network, counted = made(np.int64(4)), cost(made(4), (3, 8, 8))
    assert fingerprint(network, (3, 8, 8)) == fingerprint(made(4), (3, 8, 8))
    assert cost(network, (3, 8, 8)) == counted
    assert type(cost(network, (3, 8, 8)).parameters) is int
    assert json.dumps(to_json(network)) == json.dumps(to_json(made(np.int16(4)))) == json.dumps(to_json(made(4)))


@settings(max_examples=50)
@given(drawn_networks())
def test_a_network_has_the_parameters_shapes_and_multiply_adds_of_its_module(drawn: Drawn) -> None:
    with torch.device("meta"):
        module = to_module(drawn.network).eval()
        counted: list[int] = []
        for inner in module.modules():
            if isinstance(inner, nn.Conv2d | nn.Linear):
                inner.register_forward_hook(
                    lambda m, _, output: counted.append(m.weight.numel() * prod(output.shape[2:]))
                )
            elif isinstance(inner, SignLinearModule):
                inner.register_forward_hook(lambda m, *_: counted.append(m.signs.numel()))
            elif isinstance(inner, QuadraticModule):
                inner.register_forward_hook(lambda m, *_: counted.append(quadratic(m.weight).numel()))
        with mock.patch.object(nn.BatchNorm2d, "forward", lambda _, images: images):  # slow without data, and as large
            scores = module(torch.empty(2, *drawn.shape))
    assert parameters(drawn.network) == sum(p.numel() for p in module.parameters())
    assert output_shape(drawn.network, drawn.shape) == tuple(scores.shape[1:])
    assert macs(drawn.network, drawn.shape) == sum(counted)


@settings(max_examples=50)
@given(drawn_networks())
def test_the_rows_of_a_network_follow_one_another_and_sum_to_its_totals(drawn: Drawn) -> None:
    listed = list(rows(drawn.network, drawn.shape))
    assert sum(row.parameters for row in listed) == parameters(drawn.network)
    assert sum(row.macs for row in listed) == macs(drawn.network, drawn.shape)
    assert listed[0].input == drawn.shape
    assert listed[-1].output == (drawn.space.classes,)
    assert peak_activation(drawn.network, drawn.shape) >= max(max(prod(r.input), prod(r.output)) for r in listed)
