"""What is proposed for a trial before the trial exists, so that it appears in the journal whole or not at all."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from nas.search.journal import open_trial
from nas.search.notes import Notes, read_notes, write_notes
from nas.space.space import Knob, Value


class Proposal(NamedTuple):
    """Knobs to try next; `exhausted` where nothing was found that the study does not have."""

    knobs: dict[str, Value]
    exhausted: bool = False


class ProposingSampler(BaseSampler, ABC):
    """A sampler that says what it proposes for a trial that does not exist yet. Where Optuna drives it, each trial is
    given the proposal of its number, and the user attribute "exhausted" where that was so."""

    def __init__(self, knobs: Sequence[Knob]) -> None:
        self.distributions = {knob.name: distribution(knob) for knob in knobs}

    @abstractmethod
    def proposal(self, study: Study, number: int) -> Proposal:
        """The proposal for the trial of that number."""

    def ahead(self, study: Study, number: int, worker: int) -> Proposal | None:
        """What that worker could propose for a trial from that number on, thought of before it is known which; no other
        worker thinks of the same. None if the number decides."""
        return None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every knob, always: the search space is fixed."""
        return self.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The proposal."""
        knobs, is_exhausted = self.proposal(study, trial.number)
        if is_exhausted:
            write_notes(open_trial(study, trial.number), Notes(exhausted=True))
        return knobs

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never: a knob sampled alone could break the budget."""
        raise ValueError(f"{param_name!r} is no knob of the space; its knobs are {', '.join(self.distributions)}")


def distribution(knob: Knob) -> BaseDistribution:
    """The knob for Optuna: numbers as a range in which the options lie (log where they spread over a factor of 8)."""
    if knob.role == "choice":
        return CategoricalDistribution(knob.options)
    low, high = knob.options[0], knob.options[-1]
    log = float(low) > 0 and float(high) / float(low) >= 8
    if not all(isinstance(option, int) for option in knob.options):
        return FloatDistribution(float(low), float(high), log=log)
    return IntDistribution(int(low), int(high), log=log)


def suggest(trial: Trial, knob: Knob) -> Value:
    """The trial's option of the knob, through Optuna's own calls."""
    kind = distribution(knob)
    if isinstance(kind, IntDistribution):
        return trial.suggest_int(knob.name, kind.low, kind.high, log=kind.log)
    if isinstance(kind, FloatDistribution):
        return trial.suggest_float(knob.name, kind.low, kind.high, log=kind.log)
    return knob.options[knob.options.index(trial.suggest_categorical(knob.name, knob.options))]


def exhausted(study: Study, number: int) -> bool:
    """Whether nothing new was left to propose for the trial of that number."""
    return read_notes(study.get_trials(deepcopy=False)[number]).exhausted
