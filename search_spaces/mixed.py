"""Three or four stages, each of which chooses its kind of block: the default space."""

from dataclasses import dataclass
from typing import ClassVar

from nas.network.blocks import BLOCKS, WIDTHS, Shortcut, stage, stem
from nas.network.heads import HEADS, classifier
from nas.network.layers import Function, Layer, Sequence, Shape, Statistic
from nas.space.space import Architecture, Knobs, knob, width_knob

BLOCKS_OF_A_STAGE = (1, 2, 3, 4, 6)
EXPANSIONS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
EXCITATIONS = (0, 4, 8, 16)
KEPT: Knobs = {"halve": "3", "excitation1": 4, "excitation2": 8}
"""The resolution halved once, and gates: the best at 10,000 parameters, for two and a half times the multiply-adds."""

MIXING: Knobs = {"stem": 6, "width1": 5, "width2": 11, "kind3": "mixer", "width3": 20, "expansion3": 1.0}
"""Split mixers in stage 3, 9,886 parameters with 100 classes: the best there at the multiply-adds of the default, and
level with it at 100,000."""

SHALLOW: Knobs = {
    "stem": 11,
    "shortcut": "none",
    **{f"kind{s}": "inverted" for s in (1, 2, 3)},
    **{f"blocks{s}": 1 for s in (1, 2, 3)},
    **{f"expansion{s}": 1.0 for s in (1, 2, 3)},
    **{"width1": 13, "width2": 14, "width3": 16, "kernel3": 3, "head": "bias-free"},
}
"""One depthwise-separable convolution a stage, 2,972 parameters with 100 classes: where there are few, width in front
of the classifier is worth more than depth, values of both signs more than rectified ones, a channel more than a
bias."""

TINY: Knobs = {
    "stem": 4,
    "halve": "3",
    "activation": "hardswish",
    "shortcut": "none",
    **{f"kind{s}": "blueprint" for s in (1, 2, 3)},
    **{f"blocks{s}": 1 for s in (1, 2, 3)},
    **{"width1": 6, "width2": 7, "width3": 8, "kernel3": 3, "head": "quadratic"},
}
"""Blueprint blocks in front of a quadratic head, 981 parameters with 100 classes, of which 400 are the classes'."""


@dataclass(frozen=True)
class Mixed(Architecture):
    """A stem, three stages or four, and a head.

    `halve` names the parts that halve the resolution. `expansion` widens the inside of inverted, depthwise, shift,
    mixer and dense blocks and narrows bottlenecks; plain, basic and blueprint blocks ignore it. `excitation` is how
    many channels a hidden unit of the gate stands for, 0 no gate. With `shared` all blocks of a stage but its first
    have their 1x1 convolutions in common. `rank` counts only with a low-rank head. Stage 4 is there if `blocks4` is
    above 0. The defaults are a good network of about 100,000 parameters for 32 x 32 images of 100 classes, `MIXING`,
    `SHALLOW` and `TINY` are for 10,000, 3,000 and 1,000 (`studies/blocks`).
    """

    beginnings: ClassVar[tuple[Knobs, ...]] = (KEPT, MIXING, SHALLOW, TINY)

    stem: int = width_knob(*WIDTHS[2:39], default=16)
    halve: str = knob(
        "2 3", "1 2", "1 3", "1 2 3", "stem 2", "stem 3", "stem 2 3", "2", "3", "2 4", "3 4", "2 3 4", "stem 2 3 4"
    )
    activation: Function = knob("relu", "silu", "hardswish")
    shortcut: Shortcut = knob("projection", "pad", "none")
    kind1: str = knob(*BLOCKS, default="basic")
    blocks1: int = knob(*BLOCKS_OF_A_STAGE)
    width1: int = width_knob(*WIDTHS[2:], default=16)
    kernel1: int = knob(3, 5, 7)
    expansion1: float = knob(*EXPANSIONS)
    excitation1: int = knob(*EXCITATIONS)
    shared1: bool = knob(False, True)
    kind2: str = knob(*BLOCKS, default="depthwise")
    blocks2: int = knob(*BLOCKS_OF_A_STAGE, default=3)
    width2: int = width_knob(*WIDTHS[2:], default=32)
    kernel2: int = knob(3, 5, 7)
    expansion2: float = knob(*EXPANSIONS, default=2.0)
    excitation2: int = knob(*EXCITATIONS)
    shared2: bool = knob(False, True)
    kind3: str = knob(*BLOCKS, default="depthwise")
    blocks3: int = knob(*BLOCKS_OF_A_STAGE, default=3)
    width3: int = width_knob(*WIDTHS[2:], default=60)
    kernel3: int = knob(3, 5, 7, default=5)
    expansion3: float = knob(*EXPANSIONS, default=2.0)
    excitation3: int = knob(*EXCITATIONS)
    shared3: bool = knob(False, True)
    kind4: str = knob(*BLOCKS, default="depthwise")
    blocks4: int = knob(0, *BLOCKS_OF_A_STAGE)
    width4: int = width_knob(*WIDTHS[2:], default=96)
    kernel4: int = knob(3, 5, 7)
    expansion4: float = knob(*EXPANSIONS, default=2.0)
    excitation4: int = knob(*EXCITATIONS)
    shared4: bool = knob(False, True)
    pool: Statistic = knob("average", "max")
    head: str = knob(*HEADS)
    rank: int = width_knob(*WIDTHS[1:39])

    def network(self, shape: Shape, classes: int) -> Layer:
        """Stem, stages, head."""
        halved = self.halve.split()
        layers: list[Layer] = [stem(shape[0], self.stem, 2 if "stem" in halved else 1, self.activation)]
        width = self.stem
        for s in ("1", "2", "3", "4") if self.blocks4 else ("1", "2", "3"):
            layers.append(self._stage(s, width, 2 if s in halved else 1))
            width = getattr(self, f"width{s}")
        return Sequence((*layers, classifier(width, classes, self.head, rank=self.rank, pool=self.pool)))

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
            shared=getattr(self, f"shared{s}"),
            name=f"stage {s}",
        )
