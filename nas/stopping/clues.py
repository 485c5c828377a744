"""Clues: what of the first epochs of a training, and of its network, may tell of the rest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from nas.stopping.curves import Curve
from nas.stopping.families import Array
from nas.stopping.transforms import Transform

EXTREME = 3.0
"""Clues further out, in standard deviations, count as if they were here."""
ROUNDS = 2
"""Times that clues are standardised; the second time without what was further out."""


@dataclass(frozen=True)
class Clues:
    """Clues of curves after `t` epochs, transformed and standardised by those that taught them. `groups` [clues] says
    which are of one kind: 0 values, 1 losses, 2 the network."""

    t: int
    transform: Transform
    centre: Array
    deviation: Array
    groups: npt.NDArray[np.int64]

    @classmethod
    def learnt(cls, curves: Sequence[Curve], t: int, transform: Transform) -> Self:
        """From curves of at least t epochs."""
        wanted = max(len(curve.network) for curve in curves)
        groups = _raw(curves, t, transform, wanted)
        raw = np.column_stack(groups)
        for _ in range(ROUNDS):
            centre = _mean(raw)
            deviation = np.sqrt(_mean((raw - centre) ** 2))
            raw = np.clip(raw, centre - EXTREME * deviation, centre + EXTREME * deviation)
        varies = deviation > 1e-9 * np.maximum(np.abs(centre), 1e-3)
        kinds = np.repeat(np.arange(len(groups)), [group.shape[1] for group in groups])
        return cls(t, transform, centre, np.where(varies, deviation, np.inf), kinds)

    def of(self, curves: Sequence[Curve]) -> Array:
        """The clues [curves, clues]; 0 for what a curve lacks."""
        wanted = int((self.groups == 2).sum())
        raw = np.column_stack(_raw(curves, self.t, self.transform, wanted))
        known: Array = np.clip((raw - self.centre) / self.deviation, -EXTREME, EXTREME)
        return np.nan_to_num(known)


def _raw(curves: Sequence[Curve], t: int, transform: Transform, wanted: int) -> list[Array]:
    """The clues of each kind [curves, clues], nan where unknown."""
    return [_of_values(curves, t, transform), _of_losses(curves, t), _of_networks(curves, wanted)]


def _of_values(curves: Sequence[Curve], t: int, transform: Transform) -> Array:
    """The last value, how it compares with those before, and how fast they came."""
    values = transform.of(np.array([curve.values[:t] for curve in curves]))
    last = values[:, -1]
    columns = [last]
    if t > 1:
        columns.append(last - values[:, -2])
    if t > 2:
        columns += [last - values[:, t // 2], last - values[:, -3:].mean(axis=1), values.max(axis=1) - last]
    if t > 3:
        columns.append(values[:, t // 2] - values[:, 0])
    if t > 6:
        columns.append(last - values[:, t // 2 :].mean(axis=1))
    return np.column_stack(columns)


def _of_losses(curves: Sequence[Curve], t: int) -> Array:
    """The last training loss, the mean of all (Ru et al. 2021), the last validation loss; logarithms, since a loss may
    explode."""
    unknown = [(math.nan, math.nan)] * t
    losses = np.array([curve.losses[:t] or unknown for curve in curves], dtype=np.float64)  # None is nan
    losses = np.log(0.01 + np.maximum(losses, 0.0))
    return np.column_stack([losses[:, -1, 0], losses[:, :, 0].mean(axis=1), losses[:, -1, 1]])


def _of_networks(curves: Sequence[Curve], wanted: int) -> Array:
    """As many numbers that describe the network."""
    rows = [(*curve.network[:wanted], *[math.nan] * (wanted - len(curve.network))) for curve in curves]
    return np.array(rows, dtype=np.float64).reshape(len(curves), wanted)


def _mean(columns: Array) -> Array:
    """Mean of each column over what is known of it; 0 where nothing is."""
    known = ~np.isnan(columns)
    total: Array = np.where(known, columns, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return total
