"""One network trained with one recipe, in a folder of its own.

TRAINED/settings.json   what is trained, on what and how: the same command continues, another is refused
        state.pt        the training after its last epoch
        metrics.json    size, curve and accuracies, rewritten after every epoch
        weights.pt      the trained network's state_dict
        log             what the process said

    python -m nas.training.training TRAINED DEVICE THREADS      trains what the settings say; several.py starts it
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.data.augment import DeviceData, DeviceSplit, check_colours
from nas.data.load import SearchData, Split, load_search_data, load_test
from nas.errors import EXIT_NO_ANSWER, EXIT_WRONG_USE, DataError, RecipeError, RunError, UserError
from nas.machine.folders import claim, file_lock, refuse_other_settings, write_atomically
from nas.machine.process import end_with_parent
from nas.network.layers import Shape
from nas.network.vision import torchvision_model
from nas.space.named import Torchvision, from_stored, size
from nas.training.recipe import Recipe, changed, recipe_values
from nas.training.schedule import best_epoch
from nas.training.train import DivergenceError, Epoch, Network, build, evaluate, train, trained_weights


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides what a training comes to.

    `network` is what `nas.space.named.to_stored` gives; `images` the number of training
    images to use, drawn by class and seed (None: all).
    """

    model: str
    network: dict[str, Any]
    dataset: str
    data_checksum: str
    image_size: int | None
    validation_share: float | None
    images: int | None
    recipe: dict[str, Any]
    seed: int

    @property
    def training(self) -> Recipe:
        """The recipe."""
        return changed(Recipe(), self.recipe)


@dataclass(frozen=True)
class Metrics:
    """What a training came to so far. Accuracies are 0–1, losses nats; `accuracy` and `validation_loss` are of the
    weights kept: the last, or the best of a recipe that stops early. `test` was read `test_reads` times."""

    model: str
    parameters: int
    macs: int
    epochs: tuple[Epoch, ...]
    finished: bool
    accuracy: float
    validation_loss: float
    test_accuracy: float | None = None
    test_loss: float | None = None
    test_reads: int = 0

    @property
    def megabytes(self) -> float:
        """Size of the parameters in fp32, in units of 10^6 bytes."""
        return 4 * self.parameters / 1e6

    @property
    def seconds(self) -> float:
        """Spent on training and validation."""
        return sum(epoch.seconds for epoch in self.epochs)

    @property
    def lowest_loss(self) -> float:
        """Of the training losses."""
        return min(epoch.train_loss for epoch in self.epochs)

    @property
    def last_loss(self) -> float:
        """Training loss of the last epoch."""
        return self.epochs[-1].train_loss


@dataclass(frozen=True)
class TrainingFolder:
    """Paths inside the folder of a training, and what they hold."""

    path: Path

    @property
    def settings(self) -> Path:
        """The plan as JSON."""
        return self.path / "settings.json"

    @property
    def state(self) -> Path:
        """Checkpoint of the training."""
        return self.path / "state.pt"

    @property
    def weights(self) -> Path:
        """The trained network's state_dict."""
        return self.path / "weights.pt"

    @property
    def metrics(self) -> Path:
        """What the training came to."""
        return self.path / "metrics.json"

    @property
    def log(self) -> Path:
        """What the process of the training said."""
        return self.path / "log"

    @property
    def is_finished(self) -> bool:
        """Whether the training has come to its end."""
        return self.weights.exists() and self.metrics.exists() and self.read_metrics().finished

    def read_plan(self) -> TrainingPlan:
        """The plan. Raises RunError if the folder holds none."""
        try:
            stored = json.loads(self.settings.read_text())
            stored["recipe"] = recipe_values(changed(Recipe(), stored["recipe"]))
            return TrainingPlan(**{f.name: stored[f.name] for f in fields(TrainingPlan)})
        except FileNotFoundError as error:
            raise RunError(f"{self.path} is no training: it has no settings.json") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecipeError) as error:
            raise RunError(f"{self.settings} cannot be read: {error!r:.100}; choose another --out") from error

    def read_metrics(self) -> Metrics:
        """What the training came to so far. Raises RunError if it has not finished an epoch."""
        try:
            stored = json.loads(self.metrics.read_text())
            epochs = tuple(Epoch(**epoch) for epoch in stored.pop("epochs"))
            return Metrics(epochs=epochs, **stored)
        except FileNotFoundError as error:
            raise RunError(f"{self.path} holds no finished epoch yet; train it first") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{self.metrics} cannot be read: {error!r:.100}") from error

    def read_weights(self) -> dict[str, Tensor]:
        """The trained network's state_dict. Raises RunError if the file is damaged."""
        advice = "delete it and repeat the command of the training"
        return read_state(
            self.weights, lambda file: torch.load(file, map_location="cpu", weights_only=True), advice=advice
        )

    def write_metrics(self, metrics: Metrics) -> None:
        """Replaces them."""
        write_atomically(self.metrics, json.dumps(asdict(metrics), indent=1) + "\n")

    def enter(self, plan: TrainingPlan) -> None:
        """Creates the folder for the plan or finds the same plan in it. Raises RunError naming what differs."""
        claim(self.settings, asdict(plan), what="training")
        stored, asked = asdict(self.read_plan()), json.loads(json.dumps(asdict(plan)))
        refuse_other_settings(self.path, "training", differences(stored, asked))


