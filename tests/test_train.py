import math
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.data import MANY_IMAGES
from nas.data.augment import DeviceData, training_batches
from nas.data.load import SearchData, Split, array_search_data, load_search_data
from nas.machine.checkpoint import read_checkpoint
from nas.network.blocks import stage, stem
from nas.network.heads import classifier
from nas.network.layers import Dropout, Flatten, GlobalPool, Layer, Linear, Sequence
from nas.seeds import derive_seed
from nas.training.epoch import Epoch, validation_accuracies, validation_losses
from nas.training.recipe import Recipe, changed
from nas.training.recipes import RECIPES, recipe_for
from nas.training.steps.evaluate import best_precision, evaluate, resized
from nas.training.steps.optimisers import MUON_SHARE, decay, make_optimisers
from nas.training.steps.schedule import best_epoch
from nas.training.train import DivergenceError, build, train, trained_weights

NETWORK: Layer = Sequence(
    (
        stem(1, 8),
        stage("basic", 1, 8, 12, kernel=3, stride=2, excitation=4),
        Dropout(0.1),
        stage("depthwise", 1, 12, 12, kernel=3, stride=1, expansion=2),
        classifier(12, 10),
    )
)
RECIPE = Recipe(batch_size=32, learning_rate=0.05, warmup_steps=10)


@pytest.fixture(scope="module")
def digits() -> DeviceData:
    """320 digits to train on, 128 to validate on, augmented."""
    data = load_search_data("digits", seed=0)
    few = SearchData(
        data.name,
        Split(data.train.images[:320], data.train.labels[:320]),
        Split(data.validation.images[:128], data.validation.labels[:128]),
        data.class_names,
        data.checksum,
        (),
    )
    return DeviceData.of(few, torch.device("cpu"), ("crop",))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As a worker trains: sums are then always taken in the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def curve(epochs: list[Epoch]) -> list[tuple[float, ...]]:
    """All that an epoch showed but the time it took."""
    return [astuple(epoch)[:4] for epoch in epochs]


def state(checkpoint: Path) -> dict[str, Any]:
    values, groups = read_checkpoint(checkpoint, torch.device("cpu"))
    return values | groups


