"""The control for every strategy that learns: mutants of the space's default, whatever they come to."""

import numpy as np
from optuna.study import Study

from nas.search.sampling.feasible import FeasibleSampler
from nas.space.budget import Budget
from nas.space.space import Knobs


class MutantsSampler(FeasibleSampler):
    """Changes one to three knobs of the space's default, fitted."""

    def propose(self, study: Study, target: Budget, rng: np.random.Generator) -> Knobs:
        """A mutant of the default within the target."""
        return self.mutant(self._default, target, self.seen(study), rng)
