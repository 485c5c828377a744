"""The contract of every strategy: an Optuna sampler whose proposals are within budget by construction.

A strategy answers one question, `propose`: which knobs to try next. The base fits the answer to the budget, avoids
networks that the study already has, and keeps no state: a proposal is a function of the seed, the trial's number and
the trials told so far, so that a killed search resumes exactly and workers are interchangeable.
"""

import itertools
import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.search.notes import first_of, left_aside, read_notes
from nas.search.sampling.mutants import mutated
from nas.search.sampling.outcomes import Outcome, outcome
from nas.search.sampling.proposals import Proposal, ProposingSampler
from nas.seeds import derive_seed
from nas.space.budget import Budget
from nas.space.designs import design_within, designs_for
from nas.space.draw import GOAL, check_satisfiable, draw, draw_within, fit
from nas.space.space import Knobs, Searchable, Value

ATTEMPTS = 30
"""How often a proposal is varied when it is a network that the study has; the later half of the time for smaller
networks too."""

MUTANTS = 10
"""How often a mutant is made that the study may not have: a knob that does not matter makes none."""

UNIFORM = 0.2
"""Share of uniform draws among the first proposals of a strategy."""

DOUBT = 4
"""Networks told from which on the default may be found to be a bad one."""

ENUMERABLE = 20_000
"""Combinations of knobs of a space that are looked through, if there are no more, before it is said to have nothing new
left."""