def equal(one: Any, other: Any) -> bool:
    """Bitwise, through dictionaries and lists; times aside."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one if k != "seconds")
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def test_training_lowers_the_loss_and_raises_the_accuracy(digits: DeviceData) -> None:
    epochs = list(train(NETWORK, digits, replace(RECIPE, epochs=10), seed=0))
    assert [epoch.epoch for epoch in epochs] == list(range(1, 11))
    assert epochs[-1].train_loss < 0.6 * epochs[0].train_loss
    first, *_, last = validation_losses(epochs)
    assert last < first
    assert validation_accuracies(epochs)[-1] > 0.5  # a tenth is chance
    assert all(epoch.seconds > 0 for epoch in epochs)


def test_the_first_loss_is_that_of_guessing_among_ten_classes(digits: DeviceData) -> None:
    (first,) = train(NETWORK, digits, Recipe(epochs=1, batch_size=320, learning_rate=1e-9), seed=0)
    assert first.train_loss == pytest.approx(math.log(10), abs=0.4)
    assert first.validation_loss == pytest.approx(math.log(10), abs=0.4)


def test_equal_seeds_train_equally_and_others_do_not(digits: DeviceData) -> None:
    first = curve(list(train(NETWORK, digits, replace(RECIPE, epochs=2), seed=3)))
    assert curve(list(train(NETWORK, digits, replace(RECIPE, epochs=2), seed=3))) == first
    assert curve(list(train(NETWORK, digits, replace(RECIPE, epochs=2), seed=4))) != first


def test_a_short_training_is_the_beginning_of_a_long_one(digits: DeviceData) -> None:
    long = curve(list(train(NETWORK, digits, replace(RECIPE, epochs=3), seed=0)))
    assert curve(list(train(NETWORK, digits, replace(RECIPE, epochs=1), seed=0))) == long[:1]


@pytest.mark.parametrize("abandoned_after", [1, 2])
def test_a_training_that_was_abandoned_goes_on_as_if_it_had_never_stopped(
    digits: DeviceData, tmp_path: Path, abandoned_after: int
) -> None:
    whole = list(train(NETWORK, digits, replace(RECIPE, epochs=3), seed=0, checkpoint=tmp_path / "whole.pt"))
    begun = train(NETWORK, digits, replace(RECIPE, epochs=3), seed=0, checkpoint=tmp_path / "parts.pt")
    seen = [next(begun) for _ in range(abandoned_after)]
    begun.close()
    torch.manual_seed(99)  # what happens in between does not matter
    resumed = list(train(NETWORK, digits, replace(RECIPE, epochs=3), seed=0, checkpoint=tmp_path / "parts.pt"))
    assert resumed[:abandoned_after] == seen
    assert curve(resumed) == curve(whole)
    assert equal(state(tmp_path / "parts.pt"), state(tmp_path / "whole.pt"))


def test_an_epoch_that_was_cut_off_is_trained_again(digits: DeviceData, tmp_path: Path) -> None:
    def cut_off(epoch: int, step: int) -> None:
        if (epoch, step) == (2, 4):
            raise KeyboardInterrupt

    whole = list(train(NETWORK, digits, replace(RECIPE, epochs=2), seed=0))
    with pytest.raises(KeyboardInterrupt):
        list(train(NETWORK, digits, replace(RECIPE, epochs=2), seed=0, checkpoint=tmp_path / "a.pt", pulse=cut_off))
    resumed = list(train(NETWORK, digits, replace(RECIPE, epochs=2), seed=0, checkpoint=tmp_path / "a.pt"))
    assert curve(resumed) == curve(whole)


def test_a_finished_training_yields_its_epochs_again_without_a_step(digits: DeviceData, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    checkpoint = tmp_path / "a.pt"
    first = list(
        train(
            NETWORK,
            digits,
            replace(RECIPE, epochs=2),
            seed=0,
            checkpoint=checkpoint,
            pulse=lambda *at: steps.append(at),
        )
    )
    assert steps == [(epoch, step) for epoch in (1, 2) for step in range(10)]
    steps.clear()
    again = train(
        NETWORK, digits, replace(RECIPE, epochs=2), seed=0, checkpoint=checkpoint, pulse=lambda *at: steps.append(at)
    )
    assert list(again) == first
    assert steps == []


def test_a_checkpoint_is_written_whole_before_its_epoch_is_yielded(digits: DeviceData, tmp_path: Path) -> None:
    checkpoint = tmp_path / "a.pt"
    for epoch in train(NETWORK, digits, replace(RECIPE, epochs=2), seed=0, checkpoint=checkpoint):
        assert len(state(checkpoint)["epochs"]) == epoch.epoch
        assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_network_that_diverges_is_told_as_such(digits: DeviceData) -> None:
    recipe = Recipe(batch_size=32, learning_rate=1e6, warmup_steps=0)
    linear = Sequence((Flatten(), Linear(64, 64), Linear(64, 64), Linear(64, 10)))
    with pytest.raises(DivergenceError) as caught:
        list(train(linear, digits, replace(recipe, epochs=2), seed=0))
    assert str(caught.value).startswith("the loss became ")
    assert str(caught.value).endswith("in epoch 1")


def test_the_judged_weights_are_an_average_of_the_trained_ones(digits: DeviceData, tmp_path: Path) -> None:
    list(train(NETWORK, digits, replace(RECIPE, epochs=1), seed=0, checkpoint=tmp_path / "a.pt"))
    stored = state(tmp_path / "a.pt")
    assert stored["steps"] == 10
    assert stored["module"].keys() == stored["average"].keys()
    assert not equal(stored["module"], stored["average"])


def test_an_average_without_memory_is_the_trained_network(digits: DeviceData, tmp_path: Path) -> None:
    recipe = Recipe(batch_size=32, learning_rate=0.05, average_share=0.0)
    list(train(NETWORK, digits, replace(recipe, epochs=1), seed=0, checkpoint=tmp_path / "a.pt"))
    stored = state(tmp_path / "a.pt")
    floating = [name for name, value in stored["module"].items() if value.is_floating_point()]
    assert all(torch.equal(stored["module"][name], stored["average"][name]) for name in floating)


def test_the_recipe_takes_smaller_steps_where_there_are_few_images() -> None:
    assert recipe_for(MANY_IMAGES) == Recipe()
    assert recipe_for(MANY_IMAGES - 1) == Recipe(epochs=3, batch_size=64, learning_rate=0.05, warmup_steps=10)


# Every recipe


COLOURED: Layer = Sequence((stem(3, 4), Dropout(0.1), classifier(4, 4)))


@pytest.fixture(scope="module")
def coloured() -> SearchData:
    """96 noisy images 3 x 16 x 16 to train on and 24 to validate on, of four classes told apart by their colour."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 4
    images = rng.integers(0, 128, (120, 16, 16, 3), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[..., label % 3] += np.uint8(64 * (label < 3))
    return array_search_data(images, labels, seed=0)


SHORT: dict[str, Any] = {"batch_size": 16, "epochs": 2}
MADE_SHORT = {
    name: changed(recipe, SHORT | {"input_size": 20 if recipe.input_size else 0})
    if not recipe.restarts
    else changed(recipe, SHORT | {"epochs": 1, "restart_epochs": 1})
    for name, recipe in ((name, named.recipe) for name, named in RECIPES.items())
} | {
    "cosine": Recipe(**SHORT, schedule="cosine", optimiser="adamw", learning_rate=0.01),
    "muon": Recipe(**SHORT, schedule="one-cycle", optimiser="muon"),
    "mixed": Recipe(**SHORT, mixup=0.4, cutmix=1.0, label_smoothing=0.1),
    "coloured": Recipe(**SHORT, augmentation=("crop", "cutout", "colour-jitter", "grayscale"), dropout=0.2),
}
"""Every shipped recipe, and what none of them has, in two epochs of six steps."""


@pytest.mark.parametrize("name", MADE_SHORT)
def test_every_recipe_trains_and_goes_on_as_if_it_had_never_stopped(
    coloured: SearchData, tmp_path: Path, name: str
) -> None:
    recipe = MADE_SHORT[name]
    augmentation = coloured.augmentation if recipe.augmentation is None else recipe.augmentation
    data = DeviceData.of(coloured, torch.device("cpu"), augmentation)
    whole = list(train(COLOURED, data, recipe, seed=1, checkpoint=tmp_path / "whole.pt"))
    assert [epoch.epoch for epoch in whole] == [1, 2]
    assert all(map(math.isfinite, [*(epoch.train_loss for epoch in whole), *validation_losses(whole)]))
    assert state(tmp_path / "whole.pt")["steps"] == 12
    begun = train(COLOURED, data, recipe, seed=1, checkpoint=tmp_path / "parts.pt")
    next(begun)
    begun.close()
    torch.manual_seed(99)
    resumed = list(train(COLOURED, data, recipe, seed=1, checkpoint=tmp_path / "parts.pt"))
    assert curve(resumed) == curve(whole)
    assert equal(state(tmp_path / "parts.pt"), state(tmp_path / "whole.pt"))


def test_colours_are_learnt(coloured: SearchData) -> None:
    data = DeviceData.of(coloured, torch.device("cpu"), ())
    recipe = Recipe(epochs=8, batch_size=16, optimiser="adam", learning_rate=0.02, warmup_steps=0, schedule="one-cycle")
    *_, last = train(COLOURED, data, recipe, seed=0)
    assert last.train_loss < 0.7
    assert validation_accuracies([last])[0] >= 0.75  # a quarter is chance


# Optimisers


def torchs_optimiser(name: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    match name:
        case "sgd":
            return torch.optim.SGD(groups, lr=0.02, momentum=0.8)
        case "nesterov":
            return torch.optim.SGD(groups, lr=0.02, momentum=0.8, nesterov=True)
        case "adam":
            return torch.optim.Adam(groups, lr=0.02, betas=(0.8, 0.999))
        case _:
            return torch.optim.AdamW(groups, lr=0.02, betas=(0.8, 0.999))


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam", "adamw"])
def test_every_optimiser_takes_torchs_steps_and_lets_no_bias_decay(
    digits: DeviceData, tmp_path: Path, name: str
) -> None:
    network = Sequence((Flatten(), Linear(64, 8), Linear(8, 10)))
    recipe = Recipe(
        epochs=1,
        batch_size=64,
        optimiser=name,  # type: ignore[arg-type]
        learning_rate=0.02,
        momentum=0.8,
        weight_decay=0.1,
        warmup_steps=0,
        label_smoothing=0.2,
    )
    list(train(network, digits, recipe, seed=5, checkpoint=tmp_path / "a.pt"))

    torch.manual_seed(derive_seed(5, "weights"))
    module = build(network)
    weights, biases = ([p for p in module.parameters() if (p.ndim == 1) == is_bias] for is_bias in (False, True))
    optimiser = torchs_optimiser(
        name, [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    )
    generator = torch.Generator().manual_seed(derive_seed(5, "batches", 1))
    in_bf16 = best_precision(torch.device("cpu")) == "bf16"
    for images, labels in training_batches(digits, 64, generator):
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bf16):
            scores = module(images)
        nn.functional.cross_entropy(scores.float(), labels, label_smoothing=0.2).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    trained = state(tmp_path / "a.pt")["module"]
    for key, value in module.state_dict().items():
        torch.testing.assert_close(trained[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [(1_000, 5e-4), (10_000, 5e-4), (40_000, 5e-4 * 4**0.6), (100_000, 5e-4 * 10**0.6), (10**7, 5e-4 * 10**0.6)],
)
def test_decay_grows_with_the_network_between_two_sizes(parameters: int, expected: float) -> None:
    assert decay(Recipe(decay_growth=0.6), parameters) == pytest.approx(expected)
    assert decay(Recipe(), parameters) == Recipe().weight_decay


def test_the_decay_of_a_networks_size_is_what_its_optimisers_have() -> None:
    (made,) = make_optimisers(nn.Linear(200, 200), Recipe(decay_growth=1.0))
    assert [group["weight_decay"] for group in made.param_groups] == pytest.approx([5e-4 * 4.02, 0.0])


def test_muon_steps_what_mixes_channels_and_sgd_the_rest() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4))
    module = module.append(nn.Flatten()).append(nn.Linear(16, 10)).to(memory_format=torch.channels_last)
    recipe = Recipe(optimiser="muon", learning_rate=0.2, momentum=0.8, weight_decay=0.01)
    optimisers = make_optimisers(module, recipe)
    weights = dict(module.named_parameters())
    mixing = {
        name: nn.Parameter(weights[name].detach().clone().flatten(1)) for name in ("0.weight", "2.weight", "5.weight")
    }
    others = {name: nn.Parameter(weights[name].detach().clone()) for name in weights if name not in mixing}
    decays = [{"params": [p], "weight_decay": 0.01 * (p.ndim > 1)} for p in others.values()]
    expected = [
        torch.optim.Muon(mixing.values(), lr=0.2 * MUON_SHARE, momentum=0.8, weight_decay=0.01 / MUON_SHARE),
        torch.optim.SGD(decays, lr=0.2, momentum=0.8, nesterov=True),
    ]
    for _ in range(3):
        module(torch.randn(6, 3, 6, 6)).logsumexp(1).sum().backward()
        for name, copy in (mixing | others).items():
            copy.grad = weights[name].grad.clone().reshape(copy.shape)  # type: ignore[union-attr]
        for optimiser in (*optimisers, *expected):
            optimiser.step()
            optimiser.zero_grad()
        module.zero_grad()
    for name, copy in (mixing | others).items():
        torch.testing.assert_close(weights[name].reshape(copy.shape), copy, rtol=0.02, atol=2e-3)  # orthogonal in bf16


# Early stopping


@pytest.fixture(scope="module")
def noise() -> DeviceData:
    """Labels that have nothing to do with the images: whatever is learnt makes the validation loss worse."""
    rng = np.random.default_rng(0)
    data = array_search_data(rng.integers(0, 256, (90, 8, 8), np.uint8), np.arange(90) % 3, seed=0)
    return DeviceData.of(data, torch.device("cpu"), ())


@pytest.mark.parametrize("average_share", [0.0, 0.5])
def test_a_training_stops_when_its_patience_runs_out_and_keeps_its_best_weights(
    noise: DeviceData, tmp_path: Path, average_share: float
) -> None:
    recipe = Recipe(
        epochs=40,
        batch_size=16,
        optimiser="adam",
        learning_rate=0.002,
        warmup_steps=0,
        average_share=average_share,
        stop_patience=3,
    )
    network = Sequence((Flatten(), Linear(64, 32), Linear(32, 3)))
    whole = list(train(network, noise, recipe, seed=2, checkpoint=tmp_path / "whole.pt"))
    best = best_epoch(validation_losses(whole))
    assert len(whole) == best + 4 < 40
    module = build(network)
    module.load_state_dict(trained_weights(tmp_path / "whole.pt"))
    kept = whole[best]
    assert evaluate(module, noise, noise.validation) == (kept.validation_loss, kept.validation_accuracy)
    begun = train(network, noise, recipe, seed=2, checkpoint=tmp_path / "parts.pt")
    for _ in range(best + 2):
        next(begun)
    begun.close()
    assert curve(list(train(network, noise, recipe, seed=2, checkpoint=tmp_path / "parts.pt"))) == curve(whole)
    assert equal(trained_weights(tmp_path / "parts.pt"), trained_weights(tmp_path / "whole.pt"))


def test_without_patience_the_last_weights_are_kept(noise: DeviceData, tmp_path: Path) -> None:
    network = Sequence((Flatten(), Linear(64, 3)))
    recipe = Recipe(epochs=4, batch_size=16, learning_rate=0.5, warmup_steps=0, average_share=0.0)
    *_, last = train(network, noise, recipe, seed=0, checkpoint=tmp_path / "a.pt")
    module = build(network)
    module.load_state_dict(trained_weights(tmp_path / "a.pt"))
    assert evaluate(module, noise, noise.validation) == (last.validation_loss, last.validation_accuracy)
    assert equal(state(tmp_path / "a.pt")["module"], trained_weights(tmp_path / "a.pt"))


# Sizes and dropout


class Sizes(nn.Module):
    """Tells colours apart by their means and remembers the sizes of the images that it saw."""

    def __init__(self, seen: set[tuple[int, ...]]) -> None:
        super().__init__()
        self.seen, self.linear = seen, nn.Linear(3, 4)

    def forward(self, images: Tensor) -> Tensor:
        self.seen.add(tuple(images.shape[1:]))
        scores: Tensor = self.linear(images.mean((2, 3)))
        return scores

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sizes":
        copied = Sizes(self.seen)
        copied.load_state_dict(self.state_dict())
        return copied


@pytest.mark.parametrize(("input_size", "side"), [(0, 16), (16, 16), (24, 24), (7, 7)])
def test_batches_are_resized_for_training_and_for_validation(coloured: SearchData, input_size: int, side: int) -> None:
    data, seen = DeviceData.of(coloured, torch.device("cpu"), ()), set[tuple[int, ...]]()
    list(train(lambda: Sizes(seen), data, Recipe(epochs=1, batch_size=32, input_size=input_size), seed=0))
    assert seen == {(3, side, side)}


def test_images_as_wide_as_asked_for_but_not_as_high_are_resized() -> None:
    images = torch.zeros(1, 3, 16, 8)
    assert resized(images, 8).shape == (1, 3, 8, 8)
    assert resized(images, 0) is images


def kinds(module: nn.Module) -> list[str]:
    return [type(inner).__name__ for inner in module.modules() if not list(inner.children())]


def test_dropout_comes_before_the_last_linear_layer_of_a_tree_and_of_a_module() -> None:
    tree = Sequence((Flatten(), Linear(64, 8), Sequence((Linear(8, 10),))))
    assert kinds(build(tree, 0.5)) == ["Flatten", "LeanLinear", "Dropout", "LeanLinear"]
    assert kinds(build(tree)) == ["Flatten", "LeanLinear", "LeanLinear"]
    module = build(lambda: nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 10), nn.ReLU()), 0.5)
    assert kinds(module) == ["Linear", "Dropout", "Linear", "ReLU"]
    assert [inner.p for inner in module.modules() if isinstance(inner, nn.Dropout)] == [0.5]


def test_a_network_without_a_linear_layer_stays_without_dropout() -> None:
    assert kinds(build(Sequence((GlobalPool(), Flatten())), 0.5)) == ["GlobalPoolModule", "Flatten"]
    assert kinds(build(lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten()), 0.5)) == ["LeanConv2d", "Flatten"]
