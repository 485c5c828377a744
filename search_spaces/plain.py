"""Stages of convolution blocks without shortcuts, as in VGG."""

from dataclasses import dataclass

from nas.network.blocks import WIDTHS, stage
from nas.network.heads import classifier
from nas.network.layers import Layer, Pool, Sequence, Shape
from nas.space.space import Architecture, knob, width_knob


@dataclass(frozen=True)
class Plain(Architecture):
    """Three stages of k x k convolution, norm and ReLU; a max pool after each of the first `pools` stages."""

    pools: int = knob(2, 3)
    blocks1: int = knob(1, 2, 3)
    width1: int = width_knob(*WIDTHS, default=16)
    kernel1: int = knob(3, 5, 7)
    blocks2: int = knob(1, 2, 3)
    width2: int = width_knob(*WIDTHS, default=32)
    kernel2: int = knob(3, 5, 7)
    blocks3: int = knob(1, 2, 3)
    width3: int = width_knob(*WIDTHS, default=64)
    kernel3: int = knob(3, 5, 7)
    head: str = knob("linear", "low-rank")
    rank: int = width_knob(*WIDTHS[:39])

    def network(self, shape: Shape, classes: int) -> Layer:
        """Stages 1 to 3, global average pool, classifier."""
        layers: list[Layer] = []
        width = shape[0]
        stages = (
            (self.blocks1, self.width1, self.kernel1),
            (self.blocks2, self.width2, self.kernel2),
            (self.blocks3, self.width3, self.kernel3),
        )
        for s, (blocks, outputs, kernel) in enumerate(stages, start=1):
            layers.append(stage("conv", blocks, width, outputs, kernel=kernel, stride=1, name=f"stage {s}"))
            width = outputs
            if s <= self.pools:
                layers.append(Pool("max", 2))
        return Sequence((*layers, classifier(width, classes, self.head, rank=self.rank)))
