"""Who is confirmed: the winners of a search and scaled baselines, raced over seeds."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from nas.errors import RunError
from nas.network.folds import cost
from nas.network.layers import Layer
from nas.network.serial import fingerprint
from nas.search.front import best_within, pareto_front
from nas.search.records import Record
from nas.search.search import Search
from nas.search.studies import feasible_baselines, rebuilt
from nas.space.designs import scaled
from nas.space.space import Space
from nas.training.training import Metrics

SEED_DEVIATION = 0.005
"""Least standard deviation of an accuracy between seeds that a race assumes: half a point, as of small networks."""


CLEARLY = 3.0
"""Standard errors of a difference from which on a candidate is clearly behind."""


Kind = Literal["found", "baseline"]


@dataclass(frozen=True)
class Candidate:
    """A network to be confirmed: among the best within each of the `budgets`. `searched` is its validation accuracy in
    the search, None for a baseline that the search did not train."""

    label: str
    kind: Kind
    budgets: tuple[int, ...]
    network: Layer = field(hash=False)
    fingerprint: str
    parameters: int
    macs: int
    searched: float | None


@dataclass(frozen=True)
class Entrant:
    """A candidate in the race: its trainings so far, by seed, and the reason for which it was dropped, if it was."""

    candidate: Candidate
    trainings: dict[int, Metrics] = field(default_factory=dict, hash=False)
    dropped: str = ""
    failures: tuple[str, ...] = ()

    @property
    def validation(self) -> list[float]:
        """Validation accuracies by seed."""
        return [metrics.accuracy for metrics in self.trainings.values()]


def candidates(
    search: Search,
    records: Sequence[Record],
    space: Space,
    budgets: Sequence[int],
    *,
    top: int,
    front: bool,
    baselines: bool,
) -> list[Candidate]:
    """The best measured networks within each budget (`top`), or the whole front, then the scaled baselines, each
    network once. Raises RunError where the search has measured none."""
    found: dict[str, Candidate] = {}
    for budget in budgets:
        for record in _chosen(records, budget, search.budgets, top, front):
            _add(found, _of_record(record, budget, space))
    if not found:
        raise RunError("the search has not measured a network of that size yet; there is nothing to confirm")
    for budget in budgets if baselines else ():
        for baseline in _baselines(search, records, space, budget):
            _add(found, baseline)
    return list(found.values())


def _add(found: dict[str, Candidate], candidate: Candidate) -> None:
    known = found.setdefault(candidate.fingerprint, candidate)
    if known is not candidate:
        found[candidate.fingerprint] = replace(known, budgets=(*known.budgets, *candidate.budgets))


def _of_record(record: Record, budget: int, space: Space) -> Candidate:
    label = f"{record.parameters:,} parameters, {record.network[:6]}"
    network = rebuilt(record, space)
    return Candidate(
        label, "found", (budget,), network, record.network, record.parameters, record.macs, record.accuracy
    )


def _chosen(records: Sequence[Record], budget: int, budgets: Sequence[int], top: int, front: bool) -> list[Record]:
    if front:
        below = max((other for other in budgets if other < budget), default=0)
        return [record for record in pareto_front(records) if below < record.parameters <= budget]
    best: dict[str, Record] = {}
    rest = list(records)
    while len(best) < top and (record := best_within(pareto_front(rest), budget)):
        best[record.network] = record
        rest = [other for other in rest if other.network != record.network]
    return list(best.values())


def _baselines(search: Search, records: Sequence[Record], space: Space, budget: int) -> Iterable[Candidate]:
    limit = search.budget(budget)
    searched = {record.network: record.accuracy for record in records if record.is_measured}
    for name in feasible_baselines([limit], space.shape, space.classes):
        network = scaled(name, limit, space.shape, space.classes)
        assert network is not None
        counted, known = cost(network, space.shape), fingerprint(network, space.shape)
        label = f"{name} scaled to {budget:,}"
        yield Candidate(
            label, "baseline", (budget,), network, known, counted.parameters, counted.macs, searched.get(known)
        )


def dropped(entrants: Sequence[Entrant], validation_images: int, *, front: bool = False) -> list[Entrant]:
    """The entrants, those marked that are clearly behind the best of all their budgets; of a front, behind the best of
    those that are as small.

    Behind by CLEARLY standard errors of the difference of two means over the seeds so far. Every seed splits the data
    anew, so that one value has the variance of seeds and of a sampling of images: that of the values, at least
    SEED_DEVIATION squared + p (1 - p) / images. Baselines are what the others are compared with: they stay.
    """
    result = []
    for entrant in entrants:
        rivals = [
            other
            for other in entrants
            if other.candidate.kind == "found"
            and set(other.candidate.budgets) >= set(entrant.candidate.budgets)
            and (not front or other.candidate.parameters <= entrant.candidate.parameters)
            and len(other.validation) == len(entrant.validation) > 0
        ]
        leader = max(rivals, key=lambda other: statistics.mean(other.validation), default=entrant)
        if entrant.candidate.kind == "baseline" or entrant.dropped or not entrant.validation:
            result.append(entrant)
            continue
        behind = statistics.mean(leader.validation) - statistics.mean(entrant.validation)
        limit = CLEARLY * math.sqrt(_variance(leader, validation_images) + _variance(entrant, validation_images))
        if behind > limit:
            reason = f"{100 * behind:.1f} points behind {leader.candidate.label} after {len(entrant.validation)} seeds"
            result.append(replace(entrant, dropped=reason))
        else:
            result.append(entrant)
    return result


def _variance(entrant: Entrant, images: int) -> float:
    n, mean = len(entrant.validation), statistics.mean(entrant.validation)
    between = statistics.variance(entrant.validation) if n > 1 else 0.0
    return max(between, SEED_DEVIATION**2 + mean * (1 - mean) / images) / n
