"""What a search stands for: its data, its space, its studies, and the scaled designs that it is to beat, which are
trained beside the strategies as a study of their own."""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from optuna.samplers import BaseSampler
from optuna.study import Study

from nas.data.load import ARRAYS, SearchData, check_still_there, load_search_data
from nas.errors import DataError, RunError, SpaceError, UserError
from nas.machine.folders import WorkFolder, readable, write_atomically, write_bytes_atomically
from nas.network.folds import Cost, cost, depth
from nas.network.layers import Layer, Shape
from nas.network.serial import fingerprint
from nas.search.journal import RunStorage, open_storage, open_study, study_to_read
from nas.search.notes import Notes
from nas.search.records import Record
from nas.search.sampling.listed import ListedSampler
from nas.search.sampling.proposals import Proposal
from nas.search.search import BASELINES, Search, arguments_file, arrays_file, data_place
from nas.search.sharing.address import hidden
from nas.search.strategies import STRATEGIES
from nas.seeds import derive_seed
from nas.space.budget import Budget, beside
from nas.space.designs import DESIGNS, scaled
from nas.space.files import arguments_here, find_space, load_architecture, space_checksum, space_fingerprint
from nas.space.space import Knob, Knobs, Space, Value, bind
from nas.stored import parsed, stored


def load_data_of(search: Search, folder: WorkFolder[Search]) -> SearchData:
    """Training and validation split of a search. Raises DataError where they are gone, or not what it began with."""
    arrays, dataset = arrays_file(folder), data_place(search, folder)
    if dataset == ARRAYS:
        raise DataError(
            f"{arrays} is gone, the arrays that were searched; restore it, or give --dataset where they lie"
        )
    check_still_there(dataset)
    data = load_search_data(
        dataset,
        seed=search.seed,
        validation_share=search.validation_share,
        image_size=search.image_size,
        progress=False,
    )
    if data.checksum != search.data_checksum:
        advice = "restore it" if dataset == str(arrays) else "give --dataset where that lies"
        name = arrays if dataset == str(arrays) else readable(search.dataset)
        raise DataError(f"{name} is not what the search began with: its images or labels differ; {advice}")
    return data


def keep_arrays(folder: WorkFolder[Search], images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> None:
    """Keeps arrays that were given from Python where the other processes, and later commands, find them."""
    content = io.BytesIO()
    np.savez(content, x_train=images, y_train=labels, x_test=images[:0], y_test=labels[:0])
    write_bytes_atomically(arrays_file(folder), content.getbuffer())


def note_arguments(folder: WorkFolder[Search]) -> None:
    """Notes for the other processes what the file of the space sees in `sys.argv` here, passwords in it hidden."""
    write_atomically(arguments_file(folder), json.dumps(list(map(hidden, arguments_here()))) + "\n")


def space_of(search: Search, folder: WorkFolder[Search], shape: Shape, classes: int) -> Space:
    """The search space, its file called with what it was called with when the search began. Raises SpaceError if the
    file is gone or bad, RunError where what it was called with cannot be read."""
    file = arguments_file(folder)
    try:
        arguments = stored(parsed(file.read_text()), list[str]) if file.exists() else None
    except (ValueError, UserError) as error:
        raise RunError(f"{file} cannot be read: {error!s:.100}; repeat the command of the search") from error
    return bind(load_architecture(find_space(search.space)[0], search.space_class, arguments), shape, classes)


def same_space_of(search: Search, folder: WorkFolder[Search], shape: Shape, classes: int) -> Space:
    """As `space_of`. Raises SpaceError too where the file has changed, or makes something else here, since the search
    began."""
    file = find_space(search.space)[0]
    if space_checksum(file) != search.space_checksum:
        raise SpaceError(
            f"{file} has changed since the search began; restore it, or repeat the command with --changed-space"
        )
    space = space_of(search, folder, shape, classes)
    if search.space_fingerprint not in ("", space_fingerprint(space)):
        raise SpaceError(
            f"the file of space {search.space} makes other knobs, or another network of their defaults, than where the "
            "search began: it depends on more than its text, as sys.argv, the environment or files; leave that out"
        )
    return space


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


class Candidate(NamedTuple):
    """A network that was proposed in a study (strategy and budget), and what there is to note of it."""

    study: tuple[str, int]
    knobs: dict[str, Value]
    network: Layer
    noted: Notes


def candidate(search: Search, space: Space, study: tuple[str, int], proposal: Proposal) -> Candidate | None:
    """What was proposed, counted. None where it is no network within budget."""
    own, (knobs, exhausted) = studied(search, space, *study), proposal
    cost = own.cost(knobs)
    if cost is None or not search.budget(study[1]).covers(cost):
        return None
    network, _ = cost.deployed
    noted = Notes(
        exhausted=exhausted,
        parameters=cost.parameters,
        macs=cost.macs,
        counted=beside(cost, search.numbers),
        depth=depth(network),
        network=fingerprint(network, space.shape),
    )
    return Candidate(study, knobs, network, noted)


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
        space,
        search.budget(budget),
        seed=seed,
        below=search.below,
        starts=search.starts_at(budget),
        beginnings=search.beginnings,
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
