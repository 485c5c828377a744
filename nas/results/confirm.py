"""The winners of a search trained in full with several seeds, beside scaled baselines, and then tested once.

RUN/confirmed/NAME-seedN/   a training each, as nas/training/training.py describes it
    confirmed.json          the result, rewritten after every step
"""

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from scipy import stats

from nas.data.load import SearchData
from nas.errors import RunError, UserError
from nas.machine.folders import WorkFolder, file_lock, write_atomically
from nas.machine.options import differences
from nas.machine.process import pick_device
from nas.network.serial import to_json
from nas.results.commands import confirm_command
from nas.results.racing import Candidate, Entrant, candidates, dropped
from nas.results.table import slug
from nas.search.journal import read_run
from nas.search.search import Search, arrays_file, run_folder
from nas.search.studies import load_data_of, space_of
from nas.training.recipe import Recipe, changed, recipe_values
from nas.training.several import train_all
from nas.training.training import Metrics, Training, is_finished, read_metrics, training_folder
from nas.training.worker import read_test, run_test

SCHEMA_VERSION = 1
CONFIDENCE = 0.95
FEWEST_SEEDS = 3


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean accuracy by Student's t over the seeds, within 0 to 1; None where they are fewer than
    three (of two it spans half of all accuracies) or equal to the last image."""
    if len(values) < FEWEST_SEEDS or len(set(values)) == 1:
        return None
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.mean(values)
    return max(0.0, float(mean - reach)), min(1.0, float(mean + reach))


@dataclass(frozen=True)
class Confirmation:
    """What is confirmed of a run, and how: everything that decides the result besides the run itself. `budgets` are
    some of the run's, none: all."""

    run: Path
    recipe: Recipe
    seeds: int
    top: int = 1
    front: bool = False
    baselines: bool = True
    budgets: tuple[int, ...] = ()

    @property
    def result(self) -> Path:
        """confirmed.json."""
        return self.run / "confirmed.json"

    def command(self, images: int) -> str:
        """The command that does this, of a search with that many training images."""
        return confirm_command(
            self.run,
            self.recipe,
            images,
            seeds=self.seeds,
            top=self.top,
            front=self.front,
            baselines=self.baselines,
            budgets=self.budgets,
        )

    def folder(self, candidate: Candidate, seed: int) -> WorkFolder[Training]:
        """Of one training."""
        return training_folder(self.run / "confirmed" / f"{slug(candidate.label)}-seed{seed}")


OnEpoch = Callable[[str, int, Metrics], None]


def confirm(
    confirmation: Confirmation, *, workers: int, device: str, on_epoch: OnEpoch | None = None
) -> dict[str, Any]:
    """Trains the winners of the run, seed after seed, drops who is clearly behind, then reads the test split once and
    returns what confirmed.json holds. The same call goes on where another ended, and reads the test split again only
    for networks that it has not been read for.

    Raises RunError for a run without measured networks or with trainings of other settings, UserError for values out of
    range, DataError for a data set that has changed.
    """
    if confirmation.seeds < 1 or confirmation.top < 1:
        raise UserError(f"seeds and top must be at least 1 but got {confirmation.seeds} and {confirmation.top}")
    folder = run_folder(confirmation.run)
    search, records = read_run(folder)
    if unknown := [budget for budget in confirmation.budgets if budget not in search.budgets]:
        raise UserError(
            f"{confirmation.run} has not searched within {', '.join(f'{b:,}' for b in unknown)}; its budgets are "
            f"{', '.join(f'{b:,}' for b in search.budgets)}"
        )
    if arrays_file(folder).exists():
        raise RunError(
            f"{confirmation.run} searched arrays given from Python, which have no test split; save them as a .npz file "
            "with x_train, y_train, x_test and y_test, and search that"
        )
    if confirmation.recipe.augmentation is None:
        confirmation = replace(confirmation, recipe=replace(confirmation.recipe, augmentation=search.augmentation))
    _check_recipe(confirmation)
    data = load_data_of(search, folder)
    if data.checksum != search.data_checksum:
        raise RunError(f"data set {search.dataset} is not what {confirmation.run} searched; restore it")
    space = space_of(search, data.shape, data.classes)
    chosen = candidates(
        search,
        records,
        space,
        confirmation.budgets or search.budgets,
        top=confirmation.top,
        front=confirmation.front,
        baselines=confirmation.baselines,
    )
    with file_lock(confirmation.run / "confirm.lock", wait=False) as held:
        if not held:
            raise RunError(f"another process is confirming {confirmation.run}; wait for it")
        command = confirmation.command(len(data.train.labels))
        entrants = [Entrant(candidate) for candidate in chosen]
        for seed in range(confirmation.seeds):
            entrants = _round(confirmation, search, entrants, seed, workers, device, on_epoch)
            entrants = dropped(entrants, len(data.validation.labels), front=confirmation.front)
            _write(confirmation, search, entrants, command)
        entrants = [_with_earlier_seeds(confirmation, entrant) for entrant in entrants]
        entrants = _tested(confirmation, search, entrants, command, data, device)
        return _write(confirmation, search, entrants, command)


def _check_recipe(confirmation: Confirmation) -> None:
    stored = read_confirmed(confirmation.run)
    if stored and (found := differences(changed(Recipe(), stored["recipe"]), confirmation.recipe)):
        raise RunError(
            f"{confirmation.run} was confirmed with another recipe: {'; '.join(found)}. Repeat its own command, or "
            "confirm a copy of the run."
        )


def _with_earlier_seeds(confirmation: Confirmation, entrant: Entrant) -> Entrant:
    """With the seeds that an earlier call trained beyond those of this one: what was measured stays in the mean."""
    found = dict(entrant.trainings)
    for seed in count(confirmation.seeds):
        folder = confirmation.folder(entrant.candidate, seed)
        if not is_finished(folder):
            return replace(entrant, trainings=found)
        found[seed] = read_metrics(folder)
    raise AssertionError("seeds without end")


