"""The rule `extrapolate` for anyone's Optuna study: stop a trial when it will hardly become the best."""

import math
from typing import Any

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.machine.options import plain
from nas.search.notes import foreign_note
from nas.stopping.curves import Curve, cut, robust_range
from nas.stopping.extrapolator import Extrapolator
from nas.stopping.rules import THRESHOLD

LARGEST = 1e100
"""Numbers from here on count as infinite: their squares would be."""


class CurvePruner(BasePruner):
    """Prunes when the predicted chance to end better than every trial that has come to its last report falls below the
    threshold.

        study = optuna.create_study(direction="maximize", pruner=nas.CurvePruner(epochs=20))
        ...
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    `epochs` is the number of reports of a trial that is not pruned. With `size`, the name of a user attribute that
    holds a number (the parameters of a network), a trial is judged against trials of at most its size alone, so that
    the whole Pareto front is found; `clues` are names of user attributes that hold numbers which may tell how a curve
    goes on. A trial that lacks an attribute, or has reported what is no finite number, goes on unjudged. Raises
    ValueError for epochs or thresholds that make no sense.
    """

    def __init__(
        self, epochs: int, *, threshold: float = THRESHOLD, size: str | None = None, clues: tuple[str, ...] = ()
    ) -> None:
        epochs, threshold = _plain(epochs), _plain(threshold)
        is_whole = isinstance(epochs, int) and not isinstance(epochs, bool)
        if not is_whole or epochs < 1 or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise ValueError(
                f"epochs must be a whole number from 1 and threshold from 0 to 1 but got {epochs!r} and {threshold!r}"
            )
        self.epochs, self.threshold, self.size, self.clues = epochs, threshold, size, clues

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial should stop after what it has reported. Raises RuntimeError in a study of many
        objectives."""
        sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
        own = self._curve(trial, sign)
        if own is None or len(own.values) >= self.epochs:
            return False
        others = [
            (other, curve)
            for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
            if (curve := self._curve(other, sign)) is not None
        ]
        rivals = [
            curve.values[-1]
            for other, curve in others
            if other.state == TrialState.COMPLETE and self._size(other) <= self._size(trial)
        ]
        if not rivals:
            return False
        low, high = robust_range([value for curve in (own, *(curve for _, curve in others)) for value in curve.values])
        known = [cut(curve, low, high) for _, curve in others]
        extrapolator = Extrapolator(known, self.epochs, scale=high - low)
        return extrapolator.predict(cut(own, low, high)).chance_above(min(max(rivals), high)) < self.threshold

    def _size(self, trial: FrozenTrial) -> float:
        return 0.0 if self.size is None else float(foreign_note(trial, self.size))

    def _curve(self, trial: FrozenTrial, sign: float) -> Curve | None:
        """What the trial has reported, at most `epochs` values; None if there is nothing to go by."""
        values = [sign * _plain(value) for _, value in sorted(trial.intermediate_values.items())][: self.epochs]
        wanted = [*self.clues, *([self.size] if self.size else [])]
        noted = [_plain(foreign_note(trial, name)) for name in wanted]
        if not values or not all(isinstance(x, int | float) and abs(x) < LARGEST for x in (*values, *noted)):
            return None
        size = [math.log(max(self._size(trial), 1e-9))] if self.size else []
        return Curve(tuple(values), (), (*size, *(float(foreign_note(trial, name)) for name in self.clues)))


def _plain(value: Any) -> Any:
    """As `plain`, and a whole float as a whole number."""
    value = plain(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value
