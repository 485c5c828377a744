"""Networks of any space in int8, made small for tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from drawn import shipped
from test_export import EVERY, FITTED, SHAPES
from torch import nn

from nas.data.load import Split
from nas.network.layers import Layer, Shape
from nas.network.modules.module import to_module
from nas.results.export.card import ModelCard, Preprocessing
from nas.results.export.int8.network import QuantisedNetwork, quantised_network
from nas.results.export.measuring import Sample, prepared, session
from nas.space.draw import draw_within

IMAGES = 200


def network_of(name: str, seed: int = 0) -> tuple[Layer, Shape, int]:
    """A small network of a space, or that of every kind of layer: with its shape and classes."""
    if name == "every kind":
        return EVERY, (2, 16, 14), 4
    shape, classes = SHAPES[seed % 2]
    space = shipped(name, shape, classes)
    return space.network(draw_within(space, FITTED, np.random.default_rng(seed))), shape, classes


def pixels(shape: Shape, count: int = IMAGES, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Images of blots, of all brightnesses: of mere noise a network says the same."""
    rng = np.random.default_rng(seed)
    rough = rng.uniform(-60, 315, (count, 3, 3, shape[0]))
    places = [np.linspace(0, 2, side).round().astype(int) for side in shape[1:]]
    smooth = rough[:, places[0]][:, :, places[1]] + rng.normal(0, 20, (count, *shape[1:], shape[0]))
    return smooth.clip(0, 255).astype(np.uint8)


def card_of(shape: Shape, classes: int, names: Sequence[str] = ()) -> ModelCard:
    channels, height, width = shape
    mean, deviation = tuple(120.0 + c for c in range(channels)), tuple(60.0 + c for c in range(channels))
    preprocessing = Preprocessing(channels, height, width, mean, deviation)
    return ModelCard(
        class_names=tuple(names) or tuple(f"class {number}" for number in range(classes)),
        preprocessing=preprocessing,
        dataset="blots",
        data_checksum="0" * 20,
        measured=(),
        recipe={},
        commands=(),
    )


def lively(network: Layer, images: npt.NDArray[np.float32], seed: int) -> nn.Module:
    """The module in evaluation with random weights by which images differ, as torch's own hardly let them, and norms
    that have seen them."""
    torch.manual_seed(seed)
    module = to_module(network)
    for inner in module.modules():
        if isinstance(inner, nn.Conv2d | nn.Linear):
            inner.weight.data.mul_(2.5)
        if isinstance(inner, nn.BatchNorm2d):
            inner.momentum = 0.9
            inner.weight.data.uniform_(-1.5, 1.5)
            inner.bias.data.normal_(std=0.3)
    with torch.no_grad():
        for _ in range(3):
            module.train()(torch.from_numpy(images))
    return module.eval()


def in_int8(network: Layer, shape: Shape, card: ModelCard, seed: int = 0) -> tuple[nn.Module, QuantisedNetwork]:
    """The network as torch computes it, with random weights, and quantised."""
    module = lively(network, prepared(pixels(shape, 64, seed=1), card.preprocessing), seed)
    nothing = Split(pixels(shape, 1)[:0], np.zeros(0, np.int64))
    sample = Sample(pixels(shape, 64, seed=1), nothing)
    return module, quantised_network(network, module.state_dict(), card.preprocessing, sample, 20)


def scores_of(found: QuantisedNetwork, images: npt.NDArray[np.uint8], card: ModelCard) -> Any:
    """What onnxruntime makes of them."""
    running = session(found.model.SerializeToString())
    return running.run(None, {"images": prepared(images, card.preprocessing)})[0]
