"""The commands that made what a report or a card tells of, every setting written out."""

import shlex
from pathlib import Path
from typing import Any

from nas.data.load import ARRAYS
from nas.search.search import Search
from nas.space.named import is_known
from nas.training.recipe import Recipe, recipe_values
from nas.training.recipes import named_recipe
from nas.training.training import Training


def search_command(search: Search, out: Path | None = None, seeds: int = 1) -> str:
    """The command of a search, or of several with seeds from the plan's on, every setting written out. The folder of a
    warm start is not known, nor are arrays given from Python: RUN, ARRAYS."""
    settings = {
        "dataset": "ARRAYS" if search.dataset == ARRAYS else search.dataset,
        "image-size": search.image_size,
        "validation-share": search.validation_share,
        "augment": _listed(search.augmentation),
        "space": search.space,
        "budget": _listed(search.budgets),
        "max-macs": search.max_macs,
        "strategies": _listed(search.strategies),
        "trials": search.trials,
        "epochs": search.epochs,
        "below": search.below,
        "stop": search.stop,
        "stop-threshold": search.stop_threshold,
        "audit": search.audit if search.stop != "none" else None,
        "warm-start": "RUN" if search.starts else None,
        "seed": search.seed,
        "seeds": seeds if seeds > 1 else None,
        "out": out,
    }
    return shlex.join(["nas", "search", *_flags(settings), "--baselines" if search.baselines else "--no-baselines"])


def confirm_command(
    run: Path,
    recipe: Recipe,
    images: int,
    *,
    seeds: int,
    top: int,
    front: bool,
    baselines: bool,
    budgets: tuple[int, ...],
) -> str:
    """The command of a confirmation with a recipe for that many training images."""
    changes = _changes(recipe_values(named_recipe("final", images)), recipe_values(recipe))
    which = ["--front"] if front else ["--top", str(top)]
    which += ["--budget", _listed(budgets)] if budgets else []
    own = [*which, "--baselines" if baselines else "--no-baselines", "--seeds", str(seeds)]
    return shlex.join(["nas", "confirm", str(run), *own, *changes])


def training_command(search: Training, images: int) -> str:
    """The command of a training on that many images, every setting written out. Where the plan does not tell, it has
    RUN for the run folder of a network that a search found, NETWORK for a network of one's own space."""
    settings = {
        "dataset": search.dataset,
        "image-size": search.image_size,
        "validation-share": search.validation_share,
        "images": search.images,
        "seed": search.seed,
        "recipe": "search",
    }
    base = recipe_values(named_recipe("search", images))
    values = recipe_values(search.recipe)
    return shlex.join(["nas", "train", *_model(shlex.split(search.model)), *_flags(settings), *_changes(base, values)])


def _model(label: list[str]) -> list[str]:
    if label[0] == "found":
        return ["RUN", "--select", label[1]]
    return label if is_known(label[0]) else ["NETWORK"]


def export_command(source: Path, budget: int | None = None) -> str:
    """The command of an export."""
    return shlex.join(["nas", "export", str(source), *_flags({"budget": budget, "to": "DIR"})])


def _changes(base: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """--set with the values of a recipe that are not those of the base."""
    changes = [f"{key}={_setting(value)}" for key, value in values.items() if value != base[key]]
    return ["--set", *changes] if changes else []


def _flags(settings: dict[str, Any]) -> list[str]:
    return [word for name, value in settings.items() if value is not None for word in (f"--{name}", str(value))]


def _listed(values: tuple[Any, ...]) -> str:
    return ",".join(map(str, values)) or "none"


def _setting(value: Any) -> str:
    if value is None:
        return "auto"
    return _listed(tuple(value)) if isinstance(value, list) else str(value)
