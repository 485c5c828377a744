"""What hypothesis draws: knobs of every shipped space, uniform or fitted to a budget, and random layer trees."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from hypothesis import strategies as st

from nas.network.layers import (
    Activation,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Pool,
    Product,
    QuadraticLinear,
    Residual,
    Scale,
    Sequence,
    Shape,
    Shift,
    SignLinear,
    Slice,
    SqueezeExcitation,
    Subsample,
    Tied,
)
from nas.space.budget import Budget
from nas.space.draw import draw, fit
from nas.space.files import named_space, shipped_spaces
from nas.space.space import Architecture, Knobs, Space, bind

IMAGES: tuple[tuple[Shape, int], ...] = (((1, 8, 8), 10), ((3, 32, 32), 100), ((1, 28, 28), 10), ((3, 64, 64), 5))
"""Shapes and classes that every shipped space must take."""


@lru_cache
def shipped_class(name: str) -> type[Architecture]:
    return named_space(name)


@lru_cache
def shipped(name: str, shape: Shape = (3, 32, 32), classes: int = 10) -> Space:
    return bind(shipped_class(name), shape, classes)


@dataclass(frozen=True)
class Drawn:
    """One network of a shipped space, as hypothesis prints it."""

    space: Space
    knobs: Knobs

    @property
    def network(self) -> Layer:
        return self.space.network(self.knobs)

    @property
    def shape(self) -> Shape:
        return self.space.shape


@st.composite
def drawn_networks(draw_from: st.DrawFn) -> Drawn:
    shape, classes = draw_from(st.sampled_from(IMAGES))
    space = shipped(draw_from(st.sampled_from(sorted(shipped_spaces()))), shape, classes)
    rng = np.random.default_rng(draw_from(st.integers(0, 2**32 - 1)))
    knobs = draw(space, rng)
    budget = draw_from(st.none() | st.sampled_from([5_000, 20_000, 100_000]))
    return Drawn(space, knobs if budget is None else fit(space, knobs, Budget(budget), rng))


_counts = st.integers(1, 64)
_statistics = st.sampled_from(["max", "average"])

leaves: st.SearchStrategy[Layer] = st.one_of(
    st.builds(
        Conv,
        inputs=_counts,
        outputs=_counts,
        kernel=st.integers(1, 7),
        stride=st.integers(1, 3),
        padding=st.integers(-1, 3),
        dilation=st.integers(1, 2),
        groups=_counts,
        bias=st.booleans(),
    ),
    st.builds(BatchNorm, _counts),
    st.builds(Activation, st.sampled_from(["relu", "silu", "hardswish"])),
    st.builds(Pool, _statistics, st.integers(1, 4), st.integers(0, 3), st.integers(0, 2)),
    st.builds(GlobalPool, _statistics),
    st.builds(Flatten),
    st.builds(Linear, _counts, _counts, st.booleans()),
    st.builds(Dropout, st.floats(0, 1, exclude_max=True)),
    st.builds(Identity),
    st.builds(Subsample, _counts, _counts, st.integers(1, 3)),
    st.builds(SqueezeExcitation, _counts, _counts),
    st.builds(Slice, _counts, _counts, st.integers(0, 9)),
    st.builds(Scale, _counts),
    st.builds(Shift, _counts, st.integers(1, 7)),
    st.builds(SignLinear, _counts, _counts, st.booleans()),
    st.builds(QuadraticLinear, st.integers(1, 8), _counts),
)


def _around(inner: st.SearchStrategy[Layer]) -> st.SearchStrategy[Layer]:
    several = st.lists(inner, max_size=4).map(tuple)
    return st.one_of(
        st.builds(Sequence, several, st.text(max_size=8)),
        st.builds(Residual, inner, inner),
        st.builds(Product, inner, inner),
        st.builds(Concat, several),
        st.builds(Tied, inner, st.integers(1, 4)),
    )


layer_trees: st.SearchStrategy[Layer] = st.recursive(leaves, _around, max_leaves=12)
"""Trees of every kind of layer, whether or not their shapes fit."""
