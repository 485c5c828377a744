"""A linear model of the space, asked for the best of many mutants of the best networks."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas.search.sampling.feasible import FeasibleSampler
from nas.search.sampling.mutants import mutated
from nas.search.sampling.outcomes import worths
from nas.search.sampling.surrogate import DESCRIPTIONS, Array, Describer, Surrogate, learnt
from nas.space.budget import Budget
from nas.space.draw import draw
from nas.space.space import Knobs, Value


class LinearSampler(FeasibleSampler):
    """A linear model of knobs and network, asked for the best of many mutants of the best networks.

    After the first `STARTUP` trials, the `BEST` and the `LATEST` networks told are smoothed by the model; of
    `CANDIDATES` mutants of the best `PARENTS` of them, and a few draws, it proposes the one that a draw from the
    model's belief says is best. Where a network must be fitted, which takes longest, only the `FITTED` most
    promising are, roughly, and judged again with what the model knows of whole networks; the chosen one is then fitted
    in full.
    """

    STARTUP = 8
    PARENTS = 8
    CANDIDATES = 128
    FITTED = 6
    ROUGHLY = 0.9
    """Share of the budget that candidates are made to use before one is chosen."""
    BEST = 150
    LATEST = 100
    DRAWN = 0.1
    """Share of candidates that are uniform draws."""
    CURIOSITY = 0.5
    """Standard deviations by which a candidate's forecast is varied at random: unknown regions get their turn, and
    workers that ask at once get different answers."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._describer = Describer(self.space)
        self._scales = any(knob.role != "choice" for knob in self.space.knobs)

    def propose(self, study: Study, target: Budget, rng: np.random.Generator) -> Knobs:
        """The most promising mutant."""
        trials = self._taught(self.told(study))
        known = [t.params for t in trials]
        columns, description = self._describer.columns(known), self._describer.description(known)
        values, doubts = worths([self.outcome_of(t) for t in trials])
        of_knobs, of_both = (learnt(columns, description, values, doubts, weights=[w]) for w in DESCRIPTIONS)
        model = max(of_knobs, of_both, key=attrgetter("likelihood"))
        smoothed, _ = model.predict(columns, description)
        parents = [known[i] for i in np.argsort(-smoothed, kind="stable")[: self.PARENTS]]
        candidates = [self._candidate(parents, rng) for _ in range(self.CANDIDATES)]
        if self._scales:
            candidates = self._most_promising(of_knobs, candidates, rng)
        rough = [self.fitted(knobs, target, rng, goal=self.ROUGHLY) for knobs in candidates]
        promise = self._drawn(model, self._describer.encoder.columns(rough), self._describer.description(rough), rng)
        return self._first_new([rough[i] for i in np.argsort(-promise, kind="stable")], study, target, rng)

    def _first_new(
        self, ranked: Sequence[Knobs], study: Study, target: Budget, rng: np.random.Generator
    ) -> dict[str, Value]:
        """The first that is a network which the study lacks once it is fitted, else the first."""
        seen = self.seen(study)
        full = list[dict[str, Value]]()
        for knobs in ranked:
            full.append(self.fitted(knobs, target, rng))
            if self.space.identity(full[-1]) not in seen:
                return full[-1]
        return full[0]

    def _taught(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The best and the latest, each network once: the model's time grows with the cube of their number."""
        best = sorted(trials, key=lambda t: -(t.value or 0.0))[: self.BEST]
        return list({t.number: t for t in (*best, *trials[-self.LATEST :])}.values())

    def _candidate(self, parents: Sequence[Knobs], rng: np.random.Generator) -> Knobs:
        if rng.random() < self.DRAWN:
            return draw(self.space, rng)
        return mutated(self.space.knobs, parents[int(rng.integers(len(parents)))], rng)

    def _most_promising(self, model: Surrogate, candidates: Sequence[Knobs], rng: np.random.Generator) -> list[Knobs]:
        promise = self._drawn(model, self._describer.encoder.columns(candidates), np.zeros((len(candidates), 0)), rng)
        return [candidates[i] for i in np.argsort(-promise, kind="stable")[: self.FITTED]]

    def _drawn(self, model: Surrogate, columns: Array, description: Array, rng: np.random.Generator) -> Array:
        mean, uncertain = model.predict(columns, description)
        drawn: Array = mean + self.CURIOSITY * uncertain * rng.normal(size=len(mean))
        return drawn
