"""Building blocks that the shipped search spaces share, as layer trees.

Convolutions carry no bias where a batch norm follows, unless asked for. Convolutions and blocks are cached: equal
arguments give the same object.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

from nas.errors import SpaceError
from nas.network.folds import ShapeError, output_shape
from nas.network.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    Function,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Residual,
    Sequence,
    Shape,
    SqueezeExcitation,
    Statistic,
    Subsample,
    sequence,
)

Shortcut = Literal["projection", "pad", "none"]


@lru_cache(maxsize=100_000)
def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    function: Function | None = None,
    bias: bool = False,
) -> Sequence:
    """Convolution, batch norm and, if given, an activation; "same" padding."""
    layers: list[Layer] = [Conv(inputs, outputs, kernel, stride, groups=groups, bias=bias), BatchNorm(outputs)]
    return Sequence((*layers, Activation(function)) if function else tuple(layers))


class Block(NamedTuple):
    """What is asked of a block: kinds that have no use for one of these ignore it."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    expansion: int = 1
    excitation: bool = False
    function: Function = "relu"
    transition: Shortcut = "projection"

    def norm(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Sequence:
        """`conv_norm` with the block's activation."""
        return conv_norm(inputs, outputs, kernel, stride, groups, self.function)

    def gate(self, channels: int) -> list[Layer]:
        """A squeeze-excitation gate at a quarter of the channels where one is asked for, else nothing."""
        return [SqueezeExcitation(channels, max(1, channels // 4))] if self.excitation else []

    def around(self, body: Sequence) -> Layer:
        """The body with a shortcut: identity where the shape stays, else the transition ("none": no shortcut)."""
        if self.inputs == self.outputs and self.stride == 1:
            return Residual(body, Identity())
        if self.transition == "projection":
            return Residual(body, conv_norm(self.inputs, self.outputs, 1, self.stride))
        return Residual(body, Subsample(self.inputs, self.outputs, self.stride)) if self.transition == "pad" else body


Builder = Callable[[Block], Sequence]

BLOCKS: dict[str, Builder] = {}
"""The kinds of block, in the order in which the spaces offer them: a function here that is marked `kind_of_block` is
one, by its name. It has to give (outputs, height / stride, width / stride), rounded up."""


def kind_of_block(builder: Builder) -> Builder:
    """Marks a kind of block; equal blocks are built once."""
    return BLOCKS.setdefault(builder.__name__, lru_cache(maxsize=100_000)(builder))


@kind_of_block
def conv(block: Block) -> Sequence:
    """k x k convolution, norm, activation, optional gate; no shortcut."""
    return sequence([block.norm(block.inputs, block.outputs, block.kernel, block.stride), *block.gate(block.outputs)])


@kind_of_block
def basic(block: Block) -> Sequence:
    """Two k x k convolutions around a shortcut (He et al. 2015)."""
    body = [
        block.norm(block.inputs, block.outputs, block.kernel, block.stride),
        conv_norm(block.outputs, block.outputs, block.kernel),
        *block.gate(block.outputs),
    ]
    return sequence([block.around(sequence(body)), Activation(block.function)])


@kind_of_block
def bottleneck(block: Block) -> Sequence:
    """1x1 down to outputs / expansion, k x k, 1x1 up, around a shortcut (He et al. 2015)."""
    inner = max(1, block.outputs // block.expansion)
    body = [
        block.norm(block.inputs, inner),
        block.norm(inner, inner, block.kernel, block.stride),
        conv_norm(inner, block.outputs, 1),
        *block.gate(block.outputs),
    ]
    return sequence([block.around(sequence(body)), Activation(block.function)])


@kind_of_block
def inverted(block: Block) -> Sequence:
    """1x1 up by the expansion, depthwise k x k, 1x1 down without activation (Sandler et al. 2018).

    At expansion 1 the first 1x1 is left out: a depthwise-separable convolution.
    """
    inner = block.inputs * block.expansion
    body = [
        *([block.norm(block.inputs, inner)] if block.expansion > 1 else []),
        block.norm(inner, inner, block.kernel, block.stride, inner),
        *block.gate(inner),
        conv_norm(inner, block.outputs, 1),
    ]
    return sequence([block.around(sequence(body))])


@kind_of_block
def depthwise(block: Block) -> Sequence:
    """Depthwise k x k, 1x1 up by the expansion, activation, 1x1 down, around a shortcut (Liu et al. 2022, "ConvNeXt").

    At expansion 1 only one 1x1 follows the depthwise convolution.
    """
    wide = block.outputs * block.expansion
    body = [
        conv_norm(block.inputs, block.inputs, block.kernel, block.stride, block.inputs),
        block.norm(block.inputs, wide),
        *block.gate(wide),
        *([conv_norm(wide, block.outputs, 1)] if block.expansion > 1 else []),
    ]
    return sequence([block.around(sequence(body))])


def stage(
    kind: str,
    blocks: int,
    inputs: int,
    outputs: int,
    *,
    kernel: int,
    stride: int,
    expansion: int = 1,
    excitation: bool = False,
    function: Function = "relu",
    transition: Shortcut = "projection",
    name: str = "",
) -> Sequence:
    """`blocks` blocks of one kind, the first of which changes width and resolution. Raises SpaceError for a kind that
    is none of `BLOCKS`."""
    if kind not in BLOCKS:
        raise SpaceError(f"a kind of block must be one of {', '.join(BLOCKS)} but is {kind!r}")
    first = Block(inputs, outputs, kernel, stride, expansion, excitation, function, transition)
    again = Block(outputs, outputs, kernel, 1, expansion, excitation, function, transition)
    rest = [BLOCKS[kind](again)] * (blocks - 1) if blocks > 1 else []
    return sequence([BLOCKS[kind](first), *rest], name)


def stem(inputs: int, outputs: int, stride: int = 1, function: Function = "relu") -> Sequence:
    """3x3 convolution, norm, activation."""
    return Sequence(conv_norm(inputs, outputs, 3, stride, 1, function).layers, "stem")


def classifier(
    inputs: int, classes: int, *, pool: Statistic = "average", rank: int | None = None, dropout: float = 0.0
) -> Sequence:
    """Global pooling and a linear classifier; with a rank, two thin ones: inputs x rank and rank x classes."""
    linear = [Linear(inputs, classes)] if rank is None else [Linear(inputs, rank, bias=False), Linear(rank, classes)]
    return Sequence((GlobalPool(pool), Flatten(), *([Dropout(dropout)] if dropout else []), *linear), "head")


def flat_classifier(trunk: Layer, shape: Shape, classes: int, hidden: int | None = None) -> Sequence:
    """Flatten and a linear classifier for what the trunk leaves of images of `shape`; with `hidden`, a linear layer of
    that width and a ReLU between.

    Where the trunk does not fit the images, the head is that of one value: every fold over both says what does not fit.
    """
    try:
        (inputs,) = output_shape(Flatten(), output_shape(trunk, shape))
    except ShapeError:
        inputs = 1
    between: list[Layer] = [] if hidden is None else [Linear(inputs, hidden), Activation("relu")]
    return Sequence((Flatten(), *between, Linear(hidden or inputs, classes)), "head")


WIDTHS: tuple[int, ...] = (
    *range(1, 16),
    *range(16, 32, 2),
    *range(32, 64, 4),
    *range(64, 128, 8),
    *range(128, 256, 16),
    *range(256, 513, 32),
)
"""Channel counts from 1 to 512 in steps of at most an eighth above 16."""
