"""What the lines of a table are to train: models with one recipe, a sweep over its values, or a ladder of changes."""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.errors import RecipeError, UserError
from nas.machine.folders import slug
from nas.training.recipe import LISTS, Recipe, changed, parse_changes
from nas.training.recipes import named_recipe, read_toml


@dataclass(frozen=True)
class Entry:
    """What one line of a table is to train: the model as it is called, the knobs of its space, and a recipe.

    `varied` are the values by which the line differs from others of a sweep.
    """

    label: str
    model: str
    knobs: tuple[str, ...]
    recipe: Recipe
    varied: Mapping[str, str] = field(default_factory=dict, hash=False)


def entries(models: Sequence[str], recipe: Recipe, vary: Sequence[str]) -> list[Entry]:
    """Every model ("cifar_resnet blocks=9 norm=False") with every combination of the values in `vary`
    ("dropout=0,0.15"; lists inside a value with plus signs, "augmentation=none,crop+flip")."""
    sweeps = [_sweep(text) for text in vary]
    found = []
    for model in models:
        name, *knobs = _words(model)
        for combination in itertools.product(*sweeps):
            varied = {assignment.partition("=")[0]: assignment.partition("=")[2] for assignment in combination}
            changes = parse_changes(_listed(assignment) for assignment in combination)
            label = " ".join((model, *combination))
            found.append(Entry(label, name, tuple(knobs), changed(recipe, changes), varied))
    return found


def read_ladder(path: Path, images: int, overrides: Mapping[str, Any]) -> list[Entry]:
    """The steps of a ladder file, each of which keeps the changes of those before it.

        model = "torchvision:resnet18"      # until a step names another
        recipe = "s2"
        [[step]]
        label = "stochastic gradient descent"
        changes = { optimiser = "sgd", learning_rate = 0.1 }

    `overrides` are changes of every step's recipe, applied last. Raises RecipeError for files that are not like this.
    """
    content = read_toml(path)
    _expect_keys(path, content, {"model", "recipe", "step"})
    if not isinstance(content["step"], list) or not content["step"]:
        raise RecipeError(f"{path} needs at least one [[step]]")
    model, recipe, found = str(content["model"]), named_recipe(str(content["recipe"]), images), []
    for number, step in enumerate(content["step"], start=1):
        where = f"{path}, step {number}"
        _expect_keys(where, step, {"label"}, {"model", "changes"})
        model, changes = str(step.get("model", model)), step.get("changes", {})
        if not isinstance(changes, dict):
            raise RecipeError(f'{where}: changes must be a table like {{ optimiser = "sgd" }} but is {changes!r:.80}')
        name, *knobs = _words(model)
        try:
            recipe = changed(recipe, changes)
            found.append(Entry(str(step["label"]), name, tuple(knobs), changed(recipe, overrides)))
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from error
    return found


def check_entries(found: Sequence[Entry]) -> None:
    """Raises UserError where two lines are the same or would share a folder."""
    lines: dict[str, str] = {}
    for entry in found:
        name = slug(entry.label)
        if lines.get(name) == entry.label:
            raise UserError(f"{entry.label!r} is asked for twice; leave one out")
        if name in lines:
            raise UserError(f"{lines[name]!r} and {entry.label!r} would share the folder {name}; change a label")
        lines[name] = entry.label


def _listed(assignment: str) -> str:
    """A value of a sweep as --set takes it: only lists have plus signs in the place of commas."""
    return assignment.replace("+", ",") if assignment.partition("=")[0] in LISTS else assignment


def _words(model: str) -> list[str]:
    """Name and knobs; a path may have spaces in it."""
    if not model.strip():
        raise UserError("a model must have a name but got ''; `nas models` lists the models")
    if Path(model).exists():
        return [model]
    try:
        return shlex.split(model)
    except ValueError as error:
        raise UserError(f"a model is a name and knobs, as a shell reads them, but got {model!r}: {error}") from error


def _sweep(text: str) -> list[str]:
    name, equals, values = text.partition("=")
    if not equals or not all(values.split(",")):
        raise RecipeError(f"--vary must be NAME=VALUE,VALUE but got {text!r}")
    return [f"{name}={value}" for value in values.split(",")]


def _expect_keys(where: object, content: Any, needed: set[str], allowed: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    keys = set(content) if isinstance(content, dict) else set()
    if missing := needed - keys:
        raise RecipeError(f"{where} needs {', '.join(sorted(missing))}")
    if unknown := keys - needed - allowed:
        raise RecipeError(
            f"{where}: unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(needed | allowed))}"
        )
