"""How networks are trained: plain data and arithmetic, free of torch."""

import math
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from nas.errors import RecipeError

MANY_IMAGES = 10_000
"""From here on: full steps and batches, more epochs, and a tenth of the images is enough to validate on."""

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

ONE_CYCLE_RISE = 0.3
"""Share of the steps over which a one-cycle rate rises (Smith & Topin 2018; torch's default)."""

ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1e-4 / 25
"""Shares of the peak at which a one-cycle rate starts and ends (torch's defaults)."""

PLATEAU_TOLERANCE = 1e-4
"""A loss is an improvement if it is lower by this share (torch's default)."""


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


def recipe_for(images: int) -> Recipe:
    """What a search uses for that many training images: smaller steps, batches and runs where there are few."""
    if images >= MANY_IMAGES:
        return Recipe()
    return Recipe(epochs=3, batch_size=64, learning_rate=0.05, warmup_steps=10)


_PLAIN = Recipe(
    optimiser="adam", learning_rate=1e-3, weight_decay=0.0, warmup_steps=0, average_share=0.0, augmentation=()
)
"""What a first script does: Adam with torch's defaults at a constant rate, no augmentation, the weights as they are."""

RECIPES: dict[str, Recipe] = {
    "search": Recipe(),
    "final": Recipe(
        epochs=40,
        batch_size=128,
        learning_rate=0.2,
        schedule="one-cycle",
        warmup_steps=0,
        average_share=0.0,
    ),
    "s0": replace(_PLAIN, epochs=15, batch_size=64, stop_patience=3),
    "s1": replace(_PLAIN, epochs=200),
    "s2": replace(_PLAIN, epochs=5, batch_size=64),
    "s2-tune": replace(_PLAIN, epochs=5, batch_size=64, optimiser="sgd", input_size=224),
    "s3": Recipe(
        epochs=100,
        optimiser="sgd",
        weight_decay=1e-4,
        schedule="plateau",
        patience=5,
        cooldown=2,
        warmup_steps=0,
        average_share=0.0,
        dropout=0.5,
        augmentation=("flip", "vertical-flip", "erasing", "randaugment"),
        restarts=1,
        restart_epochs=10,
        restart_rate=0.2,
    ),
    "s4": Recipe(
        epochs=164,
        optimiser="sgd",
        weight_decay=1e-4,
        schedule="multi-step",
        milestones=(0.5, 0.75),
        warmup_steps=0,
        average_share=0.0,
        augmentation=("crop", "flip"),
    ),
}
"""Named recipes. s0 to s4 are those of the five reports as far as these say them; where they are silent (s0: optimiser
and rate, s1: batch size), torch's defaults. s2-tune is S2's for pretrained models. s4 is that of He et al. (2015): rate
divided by 10 after 32,000 and 48,000 of 64,000 steps. `search` is `recipe_for` many images; `final` retrains
winners, where there are few images in smaller batches and steps (`named_recipe`).
"""


def named_recipe(name_or_path: str, images: int) -> Recipe:
    """A shipped recipe, or one of a .toml file: the fields of Recipe, and `extends`, the name of the recipe that they
    change ("search" unless said). Raises RecipeError for names, files and values that are not valid."""
    if name_or_path.endswith(".toml"):
        return _toml_recipe(Path(name_or_path), images)
    if name_or_path not in RECIPES:
        raise RecipeError(
            f"no recipe is named {name_or_path!r}; shipped are {', '.join(RECIPES)}; or give a .toml file"
        )
    if name_or_path == "search":
        return recipe_for(images)
    if name_or_path == "final" and images < MANY_IMAGES:
        return replace(RECIPES["final"], batch_size=32, learning_rate=0.1)
    return RECIPES[name_or_path]


def _toml_recipe(path: Path, images: int) -> Recipe:
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no TOML file: {error}") from error
    extended = content.pop("extends", "search")
    if not isinstance(extended, str) or extended.endswith(".toml"):
        raise RecipeError(f"{path}: extends must name a shipped recipe but is {extended!r:.80}")
    try:
        return changed(named_recipe(extended, images), content)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error


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


def learning_rate(recipe: Recipe, step: int, epoch_steps: int, losses: Sequence[float]) -> float:
    """Rate of a step, counted from 0 over the whole training; `losses` are the validation losses of the epochs before.

    Each restart begins the schedule anew, with its own length and highest rate.
    """
    begun, epochs, highest = 0, recipe.epochs, recipe.learning_rate
    while step >= (begun + epochs) * epoch_steps and recipe.restarts and begun + epochs < recipe.all_epochs:
        begun, epochs, highest = begun + epochs, recipe.restart_epochs, recipe.restart_rate
    within = step - begun * epoch_steps
    share = within / (epochs * epoch_steps)
    warmed = 1.0 if begun else min(1.0, (within + 1) / (recipe.warmup_steps + 1))
    return highest * warmed * _course(recipe, share, losses[begun:])


def _course(recipe: Recipe, share: float, losses: Sequence[float]) -> float:
    """Share of the highest rate after that share of the steps."""
    match recipe.schedule:
        case "constant":
            return 1.0
        case "multi-step":
            return float(recipe.factor ** sum(share >= milestone for milestone in recipe.milestones))
        case "plateau":
            return float(recipe.factor ** _falls(losses, recipe.patience, recipe.cooldown))
        case "cosine":
            return _cosine(1.0, 0.0, share)
        case "one-cycle":
            if share < ONE_CYCLE_RISE:
                return _cosine(ONE_CYCLE_START, 1.0, share / ONE_CYCLE_RISE)
            return _cosine(1.0, ONE_CYCLE_END, (share - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _falls(losses: Sequence[float], patience: int, cooldown: int) -> int:
    """How often torch's ReduceLROnPlateau would have lowered the rate after these losses."""
    best, bad, resting, falls = math.inf, 0, 0, 0
    for loss in losses:
        if loss < best * (1 - PLATEAU_TOLERANCE):
            best, bad = loss, 0
        else:
            bad += 1
        if resting > 0:
            resting, bad = resting - 1, 0
        if bad > patience:
            falls, bad, resting = falls + 1, 0, cooldown
    return falls


def gives_up(recipe: Recipe, losses: Sequence[float]) -> bool:
    """Whether the validation loss has not been lower for `stop_patience` epochs."""
    return recipe.stop_patience > 0 and len(losses) > best_epoch(losses) + recipe.stop_patience


def best_epoch(losses: Sequence[float]) -> int:
    """Index of the lowest loss, the first of equals; 0 where there is none yet."""
    return min(range(len(losses)), key=losses.__getitem__, default=0)


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON values."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(recipe).items()}
