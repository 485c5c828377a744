"""The recipes that have names, and those in files."""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.data import MANY_IMAGES
from nas.errors import RecipeError
from nas.training.recipe import Recipe, changed


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe that comes with nas, what it is in a line, and what it is where there are fewer than `MANY_IMAGES`
    training images, if that differs: smaller steps, batches and runs."""

    meaning: str
    recipe: Recipe
    few: Recipe | None = None

    def for_images(self, images: int) -> Recipe:
        """The recipe for that many training images."""
        return self.few if self.few and images < MANY_IMAGES else self.recipe


_PLAIN = Recipe(
    optimiser="adam", learning_rate=1e-3, weight_decay=0.0, warmup_steps=0, average_share=0.0, augmentation=()
)
"""What a first script does: Adam with torch's defaults at a constant rate, no augmentation, the weights as they are."""

_SGD = Recipe(optimiser="sgd", weight_decay=1e-4, warmup_steps=0, average_share=0.0)

_FINAL = Recipe(
    epochs=40,
    optimiser="muon",
    learning_rate=0.2,
    decay_growth=0.6,
    schedule="one-cycle",
    warmup_steps=0,
    average_share=0.0,
)

RECIPES: dict[str, NamedRecipe] = {
    "search": NamedRecipe(
        "what a search trains with: a constant rate and averaged weights",
        Recipe(),
        few=Recipe(epochs=3, batch_size=64, learning_rate=0.05, warmup_steps=10),
    ),
    "final": NamedRecipe(
        "retrains winners: one cycle of 40 epochs", _FINAL, few=replace(_FINAL, batch_size=32, learning_rate=0.1)
    ),
    "s0": NamedRecipe(
        "plain Adam, stopped when the validation loss stops falling",
        replace(_PLAIN, epochs=15, batch_size=64, stop_patience=3),
    ),
    "s1": NamedRecipe("plain Adam for long", replace(_PLAIN, epochs=200)),
    "s2": NamedRecipe("plain Adam for five epochs", replace(_PLAIN, epochs=5, batch_size=64)),
    "s2-tune": NamedRecipe(
        "fine-tunes pretrained models on enlarged images",
        replace(_PLAIN, epochs=5, batch_size=64, optimiser="sgd", input_size=224),
    ),
    "s3": NamedRecipe(
        "SGD whose rate falls on plateaus, heavy augmentation, one restart",
        replace(
            _SGD,
            epochs=100,
            schedule="plateau",
            patience=5,
            cooldown=2,
            dropout=0.5,
            augmentation=("flip", "vertical-flip", "erasing", "randaugment"),
            restarts=1,
            restart_epochs=10,
            restart_rate=0.2,
        ),
    ),
    "s4": NamedRecipe(
        "that of ResNets for CIFAR (He et al. 2015): SGD whose rate falls twice",
        replace(_SGD, epochs=164, schedule="multi-step", milestones=(0.5, 0.75), augmentation=("crop", "flip")),
    ),
}
"""Recipes by name. s0 to s4 are those of the five reports as far as these say them; where they are silent (s0:
optimiser and rate, s1: batch size), torch's defaults. The rate of s4 is divided by 10 after 32,000 and 48,000 of 64,000
steps."""


def recipe_for(images: int) -> Recipe:
    """What a search uses for that many training images."""
    return RECIPES["search"].for_images(images)


def named_recipe(name_or_path: str, images: int) -> Recipe:
    """A shipped recipe, or one of a .toml file: the fields of Recipe, and `extends`, the name of the recipe that they
    change ("search" unless said). Raises RecipeError for names, files and values that are not valid."""
    if name_or_path.endswith(".toml"):
        return _toml_recipe(Path(name_or_path), images)
    if name_or_path not in RECIPES:
        raise RecipeError(
            f"no recipe is named {name_or_path!r}; shipped are {', '.join(RECIPES)}; or give a .toml file"
        )
    return RECIPES[name_or_path].for_images(images)


def read_toml(path: Path) -> dict[str, Any]:
    """Content of the file. Raises RecipeError where it cannot be read or is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no TOML file: {error}") from error


def _toml_recipe(path: Path, images: int) -> Recipe:
    content = read_toml(path)
    extended = content.pop("extends", "search")
    if not isinstance(extended, str) or extended.endswith(".toml"):
        raise RecipeError(f"{path}: extends must name a shipped recipe but is {extended!r:.80}")
    try:
        return changed(named_recipe(extended, images), content)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error
