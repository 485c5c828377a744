"""What a model of the space forecasts of networks, whatever their curves show: a prior for the judge of trainings."""

from collections.abc import Iterable

import numpy as np

from nas.search.records import Record
from nas.search.sampling.surrogate import Describer, learnt
from nas.space.space import Searchable

FEWEST = 10
"""Networks measured to the last epoch from which on a forecast is made."""

MOST = 200
"""Networks, the latest, that a forecast is made from: its time grows with the cube of their number."""

Forecasts = dict[str, tuple[float, float]]
"""Mean and deviation of the accuracy at the last epoch, by fingerprint."""


def no_forecasts(records: Iterable[Record]) -> Forecasts:
    """What is forecast where no model is asked: nothing."""
    return {}


class Forecaster:
    """Forecasts the networks of one search; their description is remembered between calls."""

    def __init__(self, space: Searchable) -> None:
        self._describer = Describer(space)
        self._names = {knob.name for knob in space.knobs}

    def forecasts(self, records: Iterable[Record]) -> Forecasts:
        """The forecast of every network of the records, from those that were measured; of a measured one, from the
        others. Empty while fewer than FEWEST were."""
        of_space = [record for record in records if record.network and set(record.knobs) == self._names]
        of_space.sort(key=lambda record: (record.is_measured, record.latest))  # what was measured counts
        own = {record.network: record for record in of_space}
        known = sorted((r for r in own.values() if r.is_measured), key=lambda r: (r.latest, r.network))[-MOST:]
        if len(known) < FEWEST:
            return {}
        taught_by = {record.network for record in known}
        others = [record for record in own.values() if record.network not in taught_by]
        taught = [record.knobs for record in known]
        columns, description = self._describer.columns(taught), self._describer.description(taught)
        model = learnt(columns, description, [record.accuracy for record in known])
        found = dict(zip((record.network for record in known), zip(*model.left_out(), strict=True), strict=True))
        if others:
            asked = [record.knobs for record in others]
            mean, uncertain = model.predict(self._describer.columns(asked), self._describer.description(asked))
            uncertain = np.hypot(uncertain, model.noise)
            found |= dict(zip((record.network for record in others), zip(mean, uncertain, strict=True), strict=True))
        return {network: (float(mean), float(deviation)) for network, (mean, deviation) in found.items()}
