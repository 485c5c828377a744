"""Three stages of basic blocks, each with or without its shortcuts."""

from dataclasses import dataclass

from nas.network.blocks import WIDTHS, stage, stem
from nas.network.heads import classifier
from nas.network.layers import Layer, Sequence, Shape
from nas.space.space import Architecture, knob, width_knob


@dataclass(frozen=True)
class Residual(Architecture):
    """A stem as wide as the first stage, then stages of two convolutions a block.

    `halve` names the stages that halve the resolution. Without `residual` a stage is the same stack, unadded.
    """

    halve: str = knob("2 3", "2", "3", "1 2", "1 3", "1 2 3")
    blocks1: int = knob(1, 2, 3, 4)
    width1: int = width_knob(*WIDTHS, default=16)
    kernel1: int = knob(3, 5)
    residual1: bool = knob(True, False)
    blocks2: int = knob(1, 2, 3, 4)
    width2: int = width_knob(*WIDTHS, default=36)
    kernel2: int = knob(3, 5)
    residual2: bool = knob(True, False)
    blocks3: int = knob(1, 2, 3, 4)
    width3: int = width_knob(*WIDTHS, default=64)
    kernel3: int = knob(3, 5)
    residual3: bool = knob(True, False)

    def network(self, shape: Shape, classes: int) -> Layer:
        """Stem, stages 1 to 3, global average pool, linear classifier."""
        halved = self.halve.split()
        layers: list[Layer] = [stem(shape[0], self.width1)]
        width = self.width1
        for s in ("1", "2", "3"):
            residual, blocks = getattr(self, f"residual{s}"), getattr(self, f"blocks{s}")
            outputs = getattr(self, f"width{s}")
            layers.append(
                stage(
                    "basic" if residual else "conv",
                    blocks if residual else 2 * blocks,
                    width,
                    outputs,
                    kernel=getattr(self, f"kernel{s}"),
                    stride=2 if s in halved else 1,
                    name=f"stage {s}",
                )
            )
            width = outputs
        return Sequence((*layers, classifier(width, classes)))
