"""Four blocks of 3 x 3 convolutions in eight whole numbers: a family for finite differences."""

from dataclasses import dataclass

from nas.network.blocks import conv_norm
from nas.network.heads import classifier
from nas.network.layers import Layer, Pool, Sequence, Shape, sequence
from nas.space.space import Architecture, knob, width_knob

DEPTHS = range(1, 9)
WIDTHS = range(1, 513)


@dataclass(frozen=True)
class ConvBlocks(Architecture):
    """Block i has `k`i times convolution with bias, batch norm and ReLU, of `c`i channels; a max pool between blocks.

    Every option is a step of one from the next, so that k1 + 1 or c1 + 1 is again a network.
    """

    k1: int = knob(*DEPTHS)
    k2: int = knob(*DEPTHS)
    k3: int = knob(*DEPTHS)
    k4: int = knob(*DEPTHS)
    c1: int = width_knob(*WIDTHS, default=16)
    c2: int = width_knob(*WIDTHS, default=24)
    c3: int = width_knob(*WIDTHS, default=32)
    c4: int = width_knob(*WIDTHS, default=64)

    def network(self, shape: Shape, classes: int) -> Layer:
        """Blocks 1 to 4, global average pool, linear classifier."""
        layers: list[Layer] = []
        inputs = shape[0]
        for number, (depth, width) in enumerate(self._blocks(), start=1):
            first = conv_norm(inputs, width, 3, function="relu", bias=True)
            rest = conv_norm(width, width, 3, function="relu", bias=True)
            layers += [Pool("max", 2)] if number > 1 else []
            layers.append(sequence([first, *[rest] * (depth - 1)], f"stage {number}"))
            inputs = width
        return Sequence((*layers, classifier(inputs, classes)))

    def _blocks(self) -> tuple[tuple[int, int], ...]:
        return (self.k1, self.c1), (self.k2, self.c2), (self.k3, self.c3), (self.k4, self.c4)