class FeasibleSampler(ProposingSampler):
    """Samples every knob of the space jointly; the network is never over budget.

    The first trials are the `starts` (good networks of another budget), if any, the space's default and its
    `beginnings`, each given by the knobs in which it differs (in the order of `nas.space.designs.designs_for`); all
    fitted. A share `below` of the others aims at smaller networks (see `draw_target`). When nothing is found that the
    study does not have, a known network is proposed all the same, for the caller to replay, and the proposal is
    `exhausted`.
    Raises BudgetError if the space has no network within budget.
    """

    STARTUP: ClassVar[int] = 0
    """Trials that must be told before `propose` is asked: until then, `begun` proposes."""

    def __init__(
        self,
        space: Searchable,
        budget: Budget,
        *,
        seed: int,
        below: float = 0.25,
        starts: Sequence[Knobs] = (),
        beginnings: Sequence[Knobs] = (),
    ) -> None:
        super().__init__(space.knobs)
        self.space, self.budget, self.seed, self.below = space, budget, seed, below
        designs = designs_for(space, beginnings, budget)
        self._default, self._beginnings = designs[0], (*starts, *designs)
        self._smallest = check_satisfiable(space, budget, getattr(space, "name", "table"))
        self._ranges = {n: _continuous(kind) for n, kind in self.distributions.items() if not kind.single()}
        self._study_name = ""
        self.forget()

    def forget(self) -> None:
        """Drops what was remembered of a study only to save time."""
        self._identities: dict[int, str] = {}
        self._looked_at = 0
        self._unknown: list[int] = []
        self._told: tuple[int, set[int], Sequence[FrozenTrial]] = 0, set(), ()
        self._complete: set[int] = set()
        self._latest: dict[int, FrozenTrial] = {}
        self._outcomes_of: dict[int, Outcome] = {}

    def explain(self, study: Study) -> list[str] | None:
        """What the strategy did in a study so far, step by step in words; None if it keeps no log."""
        return None

    @classmethod
    def keeps_log(cls) -> bool:
        """Whether the strategy explains what it did."""
        return cls.explain is not FeasibleSampler.explain

    @abstractmethod
    def propose(self, study: Study, target: Budget, rng: np.random.Generator) -> Knobs:
        """Knobs to try next, within the target; `fitted` makes any knobs so."""

    def fitted(self, knobs: Knobs, target: Budget, rng: np.random.Generator, *, goal: float = GOAL) -> dict[str, Value]:
        """The knobs, whose numbers need not be among the options' own, snapped to the options and fitted."""
        snapped = dict(knobs)
        for knob in self.space.knobs:
            if knob.role != "choice" and not isinstance(value := knobs[knob.name], str):
                snapped[knob.name] = knob.options[knob.nearest(float(value))]
        return fit(self.space, snapped, target, rng, goal=goal)

    def proposal(self, study: Study, number: int) -> Proposal:
        """One option a knob, of a network within budget."""
        return self._proposal(study, number, np.random.default_rng(derive_seed(self.seed, "proposal", number)))

    def ahead(self, study: Study, number: int, worker: int) -> Proposal | None:
        """None among those with which all strategies begin."""
        if number < len(self._beginnings):
            return None
        return self._proposal(study, number, np.random.default_rng(derive_seed(self.seed, "ahead", number, worker)))

    def _proposal(self, study: Study, number: int, rng: np.random.Generator) -> Proposal:
        if study.study_name != self._study_name:
            self.forget()
            self._study_name = study.study_name
        seen = self.seen(study)
        target = draw_target(self.budget, self._smallest.parameters, self.below, rng)
        if number < len(self._beginnings):  # alike in all strategies
            knobs = design_within(self.space, self._beginnings[number], self.budget)
        elif len(self.told(study)) < self.STARTUP:
            knobs = self.begun(study, target, seen, rng)
        else:
            knobs = dict(self.propose(study, target, rng))
        if self.space.identity(knobs) not in seen:
            return Proposal(knobs)
        fresh = self._varied_until_new(knobs, target, seen, rng) or self._enumerated(seen, rng)
        return Proposal(knobs, exhausted=True) if fresh is None else Proposal(fresh)

    def begun(self, study: Study, target: Budget, seen: set[str], rng: np.random.Generator) -> dict[str, Value]:
        """What a strategy that knows little yet proposes: a share `UNIFORM` of draws, else mutants of the best of those
        that it began with or, as often, of the best network told. Where what it began with is worse than most of
        `DOUBT` networks or more, it is left behind: half draws, half mutants of the best."""
        known, first = self.told(study), self.best_beginning(study)
        better = sum(_value(trial) > _value(first) for trial in known) if first else 0
        is_bad = len(known) >= DOUBT and 2 * better > len(known)
        if rng.random() < (0.5 if is_bad else UNIFORM):
            return draw_within(self.space, target, rng)
        given = first.params if first else self._default
        parent = self.best_told(study) if is_bad or rng.random() < 0.5 else given
        return self.mutant(parent, target, seen, rng)

    def best_told(self, study: Study) -> Knobs:
        """The knobs of the best network told, the default's where none is."""
        best = max(self.told(study), key=_value, default=None)
        return best.params if best else self._default

    def best_beginning(self, study: Study) -> FrozenTrial | None:
        """The best of the trials with which all strategies begin, of those told; None where none is."""
        begun = [trial for trial in self.told(study) if first_of(trial) < len(self._beginnings)]
        return max(begun, key=_value, default=None)

    def mutant(self, parent: Knobs, target: Budget, seen: set[str], rng: np.random.Generator) -> dict[str, Value]:
        """A mutant of the parent, fitted; one that the study does not have, if a few tries find one."""
        for _ in range(MUTANTS):
            knobs = fit(self.space, mutated(self.space.knobs, parent, rng), target, rng)
            if self.space.identity(knobs) not in seen:
                break
        return knobs

    def _varied_until_new(
        self, knobs: Knobs, target: Budget, seen: set[str], rng: np.random.Generator
    ) -> dict[str, Value] | None:
        for attempt in range(ATTEMPTS):
            if attempt >= ATTEMPTS // 2:
                target = draw_target(self.budget, self._smallest.parameters, 1.0, rng)
            varied = fit(self.space, self._varied(knobs, 1 + attempt // 4, rng), target, rng)
            if self.space.identity(varied) not in seen:
                return varied
        return None

    def _enumerated(self, seen: set[str], rng: np.random.Generator) -> dict[str, Value] | None:
        """A network within budget that the study lacks, by looking through a space that is small enough for that."""
        unseen = [knobs for identity, knobs in self._every_network.items() if identity not in seen]
        return unseen[rng.integers(len(unseen))] if unseen else None

    @cached_property
    def _every_network(self) -> dict[str, dict[str, Value]]:
        """Knobs of every network within budget, by identity; empty if the space is too large to look through."""
        found: dict[str, dict[str, Value]] = {}
        if math.prod(len(knob.options) for knob in self.space.knobs) <= ENUMERABLE:
            for options in itertools.product(*(knob.options for knob in self.space.knobs)):
                knobs = dict(zip(self._default, options, strict=True))
                cost = self.space.cost(knobs)
                if cost and self.budget.covers(cost):
                    found.setdefault(self.space.identity(knobs), knobs)
        return found

    def _varied(self, knobs: Knobs, changes: int, rng: np.random.Generator) -> dict[str, Value]:
        """The same with that many of them drawn again."""
        chosen = rng.permutation(len(self.space.knobs))[:changes]
        fresh = draw(self.space, rng)
        return dict(knobs) | {self.space.knobs[i].name: fresh[self.space.knobs[i].name] for i in chosen}

    def outcome_of(self, trial: FrozenTrial) -> Outcome:
        """What a trial of the study that has ended came to."""
        if trial.number not in self._outcomes_of:
            self._outcomes_of[trial.number] = outcome(trial)
        return self._outcomes_of[trial.number]

    def told(self, study: Study) -> Sequence[FrozenTrial]:
        """The completed trials that have knobs, in the order in which their networks were proposed; of a training that
        was stopped and went on, the last one."""
        complete, aside = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), left_aside(study)
        if self._told[:2] != (len(complete), aside):
            for trial in reversed(complete):
                if len(self._complete) == len(complete):
                    break
                if trial.number not in self._complete:
                    self._complete.add(trial.number)
                    self._take_in(trial)
            self._told = len(complete), aside, [self._latest[n] for n in sorted(self._latest) if n not in aside]
        return self._told[2]

    def _take_in(self, trial: FrozenTrial) -> None:
        first = first_of(trial)
        if trial.params and (first not in self._latest or self._latest[first].number < trial.number):
            self._latest[first] = trial

    def seen(self, study: Study) -> set[str]:
        """Networks of the study's trials, whatever became of them."""
        trials = study.get_trials(deepcopy=False)
        self._unknown = [*self._unknown, *range(self._looked_at, len(trials))]
        self._looked_at = len(trials)
        for trial in map(trials.__getitem__, self._unknown):
            if trial.params.keys() == self.distributions.keys():
                self._identities[trial.number] = read_notes(trial).network or self.space.identity(trial.params)
        self._unknown = [number for number in self._unknown if number not in self._identities]
        return set(self._identities.values())


def draw_target(budget: Budget, smallest: int, below: float, rng: np.random.Generator) -> Budget:
    """The budget itself or, with probability `below`, one log-uniform between a sixteenth of it (or the smallest
    network) and itself, so that the front has smaller networks to show."""
    aims_below = rng.random() < below
    low = min(max(smallest, budget.parameters // 16), budget.parameters)
    parameters = math.exp(rng.uniform(math.log(low), math.log(budget.parameters)))
    return budget.within(max(low, int(parameters))) if aims_below else budget


def _continuous(kind: BaseDistribution) -> BaseDistribution:
    """The range without its grid: Optuna's densities on a grid are several times slower, and `fit` rounds anyway."""
    return FloatDistribution(kind.low, kind.high, log=kind.log) if isinstance(kind, IntDistribution) else kind


def _value(trial: FrozenTrial) -> float:
    return trial.value or 0.0
