"""How a network is trained, as plain data: recipes.py names some, steps/schedule.py says what they do to the rate."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from nas.data.augmentations import AUGMENTATIONS
from nas.errors import RecipeError
from nas.machine.options import check, is_listed, option, tidy

Optimiser = Literal["nesterov", "sgd", "adam", "adamw", "muon"]
Distillation = Literal["kd", "dkd"]
Schedule = Literal["constant", "multi-step", "plateau", "one-cycle", "cosine"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Raises RecipeError for values that are out of range or contradict each other.

    The defaults are what a search uses on many images: SGD with Nesterov momentum at a constant rate after a linear
    warm-up, judged by an exponential moving average of the weights. That rate does not depend on the number of epochs,
    so the curves of two trials, or of a short and a long run, share their beginnings and can be compared. The average
    looks back over a fixed share of the steps so far, which anneals without a schedule.
    """

    epochs: int = option("passes over the training split", default=12, least=1)
    batch_size: int = option("images a step", default=128, least=1)
    optimiser: Optimiser = option(
        "rule of the steps; muon makes those of matrices orthogonal, the rest is as with nesterov",
        default="nesterov",
        choices=get_args(Optimiser),
    )
    learning_rate: float = option("rate, the highest of its schedule", default=0.1, above=0)
    momentum: float = option("momentum of SGD and Muon, first moment of Adam", default=0.9, least=0, below=1)
    weight_decay: float = option("decay of the weights; biases and norms have none", default=5e-4, least=0)
    decay_growth: float = option(
        "exponent by which the decay grows with a network's parameters, from 10,000 to 100,000; 0: not",
        default=0.0,
        least=0,
    )
    schedule: Schedule = option("course of the rate", default="constant", choices=get_args(Schedule))
    warmup_steps: int = option("steps over which the rate rises linearly", default=100, least=0)
    milestones: tuple[float, ...] = option(
        "multi-step: shares of the epochs after which the rate falls", default=(), above=0, most=1
    )
    factor: float = option("multi-step, plateau: by what the rate falls", default=0.1, above=0, most=1)
    patience: int = option("plateau: epochs without a lower validation loss", default=0, least=0)
    cooldown: int = option("plateau: epochs after a fall that are not counted", default=0, least=0)
    average_share: float = option(
        "share of the steps so far over which weights are averaged; 0: not at all", default=0.1, least=0, most=1
    )
    label_smoothing: float = option("share of the target that goes to all classes", default=0.0, least=0, below=1)
    dropout: float = option("dropout before the last linear layer", default=0.0, least=0, below=1)
    augmentation: tuple[str, ...] | None = option(
        "augmentations; unset: what suits the data set", default=None, choices=tuple(AUGMENTATIONS)
    )
    mixup: float = option("alpha of mixup; 0: none", default=0.0, least=0)
    cutmix: float = option("alpha of cutmix; 0: none", default=0.0, least=0)
    stop_patience: int = option(
        "stop after so many epochs without a lower validation loss, keep the best; 0: no", default=0, least=0
    )
    restarts: int = option("times that training goes on at another rate", default=0, least=0)
    restart_epochs: int = option("epochs of each restart", default=0, least=0)
    restart_rate: float = option("learning rate of restarts", default=0.0, least=0)
    distillation: Distillation = option(
        "with a teacher: its scores as a whole, or those of the label and of the others apart",
        default="kd",
        choices=get_args(Distillation),
    )
    temperature: float = option("with a teacher: by what scores are divided", default=4.0, above=0)
    teacher_weight: float = option("with a teacher: its share of the loss", default=0.9, least=0, most=1)
    input_size: int = option("side to which batches are resized, in pixels; 0: not", default=0, least=0)

    def __post_init__(self) -> None:
        tidy(self)
        check(self, RecipeError)
        _check_together(self)

    @property
    def all_epochs(self) -> int:
        """Epochs with those of the restarts."""
        return self.epochs + self.restarts * self.restart_epochs

    @property
    def goes_on_alike(self) -> bool:
        """Whether a training of more epochs begins as one of fewer does, so that the one can go on where the other has
        ended."""
        return self.schedule == "constant" and not self.restarts and not self.stop_patience


def untaught(recipe: Recipe) -> Recipe:
    """The recipe with the options that count with a teacher alone at their defaults."""
    plain = Recipe()
    return replace(
        recipe,
        distillation=plain.distillation,
        temperature=plain.temperature,
        teacher_weight=plain.teacher_weight,
    )


