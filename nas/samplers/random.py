"""The baseline: uniform shapes, fitted to the budget."""

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas.draw import draw
from nas.samplers.base import FeasibleSampler
from nas.space import Settings


class RandomSampler(FeasibleSampler):
    """Draws every knob uniformly from its options."""

    def propose(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Settings:
        """A uniform draw."""
        return draw(self.space, rng)
