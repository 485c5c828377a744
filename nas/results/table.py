"""Several trainings side by side, a line for each network and recipe, a seed a training (`nas table`).

DIR/NAME-seedN/     a training folder each, as nas/training/training.py describes it
"""

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nas.data.load import check_apart
from nas.errors import RunError, UserError
from nas.machine.folders import WorkFolder, check_no_work, slug
from nas.machine.options import described
from nas.machine.process import default_workers
from nas.results.entries import Entry, check_entries, entries, read_ladder
from nas.results.networks import is_stored
from nas.results.options import TableOptions
from nas.results.trainings import Clock, OnEpoch, decided, load, test, with_data
from nas.results.words import with_spread
from nas.search.search import Search, run_folder
from nas.search.sharing.address import read_address
from nas.search.sharing.mirror import at_hand
from nas.search.workers.trainers import trainers_of
from nas.space.models import MODELS
from nas.training.distillation.teacher import teachers_in_words
from nas.training.several import Trainers
from nas.training.training import Metrics, Training, is_finished, read_metrics, training_folder


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
        known = MODELS.get(self.trainings[0].model) if self.trainings else None
        return known.published_accuracy if known and known.dataset == Path(self.dataset).stem else None

    @property
    def teacher(self) -> str:
        """Who taught the trainings, in words; empty where nobody did."""
        return teachers_in_words(metrics.teacher for metrics in self.trainings)

    def mean(self, name: str) -> float | None:
        """Mean over the seeds, None where no training has the value."""
        values = [getattr(metrics, name) for metrics in self.trainings]
        return None if not values or None in values else statistics.mean(values)

    def deviation(self, name: str) -> float | None:
        """Standard deviation over the seeds, None for fewer than two."""
        values = [getattr(metrics, name) for metrics in self.trainings]
        return None if len(values) < 2 or None in values else statistics.stdev(values)


MEASURES = ("lowest_loss", "last_loss", "accuracy", "test_accuracy", "seconds")


def table(asked: TableOptions, on_epoch: OnEpoch | None = None) -> list[Line]:
    """Trains several networks, or one in several ways, `workers` at a time, and returns a line for each, folders of
    finished trainings first. With `test` the test split is read in the end, once.

    Raises UserError for what cannot be done, before anything is trained.
    """
    models = to_train(asked)
    lines = load_lines(Path(model) for model in asked.models if model not in models)
    if lines and not models and not asked.ladder:
        _check_nothing_to_train(asked)
        return lines
    return lines + _trained(asked, models, on_epoch)


def to_train(asked: TableOptions) -> list[str]:
    """The models that are asked for, those aside that are folders of trainings, which are shown as they are."""
    return [model for model in asked.models if not (is_stored(model) and _holds_trainings(Path(model)))]


def _holds_trainings(path: Path) -> bool:
    return path.is_dir() and not (path / "pareto.json").exists()


def _check_nothing_to_train(asked: TableOptions) -> None:
    """Complains of options that would change nothing, where trainings are only shown."""
    idle = [
        f"--{(about.flag or name).replace('_', '-')}"
        for name, (described_field, about) in described(asked).items()
        if not about.positional and getattr(asked, name) != described_field.default
    ]
    if idle:
        names = ", ".join(idle)
        raise UserError(f"{names}: finished trainings are only shown; name a model to train as well, or leave it out")


def check_asked(asked: TableOptions, models: Sequence[str]) -> None:
    """Raises UserError where models and options contradict each other."""
    if asked.ladder and (models or asked.vary):
        raise UserError("--ladder names its models and changes itself; leave out models and --vary")
    if asked.ladder and asked.recipe != TableOptions().recipe:
        raise UserError(f"--ladder names its recipe itself; leave out --recipe {asked.recipe}")
    if not asked.ladder and not models:
        raise UserError("name at least one model, training folder, or --ladder FILE; `nas models` lists the models")


