"""Who is confirmed: the shortlist of each budget, the space's default, and scaled baselines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from nas.errors import RunError
from nas.network.folds import cost
from nas.network.layers import Layer
from nas.network.serial import fingerprint
from nas.results.words import short
from nas.search.records import Record
from nas.search.result.front import pareto_front
from nas.search.result.merit import merits, shortlist
from nas.search.search import Search
from nas.search.studies import feasible_baselines, rebuilt
from nas.space.designs import default_within, scaled
from nas.space.space import Space

Kind = Literal["found", "default", "baseline"]


@dataclass(frozen=True)
class Candidate:
    """A network to be confirmed. It is on the shortlist of the budgets `raced` and the space's default within those of
    `default_of`, or a baseline scaled to those of `raced`. `searched` is its validation accuracy in the search, None
    where the search did not train it."""

    label: str
    kind: Kind
    raced: tuple[int, ...]
    network: Layer = field(hash=False)
    fingerprint: str
    parameters: int
    macs: int
    searched: float | None
    default_of: tuple[int, ...] = ()

    @property
    def budgets(self) -> tuple[int, ...]:
        """Every budget that it has to do with, ascending."""
        return tuple(sorted({*self.raced, *self.default_of}))


def candidates(
    search: Search,
    records: Sequence[Record],
    space: Space,
    budgets: Sequence[int],
    *,
    top: int | None,
    front: bool,
    baselines: bool,
) -> list[Candidate]:
    """For each budget the shortlist of the measured networks (see `nas.search.result.merit.shortlist`), or the front,
    then the space's default, then the scaled baselines; each network once. Raises RunError where the search has
    measured none."""
    known = merits(search, space, records)
    searched = {record.network: record.accuracy for record in records if record.is_measured}
    found: dict[str, Candidate] = {}
    defaults = {budget: _default(search, space, budget, searched) for budget in budgets}
    for budget in budgets:
        besides = defaults[budget].fingerprint
        chosen = _of_the_front(records, budget, search.budgets, besides) if front else []
        for record in chosen if front else shortlist(records, known, budget, besides=besides, top=top):
            _add(found, _of_record(record, budget, space))
    if not found and not any(default.searched for default in defaults.values()):
        raise RunError("the search has not measured a network of that size yet; there is nothing to confirm")
    for budget in budgets:
        _add(found, defaults[budget])
    for budget in budgets if baselines else ():
        for baseline in _baselines(search, searched, space, budget):
            _add(found, baseline)
    return list(found.values())


def _add(found: dict[str, Candidate], candidate: Candidate) -> None:
    known = found.setdefault(candidate.fingerprint, candidate)
    if known is not candidate:
        raced, default_of = (*known.raced, *candidate.raced), (*known.default_of, *candidate.default_of)
        kind: Kind = "default" if default_of else known.kind
        found[candidate.fingerprint] = replace(known, raced=raced, default_of=default_of, kind=kind)


def _of_record(record: Record, budget: int, space: Space) -> Candidate:
    label = f"{record.parameters:,} parameters, {short(record.network)}"
    network = rebuilt(record, space)
    return Candidate(
        label, "found", (budget,), network, record.network, record.parameters, record.macs, record.accuracy
    )


def _default(search: Search, space: Space, budget: int, searched: Mapping[str, float]) -> Candidate:
    network = space.network(default_within(space, search.budget(budget)))
    counted, known = cost(network, space.shape), fingerprint(network, space.shape)
    label = f"default within {budget:,}, {short(known)}"
    return Candidate(
        label, "default", (), network, known, counted.parameters, counted.macs, searched.get(known), (budget,)
    )


def _of_the_front(records: Sequence[Record], budget: int, budgets: Sequence[int], besides: str) -> list[Record]:
    """The networks of the front within the budget that are too large for the next smaller one."""
    below = max((other for other in budgets if other < budget), default=0)
    return [r for r in pareto_front(records) if below < r.parameters <= budget and r.network != besides]


def _baselines(search: Search, searched: Mapping[str, float], space: Space, budget: int) -> Iterable[Candidate]:
    limit = search.budget(budget)
    for name in feasible_baselines([limit], space.shape, space.classes):
        network = scaled(name, limit, space.shape, space.classes)
        assert network is not None
        counted, known = cost(network, space.shape), fingerprint(network, space.shape)
        label = f"{name} scaled to {budget:,}"
        yield Candidate(
            label, "baseline", (budget,), network, known, counted.parameters, counted.macs, searched.get(known)
        )
