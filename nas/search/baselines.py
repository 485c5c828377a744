"""What a search is to beat: scaled designs, trained beside the strategies as a study of their own."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from nas.errors import SpaceError
from nas.network.folds import Cost, cost
from nas.network.layers import Layer, Shape
from nas.network.serial import fingerprint
from nas.search.journal import Record
from nas.search.search import BASELINES, Search
from nas.space.budget import Budget
from nas.space.designs import DESIGNS, scaled
from nas.space.space import Knob, Knobs, Space


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

    def network(self, settings: Knobs) -> Layer:
        """The scaled network."""
        network = scaled(str(settings["network"]), self.budget, self.shape, self.classes)
        assert network is not None
        return network

    def cost(self, settings: Knobs) -> Cost:
        """Of the scaled network."""
        return cost(self.network(settings), self.shape)

    def identity(self, settings: Knobs) -> str:
        """The fingerprint of the scaled network."""
        return fingerprint(self.network(settings), self.shape)


def feasible_baselines(budgets: Iterable[Budget], shape: Shape, classes: int) -> tuple[str, ...]:
    """Names of the baselines that have a network within every one of the budgets."""
    return tuple(name for name in DESIGNS if all(scaled(name, budget, shape, classes) for budget in budgets))


def studied(search: Search, space: Space, strategy: str, budget: int) -> "Space | BaselineSpace":
    """What a study's trials are networks of: the search space, or the baselines at that budget."""
    if strategy != BASELINES:
        return space
    return BaselineSpace(search.baselines, search.budget(budget), space.shape, space.classes)


def rebuilt(record: Record, space: "Space | BaselineSpace") -> Layer:
    """The network of a trial, from its knobs. Raises SpaceError where the space makes another network of them today:
    its file, or a shipped block, has changed since the search."""
    network = space.network(record.knobs)
    if (known := fingerprint(network, space.shape)) != record.network:
        raise SpaceError(
            f"the space makes another network of the knobs of {record.strategy} #{record.number} than it did in the "
            f"search (fingerprint {known}, then {record.network}): its file or nas has "
            "changed; restore it, or search again"
        )
    return network
