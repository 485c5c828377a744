"""Tree-structured Parzen estimator under the hard budget: Optuna's sample, fitted, then recorded as fitted.

The model learns from networks as they were trained, so its density follows the surface of networks that use the
budget. benchmarks/feasible_tpe.py measures it beside other ways. It needs no private part of Optuna.
"""

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas.draw import draw
from nas.samplers.base import FeasibleSampler, told
from nas.space import Settings


class TPESampler(FeasibleSampler):
    """Uniform draws for the first `STARTUP` trials, then Optuna's multivariate TPE with a constant liar."""

    STARTUP = 16
    CANDIDATES = 32

    def propose(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Settings:
        """The candidate most likely to lie among the good trials rather than the rest."""
        seed = int(rng.integers(2**32))
        if len(told(study)) < self.STARTUP:
            return draw(self.space, np.random.default_rng(seed))
        tpe = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, n_ei_candidates=self.CANDIDATES)
        continuous = {name: _continuous(kind) for name, kind in self._distributions.items()}
        return tpe.sample_relative(study, trial, continuous)


def _continuous(kind: BaseDistribution) -> BaseDistribution:
    """The range without its grid: Optuna's densities on a grid are several times slower, and `fit` rounds anyway."""
    return FloatDistribution(kind.low, kind.high, log=kind.log) if isinstance(kind, IntDistribution) else kind
