import math
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.augment import DeviceData
from nas.blocks import classifier, stage, stem
from nas.data import SearchData, Split, load_search_data
from nas.layers import Dropout, Flatten, Layer, Linear, Sequence
from nas.recipe import MANY_IMAGES, Recipe, recipe_for
from nas.train import DivergenceError, Epoch, train

NETWORK: Layer = Sequence(
    (
        stem(1, 8),
        stage("basic", 1, 8, 12, kernel=3, stride=2, excitation=True),
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
    stored: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    return stored


def equal(one: Any, other: Any) -> bool:
    """Bitwise, through dictionaries and lists; times aside."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one if k != "seconds")
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def test_training_lowers_the_loss_and_raises_the_accuracy(digits: DeviceData):
    epochs = list(train(NETWORK, digits, RECIPE, epochs=6, seed=0))
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].train_loss < 0.6 * epochs[0].train_loss
    assert epochs[-1].validation_loss < epochs[0].validation_loss
    assert epochs[-1].validation_accuracy > 0.5  # a tenth is chance
    assert all(epoch.seconds > 0 for epoch in epochs)


def test_the_first_loss_is_that_of_guessing_among_ten_classes(digits: DeviceData):
    (first,) = train(NETWORK, digits, Recipe(batch_size=320, learning_rate=1e-9), epochs=1, seed=0)
    assert first.train_loss == pytest.approx(math.log(10), abs=0.4)
    assert first.validation_loss == pytest.approx(math.log(10), abs=0.4)


def test_equal_seeds_train_equally_and_others_do_not(digits: DeviceData):
    first = curve(list(train(NETWORK, digits, RECIPE, epochs=2, seed=3)))
    assert curve(list(train(NETWORK, digits, RECIPE, epochs=2, seed=3))) == first
    assert curve(list(train(NETWORK, digits, RECIPE, epochs=2, seed=4))) != first


def test_a_short_training_is_the_beginning_of_a_long_one(digits: DeviceData):
    long = curve(list(train(NETWORK, digits, RECIPE, epochs=3, seed=0)))
    assert curve(list(train(NETWORK, digits, RECIPE, epochs=1, seed=0))) == long[:1]


@pytest.mark.parametrize("abandoned_after", [1, 2])
def test_a_training_that_was_abandoned_goes_on_as_if_it_had_never_stopped(
    digits: DeviceData, tmp_path: Path, abandoned_after: int
):
    whole = list(train(NETWORK, digits, RECIPE, epochs=3, seed=0, checkpoint=tmp_path / "whole.pt"))
    begun = train(NETWORK, digits, RECIPE, epochs=3, seed=0, checkpoint=tmp_path / "parts.pt")
    seen = [next(begun) for _ in range(abandoned_after)]
    begun.close()
    torch.manual_seed(99)  # what happens in between does not matter
    resumed = list(train(NETWORK, digits, RECIPE, epochs=3, seed=0, checkpoint=tmp_path / "parts.pt"))
    assert resumed[:abandoned_after] == seen
    assert curve(resumed) == curve(whole)
    assert equal(state(tmp_path / "parts.pt"), state(tmp_path / "whole.pt"))


def test_an_epoch_that_was_cut_off_is_trained_again(digits: DeviceData, tmp_path: Path):
    def cut_off(epoch: int, step: int) -> None:
        if (epoch, step) == (2, 4):
            raise KeyboardInterrupt

    whole = list(train(NETWORK, digits, RECIPE, epochs=2, seed=0))
    with pytest.raises(KeyboardInterrupt):
        list(train(NETWORK, digits, RECIPE, epochs=2, seed=0, checkpoint=tmp_path / "a.pt", pulse=cut_off))
    resumed = list(train(NETWORK, digits, RECIPE, epochs=2, seed=0, checkpoint=tmp_path / "a.pt"))
    assert curve(resumed) == curve(whole)


def test_a_finished_training_yields_its_epochs_again_without_a_step(digits: DeviceData, tmp_path: Path):
    steps: list[tuple[int, int]] = []
    checkpoint = tmp_path / "a.pt"
    first = list(
        train(NETWORK, digits, RECIPE, epochs=2, seed=0, checkpoint=checkpoint, pulse=lambda *at: steps.append(at))
    )
    assert steps == [(epoch, step) for epoch in (1, 2) for step in range(10)]
    steps.clear()
    again = train(NETWORK, digits, RECIPE, epochs=2, seed=0, checkpoint=checkpoint, pulse=lambda *at: steps.append(at))
    assert list(again) == first
    assert steps == []


def test_a_checkpoint_is_written_whole_before_its_epoch_is_yielded(digits: DeviceData, tmp_path: Path):
    checkpoint = tmp_path / "a.pt"
    for epoch in train(NETWORK, digits, RECIPE, epochs=2, seed=0, checkpoint=checkpoint):
        assert len(state(checkpoint)["epochs"]) == epoch.epoch
        assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_network_that_diverges_is_told_as_such(digits: DeviceData):
    recipe = Recipe(batch_size=32, learning_rate=1e6, warmup_steps=0)
    linear = Sequence((Flatten(), Linear(64, 64), Linear(64, 64), Linear(64, 10)))
    with pytest.raises(DivergenceError) as caught:
        list(train(linear, digits, recipe, epochs=2, seed=0))
    assert str(caught.value).startswith("the loss became ")
    assert str(caught.value).endswith("in epoch 1")


def test_the_judged_weights_are_an_average_of_the_trained_ones(digits: DeviceData, tmp_path: Path):
    list(train(NETWORK, digits, RECIPE, epochs=1, seed=0, checkpoint=tmp_path / "a.pt"))
    stored = state(tmp_path / "a.pt")
    assert stored["steps"] == 10
    assert stored["module"].keys() == stored["average"].keys()
    assert not equal(stored["module"], stored["average"])


def test_an_average_without_memory_is_the_trained_network(digits: DeviceData, tmp_path: Path):
    recipe = Recipe(batch_size=32, learning_rate=0.05, average_share=0.0)
    list(train(NETWORK, digits, recipe, epochs=1, seed=0, checkpoint=tmp_path / "a.pt"))
    stored = state(tmp_path / "a.pt")
    floating = [name for name, value in stored["module"].items() if value.is_floating_point()]
    assert all(torch.equal(stored["module"][name], stored["average"][name]) for name in floating)


def test_the_recipe_takes_smaller_steps_where_there_are_few_images():
    assert recipe_for(MANY_IMAGES) == Recipe()
    assert recipe_for(MANY_IMAGES - 1) == Recipe(batch_size=64, learning_rate=0.05, warmup_steps=10)
