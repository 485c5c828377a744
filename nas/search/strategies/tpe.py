"""Tree-structured Parzen estimator under the hard budget.

Where knobs can be scaled: Optuna's sample, fitted, then recorded as fitted. The model learns from networks as they were
trained, so its density follows the surface of networks that use the budget.

Where every knob is a choice, nothing can be fitted: the estimator of Bergstra et al. (2011), one density a knob, whose
candidates are ranked and the first taken that is within budget and new. Optuna's own, with the same candidates masked,
needs a private hook and was found no better and several times slower.

benchmarks/feasible_tpe.py and benchmarks/strategies.py measure both beside other ways.
"""

import math
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.search.sampling.feasible import FeasibleSampler
from nas.space.budget import Budget
from nas.space.draw import Listed, draw_within
from nas.space.space import Knobs, Value

Indices = npt.NDArray[np.int64]


class TPESampler(FeasibleSampler):
    """Parzen estimators: after uniform draws, the candidate most likely to be good rather than not.

    The first `STARTUP` trials are drawn.
    """

    STARTUP = 16
    CANDIDATES = 24
    CHOICE_CANDIDATES = 256
    GOOD_SHARE = 0.15
    """Trials that count as good in a space of choices."""
    PRIOR = 2.0
    """Weight, in trials, of the uniform distribution in each knob's density in a space of choices."""

    def propose(self, study: Study, target: Budget, rng: np.random.Generator) -> Knobs:
        """Knobs that resemble the good trials more than the rest."""
        trials = self.told(study)
        if all(knob.role == "choice" for knob in self.space.knobs):
            return self._chosen(trials, target, self.seen(study), rng)
        seed = int(rng.integers(2**32))
        tpe = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, n_ei_candidates=self.CANDIDATES)
        running = [t for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if t.params]
        known = _Told(sorted([*trials, *running], key=lambda t: t.number))
        asked = create_trial(state=TrialState.RUNNING)
        sample = tpe.sample_relative(optuna.create_study(direction="maximize", storage=known), asked, self._ranges)
        return self.fitted(self._default | sample, target, rng)

    def _chosen(self, trials: Sequence[FrozenTrial], target: Budget, seen: set[str], rng: np.random.Generator) -> Knobs:
        """The best-ranked candidate that is within the target and new; a draw where there is none."""
        ranked = sorted(trials, key=lambda t: -(t.value or 0.0))
        good = math.ceil(len(ranked) * self.GOOD_SHARE)
        drawn, scores = [], []
        for knob in self.space.knobs:
            tried = np.array([knob.options.index(t.params[knob.name]) for t in ranked])
            likely = self._density(tried[:good], len(knob.options))
            unlikely = self._density(tried[good:], len(knob.options))
            drawn.append(rng.choice(len(knob.options), size=self.CHOICE_CANDIDATES, p=likely))
            scores.append(dict(zip(knob.options, np.log(likely / unlikely), strict=True)))
        candidates: list[dict[str, Value]] = [
            {knob.name: knob.options[i] for knob, i in zip(self.space.knobs, line, strict=True)}
            for line in zip(*drawn, strict=True)
        ]
        if isinstance(self.space, Listed):
            candidates = [self.fitted(knobs, target, rng) for knobs in candidates]
        promise = [sum(of[value] for of, value in zip(scores, knobs.values(), strict=True)) for knobs in candidates]
        for i in map(int, np.argsort(-np.array(promise), kind="stable")):
            cost = self.space.cost(candidates[i])
            if cost and target.covers(cost) and self.space.identity(candidates[i]) not in seen:
                return candidates[i]
        return draw_within(self.space, target, rng)

    def _density(self, indices: Indices, options: int) -> npt.NDArray[np.float64]:
        counts = np.bincount(indices, minlength=options).astype(np.float64) + self.PRIOR / options
        density: npt.NDArray[np.float64] = counts / counts.sum()
        return density


class _Told(InMemoryStorage):
    """The trials of a study as Optuna's own samplers read them, whatever they write on the trial that they sample for:
    there is none yet. Adding a thousand trials to a study of Optuna's takes as long as sampling."""

    def __init__(self, trials: list[FrozenTrial]) -> None:
        super().__init__()
        self._told = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Those that were told."""
        return [t for t in self._told if states is None or t.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Nothing."""
