"""Convolutions, then fully connected layers: the first thing one tries under a budget."""

from dataclasses import dataclass

from nas.network.folds import output_shape
from nas.network.layers import (
    Activation,
    BatchNorm,
    Conv,
    Flatten,
    Layer,
    Linear,
    Pool,
    Residual,
    Sequence,
    Shape,
)
from nas.space.space import Architecture, knob, width_knob

WIDTHS = range(1, 513)


@dataclass(frozen=True)
class ConvFC(Architecture):
    """`convolutions` convolutions with bias, each with ReLU, max pool and batch norm in the given `order`; then
    flatten, perhaps one hidden linear layer, and the classifier.

    `pooled_input` pools before the first convolution as well. With `pooled` "last" only the last convolution has a
    pool. `residual` adds one block of two convolutions around an identity, ReLU and a pool behind the last convolution.
    `width3` counts only with three convolutions or more, `hidden` only with a hidden head. On images too small for all
    of it, a pool that would leave nothing is left out and a convolution that would leave nothing is padded.
    """

    convolutions: int = knob(1, 2, 3, 4, 5, default=2)
    kernel: int = knob(3, 5, 7)
    padding: str = knob("same", "valid")
    order: str = knob("relu pool norm", "norm relu pool")
    pool: int = knob(2, 3)
    pooled: str = knob("every", "last")
    pooled_input: bool = knob(False, True)
    width1: int = width_knob(*WIDTHS, default=16)
    width2: int = width_knob(*WIDTHS, default=32)
    width3: int = width_knob(*WIDTHS, default=64)
    width4: int = width_knob(*WIDTHS, default=128)
    width5: int = width_knob(*WIDTHS, default=256)
    residual: bool = knob(False, True)
    head: str = knob("linear", "hidden")
    hidden: int = width_knob(*WIDTHS, default=64)

    def network(self, shape: Shape, classes: int) -> Layer:
        """Pool or nothing, one stage a convolution, residual block or nothing, head."""
        inputs, side = shape[0], min(shape[1:])
        layers: list[Layer] = []
        if self.pooled_input:
            layers += self._pool(side)
            side = self._pooled(side)
        for number in range(1, self.convolutions + 1):
            conv = self._conv(inputs, getattr(self, f"width{number}"), side)
            inputs, side = conv.outputs, side + 2 * conv.padding - self.kernel + 1
            has_pool = self.pooled == "every" or number == self.convolutions
            layers.append(Sequence((conv, *self._follow(conv.outputs, side, has_pool)), f"stage {number}"))
            side = self._pooled(side) if has_pool else side
        if self.residual:
            layers.append(self._residual(inputs, side))
        (features,) = output_shape(Sequence((*layers, Flatten())), shape)
        return Sequence((*layers, self._head(features, classes)))

    def _conv(self, inputs: int, outputs: int, side: int) -> Conv:
        fits_unpadded = self.padding == "valid" and side >= self.kernel
        return Conv(inputs, outputs, self.kernel, padding=0 if fits_unpadded else -1, bias=True)

    def _follow(self, width: int, side: int, has_pool: bool) -> list[Layer]:
        layers: dict[str, list[Layer]] = {
            "relu": [Activation("relu")],
            "norm": [BatchNorm(width)],
            "pool": self._pool(side) if has_pool else [],
        }
        return [layer for name in self.order.split() for layer in layers[name]]

    def _residual(self, width: int, side: int) -> Sequence:
        conv, norm = Conv(width, width, self.kernel, bias=True), BatchNorm(width)
        body = Sequence((conv, norm, Activation("relu"), conv, norm))
        return Sequence((Residual(body), Activation("relu"), *self._pool(side)), "residual")

    def _head(self, features: int, classes: int) -> Sequence:
        if self.head == "linear":
            return Sequence((Flatten(), Linear(features, classes)), "head")
        between = (Linear(features, self.hidden), Activation("relu"))
        return Sequence((Flatten(), *between, Linear(self.hidden, classes)), "head")

    def _pool(self, side: int) -> list[Layer]:
        return [Pool("max", self.pool)] if side >= self.pool else []

    def _pooled(self, side: int) -> int:
        return side // self.pool if side >= self.pool else side
