"""One network trained with one recipe: what decides the outcome, what it came to, and the folder of both.

DIR/settings.json   what is trained, on what and how: the same command continues, another is refused
    state.pt        the training after its last epoch
    metrics.json    size, curve and accuracies, rewritten after every epoch
    weights.pt      the trained network's state_dict
    log             what the process said
"""

import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from nas.data.augment import check_colours
from nas.data.load import SearchData, check_still_there, load_search_data
from nas.errors import DataError, RunError, in_one_line, is_of_the_machine
from nas.machine.checkpoint import shapes
from nas.machine.folders import WorkFolder, write_atomically
from nas.network.layers import Shape
from nas.network.modules.vision import torchvision_model
from nas.space.named import Torchvision, from_stored, size
from nas.stored import Count, Loss, Positive, Share, StoredError, parsed, stored
from nas.training.distillation.teacher import Teacher
from nas.training.epoch import Epoch
from nas.training.recipe import Recipe, changed, check_followed, recipe_values
from nas.training.train import Network


@dataclass(frozen=True)
class Training:
    """Everything that decides what a training comes to.

    `network` is what `nas.space.named.to_stored` gives; `images` the number of training images to use, drawn by class
    and seed (None: all). With `all_images` nothing is set aside for validation.
    """

    what: ClassVar[str] = "training"
    folders: ClassVar[tuple[str, ...]] = ()
    before: ClassVar[tuple[str, ...]] = ()

    model: str
    network: dict[str, Any] = field(metadata={"changed": "another network"})
    dataset: str
    data_checksum: str = field(metadata={"changed": "the data set has changed"})
    image_size: Positive | None
    validation_share: Share | None
    images: Positive | None
    recipe: Recipe
    seed: Count
    teacher: Teacher | None = field(default=None, metadata={"changed": "another teacher"})
    all_images: bool = False

    @property
    def words(self) -> list[str]:
        """The model's name and its knobs. Raises ValueError where the model is no command."""
        return shlex.split(self.model)

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON values."""
        teacher = self.teacher and asdict(self.teacher)
        return {f.name: getattr(self, f.name) for f in fields(self)} | {
            "recipe": recipe_values(self.recipe),
            "teacher": teacher,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """See `nas.machine.folders.Settings`."""
        own = {f.name: content[f.name] for f in fields(cls) if f.name in content}
        found: Self = stored(own, cls, "the training", {Recipe: _recipe})
        try:
            named = found.words
        except ValueError as error:
            raise StoredError(
                f"the training's model must be words as of a command but is {found.model!r:.80}"
            ) from error
        if not named:
            raise StoredError("the training's model has no name")
        if named == ["found"]:
            raise StoredError("the training's model was found by a search and has no trial")
        return found


@dataclass(frozen=True)
class Metrics:
    """What a training came to so far. Accuracies are 0–1, losses nats; `accuracy` and `validation_loss` are of the
    weights kept: the last, or the best of a recipe that stops early; None where all images train. `test` was read
    `test_reads` times."""

    model: str
    parameters: Count
    macs: Count
    epochs: tuple[Epoch, ...]
    finished: bool
    accuracy: Share | None
    validation_loss: Loss | None
    test_accuracy: Share | None = None
    test_loss: Loss | None = None
    test_reads: Count = 0
    teacher: Teacher | None = None

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
        """The lowest of the training losses."""
        return min(epoch.train_loss for epoch in self.epochs)

    @property
    def last_loss(self) -> float:
        """Training loss of the last epoch."""
        return self.epochs[-1].train_loss


def _recipe(values: Any) -> Recipe:
    return changed(Recipe(), stored(values, dict[str, Any], "recipe"))


def accuracies(trainings: Iterable[Metrics]) -> list[float]:
    """Validation accuracies of those that have one."""
    return [metrics.accuracy for metrics in trainings if metrics.accuracy is not None]


def validation_losses(trainings: Iterable[Metrics]) -> list[float]:
    """Validation log-losses of those that have one."""
    return [metrics.validation_loss for metrics in trainings if metrics.validation_loss is not None]


def test_accuracies(trainings: Iterable[Metrics]) -> list[float]:
    """Test accuracies of those that were tested."""
    return [metrics.test_accuracy for metrics in trainings if metrics.test_accuracy is not None]


def training_folder(path: str | Path) -> WorkFolder[Training]:
    """The folder of a training."""
    return WorkFolder(Path(path), Training)


def state_file(folder: WorkFolder[Training]) -> Path:
    """Checkpoint of the training."""
    return folder / "state.pt"


def weights_file(folder: WorkFolder[Training]) -> Path:
    """The trained network's state_dict."""
    return folder / "weights.pt"


