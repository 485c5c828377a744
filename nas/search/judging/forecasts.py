"""What a model of the space forecasts of networks, whatever their curves show: a prior for the judge of trainings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nas.search.records import Record
from nas.search.sampling.surrogate import Describer, Surrogate, learnt
from nas.space.space import Searchable

FEWEST = 10
"""Networks measured to the last epoch from which on a forecast is made."""

MOST = 200
"""Networks, the latest, that a forecast is made from: its time grows with the cube of their number."""

TOGETHER = 256
"""Networks that are forecast at once, when one of them is asked for."""

Forecast = Callable[[Record], tuple[float, float] | None]
"""Mean and deviation of the accuracy at the last epoch, None where nothing is forecast."""


def no_forecast(record: Record) -> None:
    """What is forecast where no model is asked: nothing."""


class Forecaster:
    """Forecasts the networks of one search; their description is remembered between calls."""

    def __init__(self, space: Searchable) -> None:
        self._describer = Describer(space)
        self._names = {knob.name for knob in space.knobs}
        self._learnt: tuple[list[tuple[str, float]], Surrogate] | None = None

    def forecast(self, records: Iterable[Record]) -> Forecast:
        """The forecast of any network, from those of the records that were measured; of one of these, from the others.
        Nothing while fewer than FEWEST were, nor of what is no network of the space."""
        of_space = [record for record in records if record.network and record.knobs.keys() == self._names]
        of_space.sort(key=lambda record: (record.is_measured, record.latest))  # what was measured counts
        own = {record.network: record for record in of_space}
        known = sorted((r for r in own.values() if r.is_measured), key=lambda r: (r.latest, r.network))[-MOST:]
        if len(known) < FEWEST:
            return no_forecast
        model = self._model(known)
        means, deviations = (map(float, values) for values in model.left_out())
        found = dict(zip((record.network for record in known), zip(means, deviations, strict=True), strict=True))
        others = [record for record in own.values() if record.network not in found]
        return _Forecast(model, self._describer, self._names, others, found)

    def _model(self, known: Sequence[Record]) -> Surrogate:
        """What the networks teach; that of the last call where they are the same."""
        measured = [(record.network, record.accuracy) for record in known]
        if self._learnt is None or self._learnt[0] != measured:
            knobs = [record.knobs for record in known]
            columns, description = self._describer.columns(knobs), self._describer.description(knobs)
            self._learnt = measured, learnt(columns, description, [record.accuracy for record in known])
        return self._learnt[1]


@dataclass
class _Forecast:
    """What a model forecasts; a network that is asked for brings its neighbours in `others` with it."""

    model: Surrogate
    describer: Describer
    names: set[str]
    others: Sequence[Record]
    found: dict[str, tuple[float, float]]
    places: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.places = {record.network: place for place, record in enumerate(self.others)}

    def __call__(self, record: Record) -> tuple[float, float] | None:
        if record.network not in self.found and record.network and set(record.knobs) == self.names:
            place = self.places.get(record.network)
            first = 0 if place is None else place - place % TOGETHER
            asked = [record] if place is None else self.others[first : first + TOGETHER]
            knobs = [each.knobs for each in asked]
            mean, uncertain = self.model.predict(self.describer.columns(knobs), self.describer.description(knobs))
            deviations = map(float, np.hypot(uncertain, self.model.noise))
            told = zip(map(float, mean), deviations, strict=True)
            self.found.update(zip((each.network for each in asked), told, strict=True))
        return self.found.get(record.network)
