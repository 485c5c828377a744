"""The baseline: uniform shapes, fitted to the budget."""

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas.search.strategies.base import FeasibleSampler
from nas.space.budget import Budget
from nas.space.draw import draw_within
from nas.space.space import Settings


class RandomSampler(FeasibleSampler):
    """Draws every knob uniformly from its options."""

    def propose(self, study: Study, trial: FrozenTrial, target: Budget, rng: np.random.Generator) -> Settings:
        """A uniform draw within the target."""
        return draw_within(self.space, target, rng)
