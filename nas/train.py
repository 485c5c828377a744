"""Training as a generator of epochs: stopping is not drawing the next one."""

import copy
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nas.augment import DeviceData, DeviceSplit, normalised, training_batches
from nas.layers import Layer
from nas.module import to_module
from nas.recipe import Recipe
from nas.seeds import derive_seed

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Epoch:
    """What one epoch showed. Accuracy 0–1 and loss (nats) on the validation split are of the averaged weights."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


class DivergenceError(ArithmeticError):
    """The training or validation loss is no longer a finite number."""


def best_precision(device: torch.device) -> Precision:
    """bf16 where the hardware multiplies it natively (else it is emulated, and many times slower), fp32 elsewhere."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "fp32"


def train(
    network: Layer,
    data: DeviceData,
    recipe: Recipe,
    *,
    epochs: int,
    seed: int,
    checkpoint: Path | None = None,
    pulse: Callable[[int, int], None] | None = None,
) -> Iterator[Epoch]:
    """Trains on the data's device and yields every epoch from the first to the last.

    With a checkpoint file, the state is saved there before an epoch is yielded, and a training that finds one goes on
    from it (yielding its epochs again) exactly as if it had never stopped. `pulse(epoch, step)` is called before every
    step. Equal seeds give equal initial weights, batches and augmentation. Raises DivergenceError.
    """
    run = _Training(network, data, recipe, seed)
    done = run.restore(checkpoint) if checkpoint and checkpoint.exists() else []
    yield from done[:epochs]
    for number in range(len(done) + 1, epochs + 1):
        epoch = run.epoch(number, pulse or _no_pulse)
        done.append(epoch)
        if checkpoint:
            run.save(checkpoint, done)
        yield epoch


def _no_pulse(epoch: int, step: int) -> None:
    """Nobody listens."""


class _Training:
    """The mutable state of one training: weights, their average, the optimiser's momenta."""

    def __init__(self, network: Layer, data: DeviceData, recipe: Recipe, seed: int) -> None:
        torch.manual_seed(derive_seed(seed, "weights"))
        device = data.mean.device
        self.data, self.recipe, self.seed = data, recipe, seed
        self.module = to_module(network).to(device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.module)
        self.steps = 0
        self._current = _floating_tensors(self.module)
        self._averaged = _floating_tensors(self.average)
        self.precision = best_precision(device)
        self.optimiser = torch.optim.SGD(
            _weight_decay_groups(self.module, recipe.weight_decay),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=True,
            foreach=True,
        )

    def epoch(self, number: int, pulse: Callable[[int, int], None]) -> Epoch:
        """One pass over the training split, then one over the validation split."""
        started = time.perf_counter()
        train_loss = self._learn(number, pulse)
        loss, accuracy = self._judge(self.data.validation)
        if not (math.isfinite(train_loss) and math.isfinite(loss)):
            raise DivergenceError(f"the loss became {train_loss} in training, {loss} in validation, in epoch {number}")
        return Epoch(number, train_loss, loss, accuracy, time.perf_counter() - started)

    def _learn(self, number: int, pulse: Callable[[int, int], None]) -> float:
        torch.manual_seed(derive_seed(self.seed, "noise", number))
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "batches", number))
        self.module.train()
        total = torch.zeros((), device=self.data.mean.device)
        images_seen = 0
        for step, (images, labels) in enumerate(training_batches(self.data, self.recipe.batch_size, generator)):
            pulse(number, step)
            total += self._step(images, labels) * len(labels)
            images_seen += len(labels)
        return total.item() / images_seen

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * min(1.0, (self.steps + 1) / (self.recipe.warmup_steps + 1))
        with self._autocast():
            scores = self.module(images)
        loss = nn.functional.cross_entropy(scores.float(), labels, label_smoothing=self.recipe.label_smoothing)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self._update_average()
        return loss.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        """The memory of the average grows as a share of the steps so far: it neither lags early nor forgets late."""
        torch._foreach_lerp_(self._averaged, self._current, 1 / (1 + self.recipe.average_share * self.steps))
        self.steps += 1

    @torch.no_grad()
    def _judge(self, split: DeviceSplit) -> tuple[float, float]:
        """(cross-entropy in nats, accuracy) of the averaged weights."""
        self.average.eval()
        loss = torch.zeros((), dtype=torch.float64, device=split.labels.device)
        correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
        for images, labels in zip(torch.split(split.images, 256), torch.split(split.labels, 256), strict=True):
            with self._autocast():
                scores = self.average(normalised(images, self.data))
            loss += nn.functional.cross_entropy(scores.float(), labels, reduction="sum").double()
            correct += (scores.argmax(1) == labels).sum()
        return loss.item() / len(split.labels), correct.item() / len(split.labels)

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.data.mean.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def save(self, path: Path, done: list[Epoch]) -> None:
        """Writes the state atomically."""
        state = {
            "epochs": [asdict(epoch) for epoch in done],
            "steps": self.steps,
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def restore(self, path: Path) -> list[Epoch]:
        """Reads the state and returns the epochs that led to it."""
        state = torch.load(path, map_location=self.data.mean.device, weights_only=True)
        self.steps = state["steps"]
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        return [Epoch(**epoch) for epoch in state["epochs"]]


def _weight_decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases, scales and shifts do not."""
    weights = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _floating_tensors(module: nn.Module) -> list[Tensor]:
    """Parameters and running statistics, for the average."""
    return [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
