"""Several trainings side by side: models with one recipe, a sweep over its values, or a ladder of changes.

DIR/NAME-seedN/     a training folder each, as nas/training/training.py describes it
"""

import hashlib
import itertools
import json
import re
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nas.errors import RecipeError, RunError, UserError
from nas.machine.folders import WorkFolder
from nas.space.named import published
from nas.training.recipe import LISTS, Recipe, changed, parse_changes
from nas.training.recipes import named_recipe, read_toml
from nas.training.training import Metrics, Training, is_finished, read_metrics, training_folder


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


def _expect_keys(where: object, content: Any, needed: set[str], allowed: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    keys = set(content) if isinstance(content, dict) else set()
    if missing := needed - keys:
        raise RecipeError(f"{where} needs {', '.join(sorted(missing))}")
    if unknown := keys - needed - allowed:
        raise RecipeError(
            f"{where}: unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(needed | allowed))}"
        )


def slug(text: str) -> str:
    """The text as a file name that people can read; long ones end in a hash."""
    name = re.sub(r"[^A-Za-z0-9.=-]+", "-", text).strip("-")
    return name if len(name) <= 80 else f"{name[:70]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Line:
    """One line of a table: the trainings of an entry on a data set, one a seed. `failures` are the reasons of those
    that failed."""

    label: str
    trainings: tuple[Metrics, ...]
    failures: tuple[str, ...] = ()
    varied: Mapping[str, str] = field(default_factory=dict, hash=False)
    dataset: str = ""

    @property
    def published_accuracy(self) -> float | None:
        """What was reported for the model, if it was for this data set."""
        known = published(self.trainings[0].model) if self.trainings else None
        return known.published_accuracy if known and known.dataset == Path(self.dataset).stem else None

    def mean(self, name: str) -> float | None:
        """Mean over the seeds, None where no training has the value."""
        values = [getattr(metrics, name) for metrics in self.trainings]
        return None if not values or None in values else statistics.mean(values)

    def deviation(self, name: str) -> float | None:
        """Standard deviation over the seeds, None for fewer than two."""
        values = [getattr(metrics, name) for metrics in self.trainings]
        return None if len(values) < 2 or None in values else statistics.stdev(values)


MEASURES = ("lowest_loss", "last_loss", "accuracy", "test_accuracy", "seconds")


def line_values(line: Line) -> dict[str, Any]:
    """The line as JSON values: sizes; of each measure the mean over the seeds and, from two on, its deviation."""
    first = line.trainings[0] if line.trainings else None
    content: dict[str, Any] = {
        "label": line.label,
        "model": first.model if first else None,
        **dict(line.varied),
        "n": len(line.trainings),
        "parameters": first.parameters if first else None,
        "megabytes": round(first.megabytes, 4) if first else None,
        "macs": first.macs if first else None,
        "epochs": [len(metrics.epochs) for metrics in line.trainings],
    }
    for name in MEASURES:
        content[name] = line.mean(name)
        content[f"{name}_deviation"] = line.deviation(name)
    content["published_accuracy"] = line.published_accuracy
    content["failures"] = list(line.failures)
    return content


COLUMNS = ("model", "n", "parameters", "MB", "multiply-adds", "epochs", "lowest loss", "last loss", "validation",
           "test", "published", "time")  # fmt: skip


def line_cells(line: Line) -> list[str]:
    """The line as text, a cell a column of COLUMNS."""
    found = line_values(line)
    if not line.trainings:
        return [line.label, *[""] * (len(COLUMNS) - 2), f"failed: {line.failures[0]}"]
    epochs = sorted(set(found["epochs"]))
    cells = [
        line.label,
        f"{found['n']}",
        f"{found['parameters']:,}",
        f"{found['megabytes']:.3g}",
        f"{found['macs']:,}",
        f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]}–{epochs[-1]}",
        _number(line, "lowest_loss", "{:.3f}", 1),
        _number(line, "last_loss", "{:.3f}", 1),
        _number(line, "accuracy", "{:.2f}", 100),
        _number(line, "test_accuracy", "{:.2f}", 100),
        "" if found["published_accuracy"] is None else f"{100 * found['published_accuracy']:.2f}",
        f"{found['seconds']:,.0f} s",
    ]
    if line.failures:
        cells[0] += f" ({len(line.failures)} of {len(line.failures) + len(line.trainings)} failed)"
    return cells


def _number(line: Line, name: str, pattern: str, scale: float) -> str:
    mean, deviation = line.mean(name), line.deviation(name)
    if mean is None:
        return ""
    return pattern.format(scale * mean) + ("" if deviation is None else " ± " + pattern.format(scale * deviation))


def markdown(lines: Iterable[Line]) -> str:
    """The table as Markdown. Accuracies are per cent."""
    rows = [COLUMNS, ("---", *["--:"] * (len(COLUMNS) - 1)), *map(line_cells, lines)]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in rows)


def load_lines(folders: Iterable[Path]) -> list[Line]:
    """The trainings found in the folders, or in folders directly inside, as lines; those that differ in their seed only
    make one line. A training that has not finished counts as failed. Raises RunError for a folder that holds none, and
    for a training found twice: the same folder, or one of equal settings and seed, which would count as two."""
    groups: dict[str, list[WorkFolder[Training]]] = {}
    seen: dict[str, Path] = {}
    for path in folders:
        own = [path] if (path / "settings.json").is_file() else sorted(p.parent for p in path.glob("*/settings.json"))
        if not own:
            raise RunError(f"{path} holds no training; name a folder of `nas train` or `nas table`")
        for inner in own:
            folder = training_folder(inner)
            training = folder.read()
            known = seen.setdefault(json.dumps(asdict(training)), inner)
            if known.resolve() == inner.resolve() and known is not inner:
                raise RunError(f"{inner} is asked for twice; leave one out")
            if known is not inner:
                raise RunError(f"{known} and {inner} hold the same training with the same seed; leave one out")
            key = json.dumps(asdict(replace(training, seed=0)))
            groups.setdefault(key, []).append(folder)
    return [_loaded_line(group) for group in groups.values()]


def _loaded_line(folders: Sequence[WorkFolder[Training]]) -> Line:
    finished = [folder for folder in folders if is_finished(folder)]
    return Line(
        re.sub(r"-seed\d+$", "", folders[0].path.resolve().name),
        tuple(read_metrics(folder) for folder in finished),
        tuple(f"{folder.path} has not finished" for folder in folders if folder not in finished),
        dataset=folders[0].read().dataset,
    )


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
