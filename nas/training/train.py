"""Training as a generator of epochs: stopping is not drawing the next one."""

import math
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nas.data.augment import DeviceData, batches_per_epoch, training_batches
from nas.machine.checkpoint import DamagedCheckpointError, Tensors, read_checkpoint, shapes, write_checkpoint
from nas.machine.timeline import Activity
from nas.network.layers import Layer, with_dropout
from nas.network.modules.module import lean, to_module
from nas.seeds import derive_seed
from nas.training.distillation.loss import distillation_loss
from nas.training.epoch import Epoch, validation_losses
from nas.training.recipe import Recipe, check_followed
from nas.training.steps.evaluate import autocast, evaluate, resized
from nas.training.steps.graphs import Gradients, RecordedGradients
from nas.training.steps.optimisers import make_optimisers
from nas.training.steps.schedule import best_epoch, gives_up, learning_rate


class DivergenceError(ArithmeticError):
    """The training or validation loss is no longer a finite number."""


Network = Layer | Callable[[], nn.Module]
"""A layer tree, or what builds a module (a published model that is no tree) freshly initialised."""

Scores = Callable[[Tensor], Tensor]
"""Images [N, C, H, W] to scores [N, classes]."""


def train(
    network: Network,
    data: DeviceData,
    recipe: Recipe,
    *,
    seed: int,
    teacher: Scores | None = None,
    records: bool = True,
    checkpoint: Path | None = None,
    pulse: Callable[[int, int], None] = lambda epoch, step: None,
    begin: Callable[[Activity], None] = lambda activity: None,
) -> Generator[Epoch, None, None]:
    """Trains on the data's device and yields every epoch from the first to the last, or to that in which the recipe's
    `stop_patience` ran out.

    With a checkpoint file, the state is saved there before an epoch is yielded, and a training that finds one goes on
    from it (yielding its epochs again) as if it had never stopped: exactly on a CPU, up to rounding on a GPU; from the
    first epoch where the file is damaged.
    A teacher gives its scores of each batch, augmented as the network gets it; the recipe says how much they count.
    A GPU records the steps of a layer tree unless `records` is false, as it must be for a teacher that is none.
    `pulse(epoch, step)` is called before every step, `begin(activity)` when another activity begins. Equal seeds give
    equal initial weights, batches and augmentation. Raises DivergenceError, and RecipeError where the recipe follows
    the validation loss and there is no validation split.
    """
    begin("build")
    check_followed(recipe, has_validation=len(data.validation.labels) > 0)
    run = _Training(network, data, recipe, seed, teacher, records=records)
    done = _restored(run, checkpoint)
    yield from done[: recipe.all_epochs]
    while len(done) < recipe.all_epochs and not gives_up(recipe, validation_losses(done)):
        epoch = run.epoch(done, pulse, begin)
        done.append(epoch)
        if checkpoint:
            begin("checkpoint")
            run.save(checkpoint, done)
        yield epoch


def build(network: Network, dropout: float = 0.0) -> nn.Module:
    """The module freshly initialised from torch's global generator, with dropout before its last linear layer if it
    has one."""
    if isinstance(network, Layer):
        return to_module(with_dropout(network, dropout))
    module = lean(network())
    linear = [path for path, inner in module.named_modules() if isinstance(inner, nn.Linear)]
    if dropout > 0 and linear:
        module.set_submodule(linear[-1], nn.Sequential(nn.Dropout(dropout), module.get_submodule(linear[-1])))
    return module


def trained_weights(checkpoint: Path) -> Tensors:
    """State of the network that a training came to: averaged weights, of the best epoch where training stops early."""
    _, groups = read_checkpoint(checkpoint, torch.device("cpu"))
    return groups["best"] or groups["average"]


def _restored(run: "_Training", checkpoint: Path | None) -> list[Epoch]:
    """The epochs of the checkpoint. One that is damaged is told on stderr, and the training begins anew."""
    try:
        return run.restore(checkpoint) if checkpoint and checkpoint.exists() else []
    except DamagedCheckpointError as error:
        print(f"{error}; the training begins anew", file=sys.stderr)
        return []


