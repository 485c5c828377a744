"""The winners of a search trained in full with several seeds, beside scaled baselines, and then tested once.

RUN/confirmed/NAME-seedN/   a training each, as nas/training/training.py describes it
    confirmed.json          the result, rewritten after every step
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from nas.data.load import SearchData
from nas.errors import RunError, UserError
from nas.machine.folders import WorkFolder, file_lock
from nas.machine.options import differences
from nas.machine.process import default_workers, pick_device
from nas.network.serial import to_json
from nas.results.confirming.confirmed import Confirmation, read_confirmed, reads_of_test, write_confirmed
from nas.results.confirming.racing import Candidate, Entrant, candidates, dropped
from nas.results.options import ConfirmOptions
from nas.results.trainings import OnEpoch
from nas.search.records import read_run
from nas.search.search import Search, arrays_file, run_folder
from nas.search.studies import load_data_of, space_of
from nas.training.recipe import Recipe, changed
from nas.training.several import train_all
from nas.training.training import Metrics, Training, is_finished, read_metrics, training_folder
from nas.training.worker import read_test, run_test


def confirm(asked: ConfirmOptions, on_epoch: OnEpoch | None = None) -> dict[str, Any]:
    """Trains the winners of the run, seed after seed, drops who is clearly behind, then reads the test split once and
    returns what confirmed.json holds. The same call goes on where another ended, and reads the test split again only
    for networks that it has not been read for.

    Raises RunError for a run without measured networks or with trainings of other settings, UserError for values out of
    range, DataError for a data set that has changed.
    """
    folder = run_folder(asked.run)
    search, records = read_run(folder)
    budgets = _budgets(asked, search)
    if arrays_file(folder).exists():
        raise RunError(
            f"{asked.run} searched arrays given from Python, which have no test split; save them as a .npz file "
            "with x_train, y_train, x_test and y_test, and search that"
        )
    data = load_data_of(search, folder)
    if data.checksum != search.data_checksum:
        raise RunError(f"data set {search.dataset} is not what {asked.run} searched; restore it")
    recipe = asked.decided(len(data.train.labels))
    if recipe.augmentation is None:
        recipe = replace(recipe, augmentation=search.augmentation)
    confirmation = Confirmation(asked, search, recipe)
    _check_recipe(confirmation)
    space = space_of(search, data.shape, data.classes)
    chosen = candidates(search, records, space, budgets, top=asked.top, front=asked.front, baselines=asked.baselines)
    with file_lock(confirmation.run / "confirm.lock", wait=False) as held:
        if not held:
            raise RunError(f"another process is confirming {asked.run}; wait for it")
        return _raced(confirmation, [Entrant(candidate) for candidate in chosen], data, on_epoch)


def _budgets(asked: ConfirmOptions, search: Search) -> tuple[int, ...]:
    """The budgets of the search that are asked for. Raises UserError for others."""
    budgets = asked.budget if isinstance(asked.budget, tuple) else ()
    if unknown := [budget for budget in budgets if budget not in search.budgets]:
        raise UserError(
            f"{asked.run} has not searched within {', '.join(f'{b:,}' for b in unknown)}; its budgets are "
            f"{', '.join(f'{b:,}' for b in search.budgets)}"
        )
    return budgets or search.budgets


def _raced(
    confirmation: Confirmation, entrants: list[Entrant], data: SearchData, on_epoch: OnEpoch | None
) -> dict[str, Any]:
    command = confirmation.command(len(data.train.labels))
    for seed in range(confirmation.asked.seeds):
        entrants = _round(confirmation, entrants, seed, on_epoch)
        entrants = dropped(entrants, len(data.validation.labels), front=confirmation.asked.front)
        write_confirmed(confirmation, entrants, command)
    entrants = [_with_earlier_seeds(confirmation, entrant) for entrant in entrants]
    entrants = _tested(confirmation, entrants, command, data)
    return write_confirmed(confirmation, entrants, command)


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
    for seed in count(confirmation.asked.seeds):
        folder = confirmation.folder(entrant.candidate, seed)
        if not is_finished(folder):
            return replace(entrant, trainings=found)
        found[seed] = read_metrics(folder)
    raise AssertionError("seeds without end")


def _round(
    confirmation: Confirmation, entrants: Sequence[Entrant], seed: int, on_epoch: OnEpoch | None
) -> list[Entrant]:
    """Trains everybody who is still in the race with one more seed."""
    racing = {confirmation.folder(e.candidate, seed).path: e for e in entrants if not e.dropped and not e.failures}
    folders = []
    for path, entrant in racing.items():
        folder = training_folder(path)
        folder.enter(_training(confirmation, entrant.candidate, seed))
        folders.append(folder)

    def show(folder: WorkFolder[Training], metrics: Metrics) -> None:
        if on_epoch:
            label = f"{racing[folder.path].candidate.label}, seed {seed}"
            on_epoch(label, metrics, confirmation.recipe.all_epochs)

    workers = confirmation.asked.workers or default_workers(confirmation.asked.device)
    failures = train_all(folders, workers=workers, device=confirmation.asked.device, on_epoch=show)
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


def _training(confirmation: Confirmation, candidate: Candidate, seed: int) -> Training:
    search = confirmation.search
    return Training(
        model=candidate.label,
        network=to_json(candidate.network),
        dataset=search.dataset,
        data_checksum=search.data_checksum,
        image_size=search.image_size,
        validation_share=search.validation_share,
        images=None,
        recipe=confirmation.recipe,
        seed=search.seed + seed,
    )


def _tested(confirmation: Confirmation, entrants: Sequence[Entrant], command: str, data: SearchData) -> list[Entrant]:
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
        write_confirmed(confirmation, entrants, command, reads=reads_of_test(confirmation) + 1)
        for folder in waiting:
            run_test(folder, pick_device(confirmation.asked.device, 0), test)
    return [
        replace(
            entrant,
            trainings={seed: read_metrics(confirmation.folder(entrant.candidate, seed)) for seed in entrant.trainings},
        )
        for entrant in entrants
    ]
