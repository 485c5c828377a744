"""Proposes the options of a single knob one after another: how baselines are given their trials."""

from optuna.study import Study

from nas.search.sampling.proposals import Proposal, ProposingSampler
from nas.space.space import Knob


class ListedSampler(ProposingSampler):
    """The n-th trial gets the n-th option."""

    def __init__(self, knob: Knob) -> None:
        super().__init__([knob])
        self.knob = knob

    def proposal(self, study: Study, number: int) -> Proposal:
        """The option in turn."""
        return Proposal({self.knob.name: self.knob.options[number % len(self.knob.options)]})