def _trained(asked: TableOptions, models: Sequence[str], on_epoch: OnEpoch | None) -> list[Line]:
    check_asked(asked, models)
    lent = None if asked.on is None else _lent(asked.on)
    asked = with_data(asked, models)
    groups = _begun(asked if lent is None else _on_its_data(asked, lent.read()), models)
    labels = {folder.path: entry.label for entry, folders in groups for folder in folders}

    every = [folder for _, folders in groups for folder in folders]
    epochs = {folder.path: folder.read().recipe.all_epochs for folder in every}
    clock = Clock(epochs)

    def show(folder: WorkFolder[Training], metrics: Metrics) -> None:
        if on_epoch:
            label, left = labels[folder.path], clock.left(folder, metrics)
            on_epoch(f"[{left}] {label}" if left else label, metrics, epochs[folder.path])

    workers = min(default_workers(asked.device) if asked.workers is None else asked.workers, len(every))
    own = trainers_of(lent, workers, asked.device, asked.patience) if lent else Trainers(workers, asked.device)
    with own as trainers:
        failures = trainers.train(every, show)
    if asked.test:
        test([folder for folder in every if folder.path not in failures], asked.device)
    return [
        Line(
            entry.label,
            tuple(read_metrics(folder) for folder in folders if folder.path not in failures),
            tuple(failures[folder.path].reason for folder in folders if folder.path in failures),
            entry.varied,
            folders[0].read().dataset,
        )
        for entry, folders in groups
    ]


def _lent(run: str | Path) -> WorkFolder[Search]:
    """The run whose machines train. Raises UserError where it has none but one."""
    folder = run_folder(at_hand(run))
    if read_address(folder) is None:
        raise UserError(f"{run} is a run of one machine; --on takes one with --storage, or leave it out")
    return folder


def _on_its_data(asked: TableOptions, search: Search) -> TableOptions:
    """The options with the data set of a run, which its machines have. Raises UserError where another is asked for."""
    asked = replace(asked, dataset=asked.dataset or search.dataset)
    as_there = replace(asked, image_size=search.image_size, images=None)
    if load(as_there, asked.seed).checksum != search.data_checksum:
        raise UserError(f"{asked.dataset} is not the data set of {asked.on}, which its machines have; leave out one")
    return asked


def _begun(asked: TableOptions, models: Sequence[str]) -> list[tuple[Entry, list[WorkFolder[Training]]]]:
    """Every line and the folders of its trainings, a seed each. All are checked before the settings of the first are
    written."""
    begun: list[tuple[WorkFolder[Training], Training]] = []
    groups: list[tuple[Entry, list[WorkFolder[Training]]]] = []
    check_no_work(Path(asked.out), "--out")
    check_apart(Path(asked.out), asked.dataset or "", "--out")
    for seed in range(asked.seed, asked.seed + asked.seeds):
        data = load(asked, seed)
        found = _entries(asked, models, len(data.train.images))
        groups = groups or [(entry, []) for entry in found]
        for (entry, folders), own in zip(groups, found, strict=True):
            training = decided(asked, own.model, own.knobs, own.recipe, data, seed)
            folder = training_folder(Path(asked.out) / f"{slug(entry.label)}-seed{seed}")
            begun.append((folder, training))
            folders.append(folder)
    for folder, training in begun:
        folder.enter(training)
    return groups


def _entries(asked: TableOptions, models: Sequence[str], images: int) -> list[Entry]:
    if asked.ladder:
        found = read_ladder(Path(asked.ladder), images, asked.all_changes)
    else:
        found = entries(models, asked.decided(images), asked.vary)
    check_entries(found)
    return found


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
    content["teacher"] = line.teacher or None
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
        *(with_spread(line.mean(loss), line.deviation(loss), 3, scale=1) for loss in ("lowest_loss", "last_loss")),
        *(with_spread(line.mean(share), line.deviation(share)) for share in ("accuracy", "test_accuracy")),
        with_spread(found["published_accuracy"], None),
        f"{found['seconds']:,.0f} s",
    ]
    if line.teacher:
        cells[0] += f". {line.teacher}"
    if line.failures:
        cells[0] += f" ({len(line.failures)} of {len(line.failures) + len(line.trainings)} failed)"
    return cells


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
            known = seen.setdefault(json.dumps(training.to_json()), inner)
            if known.resolve() == inner.resolve() and known is not inner:
                raise RunError(f"{inner} is asked for twice; leave one out")
            if known is not inner:
                raise RunError(f"{known} and {inner} hold the same training with the same seed; leave one out")
            key = json.dumps(replace(training, seed=0).to_json())
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
