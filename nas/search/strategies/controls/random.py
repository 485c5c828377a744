"""The baseline: uniform shapes, fitted to the budget."""

import numpy as np
from optuna.study import Study

from nas.search.sampling.feasible import FeasibleSampler
from nas.space.budget import Budget
from nas.space.draw import draw_within
from nas.space.space import Knobs


class RandomSampler(FeasibleSampler):
    """Draws every knob uniformly from its options."""

    def propose(self, study: Study, target: Budget, rng: np.random.Generator) -> Knobs:
        """A uniform draw within the target."""
        return draw_within(self.space, target, rng)
