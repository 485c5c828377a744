"""Optuna's Gaussian process, made feasible as TPE is: its sample, fitted, then recorded as fitted."""

import numpy as np
import optuna
from optuna.study import Study
from optuna.trial import create_trial

from nas.search.sampling.feasible import FeasibleSampler
from nas.space.budget import Budget
from nas.space.space import Knobs


class GPSampler(FeasibleSampler):
    """A Gaussian process: after uniform draws, the highest expected improvement (log EI).

    The first `STARTUP` trials are drawn. The process is fitted to the best and the latest trials only, for its time
    grows with their cube.
    """

    STARTUP = 16
    BEST = 30
    LATEST = 20

    def propose(self, study: Study, target: Budget, rng: np.random.Generator) -> Knobs:
        """Where the process expects to gain most; in a space of choices, its neighbourhood that is within budget."""
        trials = self.told(study)
        ranked = sorted(trials, key=lambda t: -(t.value or 0.0))
        chosen = {t.number: t for t in (*ranked[: self.BEST], *trials[-self.LATEST :])}
        process = optuna.samplers.GPSampler(seed=int(rng.integers(2**32)), n_startup_trials=0)
        known = optuna.create_study(direction="maximize", sampler=process)
        for _, t in sorted(chosen.items()):
            params = {name: t.params[name] for name in self._ranges}
            known.add_trial(create_trial(value=t.value, params=params, distributions=self._ranges))
        return self.fitted(self._default | known.ask(self._ranges).params, target, rng)
