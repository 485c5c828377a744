"""Rules of stopping applied to a run: who a trial's rivals are, what its curve is, which frozen training to go on with.

A strategy is judged by its own networks alone: were it measured by another's, its best network might never be trained
to the end, and the strategies could not be compared. What curves look like is learnt from all.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from nas.search.judging.forecasts import Forecast, no_forecast
from nas.search.notes import Rows
from nas.search.records import Record
from nas.search.search import BASELINES, Search
from nas.seeds import derive_seed
from nas.stopping.curves import Curve, Prediction, cut, robust_range
from nas.stopping.extrapolator import Extrapolator
from nas.stopping.rules import RULES, Verdict, to_resume

RECONSIDERED = 0.2
"""Chance that a stopped training just below the threshold goes on all the same, once more is known. In a search of 123
networks on the digits it fell from 0.5 half-way to 0.02 shortly before the end (n = 1): between the two."""

RECONSIDERED_AT_ONCE = 300
"""Stopped trainings, those predicted best, that are judged anew at a look."""

TAUGHT = 300
"""Trainings, the latest, that teach what curves look like: more take longer to learn from at every look, and tell
hardly more."""


class Judge:
    """The rule of a search, with what its records teach. `forecast` is what a model of the space says of a network:
    mean and deviation of the accuracy at the last epoch, without having seen it trained."""

    def __init__(self, search: Search, records: Iterable[Record], forecast: Forecast = no_forecast) -> None:
        self.search, self._forecast = search, forecast
        self._networks: dict[tuple[str, str], Record] = {}
        longest: dict[str, Record] = {}
        for record in records:
            if record.is_finished and record.curve:
                key = (record.strategy, record.network)
                self._networks[key] = _longer(self._networks.get(key), record)
                longest[record.network] = _longer(longest.get(record.network), record)
        self._known = sorted(longest.values(), key=lambda record: record.latest)[-TAUGHT:]
        taught = self._curves([self._networks[record.strategy, record.network] for record in self._known])
        self._extrapolator = Extrapolator(taught, search.epochs)
        self._by_size: dict[str, list[tuple[int, str]]] = {}
        for (strategy, network), record in self._networks.items():
            self._by_size.setdefault(strategy, []).append((record.parameters, network))
        for sizes in self._by_size.values():
            sizes.sort()
        self._best_within = {strategy: self._best_so_far(strategy, sizes) for strategy, sizes in self._by_size.items()}
        self.rule = RULES[search.stop](search.epochs, search.threshold)

    def prediction(self, record: Record, rows: Rows) -> Prediction:
        """The accuracy at the last epoch of the training of the record, so far as the rows show."""
        return self._extrapolator.predict(self._curves([record], rows)[0])

    def verdict(self, record: Record, rows: Rows, prediction: Prediction) -> Verdict:
        """Whether the training goes on."""
        if self.rule.heeds_best_alone:
            best = self._best_rival(record)
            rivals = self._curves([] if best is None else [self._networks[best]])
        else:
            rivals = self._curves([self._networks[key] for key in self._rivals(record)])
        return self.rule.judge(curve(record, rows), prediction, rivals)

    def to_beat(self, record: Record) -> float:
        """The best measured accuracy of its strategy with at most as many parameters; 0 if there is none."""
        best = self._best_rival(record)
        return 0.0 if best is None else self._networks[best].accuracy

    def last_loss(self, record: Record, rows: Rows) -> float:
        """The predicted validation loss (nats) at the last epoch, within the losses of the search; those that exploded
        are cut (see `robust_range`)."""
        falling = [curve(r, r.curve, by_loss=True) for r in self._known]
        own = curve(record, rows, by_loss=True)
        low, high = robust_range([value for each in (own, *falling) for value in each.values])
        extrapolator = Extrapolator([cut(each, low, high) for each in falling], self.search.epochs, scale=high - low)
        mean = extrapolator.predict(cut(own, low, high)).mean
        return max(0.0, -min(max(mean, low), high))

    def to_resume(self, records: Sequence[Record], *, nothing_new: bool) -> tuple[Record | None, float]:
        """The stopped training that should go on now, if there is one, and the chance below which another
        makes better use of the next epoch (see `to_resume`)."""
        frozen, verdicts = self._frozen_verdicts(records)
        chosen, least_chance = to_resume(verdicts, nothing_new=nothing_new)
        return (None if chosen is None else frozen[chosen]), least_chance

    def chances_to_go_on(self, records: Sequence[Record]) -> list[tuple[Record, float]]:
        """The stopped trainings, each with the chance that it goes on: 1 if it would go on in the end as things stand.
        Others come to be worth it as more becomes known, the rarer the farther their chance is below the threshold."""
        frozen, verdicts = self._frozen_verdicts(records)
        chances = {id(record): self._chance_to_go_on(verdict) for record, verdict in zip(frozen, verdicts, strict=True)}
        return [(r, 1.0 if is_audited(self.search, r) else chances.get(id(r), 0.0)) for r in _frozen(records)]

    def _chance_to_go_on(self, verdict: Verdict) -> float:
        if verdict.is_worthy:
            return 1.0
        return RECONSIDERED * min(1.0, verdict.chance / self.rule.threshold) if self.rule.threshold else 0.0

    def _frozen_verdicts(self, records: Sequence[Record]) -> tuple[list[Record], list[Verdict]]:
        """The stopped trainings that the rule may take up again, and what it says of them now."""
        frozen = _frozen(records) if self.rule.resumes else []
        if len(frozen) > RECONSIDERED_AT_ONCE:
            hopeful = sorted(frozen, key=lambda record: -record.value)[:RECONSIDERED_AT_ONCE]
            kept = {id(record) for record in hopeful}
            frozen = [record for record in frozen if id(record) in kept]
        predictions = self._extrapolator.predict_all(self._curves(frozen))
        return frozen, [self.verdict(r, r.curve, found) for r, found in zip(frozen, predictions, strict=True)]

    def to_audit(self, records: Sequence[Record]) -> Record | None:
        """When all else is done, a stopped training of the share that goes on to check the predictions."""
        return next((record for record in _frozen(records) if is_audited(self.search, record)), None)

    def _best_so_far(self, strategy: str, sizes: Sequence[tuple[int, str]]) -> list[tuple[str, str] | None]:
        """For each network in the order of sizes, the key of the best that was measured of it and those before it."""
        best: tuple[str, str] | None = None
        found = []
        for _, network in sizes:
            record = self._networks[strategy, network]
            if record.is_measured and (best is None or record.accuracy > self._networks[best].accuracy):
                best = strategy, network
            found.append(best)
        return found

    def _best_rival(self, record: Record) -> tuple[str, str] | None:
        """Key of the best measured network of its strategy, itself aside, with at most as many parameters."""
        small = self._as_small(record)
        best = self._best_within[record.strategy][small - 1] if small else None
        if best != (record.strategy, record.network):
            return best
        others = [key for key in self._rivals(record) if self._networks[key].is_measured]
        return max(others, key=lambda key: self._networks[key].accuracy, default=None)

    def _rivals(self, record: Record) -> list[tuple[str, str]]:
        """Keys of the other networks of its strategy with at most as many parameters."""
        small = self._by_size.get(record.strategy, [])[: self._as_small(record)]
        return [(record.strategy, network) for _, network in small if network != record.network]

    def _as_small(self, record: Record) -> int:
        """How many networks of its strategy have at most as many parameters."""
        return bisect_right(self._by_size.get(record.strategy, []), record.parameters, key=lambda size: size[0])

    def _curves(self, records: Sequence[Record], rows: Rows | None = None) -> list[Curve]:
        """What is known of the trainings of the records, with what is forecast of their networks."""
        told = zip((curve(record, rows) for record in records), self._forecast(records), strict=True)
        return [known if forecast is None else replace(known, forecast=forecast) for known, forecast in told]


def is_judged(search: Search, strategy: str) -> bool:
    """Whether trainings of the strategy may be stopped: baselines are measured."""
    return search.stop != "none" and strategy != BASELINES


def is_audited(search: Search, record: Record) -> bool:
    """Whether the training is of the share that goes on although it is not worth it."""
    seed = derive_seed(search.seed, "audit", record.strategy, record.network)
    return bool(np.random.default_rng(seed).random() < search.audit)


def curve(record: Record, rows: Rows | None = None, *, by_loss: bool = False) -> Curve:
    """What is known of the training of a record; with `by_loss`, its values are validation losses with the sign
    changed."""
    rows = record.curve if rows is None else rows
    network = math.log(record.parameters), math.log1p(record.macs), float(record.depth)
    return _checked_curve(
        tuple(-row[1] if by_loss else row[2] for row in rows), tuple((row[0], row[1]) for row in rows), network
    )


@lru_cache(maxsize=100_000)
def _checked_curve(
    values: tuple[float, ...], losses: tuple[tuple[float, float], ...], network: tuple[float, ...]
) -> Curve:
    """The curve; the same ones are asked for at every look at a search, and checking them takes longest."""
    return Curve(values, losses, network)


def _frozen(records: Sequence[Record]) -> list[Record]:
    """Stopped trainings of networks that nobody is training."""
    busy = {record.network for record in records if record.state in ("running", "waiting")}
    return [record for record in records if record.state == "stopped" and record.network not in busy]


def _longer(one: Record | None, other: Record) -> Record:
    return other if one is None or len(other.curve) >= len(one.curve) else one