def read_state(file: Path, read: Callable[[Path], dict[str, Tensor]], *, advice: str) -> dict[str, Tensor]:
    """What `read` makes of the file. Raises RunError with the advice if it is damaged."""
    try:
        return read(file)
    except Exception as error:  # whatever the bytes of a damaged file make torch.load stumble over
        raise RunError(f"{file} cannot be read: {error!r:.100}; {advice}") from error


def differences(stored: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """What has changed in the settings of a training, or in its recipe, in words."""
    unprintable = {"network": "another network", "data_checksum": "the data set has changed"}
    found = []
    for name, value in asked.items():
        if name == "recipe":
            found += differences(stored[name], value)
        elif name in unprintable and stored[name] != value:
            found.append(unprintable[name])
        elif stored.get(name) != value:
            found.append(f"{name} was {stored.get(name)}, now {value}")
    return found


def load_data(plan: TrainingPlan) -> SearchData:
    """Training and validation split. Raises DataError if the data set has changed."""
    data = load_search_data(
        plan.dataset,
        seed=plan.seed,
        validation_share=plan.validation_share,
        image_size=plan.image_size,
        images=plan.images,
        progress=False,
    )
    if data.checksum != plan.data_checksum:
        raise DataError(f"data set {plan.dataset} is not what the training began with; give --out another folder")
    return data


def input_shape(recipe: Recipe, data: SearchData) -> Shape:
    """(channels, height, width) of what the network is given."""
    return (data.shape[0], recipe.input_size, recipe.input_size) if recipe.input_size else data.shape


def augmentation_of(recipe: Recipe, data: SearchData) -> tuple[str, ...]:
    """What the recipe says, or what suits the data set."""
    return data.augmentation if recipe.augmentation is None else recipe.augmentation


def check(plan: TrainingPlan, data: SearchData) -> None:
    """Raises UserError where the recipe does not suit the images or the network does not take them."""
    check_colours(augmentation_of(plan.training, data), channels=data.shape[0])
    size(from_stored(plan.network), input_shape(plan.training, data), data.classes)


def network_of(plan: TrainingPlan, data: SearchData) -> Network:
    """The network of a plan, or what builds its module."""
    network = from_stored(plan.network)
    if not isinstance(network, Torchvision):
        return network
    return lambda: torchvision_model(network.name, data.classes, channels=data.shape[0], pretrained=network.pretrained)


def run_training(
    folder: TrainingFolder,
    device: torch.device,
    on_epoch: Callable[[Metrics], None] = lambda metrics: None,
) -> Metrics:
    """Trains what the folder's settings say, from where it was left, and keeps its metrics up to date.

    Raises RunError while another process trains there, DataError if the data set has changed, DivergenceError.
    """
    plan = folder.read_plan()
    with file_lock(folder.path / "lock", wait=False) as held:
        if not held:
            raise RunError(f"another process is training in {folder.path}; wait for it or give --out another folder")
        if folder.is_finished:
            return folder.read_metrics()
        return _train(folder, plan, load_data(plan), device, on_epoch)


def _train(
    folder: TrainingFolder,
    plan: TrainingPlan,
    data: SearchData,
    device: torch.device,
    on_epoch: Callable[[Metrics], None],
) -> Metrics:
    recipe = plan.training
    on_device = DeviceData.of(data, device, augmentation_of(recipe, data))
    parameters, macs = size(from_stored(plan.network), input_shape(recipe, data), data.classes)
    epochs: list[Epoch] = []
    tested = _tests_so_far(folder)

    def metrics(finished: bool) -> Metrics:
        losses = [epoch.validation_loss for epoch in epochs]
        kept = epochs[best_epoch(losses) if recipe.stop_patience else -1]
        accuracy, loss = kept.validation_accuracy, kept.validation_loss
        return Metrics(plan.model, parameters, macs, tuple(epochs), finished, accuracy, loss, **tested)

    network = network_of(plan, data)
    for epoch in train(network, on_device, recipe, seed=plan.seed, checkpoint=folder.state):
        epochs.append(epoch)
        folder.write_metrics(metrics(finished=False))
        on_epoch(metrics(finished=False))
    partial = folder.weights.with_suffix(".partial")
    torch.save(trained_weights(folder.state), partial)
    os.replace(partial, folder.weights)
    folder.write_metrics(metrics(finished=True))
    return metrics(finished=True)


def _tests_so_far(folder: TrainingFolder) -> dict[str, Any]:
    """What is known of the test split where weights were lost: how often it was read, and, if the state is there to
    make the same weights of, what was measured."""
    if not folder.metrics.exists():
        return {}
    earlier = folder.read_metrics()
    if not folder.state.exists():
        return {"test_reads": earlier.test_reads}
    return {name: getattr(earlier, name) for name in ("test_accuracy", "test_loss", "test_reads")}


def run_test(folder: TrainingFolder, device: torch.device, test: Split | None = None) -> Metrics:
    """Accuracy and loss on the test split, which is read once: what was measured is kept and returned ever after.
    `test` is the split where the caller has read it, for many trainings at once.

    Raises RunError for a training that has not finished.
    """
    with file_lock(folder.path / "lock", wait=True):
        done = folder.read_metrics()
        if done.test_accuracy is not None:
            return done
        if not done.finished:
            raise RunError(f"the training in {folder.path} has not finished; repeat its command first")
        return _test(folder, folder.read_plan(), done, device, test)


def _test(
    folder: TrainingFolder, plan: TrainingPlan, done: Metrics, device: torch.device, test: Split | None
) -> Metrics:
    """The reading is noted before the network is judged: one that is cut off counts."""
    data = load_data(plan)
    module = build(network_of(plan, data), plan.training.dropout)
    module.load_state_dict(folder.read_weights())
    on_device = DeviceData.of(data, device, ())
    if test is None:
        test = read_test(plan, data)
    read = replace(done, test_reads=done.test_reads + 1)
    folder.write_metrics(read)
    loss, accuracy = evaluate(module.to(device), on_device, DeviceSplit.of(test, device), plan.training.input_size)
    tested = replace(read, test_accuracy=accuracy, test_loss=loss)
    folder.write_metrics(tested)
    return tested


def read_test(plan: TrainingPlan, data: SearchData) -> Split:
    """The test split. Raises DataError if its classes are not those of the training split."""
    test, class_names = load_test(plan.dataset, image_size=plan.image_size)
    if class_names != data.class_names:
        raise DataError(f"the test split of {plan.dataset} has other classes than its training split")
    return test


def main() -> int:
    """Trains one folder. Exit code 1 if the training diverged, 2 if it cannot be done, each with one line on stderr."""
    path, device, threads = sys.argv[1:]
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(int(threads))
    try:
        run_training(TrainingFolder(Path(path)), torch.device(device))
    except (UserError, DivergenceError) as error:
        print(error, file=sys.stderr)
        return EXIT_WRONG_USE if isinstance(error, UserError) else EXIT_NO_ANSWER
    return 0


if __name__ == "__main__":
    sys.exit(main())
