"""The trainings of a search that have ended, by strategy and network, kept up to date as more is told."""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

from nas.search.records import Record

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
        self._latest: list[tuple[int, int, int, str]] = []
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

    def latest(self) -> list[Record]:
        """The training that came furthest of each network, whoever trained it, in the order in which they were told."""
        return [self._longest[network] for *_, network in self._latest]

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
            del self._latest[bisect_left(self._latest, self._told(before))]
        known = [self._furthest[strategy, network] for strategy in self._strategies[network]]
        if known:
            self._longest[network] = now = max(known, key=self._length)
            insort(self._latest, self._told(now))

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

    def _told(self, record: Record) -> tuple[int, int, int, str]:
        return record.latest, self._place(record), record.number, record.network

    def _place(self, record: Record) -> int:
        return self._order.get((record.strategy, record.budget), len(self._order))


def _counts(record: Record) -> bool:
    return bool(record.curve) and record.is_finished
