"""Proposes the options of a single knob one after another: how baselines are given their trials."""

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas.search.sampling.feasible import distribution
from nas.space.space import Knob


class ListedSampler(BaseSampler):
    """The n-th trial gets the n-th option."""

    def __init__(self, knob: Knob) -> None:
        self.knob = knob

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The knob."""
        return {self.knob.name: distribution(self.knob)}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The option in turn."""
        return {self.knob.name: self.knob.options[trial.number % len(self.knob.options)]}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never: there is one knob."""
        raise ValueError(f"{param_name!r} is not the knob {self.knob.name!r}")
