"""The recipes that have names, and those in files."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.data import MANY_IMAGES
from nas.errors import RecipeError
from nas.training.recipe import Recipe, changed


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


def read_toml(path: Path) -> dict[str, Any]:
    """Content of the file. Raises RecipeError where it cannot be read or is no TOML."""
    try:
        return tomllib.loads(path.read_text())
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