def metrics_file(folder: WorkFolder[Training]) -> Path:
    """What the training came to."""
    return folder / "metrics.json"


def log_file(folder: WorkFolder[Training]) -> Path:
    """What the process of the training said."""
    return folder / "log"


def is_finished(folder: WorkFolder[Training]) -> bool:
    """Whether the training has come to its end."""
    return weights_file(folder).exists() and metrics_file(folder).exists() and read_metrics(folder).finished


def read_metrics(folder: WorkFolder[Training]) -> Metrics:
    """What the training came to so far. Raises RunError if it has not finished an epoch."""
    file = metrics_file(folder)
    try:
        metrics: Metrics = stored(parsed(file.read_text()), Metrics, "the training")
        if not metrics.epochs:
            raise StoredError("the training has no epoch")
        return metrics
    except FileNotFoundError as error:
        raise RunError(f"{folder.path} holds no finished epoch yet; train it first") from error
    except (OSError, ValueError) as error:
        raise RunError(
            f"{file} cannot be read: {in_one_line(error):.100}; restore it, or delete it and repeat the command of the "
            "training, which goes on from its checkpoint (what was known of the test split is lost with it)"
        ) from error


def write_metrics(folder: WorkFolder[Training], metrics: Metrics) -> None:
    """Replaces them."""
    write_atomically(metrics_file(folder), json.dumps(asdict(metrics), indent=1) + "\n")


def read_weights(folder: WorkFolder[Training], own: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The trained network's state_dict. Raises RunError if the file is damaged, or is of another network than that
    whose state is `own`."""
    file, advice = weights_file(folder), "delete it and repeat the command of the training"
    weights = read_state(file, partial(torch.load, map_location="cpu", weights_only=True), advice=advice)
    if own is not None and shapes(own) != shapes(weights):
        raise RunError(f"{file} is of another network than the one told beside it; {advice}")
    return weights


def read_state(file: Path, read: Callable[[Path], dict[str, Tensor]], *, advice: str) -> dict[str, Tensor]:
    """What `read` makes of the file. Raises RunError with the advice if it is damaged, and what the machine raises
    where it cannot be read at all."""
    try:
        return read(file)
    except Exception as error:  # whatever the bytes of a damaged file make torch.load stumble over
        if is_of_the_machine(error) and not isinstance(error, FileNotFoundError):
            raise
        raise RunError(f"{file} cannot be read: {error!r:.100}; {advice}") from error


def load_data(training: Training) -> SearchData:
    """Training and validation split. Raises DataError if the data set has changed."""
    check_still_there(training.dataset)
    data = load_search_data(
        training.dataset,
        seed=training.seed,
        validation_share=training.validation_share,
        image_size=training.image_size,
        images=training.images,
        all_images=training.all_images,
        progress=False,
    )
    if data.checksum != training.data_checksum:
        raise DataError(
            f"data set {training.dataset} is not what the training began with; give --out another folder, or --dataset "
            "where that lies"
        )
    return data


def input_shape(recipe: Recipe, data: SearchData) -> Shape:
    """(channels, height, width) of what the network is given."""
    return (data.shape[0], recipe.input_size, recipe.input_size) if recipe.input_size else data.shape


def augmentation_of(recipe: Recipe, data: SearchData) -> tuple[str, ...]:
    """What the recipe says, or what suits the data set."""
    return data.augmentation if recipe.augmentation is None else recipe.augmentation


def check(training: Training, data: SearchData) -> None:
    """Raises UserError where the recipe does not suit the images or the network does not take them."""
    check_followed(training.recipe, has_validation=not training.all_images)
    check_colours(augmentation_of(training.recipe, data), channels=data.shape[0])
    size(from_stored(training.network), input_shape(training.recipe, data), data.classes)


def network_of(training: Training, data: SearchData) -> Network:
    """The network of a training, or what builds its module."""
    network = from_stored(training.network)
    if not isinstance(network, Torchvision):
        return network
    return lambda: torchvision_model(network.name, data.classes, channels=data.shape[0], pretrained=network.pretrained)