def check_teaching(recipe: Recipe, *, is_taught: bool) -> None:
    """Raises RecipeError where options that count with a teacher alone are changed and there is none."""
    if not is_taught and recipe != untaught(recipe):
        raise RecipeError(
            "distillation, temperature and teacher_weight count with a teacher alone; give --teacher or leave them out"
        )


def check_followed(recipe: Recipe, *, has_validation: bool) -> None:
    """Raises RecipeError where the recipe follows the validation loss and there is no validation split."""
    if not has_validation and (recipe.schedule == "plateau" or recipe.stop_patience):
        follows = "schedule plateau" if recipe.schedule == "plateau" else "stop_patience"
        raise RecipeError(f"{follows} follows the validation loss, which is not there where all images train")


_TYPES = {f.name: f.type for f in fields(Recipe)}

LISTS = tuple(name for name, kind in _TYPES.items() if is_listed(kind))
"""Options whose values are lists."""


def _check_together(recipe: Recipe) -> None:
    def conflict(text: str) -> RecipeError:
        return RecipeError(f"conflicting options: {text}")

    if (recipe.schedule == "multi-step") != bool(recipe.milestones):
        raise conflict(f"milestones go with schedule multi-step; got {recipe.milestones} with {recipe.schedule}")
    if list(recipe.milestones) != sorted(set(recipe.milestones)):
        raise conflict(f"milestones must ascend but are {recipe.milestones}")
    if (recipe.schedule == "plateau") != (recipe.patience > 0):
        raise conflict(f"patience (1 or more) goes with schedule plateau; got {recipe.patience} with {recipe.schedule}")
    if recipe.cooldown and recipe.schedule != "plateau":
        raise conflict(f"cooldown goes with schedule plateau; got {recipe.cooldown} with {recipe.schedule}")
    if recipe.stop_patience and recipe.schedule in ("one-cycle", "cosine"):
        raise conflict(f"stop_patience would cut the annealing of schedule {recipe.schedule}; set it to 0")
    if recipe.stop_patience and recipe.restarts:
        raise conflict("stop_patience and restarts: a training that has stopped does not go on; set one of them to 0")
    restart = (recipe.restarts > 0, recipe.restart_epochs > 0, recipe.restart_rate > 0)
    if any(restart) and not all(restart):
        raise conflict(
            "restarts, restart_epochs and restart_rate go together; got "
            f"{recipe.restarts}, {recipe.restart_epochs} and {recipe.restart_rate:g}"
        )
    if recipe.distillation == "dkd" and (recipe.mixup or recipe.cutmix):
        raise conflict("distillation dkd needs one label an image; set mixup and cutmix to 0, or distillation=kd")
    if recipe.augmentation is not None and len(set(recipe.augmentation)) < len(recipe.augmentation):
        raise conflict(f"augmentation names one twice: {', '.join(recipe.augmentation)}")


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with other values. Raises RecipeError for names that it lacks."""
    _check_names(changes)
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in changes.items()}
    return replace(recipe, **values)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name not in _TYPES:
            raise RecipeError(f"a recipe has no {name!r}; it has {', '.join(_TYPES)}")


def parse_changes(assignments: Iterable[str]) -> dict[str, Any]:
    """Changes written as NAME=VALUE, lists with commas: `augmentation=crop,flip`, `milestones=0.5,0.75`; "none" is the
    empty list, "auto" what suits the data set. Raises RecipeError."""
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not text:
            raise RecipeError(f"changes of a recipe must be NAME=VALUE but got {assignment!r}")
        _check_names([name])
        if name in changes:
            raise RecipeError(f"{name} is changed twice; give it one value")
        changes[name] = _parse_value(name, text)
    return changes


def _parse_value(name: str, text: str) -> Any:
    hint = _TYPES[name]
    try:
        if name == "augmentation":
            return None if text == "auto" else _split(text)
        if name == "milestones":
            return tuple(float(part) for part in _split(text))
        return int(text) if hint is int else float(text) if hint is float else text
    except ValueError as error:
        raise RecipeError(f"{name} must be a {'whole ' if hint is int else ''}number but got {text!r}") from error


def _split(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(part.strip() for part in text.split(","))


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON values."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(recipe).items()}
