"""Three stages, each of which chooses its kind of block: the default space."""

from dataclasses import dataclass

from nas.network.blocks import BLOCKS, WIDTHS, Shortcut, classifier, stage, stem
from nas.network.layers import Function, Layer, Sequence, Shape, Statistic
from nas.space.space import Architecture, knob, width_knob


@dataclass(frozen=True)
class Mixed(Architecture):
    """A stem, three stages and a head.

    `halve` names the parts that halve the resolution, so that every network ends at a quarter or an eighth of it.
    `expansion` widens inverted and depthwise blocks and narrows bottlenecks; plain and basic blocks ignore it.
    `rank` counts only with a low-rank head. The defaults are a good network of about 100,000 parameters for 32 x 32
    images of 100 classes.
    """

    stem: int = width_knob(*WIDTHS[2:39], default=16)
    halve: str = knob("2 3", "1 2", "1 3", "1 2 3", "stem 2", "stem 3", "stem 2 3")
    activation: Function = knob("relu", "silu", "hardswish")
    shortcut: Shortcut = knob("projection", "pad", "none")
    kind1: str = knob(*BLOCKS, default="basic")
    blocks1: int = knob(1, 2, 3, 4)
    width1: int = width_knob(*WIDTHS[2:], default=16)
    kernel1: int = knob(3, 5, 7)
    expansion1: int = knob(1, 2, 3, 4, 6)
    excitation1: bool = knob(False, True)
    kind2: str = knob(*BLOCKS, default="depthwise")
    blocks2: int = knob(1, 2, 3, 4, default=3)
    width2: int = width_knob(*WIDTHS[2:], default=32)
    kernel2: int = knob(3, 5, 7)
    expansion2: int = knob(1, 2, 3, 4, 6, default=2)
    excitation2: bool = knob(False, True)
    kind3: str = knob(*BLOCKS, default="depthwise")
    blocks3: int = knob(1, 2, 3, 4, default=3)
    width3: int = width_knob(*WIDTHS[2:], default=60)
    kernel3: int = knob(3, 5, 7, default=5)
    expansion3: int = knob(1, 2, 3, 4, 6, default=2)
    excitation3: bool = knob(False, True)
    pool: Statistic = knob("average", "max")
    head: str = knob("linear", "low-rank")
    rank: int = width_knob(*WIDTHS[1:39])

    def network(self, shape: Shape, classes: int) -> Layer:
        """Stem, stages 1 to 3, head."""
        halved = self.halve.split()
        layers: list[Layer] = [stem(shape[0], self.stem, 2 if "stem" in halved else 1, self.activation)]
        width = self.stem
        for s in ("1", "2", "3"):
            layers.append(self._stage(s, width, 2 if s in halved else 1))
            width = getattr(self, f"width{s}")
        rank = self.rank if self.head == "low-rank" else None
        return Sequence((*layers, classifier(width, classes, pool=self.pool, rank=rank)))

    def _stage(self, s: str, inputs: int, stride: int) -> Sequence:
        return stage(
            getattr(self, f"kind{s}"),
            getattr(self, f"blocks{s}"),
            inputs,
            getattr(self, f"width{s}"),
            kernel=getattr(self, f"kernel{s}"),
            stride=stride,
            expansion=getattr(self, f"expansion{s}"),
            excitation=getattr(self, f"excitation{s}"),
            function=self.activation,
            transition=self.shortcut,
            name=f"stage {s}",
        )
