"""What a search stands for: its data, its space, its studies, and the scaled designs that it is to beat, which are
trained beside the strategies as a study of their own."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas.data.load import SearchData, check_still_there, load_search_data
from nas.errors import RunError, SpaceError
from nas.machine.folders import WorkFolder
from nas.machine.options import differences
from nas.network.folds import Cost, ShapeError, cost
from nas.network.layers import Layer, Shape
from nas.network.serial import fingerprint
from nas.search.journal import RunStorage, open_storage, open_study, study_to_read
from nas.search.notes import leave_aside, read_notes
from nas.search.records import Record
from nas.search.sampling.listed import ListedSampler
from nas.search.sampling.proposals import distribution
from nas.search.search import BASELINES, Search, arrays_file
from nas.search.sharing.open import open_shared
from nas.search.strategies import STRATEGIES
from nas.seeds import derive_seed
from nas.space.budget import Budget
from nas.space.designs import DESIGNS, scaled
from nas.space.files import find_space, load_architecture
from nas.space.space import Knob, Knobs, Space, bind


def load_data_of(search: Search, folder: WorkFolder[Search]) -> SearchData:
    """Training and validation split of a search."""
    dataset = str(arrays_file(folder)) if arrays_file(folder).exists() else search.dataset
    check_still_there(dataset)
    return load_search_data(
        dataset,
        seed=search.seed,
        validation_share=search.validation_share,
        image_size=search.image_size,
        progress=False,
    )


def space_of(search: Search, shape: Shape, classes: int) -> Space:
    """The search space. Raises SpaceError if its file is gone or bad."""
    return bind(load_architecture(find_space(search.space)[0], search.space_class), shape, classes)


@dataclass(frozen=True)
class BaselineSpace:
    """The baselines at one budget as a space of one knob, so that they are trained as any other trial is."""

    names: tuple[str, ...]
    budget: Budget
    shape: Shape
    classes: int

    @cached_property
    def knobs(self) -> tuple[Knob, ...]:
        """Which baseline."""
        return (Knob("network", self.names, "choice"),)

    def network(self, knobs: Knobs) -> Layer:
        """The scaled network. Raises SpaceError for one that was not among the baselines."""
        if knobs.get("network") not in self.names:
            raise SpaceError(f"the baselines are {', '.join(self.names)}; {dict(knobs)} is none of them")
        network = scaled(str(knobs["network"]), self.budget, self.shape, self.classes)
        assert network is not None
        return network

    def cost(self, knobs: Knobs) -> Cost:
        """Parameters and multiply-adds of the scaled network."""
        return cost(self.network(knobs), self.shape)

    def identity(self, knobs: Knobs) -> str:
        """The fingerprint of the scaled network."""
        return fingerprint(self.network(knobs), self.shape)


def feasible_baselines(budgets: Iterable[Budget], shape: Shape, classes: int) -> tuple[str, ...]:
    """Names of the baselines that have a network within every one of the budgets."""
    return tuple(name for name in DESIGNS if all(scaled(name, budget, shape, classes) for budget in budgets))


def studied(search: Search, space: Space, strategy: str, budget: int) -> Space | BaselineSpace:
    """What a study's trials are networks of: the search space, or the baselines at that budget."""
    if strategy != BASELINES:
        return space
    return BaselineSpace(search.baselines, search.budget(budget), space.shape, space.classes)


def open_studies(
    search: Search, folder: WorkFolder[Search], space: Space | None, storage: RunStorage | None = None
) -> dict[tuple[str, int], Study]:
    """Every study of the search with its sampler; without one where the space is not known. Without a storage they are
    those of the journal in the folder, to be read."""
    samplers = {key: _sampler(search, space, *key) if space else None for key in search.studies}
    if storage is not None:
        return {key: open_study(storage, *key, sampler) for key, sampler in samplers.items()}
    journal = open_storage(folder)
    return {key: study_to_read(journal, *key, sampler) for key, sampler in samplers.items()}


def _sampler(search: Search, space: Space, strategy: str, budget: int) -> BaseSampler:
    if strategy == BASELINES:
        return ListedSampler(studied(search, space, strategy, budget).knobs[0])
    seed = derive_seed(search.seed, strategy, budget)
    return STRATEGIES[strategy](
        space, search.budget(budget), seed=seed, below=search.below, starts=search.starts_at(budget)
    )


def rebuilt(record: Record, space: Space | BaselineSpace) -> Layer:
    """The network of a trial, from its knobs. Raises SpaceError where the space makes another network of them today:
    its file, or a shipped block, has changed since the search."""
    network = space.network(record.knobs)
    if (known := fingerprint(network, space.shape)) != record.network:
        raise SpaceError(
            f"the space makes another network of the knobs of {record.strategy} #{record.number} than it did in the "
            f"search (fingerprint {known}, then {record.network}): its file or nas has changed; restore it, or search "
            "again"
        )
    return network


def enter(folder: WorkFolder[Search], search: Search, space: Space, *, changed_space: bool) -> list[str]:
    """Claims the folder for the search, or finds there the same or one that it has grown from, and returns what is to
    be told of that. Raises RunError for any other, and while another process searches there."""
    before = folder.read() if folder.settings.exists() else None
    if before is None or before == search or not _grew(before, search, changed_space=changed_space):
        folder.enter(search)
        return []
    with folder.lock("run", wait=False) as held:
        if not held:
            raise RunError(f"another search is running in {folder.path}; wait for it or give another --out")
        told = [f"continues a smaller search, whose results are kept: {'; '.join(differences(before, search))}"]
        if before.space_checksum != search.space_checksum:
            told = ["the file of the space has changed since this search began", *_leave_aside(search, folder, space)]
        folder.renew(search)
    return told


def _grew(before: Search, now: Search, *, changed_space: bool) -> bool:
    """Whether one search is another with more trials, budgets, strategies or baselines, on the same images wherever
    they lie now or, if that is said, in a space whose file has changed. What was told stays comparable then."""
    grows: tuple[Callable[[Search], Collection[object]], ...] = (
        lambda search: range(search.trials),
        lambda search: search.budgets,
        lambda search: search.strategies,
        lambda search: search.baselines,
    )
    grow = ("dataset", "space", "trials", "budgets", "strategies", "baselines", "starts")
    same = {name: getattr(before, name) for name in grow}
    same |= {"space_checksum": before.space_checksum} if changed_space else {}
    return (
        replace(now, **same) == before
        and all(set(of(before)) <= set(of(now)) for of in grows)
        and all(before.starts_at(budget) == now.starts_at(budget) for budget in before.budgets)
    )


def _leave_aside(search: Search, folder: WorkFolder[Search], space: Space) -> list[str]:
    """Notes on the studies the trials whose network the space no longer makes as it did, and tells which."""
    told = []
    shared = open_shared(folder)
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
    shared.close()
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
