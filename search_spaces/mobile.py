"""Inverted residual and depthwise-separable blocks, as in MobileNetV2 and V3."""

from dataclasses import dataclass

from nas.network.blocks import WIDTHS, Shortcut, stage, stem
from nas.network.heads import classifier
from nas.network.layers import Function, Layer, Sequence, Shape
from nas.space.space import Architecture, knob, width_knob


@dataclass(frozen=True)
class Mobile(Architecture):
    """A stem and three stages; a stage with expansion 1 is depthwise-separable. `halve` as in the residual space."""

    stem: int = width_knob(*WIDTHS[:39], default=16)
    halve: str = knob("2 3", "1 2", "1 3", "1 2 3")
    activation: Function = knob("relu", "silu", "hardswish")
    shortcut: Shortcut = knob("none", "projection", "pad")
    blocks1: int = knob(1, 2, 3, 4)
    width1: int = width_knob(*WIDTHS, default=16)
    kernel1: int = knob(3, 5, 7)
    expansion1: int = knob(1, 2, 3, 4, 6)
    excitation1: bool = knob(False, True)
    blocks2: int = knob(1, 2, 3, 4, default=2)
    width2: int = width_knob(*WIDTHS, default=32)
    kernel2: int = knob(3, 5, 7)
    expansion2: int = knob(1, 2, 3, 4, 6, default=3)
    excitation2: bool = knob(False, True)
    blocks3: int = knob(1, 2, 3, 4, default=4)
    width3: int = width_knob(*WIDTHS, default=56)
    kernel3: int = knob(3, 5, 7)
    expansion3: int = knob(1, 2, 3, 4, 6, default=3)
    excitation3: bool = knob(False, True)
    head: str = knob("linear", "low-rank")
    rank: int = width_knob(*WIDTHS[:39])

    def network(self, shape: Shape, classes: int) -> Layer:
        """Stem, stages 1 to 3, global average pool, classifier."""
        halved = self.halve.split()
        layers: list[Layer] = [stem(shape[0], self.stem, function=self.activation)]
        width = self.stem
        for s in ("1", "2", "3"):
            outputs = getattr(self, f"width{s}")
            layers.append(
                stage(
                    "inverted",
                    getattr(self, f"blocks{s}"),
                    width,
                    outputs,
                    kernel=getattr(self, f"kernel{s}"),
                    stride=2 if s in halved else 1,
                    expansion=getattr(self, f"expansion{s}"),
                    excitation=4 if getattr(self, f"excitation{s}") else 0,
                    function=self.activation,
                    transition=self.shortcut,
                    name=f"stage {s}",
                )
            )
            width = outputs
        return Sequence((*layers, classifier(width, classes, self.head, rank=self.rank)))
