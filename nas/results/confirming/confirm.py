"""The shortlist of a search raced, its winner trained in full beside the space's default and tested once.

Who is chosen by some trainings looks better in them than it is. So the race chooses by trainings of its own, and the
margin over the default is that of other seeds, which nobody was chosen by.

RUN/confirmed/NAME-raceN/   a training of the race each, as nas/training/training.py describes it
              NAME-seedN/   a training after the race each
              NAME-allN/    a training on all training images each, after everything is chosen
    confirmed.json          the result, rewritten after every step
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count, takewhile
from typing import Any

from nas.data.load import SearchData
from nas.errors import RunError, UserError
from nas.machine.folders import WorkFolder, file_lock
from nas.machine.options import differences
from nas.machine.process import default_workers, pick_device
from nas.network.serial import to_json
from nas.results.confirming.candidates import Candidate, candidates
from nas.results.confirming.confirmed import Confirmation, Stage, exported_folder, reads_of_test, write_confirmed
from nas.results.confirming.content import read_confirmed
from nas.results.confirming.racing import Entrant, best, decided, dropped, racers
from nas.results.confirming.teaching import teaching
from nas.results.export.int8.judging import int8_judge
from nas.results.moved import move_data
from nas.results.options import ConfirmOptions
from nas.results.trainings import Clock, OnEpoch
from nas.search.records import read_run
from nas.search.search import Search, arrays_file, run_folder
from nas.search.sharing.mirror import at_hand
from nas.search.studies import load_data_of, space_of
from nas.search.workers.trainers import SharedTrainers, trainers_of
from nas.seeds import derive_seed
from nas.training.distillation.teaching import teacher_in
from nas.training.recipe import Recipe, changed, check_followed, check_teaching, untaught
from nas.training.several import Trainers
from nas.training.training import Metrics, Training, is_finished, read_metrics, training_folder
from nas.training.worker import read_test, run_test

RACE_SEEDS = 2
"""Trainings of each network in the race; docs/confirm.md has the figures by which it was chosen."""

BASELINE_SEEDS = 2
"""Trainings of a baseline at most."""

STAGES: dict[Stage, str] = {"race": "race", "seed": "after the race", "all": "on all images"}

Work = tuple[Candidate, Stage, int]
"""A training to be done: of whom, in which stage, with which seed."""


def confirm(asked: ConfirmOptions, on_epoch: OnEpoch | None = None) -> dict[str, Any]:
    """Trains the winners of the run, seed after seed, drops who is clearly behind, then reads the test split once and
    returns what confirmed.json holds. The same call goes on where another ended, and reads the test split again only
    for networks that it has not been read for.

    Raises RunError for a run without measured networks or with trainings of other settings, UserError for values out of
    range, DataError for a data set that has changed.
    """
    asked = replace(asked, run=at_hand(asked.run))
    folder = run_folder(asked.run)
    if arrays_file(folder).exists():
        raise RunError(
            f"{asked.run} searched arrays given from Python, which have no test split; save them as a .npz file "
            "with x_train, y_train, x_test and y_test, and search that"
        )
    if asked.dataset:
        move_data(folder.path, asked.dataset)
    search, records = read_run(folder)
    budgets = _budgets(asked, search)
    data = load_data_of(search, folder)
    recipe = asked.decided(len(data.train.labels))
    if recipe.augmentation is None:
        recipe = replace(recipe, augmentation=search.augmentation)
    teacher = teaching(asked, search)
    check_teaching(recipe, is_taught=teacher is not None)
    check_followed(recipe, has_validation=not asked.all_images)
    if teacher and teacher.budget:
        budgets = _besides(budgets, teacher.budget, asked)
    confirmation = Confirmation(asked, search, recipe, teacher)
    _check_recipe(confirmation)
    space = space_of(search, folder, data.shape, data.classes)
    chosen = candidates(search, records, space, budgets, top=asked.top, front=asked.front, baselines=asked.baselines)
    with file_lock(confirmation.run / "confirm.lock", wait=False) as held:
        if not held:
            raise RunError(f"another process is confirming {asked.run}; wait for it")
        return _raced(confirmation, [_known(confirmation, candidate) for candidate in chosen], data, on_epoch)


def _budgets(asked: ConfirmOptions, search: Search) -> tuple[int, ...]:
    """The budgets of the search that are asked for. Raises UserError for others."""
    budgets = asked.budget if isinstance(asked.budget, tuple) else ()
    if unknown := [budget for budget in budgets if budget not in search.budgets]:
        raise UserError(
            f"{asked.run} has not searched within {', '.join(f'{b:,}' for b in unknown)}; its budgets are "
            f"{', '.join(f'{b:,}' for b in search.budgets)}"
        )
    return budgets or search.budgets


def _besides(budgets: tuple[int, ...], taught_by: int, asked: ConfirmOptions) -> tuple[int, ...]:
    """The budgets whose networks the teacher teaches. Raises UserError where its own is asked for, or no other is."""
    others = tuple(budget for budget in budgets if budget != taught_by)
    if not others or (asked.budget and others != budgets):
        raise UserError(f"the best network within {taught_by:,} is the teacher; give --budget others for it to teach")
    return others


def _raced(
    confirmation: Confirmation, entrants: list[Entrant], data: SearchData, on_epoch: OnEpoch | None
) -> dict[str, Any]:
    asked, command = confirmation.asked, confirmation.command(len(data.train.labels))
    after = len(entrants) * asked.seeds
    workers = default_workers(asked.device) if asked.workers is None else asked.workers
    with trainers_of(run_folder(confirmation.run), min(workers, after), asked.device, asked.patience) as trainers:
        for seed in range(RACE_SEEDS):
            works: list[Work] = [(entrant.candidate, "race", seed) for entrant in racers(entrants)]
            entrants = _trained(confirmation, entrants, works, trainers, on_epoch)
            entrants = dropped(entrants, len(data.validation.labels), front=asked.front)
            write_confirmed(confirmation, entrants, command)
        if not asked.front:
            entrants = decided(entrants, confirmation.search.budgets)
        works = [(e.candidate, "seed", seed) for seed in range(asked.seeds) for e in entrants if _goes_on(e, seed)]
        entrants = _trained(confirmation, entrants, works, trainers, on_epoch)
        if asked.all_images:
            works = [(e.candidate, "all", seed) for seed in range(asked.seeds) for e in _chosen(confirmation, entrants)]
            entrants = _trained(confirmation, entrants, works, trainers, on_epoch)
    entrants = _tested(confirmation, entrants, command, data)
    return write_confirmed(confirmation, entrants, command)


def _chosen(confirmation: Confirmation, entrants: Sequence[Entrant]) -> list[Entrant]:
    """The best network of each budget, each once."""
    found = [best(entrants, budget) for budget in _budgets(confirmation.asked, confirmation.search)]
    return list({e.candidate.fingerprint: e for e in found if e}.values())


def _goes_on(entrant: Entrant, seed: int) -> bool:
    """Whether it is trained with that seed after the race."""
    is_baseline = entrant.candidate.kind == "baseline"
    return not entrant.dropped and (seed < BASELINE_SEEDS or not is_baseline)


def _check_recipe(confirmation: Confirmation) -> None:
    stored = read_confirmed(confirmation.run)
    earlier = changed(Recipe(), stored["recipe"]) if stored else confirmation.recipe
    if found := differences(untaught(earlier), untaught(confirmation.recipe)):
        raise RunError(
            f"{confirmation.run} was confirmed with another recipe: {'; '.join(found)}. Repeat its own command, or "
            "confirm a copy of the run."
        )


def _known(confirmation: Confirmation, candidate: Candidate) -> Entrant:
    """The candidate with what an earlier call trained after the race: what was measured stays in the mean, also where
    fewer seeds are asked for now."""
    return Entrant(
        candidate, trainings=_done(confirmation, candidate, "seed"), whole=_done(confirmation, candidate, "all")
    )


def _done(confirmation: Confirmation, candidate: Candidate, stage: Stage) -> dict[int, Metrics]:
    """The finished trainings of a stage by seed, up to the first seed that has none."""
    folders = ((seed, confirmation.folder(candidate, seed, stage)) for seed in count())
    return {seed: read_metrics(folder) for seed, folder in takewhile(lambda each: is_finished(each[1]), folders)}


def _trained(
    confirmation: Confirmation,
    entrants: Sequence[Entrant],
    works: Sequence[Work],
    trainers: Trainers | SharedTrainers,
    on_epoch: OnEpoch | None,
) -> list[Entrant]:
    """The entrants with all those trainings, or with the reasons for which they failed."""
    begun = {
        confirmation.folder(candidate, seed, stage).path: (candidate, stage, seed) for candidate, stage, seed in works
    }
    for path, work in begun.items():
        training_folder(path).enter(_training(confirmation, *work))
    places = {path: f"{place} of {len(begun)}" for place, path in enumerate(begun, start=1)}
    clock = Clock(dict.fromkeys(begun, confirmation.recipe.all_epochs))

    def show(folder: WorkFolder[Training], metrics: Metrics) -> None:
        if on_epoch:
            candidate, stage, seed = begun[folder.path]
            left = clock.left(folder, metrics)
            where = ", ".join(filter(None, (STAGES[stage], places[folder.path], left)))
            which = f"{where}: {candidate.label}, seed {seed}"
            on_epoch(which, metrics, confirmation.recipe.all_epochs)

    failures = trainers.train(list(map(training_folder, begun)), show)
    result = {entrant.candidate.fingerprint: entrant for entrant in entrants}
    for path, (candidate, stage, seed) in begun.items():
        entrant = result[candidate.fingerprint]
        result[candidate.fingerprint] = (
            _failed(entrant, stage, failures[path].reason)
            if path in failures
            else _with_training(entrant, stage, seed, read_metrics(training_folder(path)))
        )
    return list(result.values())


def _with_training(entrant: Entrant, stage: Stage, seed: int, metrics: Metrics) -> Entrant:
    if stage == "race":
        return replace(entrant, race=entrant.race | {seed: metrics})
    if stage == "all":
        return replace(entrant, whole=entrant.whole | {seed: metrics})
    return replace(entrant, trainings=entrant.trainings | {seed: metrics})


def _failed(entrant: Entrant, stage: Stage, reason: str) -> Entrant:
    """Who failed in the race is out of it; a default goes on as the default."""
    failed = replace(entrant, failures=(*entrant.failures, reason))
    if stage != "race":
        return failed
    if entrant.candidate.default_of:
        return replace(failed, candidate=replace(entrant.candidate, raced=()))
    return replace(failed, dropped="failed in the race")


def _training(confirmation: Confirmation, candidate: Candidate, stage: Stage, seed: int) -> Training:
    """With a seed that decides training and validation split and that the search has not used."""
    search = confirmation.search
    training = Training(
        model=candidate.label,
        network=to_json(candidate.network),
        dataset=search.dataset,
        data_checksum=search.data_checksum,
        image_size=search.image_size,
        validation_share=search.validation_share,
        images=None,
        recipe=confirmation.recipe,
        seed=derive_seed(search.seed, "confirm", stage, seed),
        all_images=stage == "all",
    )
    teacher = confirmation.teacher
    return replace(training, teacher=teacher_in(teacher.folder, training)) if teacher else training


def _tested(confirmation: Confirmation, entrants: Sequence[Entrant], command: str, data: SearchData) -> list[Entrant]:
    """Reads the test split, once for all networks that were not tested before; those that were dropped are not. The
    reading is counted before a network is judged; the best of each budget is judged in int8 too, first, so that
    nothing is left of it where all are tested. What can be done without the split is done before it is read."""
    kept = [entrant for entrant in entrants if not entrant.dropped]
    waiting = [
        *(confirmation.folder(e.candidate, seed) for e in kept for seed in _untested(e.trainings)),
        *(confirmation.folder(e.candidate, seed, "all") for e in kept for seed in _untested(e.whole)),
    ]
    if waiting:
        deployed = [exported_folder(confirmation, entrant) for entrant in _chosen(confirmation, kept)]
        judges = [int8_judge(folder) for folder in deployed if folder]
        test = read_test(waiting[0].read(), data)
        write_confirmed(confirmation, entrants, command, reads=reads_of_test(confirmation) + 1)
        for judge in judges:
            judge(test)
        for folder in waiting:
            run_test(folder, pick_device(confirmation.asked.device, 0), test)
    return [_read_anew(confirmation, entrant) for entrant in entrants]


def _untested(trainings: Mapping[int, Metrics]) -> list[int]:
    return [seed for seed, metrics in trainings.items() if metrics.test_accuracy is None]


def _read_anew(confirmation: Confirmation, entrant: Entrant) -> Entrant:
    def read(stage: Stage, seeds: Iterable[int]) -> dict[int, Metrics]:
        return {seed: read_metrics(confirmation.folder(entrant.candidate, seed, stage)) for seed in seeds}

    return replace(entrant, trainings=read("seed", entrant.trainings), whole=read("all", entrant.whole))