class _Training:
    """The mutable state of one training: weights, their average, the optimiser's moments, the best weights."""

    def __init__(
        self,
        network: Network,
        data: DeviceData,
        recipe: Recipe,
        seed: int,
        teacher: Scores | None,
        *,
        records: bool,
    ) -> None:
        torch.manual_seed(derive_seed(seed, "weights"))
        device = data.mean.device
        self.data, self.recipe, self.seed = data, recipe, seed
        self.module = build(network, recipe.dropout).to(device).to(memory_format=torch.channels_last)
        self.state: Tensors = self.module.state_dict(keep_vars=True)
        floating = {id(tensor): tensor for tensor in self.state.values() if tensor.is_floating_point()}
        self._current = list(floating.values())
        self._averaged = [tensor.detach().clone() for tensor in self._current]
        self.best: Tensors = {}
        self.steps = 0
        self._epoch_steps = batches_per_epoch(len(data.train.labels), recipe.batch_size)
        self.optimisers = make_optimisers(self.module, recipe)
        self._gradients: Gradients = partial(_gradients, self.module, recipe, teacher)
        if device.type == "cuda" and records and isinstance(network, Layer):  # others may look at values on the host
            self._gradients = RecordedGradients(self._gradients, self.module, recipe.batch_size)

    def epoch(self, done: list[Epoch], pulse: Callable[[int, int], None], begin: Callable[[Activity], None]) -> Epoch:
        """The epoch after those done: one pass over the training split, then one over the validation split."""
        begin("steps")
        started = time.perf_counter()
        number = len(done) + 1
        losses = validation_losses(done)
        train_loss = self._learn(number, losses, pulse)
        if not math.isfinite(train_loss):
            raise DivergenceError(f"the loss became {train_loss} in training, in epoch {number}")
        if not len(self.data.validation.labels):
            return Epoch(number, train_loss, None, None, time.perf_counter() - started)
        begin("validation")
        with self._average_in_place():
            loss, accuracy = evaluate(self.module, self.data, self.data.validation, self.recipe.input_size)
        if not math.isfinite(loss):
            raise DivergenceError(f"the loss became {loss} in validation, in epoch {number}")
        if self.recipe.stop_patience and best_epoch([*losses, loss]) == len(losses):
            self.best = {name: value.clone() for name, value in self.average.items()}
        return Epoch(number, train_loss, loss, accuracy, time.perf_counter() - started)

    def _learn(self, number: int, losses: list[float], pulse: Callable[[int, int], None]) -> float:
        torch.manual_seed(derive_seed(self.seed, "noise", number))
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "batches", number))
        self.module.train()
        total = torch.zeros((), device=self.data.mean.device)
        images_seen = 0
        recipe = self.recipe
        batches = training_batches(self.data, recipe.batch_size, generator, mixup=recipe.mixup, cutmix=recipe.cutmix)
        for step, (images, labels) in enumerate(batches):
            pulse(number, step)
            total += self._step(images, labels, losses) * len(labels)
            images_seen += len(labels)
        return total.item() / images_seen

    def _step(self, images: Tensor, labels: Tensor, losses: list[float]) -> Tensor:
        rate = learning_rate(self.recipe, self.steps, self._epoch_steps, losses)
        loss = self._gradients(images, labels)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["share"]
            optimiser.step()
        self._update_average()
        return loss

    @torch.no_grad()
    def _update_average(self) -> None:
        """The memory of the average grows as a share of the steps so far: it neither lags early nor forgets late."""
        newest = 1 / (1 + self.recipe.average_share * self.steps)
        update = get_ema_multi_avg_fn(1 - newest)  # type: ignore[no-untyped-call]
        update(self._averaged, self._current, self.steps)
        self.steps += 1

    @property
    def average(self) -> Tensors:
        """The state of the network with averaged weights."""
        averages = dict(zip(map(id, self._current), self._averaged, strict=True))
        return {name: averages.get(id(tensor), tensor) for name, tensor in self.state.items()}

    @contextmanager
    def _average_in_place(self) -> Iterator[None]:
        """The module with averaged weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for current, averaged in zip(self._current, self._averaged, strict=True):
            current.data, averaged.data = averaged.data, current.data

    def save(self, path: Path, done: list[Epoch]) -> None:
        """Writes the state atomically."""
        groups = {"module": self.state, "average": self.average, "optimiser": self._moments(), "best": self.best}
        write_checkpoint(path, {"epochs": [asdict(epoch) for epoch in done], "steps": self.steps}, groups)

    def _states(self) -> list[dict[str, Tensor]]:
        """What the optimisers remember of each parameter, in their order."""
        return [
            optimiser.state[parameter]
            for optimiser in self.optimisers
            for group in optimiser.param_groups
            for parameter in group["params"]
        ]

    def _moments(self) -> Tensors:
        """The memory of the optimisers, by the number of the parameter and what it is."""
        each = enumerate(self._states())
        return {f"{number} {name}": moment for number, moments in each for name, moment in moments.items()}

    @torch.no_grad()
    def restore(self, path: Path) -> list[Epoch]:
        """Reads the state and returns the epochs that led to it. Raises DamagedCheckpointError for that of another
        network or optimiser, before anything is changed."""
        values, groups = read_checkpoint(path, self.data.mean.device)
        states = self._states()
        try:
            steps, best, done = values["steps"], groups["best"], [Epoch(**epoch) for epoch in values["epochs"]]
            own = [(self.state, groups["module"]), (self.average, groups["average"])]
            named = [(key.split(" "), moment) for key, moment in groups["optimiser"].items()]
            moments = [(states[int(number)], name, moment) for (number, name), moment in named]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DamagedCheckpointError(f"{path} is of another training: {error!r:.100}") from error
        if any(shapes(state) != shapes(stored) for state, stored in own):
            raise DamagedCheckpointError(f"{path} is of another network")
        self.steps, self.best = steps, best
        for state, stored in own:
            for name, tensor in state.items():
                tensor.copy_(stored[name])
        for remembered, name, moment in moments:
            remembered[name] = moment
        return done


def _gradients(module: nn.Module, recipe: Recipe, teacher: Scores | None, images: Tensor, labels: Tensor) -> Tensor:
    """The loss of a batch; its gradients are left in the parameters."""
    with autocast(images.device):
        scores = module(resized(images, recipe.input_size))
    loss = nn.functional.cross_entropy(scores.float(), labels, label_smoothing=recipe.label_smoothing)
    if teacher:
        kind, temperature = recipe.distillation, recipe.temperature
        apart = distillation_loss(scores.float(), teacher(images), labels, distillation=kind, temperature=temperature)
        loss = (1 - recipe.teacher_weight) * loss + recipe.teacher_weight * apart
    module.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()
