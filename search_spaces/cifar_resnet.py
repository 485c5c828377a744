"""The residual networks for CIFAR of He et al. 2015 (https://arxiv.org/abs/1512.03385), and what they are without."""

from dataclasses import dataclass
from typing import Literal

from nas.network.heads import classifier
from nas.network.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dropout,
    Identity,
    Layer,
    Residual,
    Sequence,
    Shape,
    Subsample,
    sequence,
)
from nas.space.space import Architecture, knob, width_knob

WIDTHS = range(1, 257)


@dataclass(frozen=True)
class CifarResNet(Architecture):
    """A stem and three stages of `blocks` blocks each: with basic blocks a depth of 6 blocks + 2, ResNet-20 at 3.

    `width` is that of the stem and the first stage, doubled in the second and again in the third; a bottleneck's
    outputs are four times as wide. The shortcut "pad" has no parameters. Without `residual` the same stack is not
    added to anything; without `norm` it has no batch norm, and convolutions get a bias. `block_dropout` is a rate,
    applied before the last convolution of a block (Zagoruyko & Komodakis 2016).
    """

    blocks: int = knob(*range(1, 201), default=3)
    kind: Literal["basic", "bottleneck"] = knob("basic", "bottleneck")
    width: int = width_knob(*WIDTHS, default=16)
    shortcut: Literal["pad", "projection"] = knob("pad", "projection")
    residual: bool = knob(True, False)
    norm: bool = knob(True, False)
    block_dropout: float = knob(0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)

    def network(self, shape: Shape, classes: int) -> Layer:
        """Stem, stages 1 to 3, global average pool, linear classifier."""
        layers: list[Layer] = [sequence([self._conv(shape[0], self.width, 3), Activation("relu")], "stem")]
        inputs = self.width
        for number, (inner, stride) in enumerate(((1, 1), (2, 2), (4, 2)), start=1):
            width = inner * self.width
            outputs = 4 * width if self.kind == "bottleneck" else width
            first, rest = self._block(inputs, width, outputs, stride), self._block(outputs, width, outputs, 1)
            layers.append(sequence([first, *[rest] * (self.blocks - 1)], f"stage {number}"))
            inputs = outputs
        return Sequence((*layers, classifier(inputs, classes)))

    def _block(self, inputs: int, width: int, outputs: int, stride: int) -> Sequence:
        relu = Activation("relu")
        layers: list[Layer] = [] if self.kind == "basic" else [self._conv(inputs, width, 1), relu]
        layers += [self._conv(inputs if self.kind == "basic" else width, width, 3, stride), relu]
        layers += [Dropout(self.block_dropout)] if self.block_dropout else []
        body = sequence([*layers, self._conv(width, outputs, 3 if self.kind == "basic" else 1)])
        return sequence([Residual(body, self._shortcut(inputs, outputs, stride)) if self.residual else body, relu])

    def _shortcut(self, inputs: int, outputs: int, stride: int) -> Layer:
        if inputs == outputs and stride == 1:
            return Identity()
        return Subsample(inputs, outputs, stride) if self.shortcut == "pad" else self._conv(inputs, outputs, 1, stride)

    def _conv(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> Sequence:
        conv = Conv(inputs, outputs, kernel, stride, bias=not self.norm)
        return Sequence((conv, BatchNorm(outputs)) if self.norm else (conv,))
