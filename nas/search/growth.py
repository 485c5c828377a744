"""Searches that are asked for more than before: what was told in the smaller one is kept."""

import shutil
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import replace

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.errors import RunError, SpaceError
from nas.machine.folders import WorkFolder
from nas.machine.options import differences
from nas.network.checked import ShapeError
from nas.search.journal import open_study, parse_study_name
from nas.search.judging.judge import Judge
from nas.search.notes import Predicted, leave_aside, noted_trial, read_notes
from nas.search.records import Record, read_records
from nas.search.sampling.proposals import distribution
from nas.search.search import BASELINES, Search
from nas.search.sharing.open import open_shared
from nas.search.sharing.shared import Shared
from nas.search.studies import open_studies
from nas.space.space import Space


def enter(folder: WorkFolder[Search], search: Search, space: Space, *, changed_space: bool) -> list[str]:
    """Claims the folder for the search, or finds there the same or one that it has grown from, and returns what is to
    be told of that. Raises RunError for any other, and while another process searches there."""
    before = folder.read() if folder.settings.exists() else None
    lacks_fingerprint = before is not None and not before.space_fingerprint  # an earlier version did not note it
    if before is not None and lacks_fingerprint:
        before = replace(before, space_fingerprint=search.space_fingerprint)
    if (
        before is None
        or (before == search and not lacks_fingerprint)
        or not _grew(before, search, changed_space=changed_space)
    ):
        folder.enter(search)
        return []
    with folder.lock("run", wait=False) as held:
        if not held:
            raise RunError(f"another search is running in {folder.path}; wait for it or give another --out")
        changes = dict.fromkeys(differences(before, search))
        told = [f"continues a smaller search, whose results are kept: {'; '.join(changes)}"] if changes else []
        with closing(open_shared(folder)) as shared:
            if any(getattr(before, name) != getattr(search, name) for name in _SPACE):
                told = ["the file of the space has changed since this search began"]
                told += _leave_aside(search, shared, space)
            if before.epochs != search.epochs:
                told += _tell_anew(before, search, folder, shared)
        folder.renew(search)
    return told


_SPACE = ("space_checksum", "space_fingerprint")
"""What tells that the space is no longer what it was."""


def _grew(before: Search, now: Search, *, changed_space: bool) -> bool:
    """Whether one search is another with more trials, epochs, budgets, strategies or baselines, on the same images
    wherever they lie now or, if that is said, in a space whose file has changed."""
    grows: tuple[Callable[[Search], Collection[object]], ...] = (
        lambda search: range(search.trials),
        lambda search: range(search.epochs),
        lambda search: search.budgets,
        lambda search: search.strategies,
        lambda search: search.baselines,
    )
    grow = ["dataset", "space", "trials", "budgets", "strategies", "baselines", "starts", "beginnings"]
    grow += _SPACE if changed_space else []
    if before.epochs != now.epochs and before.recipe.goes_on_alike:
        grow += ["epochs", "stop", "stop_threshold", "audit"]  # which rule stops follows from the epochs, if not asked
        now = replace(now, recipe=replace(now.recipe, epochs=before.epochs))
    return (
        replace(now, **{name: getattr(before, name) for name in grow}) == before
        and all(set(of(before)) <= set(of(now)) for of in grows)
        and all(before.starts_at(budget) == now.starts_at(budget) for budget in before.budgets)
    )


def _tell_anew(before: Search, search: Search, folder: WorkFolder[Search], shared: Shared) -> list[str]:
    """Tells every training that has ended once more: as stopped where it ended, with what is predicted of the epochs
    that the search has now, so that nothing measured after fewer is taken for what is measured after those."""
    studies = open_studies(before, folder, None, shared.storage)
    records = [record for record in read_records(before, studies) if record.is_finished and record.curve]
    judge = Judge(search, records)
    trials = {key: study.get_trials(deepcopy=False) for key, study in studies.items()}
    for record in records:
        key = record.strategy, record.budget
        studies[key].add_trial(_told_anew(trials[key][record.latest], record, judge))
    front, earlier = folder / "pareto.json", folder / f"pareto-{before.epochs}-epochs.json"
    if front.exists():
        shutil.copyfile(front, earlier)
    ended = {record.network for record in records if record.is_measured}
    lost = sum(not shared.weights.has(network) for network in ended)
    return [
        f"{len(ended)} networks came to epoch {before.epochs}, then the last: each counts as stopped there, with what "
        f"is predicted of {search.epochs}, and goes on "
        + ("in any case" if search.stop == "none" else "where that is worth it")
        + (f", {lost} of them from the beginning, since the weights of the front alone were kept" if lost else ""),
        f"what was measured after {before.epochs} epochs is no longer compared with what is measured now; that front "
        f"stays in {earlier.name}",
    ]


def _told_anew(trial: FrozenTrial, record: Record, judge: Judge) -> FrozenTrial:
    """What is to follow a trial that came to what the record shows."""
    noted, epochs = read_notes(trial), len(record.curve)
    prediction = judge.prediction(record, record.curve)
    rival = judge.best_rival(record)
    to_beat = judge.prediction(rival, rival.curve).mean if rival else 0.0
    chance = min(record.last_chance, prediction.chance_above(to_beat))
    predicted = Predicted(epochs, prediction.mean, prediction.scale, chance, prediction.power)
    trained_by = parse_study_name(noted.replayed.rpartition("/")[0])[0] if noted.replayed else None
    trains_itself = trained_by != record.strategy  # of what others train it is a rival from now
    return noted_trial(
        replace(
            noted,
            deaths=(),
            replayed="" if trains_itself else noted.replayed,
            curve=record.curve,
            continues=record.number,
            least_chance=None,
            stopped=epochs,
            predicted_loss=judge.last_loss(record, record.curve),
            predictions=(predicted,),
            audited=None,
            cut=record.is_measured or record.cut,
        ),
        state=TrialState.COMPLETE,
        value=min(max(prediction.mean, 0.0), 1.0),
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=trial.intermediate_values,
    )


def _leave_aside(search: Search, shared: Shared, space: Space) -> list[str]:
    """Notes on the studies the trials whose network the space no longer makes as it did, and tells which."""
    told = []
    for key in search.studies:
        if key[0] == BASELINES:
            continue
        study = open_study(shared.storage, *key)
        _check_options(study, space)
        others = [trial.number for trial in study.get_trials(deepcopy=False) if _is_another(trial, space)]
        if others:
            leave_aside(study, others)
            numbers = ", ".join(f"#{number}" for number in others)
            told.append(f"{key[0]} {numbers} of {key[1]:,} were of other networks and are left aside")
    return told or ["it makes every network as before"]


def _is_another(trial: FrozenTrial, space: Space) -> bool:
    known = read_notes(trial).network
    if not known:
        return False
    try:
        return space.identity(space.check(trial.params)) != known or set(trial.params) != set(space.defaults)
    except (SpaceError, ShapeError):
        return True


def _check_options(study: Study, space: Space) -> None:
    """Raises RunError where a knob has other options than in the trials of the study: Optuna takes none beside them."""
    for trial in study.get_trials(deepcopy=False):
        for knob in space.knobs:
            kind = trial.distributions.get(knob.name)
            if kind is not None and kind != distribution(knob):
                raise RunError(
                    f"knob {knob.name!r} has other options than in {study.study_name}, which cannot take them; begin "
                    "anew in another --out, with --warm-start of this run"
                )