def _round(
    confirmation: Confirmation,
    search: Search,
    entrants: Sequence[Entrant],
    seed: int,
    workers: int,
    device: str,
    on_epoch: OnEpoch | None,
) -> list[Entrant]:
    """Trains everybody who is still in the race with one more seed."""
    racing = {confirmation.folder(e.candidate, seed).path: e for e in entrants if not e.dropped and not e.failures}
    folders = []
    for path, entrant in racing.items():
        folder = training_folder(path)
        folder.enter(_training(search, entrant.candidate, confirmation.recipe, search.seed + seed))
        folders.append(folder)

    def show(folder: WorkFolder[Training], metrics: Metrics) -> None:
        if on_epoch:
            on_epoch(racing[folder.path].candidate.label, seed, metrics)

    failures = train_all(folders, workers=workers, device=device, on_epoch=show)
    result = []
    for entrant in entrants:
        path = confirmation.folder(entrant.candidate, seed).path
        if path not in racing:
            result.append(entrant)
        elif path in failures:
            result.append(replace(entrant, failures=(*entrant.failures, failures[path].reason)))
        else:
            metrics = read_metrics(training_folder(path))
            result.append(replace(entrant, trainings=entrant.trainings | {seed: metrics}))
    return result


def _training(search: Search, candidate: Candidate, recipe: Recipe, seed: int) -> Training:
    return Training(
        model=candidate.label,
        network=to_json(candidate.network),
        dataset=search.dataset,
        data_checksum=search.data_checksum,
        image_size=search.image_size,
        validation_share=search.validation_share,
        images=None,
        recipe=recipe,
        seed=seed,
    )


def _tested(
    confirmation: Confirmation,
    search: Search,
    entrants: Sequence[Entrant],
    command: str,
    data: SearchData,
    device: str,
) -> list[Entrant]:
    """Reads the test split, once for all networks that were not tested before; those that were dropped are not. The
    reading is counted before a network is judged."""
    waiting = [
        confirmation.folder(entrant.candidate, seed)
        for entrant in entrants
        if not entrant.dropped
        for seed, metrics in entrant.trainings.items()
        if metrics.test_accuracy is None
    ]
    if waiting:
        first = waiting[0].read()
        test = read_test(first, data)
        _write(confirmation, search, entrants, command, reads=_reads(confirmation) + 1)
        for folder in waiting:
            run_test(folder, pick_device(device, 0), test)
    return [
        replace(
            entrant,
            trainings={seed: read_metrics(confirmation.folder(entrant.candidate, seed)) for seed in entrant.trainings},
        )
        for entrant in entrants
    ]


def _reads(confirmation: Confirmation) -> int:
    stored = read_confirmed(confirmation.run)
    return int(stored["test_reads"]) if stored else 0


def read_confirmed(run: Path) -> dict[str, Any] | None:
    """What confirmed.json of a run holds, None where there is none. Raises RunError if it cannot be read."""
    file = run / "confirmed.json"
    try:
        content: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        raise RunError(f"{file} is no confirmed.json of schema version {SCHEMA_VERSION}")
    return content


def _write(
    confirmation: Confirmation, search: Search, entrants: Sequence[Entrant], command: str, reads: int | None = None
) -> dict[str, Any]:
    """What an earlier call confirmed besides stays."""
    earlier = read_confirmed(confirmation.run) or {"commands": [], "networks": [], "seeds": 0}
    ours = {entrant.candidate.fingerprint for entrant in entrants}
    content = {
        "schema_version": SCHEMA_VERSION,
        "dataset": search.dataset,
        "recipe": recipe_values(confirmation.recipe),
        "commands": list(dict.fromkeys([*earlier["commands"], command])),
        "seeds": max(confirmation.seeds, earlier["seeds"]),
        "test_reads": _reads(confirmation) if reads is None else reads,
        "networks": [
            *(_entry(confirmation, entrant) for entrant in entrants),
            *(entry for entry in earlier["networks"] if entry["network"] not in ours),
        ],
    }
    write_atomically(confirmation.result, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return content


def _entry(confirmation: Confirmation, entrant: Entrant) -> dict[str, Any]:
    candidate = entrant.candidate
    tests = [metrics.test_accuracy for metrics in entrant.trainings.values() if metrics.test_accuracy is not None]
    best = max(entrant.trainings, key=lambda seed: entrant.trainings[seed].accuracy, default=None)
    return {
        "label": candidate.label,
        "kind": candidate.kind,
        "budget": candidate.budgets[0],
        "budgets": list(candidate.budgets),
        "parameters": candidate.parameters,
        "macs": candidate.macs,
        "searched": candidate.searched,
        "network": candidate.fingerprint,
        "layers": to_json(candidate.network),
        "validation": _summary(entrant.validation),
        "test": _summary(tests),
        "gap": statistics.mean(entrant.validation) - statistics.mean(tests) if tests else None,
        "epochs": confirmation.recipe.all_epochs,
        "dropped": entrant.dropped or None,
        "failures": list(entrant.failures),
        "best": None if best is None else str(confirmation.folder(candidate, best).path.relative_to(confirmation.run)),
    }


def _summary(values: Sequence[float]) -> dict[str, Any] | None:
    """Mean, standard deviation, 95 % interval of the mean, n and the values; None for no value."""
    if not values:
        return None
    low_high = interval(values)
    return {
        "mean": statistics.mean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
        "low": low_high[0] if low_high else None,
        "high": low_high[1] if low_high else None,
        "n": len(values),
        "values": list(values),
    }
