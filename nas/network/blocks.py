"""Building blocks that the shipped search spaces share, as layer trees.

Convolutions carry no bias where a batch norm follows, unless asked for. Convolutions and blocks are cached: equal
arguments give the same object.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from nas.errors import SpaceError
from nas.network.folds import parameters
from nas.network.layers import (
    Activation,
    BatchNorm,
    Concat,
    Conv,
    Function,
    Identity,
    Layer,
    Pool,
    Product,
    Residual,
    Scale,
    Sequence,
    Shift,
    Slice,
    SqueezeExcitation,
    Subsample,
    Tied,
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
    expansion: float = 1
    excitation: int = 0
    """How many channels a unit of the gate's hidden layer stands for; 0: no gate."""
    function: Function = "relu"
    transition: Shortcut = "projection"
    length: int = 1
    """Layers of a kind that makes a whole stage (`WHOLE_STAGES`)."""

    def wide(self, channels: int) -> int:
        """The channels times the expansion, rounded."""
        return max(1, round(channels * self.expansion))

    def norm(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Sequence:
        """`conv_norm` with the block's activation."""
        return conv_norm(inputs, outputs, kernel, stride, groups, self.function)

    def gate(self, channels: int) -> list[Layer]:
        """A squeeze-excitation gate where one is asked for, else nothing."""
        return [SqueezeExcitation(channels, max(1, channels // self.excitation))] if self.excitation else []

    def around(self, body: Sequence) -> Layer:
        """The body with a shortcut: identity where the shape stays, else the transition ("none": no shortcut)."""
        if self.inputs == self.outputs and self.stride == 1:
            return Residual(body, Identity())
        if self.transition == "projection":
            return Residual(body, conv_norm(self.inputs, self.outputs, 1, self.stride))
        return Residual(body, Subsample(self.inputs, self.outputs, self.stride)) if self.transition == "pad" else body

    def into(self, outputs: int) -> list[Layer]:
        """Mean over windows at the block's stride, 1x1 to so many channels and norm; nothing where all that is so."""
        pool: list[Layer] = [Pool("average", 3, self.stride, 1)] if self.stride > 1 else []
        return [*pool, conv_norm(self.inputs, outputs, 1)] if pool or self.inputs != outputs else []


Builder = Callable[[Block], Sequence]

BLOCKS: dict[str, Builder] = {}
"""The kinds of block, in the order in which the spaces offer them: a function here that is marked `kind_of_block` is
one, by its name. It has to give (outputs, height / stride, width / stride), rounded up."""


def kind_of_block(builder: Builder) -> Builder:
    """Marks a kind of block; equal blocks are built once."""
    return BLOCKS.setdefault(builder.__name__, lru_cache(maxsize=100_000)(builder))


WHOLE_STAGES: set[str] = set()


def kind_of_stage(builder: Builder) -> Builder:
    """Marks a kind that makes a whole stage of `Block.length` layers at once."""
    WHOLE_STAGES.add(builder.__name__)
    return kind_of_block(builder)


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
    inner = max(1, int(block.outputs / block.expansion))
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
    inner = block.wide(block.inputs)
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
    spatial = conv_norm(block.inputs, block.inputs, block.kernel, block.stride, block.inputs)
    return sequence([block.around(sequence([spatial, *_up_and_down(block)]))])


@kind_of_block
def blueprint(block: Block) -> Sequence:
    """1x1, then depthwise k x k, norm, activation, around a shortcut (Haase & Amthor 2020, "BSConv-U"): what a head
    behind it pools is rectified, and no 1x1 stands between the two."""
    mixing = Conv(block.inputs, block.outputs, 1)
    spatial = block.norm(block.outputs, block.outputs, block.kernel, block.stride, block.outputs)
    return sequence([block.around(sequence([mixing, spatial, *block.gate(block.outputs)]))])


@kind_of_block
def shift(block: Block) -> Sequence:
    """As `depthwise`, but the channels are shifted within a k x k window, without parameters (Wu et al. 2018)."""
    return sequence([block.around(sequence([Shift(block.inputs, block.kernel), *_up_and_down(block, block.stride)]))])


def _up_and_down(block: Block, stride: int = 1) -> list[Layer]:
    """1x1 up by the expansion, activation, gate, 1x1 down; the second 1x1 only above an expansion of 1."""
    wide = block.wide(block.outputs)
    down = [conv_norm(wide, block.outputs, 1)] if block.expansion > 1 else []
    return [block.norm(block.inputs, wide, 1, stride), *block.gate(wide), *down]


@kind_of_block
def mixer(block: Block) -> Sequence:
    """Quarters of the channels through nothing, depthwise 3x3, depthwise k x k, and a 3x3 mean and a depthwise k x k
    dilated by 3; 1x1 to twice the expansion, one half times the activated other, 1x1 back; around a shortcut with a
    learned factor a channel.

    After the 97,530-parameter network of 94.4 % on CIFAR-10; a mean and a 1x1 change width and resolution before it.
    """
    channels, ends = block.outputs, [block.outputs * quarter // 4 for quarter in range(5)]
    quarters: list[Layer] = []
    for number, (first, end) in enumerate(pairwise(ends)):
        if size := end - first:
            spatial: tuple[list[Layer], ...] = (
                [],
                [Conv(size, size, 3, groups=size)],
                [Conv(size, size, block.kernel, groups=size)],
                [Pool("average", 3, 1, 1), Conv(size, size, block.kernel, dilation=3, groups=size)],
            )
            piece = Slice(channels, size, first)
            quarters.append(sequence([piece, *spatial[number]]) if spatial[number] else piece)
    wide = block.wide(channels)
    body = [
        Concat(tuple(quarters)),
        BatchNorm(channels),
        Conv(channels, 2 * wide, 1, bias=True),
        Product(Slice(2 * wide, wide), Sequence((Slice(2 * wide, wide, wide), Activation(block.function)))),
        *block.gate(wide),
        conv_norm(wide, channels, 1),
    ]
    return sequence([*block.into(channels), Residual(sequence(body), Scale(channels))])


@kind_of_stage
def dense(block: Block) -> Sequence:
    """A whole stage: 1x1 to half of the outputs, then layers of 1x1 to the expansion times their growth and k x k to
    the growth, concatenated to all before (Huang et al. 2017, "DenseNet-BC"; here norm and activation follow)."""
    width = -(-block.outputs // 2)
    ends = [width + (block.outputs - width) * layer // block.length for layer in range(block.length + 1)]
    layers = block.into(width)
    for first, end in pairwise(ends):
        if growth := end - first:
            inner = block.wide(growth)
            body = [block.norm(first, inner), block.norm(inner, growth, block.kernel), *block.gate(growth)]
            layers.append(Concat((Identity(), sequence(body))))
    return sequence(layers)


@lru_cache(maxsize=10_000)
def stage(
    kind: str,
    blocks: int,
    inputs: int,
    outputs: int,
    *,
    kernel: int,
    stride: int,
    expansion: float = 1,
    excitation: int = 0,
    function: Function = "relu",
    transition: Shortcut = "projection",
    shared: bool = False,
    name: str = "",
) -> Sequence:
    """`blocks` blocks of one kind, the first of which changes width and resolution; if `shared`, those behind it have
    1x1 convolutions and gates in common. Raises SpaceError for an unknown kind, or an excitation that is no ratio."""
    if kind not in BLOCKS:
        raise SpaceError(f"a kind of block must be one of {', '.join(BLOCKS)} but is {kind!r}")
    if isinstance(excitation, bool):
        raise SpaceError(f"excitation must be a ratio, 4 or so, or 0 for no gate, but is {excitation}")
    length = blocks if kind in WHOLE_STAGES else 1
    first = BLOCKS[kind](Block(inputs, outputs, kernel, stride, expansion, excitation, function, transition, length))
    if length == blocks:
        return sequence([first], name)
    again = BLOCKS[kind](Block(outputs, outputs, kernel, 1, expansion, excitation, function, transition))
    tied = Tied(again, blocks - 1)
    saves = shared and blocks > 2 and parameters(tied) < (blocks - 1) * parameters(again)
    return sequence([first, *([tied] if saves else [again] * (blocks - 1))], name)


def stem(inputs: int, outputs: int, stride: int = 1, function: Function = "relu") -> Sequence:
    """3x3 convolution, norm, activation."""
    return Sequence(conv_norm(inputs, outputs, 3, stride, 1, function).layers, "stem")


WIDTHS: tuple[int, ...] = (
    *range(1, 16),
    *range(16, 32, 2),
    *range(32, 64, 4),
    *range(64, 128, 8),
    *range(128, 256, 16),
    *range(256, 513, 32),
)
"""Channel counts from 1 to 512 in steps of at most an eighth above 16."""
