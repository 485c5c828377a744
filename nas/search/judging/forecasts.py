"""What a model of the space forecasts of networks, whatever their curves show: a prior for the judge of trainings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nas.search.judging.standings import taught_of
from nas.search.records import Record
from nas.search.sampling.surrogate import Describer, Surrogate, learnt
from nas.space.space import Searchable

FEWEST = 10
"""Networks measured to the last epoch from which on a forecast is made."""

MOST = 200
"""Networks, the latest, that a forecast is made from: its time grows with the cube of their number."""

Forecast = Callable[[Sequence[Record]], Sequence[tuple[float, float] | None]]
"""Mean and deviation of the accuracy at the last epoch of each network, None where nothing is forecast."""


def no_forecast(records: Sequence[Record]) -> list[None]:
    """What is forecast where no model is asked: nothing."""
    return [None] * len(records)


class Forecaster:
    """Forecasts the networks of one search; their description is remembered between calls."""

    def __init__(self, space: Searchable) -> None:
        self._describer = Describer(space)
        self._names = {knob.name for knob in space.knobs}
        self._learnt: tuple[list[tuple[str, float]], _Forecast] | None = None

    def forecast(self, records: Sequence[Record]) -> Forecast:
        """The forecast of any network, from those of the records that were measured; of one of these, from the others.
        The same as at the last call where they teach the same; nothing while fewer than FEWEST were, nor of what is no
        network of the space."""
        measured = [r for r in records if r.is_measured and r.network and r.knobs.keys() == self._names]
        own = {record.network: record for record in sorted(measured, key=lambda record: record.latest)}
        latest = sorted(own.values(), key=lambda record: (record.latest, record.network))
        told = sum(bool(record.curve) for record in records)  # the same while others are being trained
        known = latest[: taught_of(len(latest), told)][-MOST:]
        if len(known) < FEWEST:
            return no_forecast
        values = [(record.network, record.accuracy) for record in known]
        if self._learnt is None or self._learnt[0] != values:
            self._learnt = values, self._learn(known)
        return self._learnt[1]

    def _learn(self, known: Sequence[Record]) -> "_Forecast":
        knobs = [record.knobs for record in known]
        columns, description = self._describer.columns(knobs), self._describer.description(knobs)
        model = learnt(columns, description, [record.accuracy for record in known])
        told = zip(*(map(float, values) for values in model.left_out()), strict=True)
        found = dict(zip((record.network for record in known), told, strict=True))
        return _Forecast(model, self._describer, self._names, found)


@dataclass
class _Forecast:
    """What a model forecasts, remembered by network."""

    model: Surrogate
    describer: Describer
    names: set[str]
    found: dict[str, tuple[float, float]]

    def __call__(self, records: Sequence[Record]) -> list[tuple[float, float] | None]:
        asked = {r.network: r.knobs for r in records if r.network and r.network not in self.found}
        asked = {network: knobs for network, knobs in asked.items() if knobs.keys() == self.names}
        if asked:
            knobs = list(asked.values())
            mean, uncertain = self.model.predict(self.describer.columns(knobs), self.describer.description(knobs))
            deviations = np.hypot(uncertain, self.model.noise)
            self.found.update(zip(asked, zip(map(float, mean), map(float, deviations), strict=True), strict=True))
        return [self.found.get(record.network) for record in records]
