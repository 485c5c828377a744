"""A network is plain data: one frozen tree of layers. All that is known about it is a fold over it (folds.py).

    >>> Sequence((Conv(3, 8, 3), BatchNorm(8), Activation("relu"), GlobalPool("average"), Flatten(), Linear(8, 10)))
    Sequence(layers=(Conv(inputs=3, outputs=8, kernel=3, stride=1, padding=1, ...

A value between layers has the shape (channels, height, width), or (features,) once flattened; the batch is left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

Shape = tuple[int, ...]
Function = Literal["relu", "silu", "hardswish"]
Statistic = Literal["max", "average"]


@dataclass(frozen=True)
class Conv:
    """Convolution, `kernel` x `kernel`, cross-correlation as in torch.

    `padding=-1` (the default) keeps the resolution of an odd kernel at stride 1 ("same") and is stored as the number it
    stands for.
    """

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = -1
    dilation: int = 1
    groups: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        if self.padding == -1:
            object.__setattr__(self, "padding", self.dilation * (self.kernel - 1) // 2)


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation with a scale and a shift a channel: 2 * channels parameters (running statistics are none)."""

    channels: int


@dataclass(frozen=True)
class Activation:
    """An element-wise nonlinearity."""

    function: Function = "relu"


@dataclass(frozen=True)
class Pool:
    """Max or average over windows of `size` x `size`. `stride=0` (the default) is stored as `size`."""

    statistic: Statistic
    size: int
    stride: int = 0
    padding: int = 0

    def __post_init__(self) -> None:
        if self.stride == 0:
            object.__setattr__(self, "stride", self.size)


@dataclass(frozen=True)
class GlobalPool:
    """Max or average over all positions; leaves (channels, 1, 1)."""

    statistic: Statistic = "average"


@dataclass(frozen=True)
class Flatten:
    """(channels, height, width) to (channels * height * width,)."""


@dataclass(frozen=True)
class Linear:
    """Fully connected layer on (inputs,)."""

    inputs: int
    outputs: int
    bias: bool = True


@dataclass(frozen=True)
class Dropout:
    """Zeroes each value with probability `rate` in training."""

    rate: float


@dataclass(frozen=True)
class Identity:
    """Passes its input on: the shortcut of a plain residual block."""


@dataclass(frozen=True)
class Subsample:
    """Parameter-free shortcut: every `stride`-th position, zero channels appended (He et al. 2015, option A)."""

    inputs: int
    outputs: int
    stride: int = 1


@dataclass(frozen=True)
class SqueezeExcitation:
    """Channel gate: global average, 1x1 to `squeezed`, ReLU, 1x1 back, hard-sigmoid, multiply (Hu et al. 2018)."""

    channels: int
    squeezed: int


@dataclass(frozen=True)
class Sequence:
    """Layers one after another. The name ("stage 2") is for people: it does not tell networks apart."""

    layers: "tuple[Layer, ...]"
    name: str = field(default="", compare=False)


@dataclass(frozen=True)
class Residual:
    """body(x) + shortcut(x)."""

    body: "Layer"
    shortcut: "Layer" = Identity()


@dataclass(frozen=True)
class Slice:
    """`outputs` of the `inputs` channels, from channel `first` on."""

    inputs: int
    outputs: int
    first: int = 0


@dataclass(frozen=True)
class Concat:
    """The results of all branches, each of which gets the whole input, one behind another along the channels."""

    branches: "tuple[Layer, ...]"


@dataclass(frozen=True)
class Product:
    """body(x) * gate(x), value by value."""

    body: "Layer"
    gate: "Layer"


@dataclass(frozen=True)
class Scale:
    """A learned factor a channel, 1 at first."""

    channels: int


@dataclass(frozen=True)
class Shift:
    """Moves channels by whole positions, zeros where nothing comes in: parameter-free (Wu et al. 2018, "Shift").

    The channels are divided as evenly as may be among the `kernel` x `kernel` moves of a window, row by row.
    """

    channels: int
    kernel: int = 3


@dataclass(frozen=True)
class Tied:
    """`block` `times` times one after another, with one set of weights for all of its 1 x 1 convolutions of a single
    group and its gates (`SqueezeExcitation`); other convolutions, norms and scales each block has for itself.

    The block must keep the shape of its input.
    """

    block: "Layer"
    times: int


@dataclass(frozen=True)
class SignLinear:
    """A classifier whose matrix is fixed: each class has a vector of signs that follow from a formula, times a learned
    factor; and a learned bias a class (Hoffer et al. 2018, "Fix your classifier").

    The signs are those of `nas.network.modules.parts.signs`: no file need hold them, so they are no parameters.
    """

    inputs: int
    outputs: int
    bias: bool = True


@dataclass(frozen=True)
class QuadraticLinear:
    """A linear layer without bias that has `rank` parameters e an output: its weights are e and all products of two of
    them, e_i e_j with i <= j, so that it takes rank + rank (rank + 1) / 2 inputs.

    As a classifier, each class is a point e in few dimensions, and its score a quadratic function of the point that
    the image decides. Only e is stored: the products follow from it, and are no parameters.
    """

    rank: int
    outputs: int

    @property
    def inputs(self) -> int:
        """How many values it takes."""
        return self.rank + self.rank * (self.rank + 1) // 2


Leaf = (
    Conv
    | BatchNorm
    | Activation
    | SqueezeExcitation
    | Identity
    | Subsample
    | Pool
    | GlobalPool
    | Flatten
    | Linear
    | Dropout
    | Slice
    | Scale
    | Shift
    | SignLinear
    | QuadraticLinear
)
"""Layers that have none inside."""

Layer = Leaf | Sequence | Residual | Concat | Product | Tied

KINDS: dict[str, type[Layer]] = {kind.__name__: kind for kind in Layer.__args__}


def sequence(layers: Iterable[Layer], name: str = "") -> Sequence:
    """The layers as one Sequence; unnamed sequences inside are unfolded, so that equal networks have equal trees."""
    flat: list[Layer] = []
    for layer in layers:
        if isinstance(layer, Sequence) and not layer.name:
            flat.extend(layer.layers)
        else:
            flat.append(layer)
    return Sequence(tuple(flat), name)


def with_dropout(network: Layer, rate: float) -> Layer:
    """The network with a dropout before its last linear layer; itself at rate 0 or without a linear layer."""
    match network:
        case Linear() | SignLinear() | QuadraticLinear() if rate > 0:
            return Sequence((Dropout(rate), network))
        case Sequence(layers=layers):
            for i, layer in reversed(list(enumerate(layers))):
                changed = with_dropout(layer, rate)
                if changed is not layer:
                    return replace(network, layers=(*layers[:i], changed, *layers[i + 1 :]))
    return network
