"""Regularised evolution (Real et al. 2019): the oldest die, not the worst."""

import numpy as np
from optuna.study import Study

from nas.search.sampling.feasible import FeasibleSampler
from nas.search.sampling.walk import exchanges
from nas.space.budget import Budget
from nas.space.space import Knobs


class EvolutionSampler(FeasibleSampler):
    """Regularised evolution: the best of a random sample of the latest trials has a child, one knob moved."""

    STARTUP = 24
    """Trials of the population."""
    SAMPLE = 8

    def propose(self, study: Study, target: Budget, rng: np.random.Generator) -> Knobs:
        """A child."""
        population = self.told(study)[-self.STARTUP :]
        seen = self.seen(study)
        child: Knobs = {}
        for _ in range(self.STARTUP):
            sample = rng.choice(len(population), size=self.SAMPLE, replace=False)
            parent = max((population[i] for i in sample), key=lambda t: t.value or 0.0).params
            child = self.fitted(self._mutated(parent, rng), target, rng)
            if self.space.identity(child) not in seen:
                break
        return child

    def _mutated(self, parent: Knobs, rng: np.random.Generator) -> Knobs:
        """One knob, chosen evenly, moved."""
        point = tuple(parent[knob.name] for knob in self.space.knobs)
        moves = list(exchanges(self.space.knobs, point))
        movable = sorted({i for i, _ in moves})
        if not movable:
            return parent
        knob = rng.choice(movable)
        options = [option for i, option in moves if i == knob]
        return dict(parent) | {self.space.knobs[knob].name: options[rng.integers(len(options))]}
