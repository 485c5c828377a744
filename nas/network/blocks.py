"""Building blocks that the shipped search spaces share, as layer trees.

Convolutions carry no bias where a batch norm follows, unless asked for. Builders are cached: equal arguments give the
same object.
"""

from functools import lru_cache
from typing import Literal

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
Kind = Literal["conv", "basic", "bottleneck", "inverted", "depthwise"]


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


def shortcut_around(body: Sequence, inputs: int, outputs: int, stride: int, transition: Shortcut) -> Layer:
    """The body with a shortcut: identity where the shape stays, else the chosen transition ("none": no shortcut)."""
    if inputs == outputs and stride == 1:
        return Residual(body, Identity())
    if transition == "projection":
        return Residual(body, conv_norm(inputs, outputs, 1, stride))
    return Residual(body, Subsample(inputs, outputs, stride)) if transition == "pad" else body


@lru_cache(maxsize=100_000)
def plain_block(inputs: int, outputs: int, kernel: int, stride: int, excitation: bool, function: Function) -> Sequence:
    """k x k convolution, norm, activation, optional gate; no shortcut."""
    return sequence([conv_norm(inputs, outputs, kernel, stride, 1, function), *_gate(outputs, excitation)])


@lru_cache(maxsize=100_000)
def basic_block(
    inputs: int, outputs: int, kernel: int, stride: int, excitation: bool, function: Function, transition: Shortcut
) -> Sequence:
    """Two k x k convolutions around a shortcut (He et al. 2015)."""
    body = sequence(
        [
            conv_norm(inputs, outputs, kernel, stride, 1, function),
            conv_norm(outputs, outputs, kernel),
            *_gate(outputs, excitation),
        ]
    )
    return sequence([shortcut_around(body, inputs, outputs, stride, transition), Activation(function)])


@lru_cache(maxsize=100_000)
def bottleneck_block(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    reduction: int,
    excitation: bool,
    function: Function,
    transition: Shortcut,
) -> Sequence:
    """1x1 down to outputs / reduction, k x k, 1x1 up, around a shortcut (He et al. 2015)."""
    inner = max(1, outputs // reduction)
    body = sequence(
        [
            conv_norm(inputs, inner, 1, 1, 1, function),
            conv_norm(inner, inner, kernel, stride, 1, function),
            conv_norm(inner, outputs, 1),
            *_gate(outputs, excitation),
        ]
    )
    return sequence([shortcut_around(body, inputs, outputs, stride, transition), Activation(function)])


@lru_cache(maxsize=100_000)
def inverted_block(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    expansion: int,
    excitation: bool,
    function: Function,
    transition: Shortcut,
) -> Sequence:
    """1x1 up by the expansion, depthwise k x k, 1x1 down without activation (Sandler et al. 2018).

    At expansion 1 the first 1x1 is left out: a depthwise-separable convolution.
    """
    inner = inputs * expansion
    body = sequence(
        [
            *([conv_norm(inputs, inner, 1, 1, 1, function)] if expansion > 1 else []),
            conv_norm(inner, inner, kernel, stride, inner, function),
            *_gate(inner, excitation),
            conv_norm(inner, outputs, 1),
        ]
    )
    return sequence([shortcut_around(body, inputs, outputs, stride, transition)])


@lru_cache(maxsize=100_000)
def depthwise_block(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    expansion: int,
    excitation: bool,
    function: Function,
    transition: Shortcut,
) -> Sequence:
    """Depthwise k x k, 1x1 up by the expansion, activation, 1x1 down, around a shortcut (Liu et al. 2022, "ConvNeXt").

    At expansion 1 only one 1x1 follows the depthwise convolution.
    """
    wide = outputs * expansion
    pointwise = [conv_norm(inputs, wide, 1, 1, 1, function), *_gate(wide, excitation), conv_norm(wide, outputs, 1)]
    single = [conv_norm(inputs, outputs, 1, 1, 1, function), *_gate(outputs, excitation)]
    body = sequence([conv_norm(inputs, inputs, kernel, stride, inputs), *(pointwise if expansion > 1 else single)])
    return sequence([shortcut_around(body, inputs, outputs, stride, transition)])


def stage(
    kind: Kind,
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
    """`blocks` blocks of one kind, the first of which changes width and resolution."""

    def block(block_inputs: int, block_stride: int) -> Sequence:
        match kind:
            case "conv":
                return plain_block(block_inputs, outputs, kernel, block_stride, excitation, function)
            case "basic":
                return basic_block(block_inputs, outputs, kernel, block_stride, excitation, function, transition)
        builder = {"bottleneck": bottleneck_block, "inverted": inverted_block, "depthwise": depthwise_block}[kind]
        return builder(block_inputs, outputs, kernel, block_stride, expansion, excitation, function, transition)

    rest = block(outputs, 1) if blocks > 1 else None
    return sequence([block(inputs, stride), *([rest] * (blocks - 1) if rest else [])], name)


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


def _gate(channels: int, excitation: bool) -> list[Layer]:
    """A squeeze-excitation gate at a quarter of the channels, or nothing."""
    return [SqueezeExcitation(channels, max(1, channels // 4))] if excitation else []


WIDTHS: tuple[int, ...] = (
    *range(1, 16),
    *range(16, 32, 2),
    *range(32, 64, 4),
    *range(64, 128, 8),
    *range(128, 256, 16),
    *range(256, 513, 32),
)
"""Channel counts from 1 to 512 in steps of at most an eighth above 16."""
