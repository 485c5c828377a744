"""Policies that spend epochs on recorded curves: ours, the simple ones, Optuna's pruners, an early report's idea.

Each is given the curves of networks in the order of their arrival and says which network it would deliver, for how many
epochs in all. What it may look at is the curve of a network up to the epoch that it has paid for.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner

from nas.stopping.curves import Curve, Prediction
from nas.stopping.extrapolator import Extrapolator
from nas.stopping.rules import Extrapolate, default_threshold, is_checked, to_resume

Array = npt.NDArray[np.float64]

THRESHOLDS = (0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002)
FOR_GOOD = (0.2, 0.1, 0.05, 0.02, 0.01)
"""The same where what is stopped does not go on."""
FIRST_EPOCHS = (1, 2, 3, 5, 9)
SHARES = (0.02, 0.05, 0.10)
RUNGS = ((1, 0.40), (2, 0.20), (3, 0.10), (5, 0.05), (9, 0.02))
"""Successive halving: after so many epochs this share of all goes on."""
LEAST_FITTED = 3
"""Epochs that three parameters are fitted to."""
RUNGS_FOR = 20
"""Epochs that these rungs are meant for."""
REFIT = 1.05
"""The replay fits its predictions anew when it has seen this many times the epochs; a search does so every time."""


@dataclass(frozen=True)
class Race:
    """Networks in the order of their arrival: accuracies [networks, epochs], 0–1, what describes each network, over how
    many of the last epochs a final value is the mean, and training losses [networks, epochs] where they are known."""

    values: Array
    networks: tuple[tuple[float, ...], ...]
    final_epochs: int = 3
    losses: Array | None = None

    @property
    def finals(self) -> Array:
        """Final value of each network."""
        finals: Array = self.values[:, -self.final_epochs :].mean(axis=1)
        return finals

    @property
    def epochs(self) -> int:
        """Epochs of a full training."""
        return int(self.values.shape[1])

    def curve(self, i: int, length: int) -> Curve:
        """The first epochs of a network."""
        losses = () if self.losses is None else tuple((loss, None) for loss in self.losses[i, :length].tolist())
        return Curve(tuple(self.values[i, :length].tolist()), losses, self.networks[i])

    def pick(self, networks: npt.NDArray[np.int64]) -> "Race":
        """Some of them, in this order."""
        losses = None if self.losses is None else self.losses[networks]
        described = tuple(self.networks[i] for i in networks)
        return Race(self.values[networks], described, self.final_epochs, losses)

    def extrapolator(self, curves: Sequence[Curve]) -> Extrapolator:
        """Taught by these, it predicts final values."""
        return Extrapolator(curves, self.epochs, final_epochs=self.final_epochs)


@dataclass(frozen=True)
class Outcome:
    """What a policy came to: the network that it delivers and the epochs that it spent."""

    policy: str
    setting: str
    chosen: int
    spent: int


def every_policy(race: Race, seed: int) -> Iterator[Outcome]:
    """Every policy in each of its settings."""
    yield Outcome("full training", "", int(race.finals.argmax()), race.values.size)
    tried = _Search(race, Extrapolate(race.epochs))
    tried.try_all()
    default = default_threshold(len(race.values))
    for threshold in sorted({*THRESHOLDS, default}, reverse=True):
        yield copy.deepcopy(tried).finish("ours", threshold)
    for threshold in FOR_GOOD:
        for_good = _Search(race, Extrapolate(race.epochs, threshold))
        for_good.try_all(at_once=False)
        yield for_good.finish("ours, stopped for good", 1.0)
    for k in FIRST_EPOCHS:
        if k < race.epochs:
            yield from _first_epochs(race, "k epochs, then the best", k, race.values[:, k - 1])
            if k >= LEAST_FITTED:
                yield from _first_epochs(race, "exponential alone", k, exponential_asymptotes(race.values[:, :k]))
    yield _promotion(race, "epochs 1, 2, 3, 5, 9", 1)
    if race.epochs > RUNGS_FOR:
        yield _promotion(race, f"epochs 1, 2, 3, 5, 9 × {race.epochs / RUNGS_FOR:g}", race.epochs / RUNGS_FOR)
    pruners: dict[str, Callable[[], BasePruner]] = {
        "MedianPruner": lambda: MedianPruner(n_startup_trials=5, n_warmup_steps=1),
        "SuccessiveHalvingPruner": SuccessiveHalvingPruner,
        "HyperbandPruner": lambda: HyperbandPruner(min_resource=1, max_resource=race.epochs),
    }
    for name, pruner in pruners.items():
        yield _optuna(race, name, pruner(), seed)


class _Search:
    """As `nas search` does it: networks come one by one; each goes on while it is likely to beat the best known, and is
    frozen when it is not; in the end the frozen go on, those with the largest chance first, while they are worth it."""

    def __init__(self, race: Race, rule: Extrapolate) -> None:
        self.race, self.rule = race, rule
        self.lengths = np.zeros(len(race.values), dtype=int)
        self.rivals: list[Curve] = []
        self.taught, self.taught_at = race.extrapolator([]), 0
        self.predicted: dict[tuple[int, int], Prediction] = {}

    def try_all(self, *, at_once: bool = True) -> None:
        """Every network in turn; with `at_once` False it goes on while it is worth it, and what stops is lost."""
        for i in range(len(self.race.values)):
            self.train(i, bar=1.0 if at_once else 0.0)
            while at_once and (thawed := self.to_resume(nothing_new=False)) is not None:
                self.train(thawed[0], bar=thawed[1])

    def finish(self, policy: str, threshold: float) -> Outcome:
        """Goes on with the frozen until none is worth it."""
        setting = f"threshold {threshold if policy == 'ours' else self.rule.threshold:g}"
        self.rule = Extrapolate(self.race.epochs, threshold)
        while (thawed := self.to_resume(nothing_new=True)) is not None:
            self.train(thawed[0], bar=thawed[1])
        complete = np.flatnonzero(self.lengths == self.race.epochs)
        chosen = int(complete[self.race.finals[complete].argmax()])
        return Outcome(policy, setting, chosen, int(self.lengths.sum()))

    def train(self, i: int, *, bar: float) -> None:
        """Epoch by epoch while the rule lets it, or its chance is worth it and not below the bar."""
        goes_on = True
        while goes_on:
            self.lengths[i] += 1
            if self.lengths[i] < self.race.epochs and not is_checked(int(self.lengths[i])):
                continue
            curve = self.race.curve(i, int(self.lengths[i]))
            if self.lengths[i] == self.race.epochs:
                self.rivals.append(replace(curve, values=(*curve.values[:-1], float(self.race.finals[i]))))
                return
            verdict = self.rule.judge(curve, self.predictions([i])[0], self.rivals)
            goes_on = verdict.goes_on_above(bar)

    def to_resume(self, *, nothing_new: bool) -> tuple[int, float] | None:
        """The frozen network that should go on now, if there is one, and its bar."""
        frozen = np.flatnonzero((self.lengths > 0) & (self.lengths < self.race.epochs)).tolist()
        curves = [self.race.curve(i, int(self.lengths[i])) for i in frozen]
        best = self.rivals and [max(self.rivals, key=lambda rival: rival.values[-1])]
        verdicts = [self.rule.judge(c, found, best) for c, found in zip(curves, self.predictions(frozen), strict=True)]
        chosen, bar = to_resume(verdicts, nothing_new=nothing_new)
        return None if chosen is None else (frozen[chosen], bar)

    def predictions(self, networks: list[int]) -> list[Prediction]:
        """Of networks as far as they are trained, taught by all that was trained so far."""
        lengths = [int(length) for length in self.lengths]
        if sum(lengths) > REFIT * self.taught_at:
            curves = [self.race.curve(i, length) for i, length in enumerate(lengths) if length]
            self.taught, self.taught_at, self.predicted = self.race.extrapolator(curves), sum(lengths), {}
        new = [i for i in networks if (i, lengths[i]) not in self.predicted]
        found = self.taught.predict_all([self.race.curve(i, lengths[i]) for i in new])
        self.predicted |= {(i, lengths[i]): prediction for i, prediction in zip(new, found, strict=True)}
        return [self.predicted[i, lengths[i]] for i in networks]


def _first_epochs(race: Race, policy: str, k: int, worth: Array) -> Iterator[Outcome]:
    """All networks train for k epochs, those worth most to the end."""
    n = len(race.values)
    for share in SHARES:
        finished = np.argsort(-worth, kind="stable")[: max(1, round(share * n))]
        chosen = int(finished[race.finals[finished].argmax()])
        yield Outcome(policy, f"k = {k}, {share:.0%}", chosen, n * k + len(finished) * (race.epochs - k))


RATES = np.geomspace(0.02, 5, 60)


def exponential_asymptotes(curves: Array) -> Array:
    """a of the least-squares fits of a - exp(-b (t - t0)) to curves [curves, epochs]; of falling ones, the last
    value."""
    t = np.arange(curves.shape[1])
    best, asymptotes = np.full(len(curves), np.inf), curves[:, -1].copy()
    for b in RATES:
        design = np.column_stack([np.ones(len(t)), -np.exp(-b * t)])
        a, size = np.linalg.pinv(design) @ curves.T
        misfit = ((design @ (a, size) - curves.T) ** 2).sum(axis=0)
        better = (size > 0) & (misfit < best)
        best[better], asymptotes[better] = misfit[better], a[better]
    return asymptotes


def _promotion(race: Race, setting: str, stretch: float) -> Outcome:
    """Successive halving with promotion: all are paused at a rung, the best of them go on."""
    n, spent, at = len(race.values), 0, 0
    going = np.arange(n)
    for epochs, share in RUNGS:
        rung = min(max(at + 1, math.floor(epochs * stretch)), race.epochs)
        spent += len(going) * (rung - at)
        order = np.argsort(-race.values[going, rung - 1], kind="stable")
        going, at = going[order[: max(1, round(share * n))]], rung
    spent += len(going) * (race.epochs - at)
    return Outcome("successive halving with promotion", setting, int(going[race.finals[going].argmax()]), spent)


def _optuna(race: Race, name: str, pruner: BasePruner, seed: int) -> Outcome:
    """A pruner of Optuna, which sees a trial after the other."""
    sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.create_study(study_name=str(seed), direction="maximize", pruner=pruner, sampler=sampler)
    spent, complete = 0, []
    for i, values in enumerate(race.values.tolist()):
        trial = study.ask()
        for epoch, value in enumerate(values, start=1):
            spent += 1
            trial.report(value, epoch)
            if epoch < race.epochs and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, values[-1])
            complete.append(i)
    return Outcome(name, "", max(complete, key=lambda i: race.finals[i]), spent)
