"""The heads of networks: pooling, then what makes a score a class of the pooled values."""

from collections.abc import Callable
from functools import lru_cache
from math import ceil, sqrt

from nas.errors import SpaceError
from nas.network.layers import (
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    QuadraticLinear,
    Sequence,
    SignLinear,
    Statistic,
)

Builder = Callable[[int, int, int], list[Layer]]
"""Layers from (inputs,) to (classes,): inputs, classes, and a rank that kinds which have none ignore."""

HEADS: dict[str, Builder] = {}
"""The kinds of head in the order in which `mixed` offers them: a function here is one by the name it is marked with."""


def kind_of_head(name: str) -> Callable[[Builder], Builder]:
    """Marks a kind of head."""
    return lambda builder: HEADS.setdefault(name, builder)


@kind_of_head("linear")
def linear(inputs: int, classes: int, rank: int) -> list[Layer]:
    """A linear classifier."""
    return [Linear(inputs, classes)]


@kind_of_head("low-rank")
def low_rank(inputs: int, classes: int, rank: int) -> list[Layer]:
    """Two linear layers, the first to `rank` values."""
    return [Linear(inputs, rank, bias=False), Linear(rank, classes)]


@kind_of_head("signs")
def signs(inputs: int, classes: int, rank: int) -> list[Layer]:
    """A classifier of fixed signs (`SignLinear`)."""
    return [SignLinear(inputs, classes)]


@kind_of_head("low-rank signs")
def low_rank_signs(inputs: int, classes: int, rank: int) -> list[Layer]:
    """A linear layer to `rank` values, then a classifier of fixed signs."""
    return [Linear(inputs, rank, bias=False), SignLinear(rank, classes)]


@kind_of_head("bias-free")
def bias_free(inputs: int, classes: int, rank: int) -> list[Layer]:
    """A linear classifier without a bias a class."""
    return [Linear(inputs, classes, bias=False)]


@kind_of_head("low-rank bias-free")
def low_rank_bias_free(inputs: int, classes: int, rank: int) -> list[Layer]:
    """`low-rank` without a bias a class."""
    return [Linear(inputs, rank, bias=False), Linear(rank, classes, bias=False)]


@kind_of_head("quadratic")
def quadratic(inputs: int, classes: int, rank: int) -> list[Layer]:
    """A class is a point in few dimensions, and its score a quadratic function of the point that the image decides
    (`QuadraticLinear`). There are as many dimensions as it takes for no fewer products than inputs, 4 behind 8 channels
    and 6 behind 20: the classes' vectors may be of full rank and have far fewer parameters."""
    last = QuadraticLinear(ceil((sqrt(8 * inputs + 1) - 1) / 2), classes)
    return [Linear(inputs, last.inputs, bias=False), last]


@lru_cache(maxsize=10_000, typed=True)
def classifier(
    inputs: int, classes: int, kind: str = "linear", *, rank: int = 1, pool: Statistic = "average", dropout: float = 0.0
) -> Sequence:
    """Global pooling and a head of that kind. Raises SpaceError for an unknown kind."""
    if kind not in HEADS:
        raise SpaceError(f"a kind of head must be one of {', '.join(HEADS)} but is {kind!r}")
    drop = [Dropout(dropout)] if dropout else []
    return Sequence((GlobalPool(pool), Flatten(), *drop, *HEADS[kind](inputs, classes, rank)), "head")
