"""A table that holds a sample of its space: whatever is proposed is answered by the nearest row that is left.

The same for every strategy: those of nas find the row when a proposal is fitted, as they find a network within budget
in a space; a sampler of Optuna's has its proposal replaced. Trials are recorded as the rows they were answered by.
"""

import itertools
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from tables import Row, Table

from nas.network.folds import Cost
from nas.space.budget import Budget
from nas.space.space import Knob, Knobs, Value

NUMBERS = 0.01
"""What the two ends of a knob of numbers differ by beyond two other options, in knobs that differ."""


class Sample:
    """The rows within budget, and those of them that were answered with, as a search goes on."""

    def __init__(self, table: Table, budget: Budget) -> None:
        self.table, self.knobs = table, table.knobs
        self.within = [key for key, row in table.rows.items() if row.parameters <= budget.parameters]
        self.left = np.ones(len(self.within), dtype=bool)
        self._places = {key: place for place, key in enumerate(self.within)}

    def row(self, knobs: Knobs) -> Row | None:
        """The network of the settings."""
        return self.table.row(knobs)

    def identity(self, knobs: Knobs) -> str:
        """Each row is a network of its own."""
        return self.table.identity(knobs)

    def cost(self, knobs: Knobs) -> Cost | None:
        """Of its row, None where it has none: that is no network."""
        return self.table.cost(knobs)

    def settled(self, knobs: Knobs) -> dict[str, Value]:
        """The same: every knob counts."""
        return dict(knobs)

    def features(self, knobs: Knobs) -> tuple[float, ...]:
        """See `Table.features`."""
        return self.table.features(knobs)

    def nearest(self, knobs: Knobs, budget: Budget) -> dict[str, Value]:
        """See `nas.space.draw.Listed`."""
        away = self._distances(knobs)
        return self._settings(int(np.where(self.left, away, away + 2 * len(self.knobs)).argmin()))

    def answer(self, knobs: Knobs) -> dict[str, Value]:
        """The nearest row that is left; it is not left then."""
        settings = self.nearest(knobs, Budget(1))
        self.left[self._places[tuple(settings.values())]] = False
        return settings

    def _settings(self, place: int) -> dict[str, Value]:
        return dict(zip((knob.name for knob in self.knobs), self.within[place], strict=True))

    @cached_property
    def _lines(self) -> list[Mapping[Value, int]]:
        """For each knob, where in `_away` the line of each option is."""
        ends = [0, *itertools.accumulate(len(knob.options) for knob in self.knobs)]
        return [
            {option: end + i for i, option in enumerate(knob.options)}
            for knob, end in zip(self.knobs, ends, strict=False)
        ]

    @cached_property
    def _away(self) -> npt.NDArray[np.float64]:
        """What each option of each knob adds to the distance from each row [options, rows]."""
        places = [[knob.options.index(key[i]) for key in self.within] for i, knob in enumerate(self.knobs)]
        return np.vstack([_differences(knob)[:, place] for knob, place in zip(self.knobs, places, strict=True)])

    def _distances(self, knobs: Knobs) -> npt.NDArray[np.float64]:
        """Of each row: how many knobs differ and, much less, by how much."""
        found: npt.NDArray[np.float64] = self._away[
            [of[knobs[knob.name]] for knob, of in zip(self.knobs, self._lines, strict=True)]
        ].sum(axis=0)
        return found


def _differences(knob: Knob) -> npt.NDArray[np.float64]:
    count = len(knob.options)
    differ = 1.0 - np.eye(count)
    if count > 1 and all(isinstance(option, int) for option in knob.options):
        steps = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
        return differ + NUMBERS * steps / (count - 1)
    return differ


class Answered(BaseSampler):
    """A sampler whose proposals are answered by rows."""

    def __init__(self, sampler: BaseSampler, sample: Sample, kinds: dict[str, BaseDistribution]) -> None:
        self.sampler, self.sample, self.kinds = sampler, sample, kinds

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every knob."""
        return self.kinds

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The row for what the sampler proposes."""
        joint = self.sampler.infer_relative_search_space(study, trial)
        settings = self.sampler.sample_relative(study, trial, joint)
        for name, kind in self.kinds.items():
            if name not in settings:
                settings[name] = self.sampler.sample_independent(study, trial, name, kind)
        return self.sample.answer({knob.name: settings[knob.name] for knob in self.sample.knobs})

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never: all are sampled together."""
        raise ValueError(f"{param_name!r} is no knob of the table")


def is_sample(table: Table) -> bool:
    """Whether some settings have no row."""
    return len(table.rows) < math.prod(len(knob.options) for knob in table.knobs)
