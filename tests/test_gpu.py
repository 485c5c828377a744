"""What only a GPU can show: these tests run where torch finds one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import searching
import torch
from torch import Tensor, nn

from nas.data.augment import DeviceData
from nas.data.load import load_search_data
from nas.network.blocks import stage, stem
from nas.network.heads import classifier
from nas.network.layers import Layer, Sequence
from nas.network.modules.module import to_module
from nas.training.epoch import validation_accuracies
from nas.training.recipe import Distillation, Optimiser, Recipe
from nas.training.steps.graphs import WARM_UP, RecordedGradients
from nas.training.train import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")

NETWORK: Layer = Sequence(
    (
        stem(1, 8),
        stage("basic", 1, 8, 12, kernel=3, stride=2, excitation=4),
        stage("depthwise", 1, 12, 12, kernel=5, stride=1, expansion=2),
        classifier(12, 10),
    )
)
RECIPE = Recipe(epochs=4, batch_size=48, learning_rate=0.05, warmup_steps=10)  # the last batch of the digits is smaller


@pytest.fixture(scope="module")
def digits() -> DeviceData:
    return DeviceData.of(load_search_data("digits", seed=0), torch.device("cuda"), ("crop",))


@pytest.fixture
def exact() -> Iterator[None]:
    """Convolutions in full single precision."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def batches(count: int, size: int = 16) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(size, 1, 8, 8, generator=generator).cuda().to(memory_format=torch.channels_last),
            torch.randint(10, (size,), generator=generator).cuda(),
        )
        for _ in range(count)
    ]


def gradients_of(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    for parameter in module.parameters():
        parameter.grad = None
    loss = nn.functional.cross_entropy(module(images), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def test_recorded_gradients_are_those_of_every_batch(exact: None) -> None:
    torch.manual_seed(0)
    module = to_module(NETWORK).cuda().to(memory_format=torch.channels_last)
    computed = []

    def compute(images: Tensor, labels: Tensor) -> Tensor:
        computed.append(len(images))
        return gradients_of(module, images, labels)

    recorded = RecordedGradients(compute, module, 16)
    given = batches(WARM_UP + 3)
    given[-2] = tuple(part[:10] for part in given[-2])  # type: ignore[assignment]
    for images, labels in given:
        loss = recorded(images, labels).clone()
        found = [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]
        torch.testing.assert_close(loss, gradients_of(module, images, labels), rtol=1e-4, atol=1e-5)
        expected = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        assert len(found) == len(expected) == len(list(module.parameters()))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert computed == [*WARM_UP * [16], 16, 10]  # to warm up, to record, and the smaller batch


def test_dropout_is_drawn_anew_for_every_replayed_batch() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10)).cuda()
    recorded = RecordedGradients(lambda images, labels: gradients_of(module, images, labels), module, 16)
    ((images, labels),) = batches(1)
    losses = [recorded(images, labels).item() for _ in range(WARM_UP + 4)]
    assert len(set(losses[WARM_UP:])) == 4
    torch.manual_seed(7)
    first = recorded(images, labels).item()
    torch.manual_seed(7)
    assert recorded(images, labels).item() == first


def test_a_gpu_trains_as_a_cpu_does(digits: DeviceData) -> None:
    on_cpu = DeviceData.of(load_search_data("digits", seed=0), torch.device("cpu"), ("crop",))
    there = list(train(NETWORK, digits, RECIPE, seed=0))
    here = list(train(NETWORK, on_cpu, RECIPE, seed=0))
    assert there[0].train_loss == pytest.approx(here[0].train_loss, rel=0.05)
    assert there[-1].train_loss == pytest.approx(here[-1].train_loss, rel=0.2)
    assert validation_accuracies(there)[-1] > 0.8


@pytest.mark.parametrize("optimiser", get_args(Optimiser))
def test_every_optimiser_learns_on_a_gpu(digits: DeviceData, optimiser: Optimiser) -> None:
    rate = 0.005 if optimiser in ("adam", "adamw") else 0.05
    recipe = replace(RECIPE, optimiser=optimiser, learning_rate=rate, schedule="one-cycle", warmup_steps=0)
    assert validation_accuracies(train(NETWORK, digits, recipe, seed=0))[-1] > 0.5


def test_a_training_that_was_abandoned_goes_on_on_a_gpu(digits: DeviceData, tmp_path: Path) -> None:
    whole = list(train(NETWORK, digits, RECIPE, seed=0))
    begun = train(NETWORK, digits, RECIPE, seed=0, checkpoint=tmp_path / "state.pt")
    seen = [next(begun) for _ in range(2)]
    begun.close()
    resumed = list(train(NETWORK, digits, RECIPE, seed=0, checkpoint=tmp_path / "state.pt"))
    assert resumed[:2] == seen
    assert resumed[-1].train_loss == pytest.approx(whole[-1].train_loss, rel=0.03)
    assert resumed[-1].validation_loss == pytest.approx(whole[-1].validation_loss, rel=0.1)


def test_labels_that_are_mixed_are_recorded_too(digits: DeviceData) -> None:
    assert validation_accuracies(train(NETWORK, digits, replace(RECIPE, mixup=0.2), seed=0))[-1] > 0.7


@pytest.mark.parametrize("distillation", get_args(Distillation))
def test_what_a_teacher_says_is_recorded_too(digits: DeviceData, distillation: Distillation) -> None:
    says = to_module(NETWORK).cuda().to(memory_format=torch.channels_last).eval().requires_grad_(False)
    recipe = replace(RECIPE, distillation=distillation, teacher_weight=0.1)
    assert validation_accuracies(train(NETWORK, digits, recipe, seed=0, teacher=says))[-1] > 0.5


def test_workers_of_a_search_share_a_gpu(tmp_path: Path) -> None:
    searching.write_space(tmp_path)
    searching.write_data(tmp_path)
    flags = ("--budget", "500,2000", "--workers", "3", "--device", "cuda")
    done = searching.run(searching.command(tmp_path, tmp_path / "out", *flags, trials=4))
    assert done.returncode == 0, done.stderr
    counts = searching.result(tmp_path / "out")["counts"]
    assert counts["failed"] == counts["over_budget"] == 0


def test_a_published_model_trains_and_is_tested_on_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nas.cli", "train", "torchvision:resnet18", "--dataset", "digits", "--epochs", "1"]
    command += ["--device", "cuda", "--test", "--json", "--out", str(tmp_path / "trained")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["test_accuracy"] > 0.1
