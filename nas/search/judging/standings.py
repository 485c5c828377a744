"""The trainings of a search as far as they have come, by strategy and network, kept up to date as more is told."""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

from nas.search.records import Record

STEADY = 250
"""Trials told from which on models are learnt anew only whenever the trials have grown by so small a part of
themselves: with each of the first 500, with every twentieth of 5,000."""


def taught_of(told: int, trials: int = 0) -> int:
    """How many of what was told, the earliest, models are learnt from, so that they hold for several. Of a search of so
    many `trials`, if more than that.

    >>> [taught_of(told) for told in (7, 499, 501, 5_019)], taught_of(303, 5_000)
    ([7, 499, 500, 5000], 300)
    """
    return told - told % max(1, max(told, trials) // STEADY)


Key = tuple[str, str]
"""Strategy and network."""

Size = tuple[int, str]
"""Parameters and network."""


class Standings:
    """The training that came furthest of each network of a strategy; of two as long, that of the later of the
    `studies`, which are budgets and strategies in their order."""

    def __init__(self, studies: Iterable[tuple[str, int]]) -> None:
        self._order = {study: place for place, study in enumerate(studies)}
        self._seen: dict[int, Record] = {}
        self._ended: dict[Key, dict[int, Record]] = {}
        self._strategies: dict[str, set[str]] = {}
        self._longest: dict[str, Record] = {}
        self._events: list[tuple[int, int, int, str, int]] = []
        """What was told of the trainings that came furthest, in order: trial, place of its study, number of the record,
        network, epochs by then."""
        self._sizes: dict[str, list[Size]] = {}
        self._best: dict[str, tuple[list[int], list[str]]] = {}
        self._furthest: dict[Key, Record] = {}

    def update(self, records: Iterable[Record]) -> None:
        """Takes in the records as they are now: those that are no longer the same count anew."""
        now = {id(record): record for record in records}  # who holds a record keeps its id
        gone = [self._seen[key] for key in self._seen.keys() - now.keys()]
        new = [now[key] for key in now.keys() - self._seen.keys()]
        self._seen = now
        touched = set[Key]()
        for record in gone:
            if _counts(record):
                del self._ended[record.strategy, record.network][id(record)]
                touched.add((record.strategy, record.network))
        for record in new:
            if _counts(record):
                self._ended.setdefault((record.strategy, record.network), {})[id(record)] = record
                touched.add((record.strategy, record.network))
        for key in sorted(touched):
            self._settle(*key)
        for network in sorted({network for _, network in touched}):
            self._settle_network(network)

    def taught(self, most: int) -> list[tuple[Record, int]]:
        """The training that came furthest of each network, whoever trained it, and after how many epochs, as it was
        when most of what is known had been told (see `taught_of`): so many, the latest, in the order in which they were
        told. It stays the same while little is told, be it new networks or trainings that go on."""
        found = dict[str, int]()
        for *_, network, epochs in reversed(self._events[: taught_of(len(self._events))]):
            if len(found) == most:
                break
            found.setdefault(network, epochs)
        return [(self._longest[network], epochs) for network, epochs in reversed(found.items())]

    def best_within(self, strategy: str, parameters: int) -> Record | None:
        """The best network of the strategy that was measured with at most as many parameters."""
        sizes, networks = self._best_of(strategy)
        place = bisect_right(sizes, parameters)
        return self._furthest[strategy, networks[place - 1]] if place else None

    def within(self, strategy: str, parameters: int) -> list[Record]:
        """The networks of the strategy with at most as many parameters, the smallest first."""
        sizes = self._sizes.get(strategy, [])
        small = sizes[: bisect_right(sizes, parameters, key=lambda size: size[0])]
        return [self._furthest[strategy, network] for _, network in small]

    def _settle(self, strategy: str, network: str) -> None:
        """Which training of the network counts now that others have ended or go on."""
        before, ended = self._furthest.pop((strategy, network), None), self._ended[strategy, network]
        now = max(ended.values(), key=self._length, default=None)
        sizes = self._sizes.setdefault(strategy, [])
        if before is not None and now is None:
            del sizes[bisect_left(sizes, (before.parameters, network))]
        if now is not None:
            self._furthest[strategy, network] = now
            if before is None:
                insort(sizes, (now.parameters, network))
        if (before and before.is_measured) or (now and now.is_measured):
            self._best.pop(strategy, None)
        holders = self._strategies.setdefault(network, set())
        (holders.discard if now is None else holders.add)(strategy)

    def _settle_network(self, network: str) -> None:
        before = self._longest.pop(network, None)
        if before is not None:
            for event in self._told(before):
                del self._events[bisect_left(self._events, event)]
        known = [self._furthest[strategy, network] for strategy in self._strategies[network]]
        if known:
            self._longest[network] = now = max(known, key=self._length)
            for event in self._told(now):
                insort(self._events, event)

    def _best_of(self, strategy: str) -> tuple[list[int], list[str]]:
        """The measured networks that are better than all smaller ones: parameters, ascending, and fingerprints."""
        if strategy not in self._best:
            sizes, networks, most = list[int](), list[str](), -math.inf
            for parameters, network in self._sizes.get(strategy, []):
                record = self._furthest[strategy, network]
                if record.is_measured and record.accuracy > most:
                    most = record.accuracy
                    sizes.append(parameters)
                    networks.append(network)
            self._best[strategy] = sizes, networks
        return self._best[strategy]

    def _length(self, record: Record) -> tuple[int, int, int]:
        return len(record.curve), self._place(record), record.number

    def _told(self, record: Record) -> list[tuple[int, int, int, str, int]]:
        of_record = self._place(record), record.number, record.network
        steps = record.steps or ((record.latest, len(record.curve)),)
        return [(trial, *of_record, epochs) for trial, epochs in steps]

    def _place(self, record: Record) -> int:
        return self._order.get((record.strategy, record.budget), len(self._order))


def _counts(record: Record) -> bool:
    return bool(record.curve)
