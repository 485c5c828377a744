"""Four stages of MBConv blocks made by hand: a bias in every convolution, ReLU behind every batch norm."""

from dataclasses import dataclass

from nas.network.blocks import conv_norm
from nas.network.heads import classifier
from nas.network.layers import Conv, Identity, Layer, Pool, Residual, Sequence, Shape, sequence
from nas.space.space import Architecture, knob, width_knob

WIDTHS = range(1, 513)


@dataclass(frozen=True)
class MBConv(Architecture):
    """A 1 x 1 stem, four stages with max pools between them, and a head.

    A block is 1 x 1 up by the `expansion`, depthwise `kernel`, 1 x 1 down. Its shortcut is the identity where the width
    stays, else a 1 x 1 convolution with bias and no norm. Unlike the inverted blocks of `mobile`, the last 1 x 1 has a
    ReLU.
    """

    stem: int = width_knob(*WIDTHS, default=16)
    kernel: int = knob(3, 5, 7)
    expansion: int = knob(1, 2, 3, 4, 6, default=4)
    blocks1: int = knob(1, 2, 3, 4)
    width1: int = width_knob(*WIDTHS, default=16)
    blocks2: int = knob(1, 2, 3, 4)
    width2: int = width_knob(*WIDTHS, default=32)
    blocks3: int = knob(1, 2, 3, 4)
    width3: int = width_knob(*WIDTHS, default=32)
    blocks4: int = knob(1, 2, 3, 4)
    width4: int = width_knob(*WIDTHS, default=64)

    def network(self, shape: Shape, classes: int) -> Layer:
        """Stem, stages 1 to 4, global average pool, linear classifier."""
        layers: list[Layer] = [sequence([conv_norm(shape[0], self.stem, 1, function="relu", bias=True)], "stem")]
        inputs = self.stem
        for s in ("1", "2", "3", "4"):
            blocks, width = getattr(self, f"blocks{s}"), getattr(self, f"width{s}")
            layers += [Pool("max", 2)] if s > "1" else []
            rest = [self._block(width, width)] * (blocks - 1)
            layers.append(Sequence((self._block(inputs, width), *rest), f"stage {s}"))
            inputs = width
        return Sequence((*layers, classifier(inputs, classes)))

    def _block(self, inputs: int, outputs: int) -> Residual:
        inner = self.expansion * inputs
        body = sequence(
            [
                conv_norm(inputs, inner, 1, function="relu", bias=True),
                conv_norm(inner, inner, self.kernel, groups=inner, function="relu", bias=True),
                conv_norm(inner, outputs, 1, function="relu", bias=True),
            ]
        )
        return Residual(body, Identity() if inputs == outputs else Conv(inputs, outputs, 1, bias=True))
