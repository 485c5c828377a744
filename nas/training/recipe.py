"""How a network is trained, as plain data: recipes.py names some, schedule.py says what they do to the rate."""

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from nas.errors import RecipeError

Optimiser = Literal["nesterov", "sgd", "adam", "adamw"]
Schedule = Literal["constant", "multi-step", "plateau", "one-cycle", "cosine"]
AUGMENTATIONS = (
    "crop",
    "flip",
    "vertical-flip",
    "cutout",
    "erasing",
    "randaugment",
    "colour-jitter",
    "grayscale",
)


def _one_of(choices: Any, meaning: str) -> dict[str, Any]:
    return {"choices": get_args(choices), "meaning": meaning}


def _within(
    low: float, high: float, meaning: str, *, open_low: bool = False, open_high: bool = False
) -> dict[str, Any]:
    return {"range": (low, high, open_low, open_high), "meaning": meaning}


def _positive(meaning: str) -> dict[str, Any]:
    return _within(0, math.inf, meaning, open_low=True, open_high=True)


def _count(least: int, meaning: str) -> dict[str, Any]:
    return _within(least, math.inf, meaning, open_high=True)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Raises RecipeError for values that are out of range or contradict each other.

    The defaults are what a search uses on many images: SGD with Nesterov momentum at a constant rate after a linear
    warm-up, judged by an exponential moving average of the weights. That rate does not depend on the number of epochs,
    so the curves of two trials, or of a short and a long run, share their beginnings and can be compared. The average
    looks back over a fixed share of the steps so far, which anneals without a schedule.
    """

    epochs: int = field(default=12, metadata=_count(1, "passes over the training split"))
    batch_size: int = field(default=128, metadata=_count(1, "images a step"))
    optimiser: Optimiser = field(default="nesterov", metadata=_one_of(Optimiser, "rule of the steps"))
    learning_rate: float = field(default=0.1, metadata=_positive("rate, the highest of its schedule"))
    momentum: float = field(
        default=0.9, metadata=_within(0, 1, "momentum of SGD, first moment of Adam", open_high=True)
    )
    weight_decay: float = field(
        default=5e-4, metadata=_within(0, math.inf, "decay of the weights; biases and norms have none", open_high=True)
    )
    schedule: Schedule = field(default="constant", metadata=_one_of(Schedule, "course of the rate"))
    warmup_steps: int = field(default=100, metadata=_count(0, "steps over which the rate rises linearly"))
    milestones: tuple[float, ...] = field(
        default=(), metadata=_within(0, 1, "multi-step: shares of the epochs after which the rate falls", open_low=True)
    )
    factor: float = field(
        default=0.1, metadata=_within(0, 1, "multi-step, plateau: by what the rate falls", open_low=True)
    )
    patience: int = field(default=0, metadata=_count(0, "plateau: epochs without a lower validation loss"))
    cooldown: int = field(default=0, metadata=_count(0, "plateau: epochs after a fall that are not counted"))
    average_share: float = field(
        default=0.1, metadata=_within(0, 1, "share of the steps so far over which weights are averaged; 0: not at all")
    )
    label_smoothing: float = field(
        default=0.0, metadata=_within(0, 1, "share of the target that goes to all classes", open_high=True)
    )
    dropout: float = field(default=0.0, metadata=_within(0, 1, "dropout before the last linear layer", open_high=True))
    augmentation: tuple[str, ...] | None = field(
        default=None, metadata={"choices": AUGMENTATIONS, "meaning": "augmentations; unset: what suits the data set"}
    )
    mixup: float = field(default=0.0, metadata=_within(0, math.inf, "alpha of mixup; 0: none", open_high=True))
    cutmix: float = field(default=0.0, metadata=_within(0, math.inf, "alpha of cutmix; 0: none", open_high=True))
    stop_patience: int = field(
        default=0, metadata=_count(0, "stop after so many epochs without a lower validation loss, keep the best; 0: no")
    )
    restarts: int = field(default=0, metadata=_count(0, "times that training goes on at another rate"))
    restart_epochs: int = field(default=0, metadata=_count(0, "epochs of each restart"))
    restart_rate: float = field(default=0.0, metadata=_within(0, math.inf, "learning rate of restarts", open_high=True))
    input_size: int = field(default=0, metadata=_count(0, "side to which batches are resized, in pixels; 0: not"))

    def __post_init__(self) -> None:
        for described in fields(self):
            _check_field(described.name, getattr(self, described.name), described.metadata)
        _check_together(self)

    @property
    def all_epochs(self) -> int:
        """Epochs with those of the restarts."""
        return self.epochs + self.restarts * self.restart_epochs


def _hint(name: str) -> Any:
    return next(f.type for f in fields(Recipe) if f.name == name)


LISTS = ("milestones", "augmentation")


def _check_field(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    if value is None and name == "augmentation":
        return
    if isinstance(value, tuple) != (name in LISTS):
        raise RecipeError(f"{name} must be {'a list' if name in LISTS else 'one value'} but got {value!r:.80}")
    for one in value if isinstance(value, tuple) else (value,):
        if "choices" in metadata and one not in metadata["choices"]:
            raise RecipeError(f"{name} must be of {', '.join(metadata['choices'])} but got {one!r:.80}")
        if "range" in metadata:
            low, high, open_low, open_high = metadata["range"]
            _check_range(name, one, low, high, open_low, open_high, _hint(name) is int)


def _check_range(name: str, value: Any, low: float, high: float, open_low: bool, open_high: bool, whole: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise RecipeError(f"{name} must be a {'whole ' if whole else ''}number but got {value!r:.80}")
    if not abs(value) <= sys.float_info.max:  # true of nan, inf and whole numbers beyond any float
        raise RecipeError(f"{name} must be a finite number but got {value!r:.80}")
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (above and below):
        bounds = f"{'above' if open_low else 'at least'} {low:g}"
        if math.isfinite(high):
            bounds += f" and {'below' if open_high else 'at most'} {high:g}"
        raise RecipeError(f"{name} must be {bounds} but got {value!r}")


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
    if recipe.augmentation is not None and len(set(recipe.augmentation)) < len(recipe.augmentation):
        raise conflict(f"augmentation names one twice: {', '.join(recipe.augmentation)}")


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with other values. Raises RecipeError for names that it lacks."""
    names = [f.name for f in fields(Recipe)]
    for name in changes:
        if name not in names:
            raise RecipeError(f"a recipe has no {name!r}; it has {', '.join(names)}")
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in changes.items()}
    return replace(recipe, **values)


def parse_changes(assignments: Iterable[str]) -> dict[str, Any]:
    """Changes written as NAME=VALUE, lists with commas: `augmentation=crop,flip`, `milestones=0.5,0.75`; "none" is the
    empty list, "auto" what suits the data set. Raises RecipeError."""
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not text:
            raise RecipeError(f"changes of a recipe must be NAME=VALUE but got {assignment!r}")
        if name not in {f.name for f in fields(Recipe)}:
            changed(Recipe(), {name: text})
        if name in changes:
            raise RecipeError(f"{name} is changed twice; give it one value")
        changes[name] = _parse_value(name, text)
    return changes


def _parse_value(name: str, text: str) -> Any:
    hint = _hint(name)
    try:
        if name == "augmentation":
            return None if text == "auto" else _split(text)
        if name == "milestones":
            return tuple(float(part) for part in _split(text))
        return hint(text) if hint in (int, float) else text
    except ValueError as error:
        raise RecipeError(f"{name} must be a {'whole ' if hint is int else ''}number but got {text!r}") from error


def _split(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(part.strip() for part in text.split(","))


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON values."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(recipe).items()}
