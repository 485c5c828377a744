"""Rules of stopping applied to a run: who a trial's rivals are, what its curve is, which frozen training to go on with.

A strategy is judged by its own networks alone: were it measured by another's, its best network might never be trained
to the end, and the strategies could not be compared. What curves look like is learnt from all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from nas.search.judging.forecasts import Forecast, no_forecast
from nas.search.judging.standings import Standings
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

RECONSIDERED_AT_ONCE = 100
"""Stopped trainings that are judged anew at a look: those with the best chance when they were last judged, of small
networks and of large ones."""

TAUGHT = 300
"""Trainings, the latest, that teach what curves look like: more take longer to learn from at every look, and tell
hardly more."""


class Judge:
    """The rule of a search, with what its records teach. `forecast` is what a model of the space says of a network:
    mean and deviation of the accuracy at the last epoch, without having seen it trained.

    It says the same whether it has looked once or again and again, as more was told.
    """

    def __init__(self, search: Search, records: Iterable[Record] = (), forecast: Forecast = no_forecast) -> None:
        self.search, self._forecast = search, forecast
        self.rule = RULES[search.stop](search.epochs, search.threshold)
        self._standings = Standings(search.studies)
        self._known: list[tuple[Record, int]] = []
        self._keys: list[tuple[str, str, int]] = []
        self._learn()
        self.look(records, forecast)

    def look(self, records: Iterable[Record], forecast: Forecast = no_forecast) -> None:
        """Takes in the records as they are now."""
        self._standings.update(records)
        known = self._standings.taught(TAUGHT)
        keys = [(record.strategy, record.network, epochs) for record, epochs in known]
        if keys != self._keys or forecast is not self._forecast:
            self._known, self._keys, self._forecast = known, keys, forecast
            self._learn()

    def _learn(self) -> None:
        """What curves look like, from those that teach. All that is remembered of trainings follows from it."""
        self._curves: dict[int, tuple[Record, Curve]] = {}
        self._predicted: dict[int, tuple[Record, Prediction]] = {}
        self._by_loss: dict[tuple[float, float], Extrapolator] = {}
        self._falling: list[Curve] | None = None
        curves = [record.curve_after(epochs) for record, epochs in self._known]
        curves = self._with_forecasts([record for record, _ in self._known], curves)
        self._extrapolator = Extrapolator(curves, self.search.epochs)

    def prediction(self, record: Record, rows: Rows) -> Prediction:
        """The accuracy at the last epoch of the training of the record, so far as the rows show."""
        return self._extrapolator.predict(self._with_forecasts([record], [record.curve_of(rows)])[0])

    def verdict(self, record: Record, rows: Rows, prediction: Prediction) -> Verdict:
        """Whether the training goes on."""
        return self.rule.judge(record.curve_of(rows), prediction, self._told(self._heeded(record)))

    def to_beat(self, record: Record) -> float:
        """The best measured accuracy of its strategy with at most as many parameters; 0 if there is none."""
        best = self.best_rival(record)
        return 0.0 if best is None else best.accuracy

    def last_loss(self, record: Record, rows: Rows) -> float:
        """The predicted validation loss (nats) at the last epoch, within the losses of the search; those that exploded
        are cut (see `robust_range`)."""
        if self._falling is None:
            self._falling = [record.curve_after(epochs, by_loss=True) for record, epochs in self._known]
        own = record.curve_of(rows, by_loss=True)
        low, high = robust_range([value for each in (own, *self._falling) for value in each.values])
        if (low, high) not in self._by_loss:
            falling = [cut(each, low, high) for each in self._falling]
            self._by_loss[low, high] = Extrapolator(falling, self.search.epochs, scale=high - low)
        mean = self._by_loss[low, high].predict(cut(own, low, high)).mean
        return max(0.0, -min(max(mean, low), high))

    def to_resume(self, records: Sequence[Record], *, nothing_new: bool) -> tuple[Record | None, float]:
        """The stopped training that should go on now, if there is one, and the chance below which another
        makes better use of the next epoch (see `to_resume`)."""
        frozen = _frozen(records)
        for record in frozen:
            if _goes_on_anyway(self.search, record):
                return record, 0.0
        frozen, verdicts = self._verdicts(frozen)
        chosen, least_chance = to_resume(verdicts, nothing_new=nothing_new)
        return (None if chosen is None else frozen[chosen]), least_chance

    def chances_to_go_on(self, records: Sequence[Record]) -> list[tuple[Record, float]]:
        """The stopped trainings, each with the chance that it goes on: 1 if it would go on in the end as things stand.
        Others come to be worth it as more becomes known, the rarer the farther their chance is below the threshold."""
        frozen = _frozen(records)
        chances = {
            id(record): self._chance_to_go_on(verdict) for record, verdict in zip(*self._verdicts(frozen), strict=True)
        }
        sure = {id(r) for r in frozen if is_audited(self.search, r) or _goes_on_anyway(self.search, r)}
        return [(r, 1.0 if id(r) in sure else chances.get(id(r), 0.0)) for r in frozen]

    def _chance_to_go_on(self, verdict: Verdict) -> float:
        if verdict.is_worthy:
            return 1.0
        return RECONSIDERED * min(1.0, verdict.chance / self.rule.threshold) if self.rule.threshold else 0.0

    def _verdicts(self, frozen: Sequence[Record]) -> tuple[list[Record], list[Verdict]]:
        """Those of the stopped trainings that the rule may take up again, and what it says of them now."""
        frozen = [r for r in frozen if (self.rule.resumes or r.cut) and is_judged(self.search, r.strategy)]
        if len(frozen) > RECONSIDERED_AT_ONCE:
            hopeful = sorted(frozen, key=lambda record: -record.last_chance)[:RECONSIDERED_AT_ONCE]
            kept = {id(record) for record in hopeful}
            frozen = [record for record in frozen if id(record) in kept]
        new = [record for record in frozen if id(record) not in self._predicted]
        found = self._extrapolator.predict_all(self._told(new))
        self._predicted |= {id(r): (r, prediction) for r, prediction in zip(new, found, strict=True)}
        curves, predictions = self._told(frozen), [self._predicted[id(record)][1] for record in frozen]
        return frozen, [
            self.rule.judge(known, prediction, self._told(self._heeded(record)))
            for record, known, prediction in zip(frozen, curves, predictions, strict=True)
        ]

    def to_audit(self, records: Sequence[Record]) -> Record | None:
        """When all else is done, a stopped training of the share that goes on to check the predictions."""
        return next((record for record in _frozen(records) if is_audited(self.search, record)), None)

    def best_rival(self, record: Record) -> Record | None:
        """The best measured network of its strategy, itself aside, with at most as many parameters."""
        best = self._standings.best_within(record.strategy, record.parameters)
        if best is None or best.network != record.network:
            return best
        return max((r for r in self._rivals(record) if r.is_measured), key=lambda r: r.accuracy, default=None)

    def _heeded(self, record: Record) -> list[Record]:
        """The rivals that the rule goes by."""
        if not self.rule.heeds_best_alone:
            return self._rivals(record)
        best = self.best_rival(record)
        return [] if best is None else [best]

    def _rivals(self, record: Record) -> list[Record]:
        """The other networks of its strategy with at most as many parameters."""
        return [r for r in self._standings.within(record.strategy, record.parameters) if r.network != record.network]

    def _told(self, records: Sequence[Record]) -> list[Curve]:
        """What is known of the trainings of the records, with what is forecast of their networks."""
        new = [record for record in records if id(record) not in self._curves]
        curves = self._with_forecasts(new, [record.learning_curve for record in new])
        self._curves |= {id(record): (record, known) for record, known in zip(new, curves, strict=True)}
        return [self._curves[id(record)][1] for record in records]  # who holds the record keeps its id

    def _with_forecasts(self, records: Sequence[Record], curves: Sequence[Curve]) -> list[Curve]:
        told = zip(curves, self._forecast(records), strict=True)
        return [known if forecast is None else replace(known, forecast=forecast) for known, forecast in told]


def is_judged(search: Search, strategy: str) -> bool:
    """Whether trainings of the strategy may be stopped: baselines are measured."""
    return search.stop != "none" and strategy != BASELINES


def _goes_on_anyway(search: Search, record: Record) -> bool:
    """Whether a stopped training is one that is not judged, and was stopped by the end of a search of fewer epochs."""
    return record.cut and not is_judged(search, record.strategy)


def is_audited(search: Search, record: Record) -> bool:
    """Whether the training is of the share that goes on although it is not worth it."""
    return _drawn_to_audit(search.seed, record.strategy, record.network) < search.audit


@lru_cache(maxsize=100_000)
def _drawn_to_audit(seed: int, strategy: str, network: str) -> float:
    return float(np.random.default_rng(derive_seed(seed, "audit", strategy, network)).random())


def _frozen(records: Sequence[Record]) -> list[Record]:
    """Stopped trainings of networks that nobody is training."""
    stopped, busy = list[Record](), set[str]()
    for record in records:
        if record.state == "stopped":
            stopped.append(record)
        elif record.state in ("running", "waiting"):
            busy.add(record.network)
    return [record for record in stopped if record.network not in busy]
