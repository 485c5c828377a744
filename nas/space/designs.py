"""Designs made by hand, scaled to a budget: those that a space names, and well-known ones that nobody searched for."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nas.network.blocks import Block, conv_norm, inverted, stage, stem
from nas.network.heads import classifier
from nas.network.layers import Layer, Pool, Sequence, Shape
from nas.space.budget import Budget
from nas.space.draw import defaults, fit, lightest
from nas.space.space import Architecture, Knobs, Searchable, Space, Value, width_knob

WIDTHS = range(1, 1281)


@dataclass(frozen=True)
class ResNet(Architecture):
    """ResNet-8 for small images (He et al. 2015, n = 1): a stem and a basic block a stage, halved at stages 2 and 3."""

    width1: int = width_knob(*WIDTHS, default=16)
    width2: int = width_knob(*WIDTHS, default=32)
    width3: int = width_knob(*WIDTHS, default=64)

    def network(self, shape: Shape, classes: int) -> Layer:
        """Stem, stages, head."""
        widths = (self.width1, self.width1, self.width2, self.width3)
        stages = [
            stage("basic", 1, widths[s - 1], widths[s], kernel=3, stride=1 if s == 1 else 2, name=f"stage {s}")
            for s in (1, 2, 3)
        ]
        return Sequence((stem(shape[0], self.width1), *stages, classifier(self.width3, classes)))


@dataclass(frozen=True)
class MobileNetV2(Architecture):
    """MobileNetV2 (Sandler et al. 2018) for small images: stem and second stage keep the resolution."""

    stem: int = width_knob(*WIDTHS, default=32)
    width1: int = width_knob(*WIDTHS, default=16)
    width2: int = width_knob(*WIDTHS, default=24)
    width3: int = width_knob(*WIDTHS, default=32)
    width4: int = width_knob(*WIDTHS, default=64)
    width5: int = width_knob(*WIDTHS, default=96)
    width6: int = width_knob(*WIDTHS, default=160)
    width7: int = width_knob(*WIDTHS, default=320)
    last: int = width_knob(*WIDTHS, default=1280)

    BLOCKS = ((1, 1, 1), (6, 2, 1), (6, 3, 2), (6, 4, 2), (6, 3, 1), (6, 3, 2), (6, 1, 1))
    """Expansion, blocks and stride of each stage."""

    def network(self, shape: Shape, classes: int) -> Layer:
        """Stem, seven stages, 1x1 convolution, head."""
        layers: list[Layer] = [stem(shape[0], self.stem)]
        width = self.stem
        for s, (expansion, blocks, stride) in enumerate(self.BLOCKS, start=1):
            outputs: int = getattr(self, f"width{s}")
            for repeated in range(blocks):
                block = Block(width, outputs, 3, 1 if repeated else stride, expansion, transition="none")
                layers.append(inverted(block))
                width = outputs
        return Sequence((*layers, conv_norm(width, self.last, 1, 1, 1, "relu"), classifier(self.last, classes)))


@dataclass(frozen=True)
class VGG(Architecture):
    """A plain stack in the manner of Simonyan and Zisserman (2015): two 3x3 convolutions, max-pool, three times."""

    width1: int = width_knob(*WIDTHS, default=64)
    width2: int = width_knob(*WIDTHS, default=128)
    width3: int = width_knob(*WIDTHS, default=256)

    def network(self, shape: Shape, classes: int) -> Layer:
        """Three stages, head."""
        widths = (shape[0], self.width1, self.width2, self.width3)
        layers: list[Layer] = []
        for s in (1, 2, 3):
            layers.append(stage("conv", 2, widths[s - 1], widths[s], kernel=3, stride=1, name=f"stage {s}"))
            layers += [Pool("max", 2)] if s < 3 else []
        return Sequence((*layers, classifier(self.width3, classes)))


AS_IT_IS = 0.97
"""Use of the budget from which a design is not fitted."""


def designs_for(space: Searchable, beginnings: Iterable[Knobs], budget: Budget) -> list[dict[str, Value]]:
    """With what a search within the budget begins: the default of the space and its `beginnings`, each given by the
    knobs in which it differs, not fitted; those first whose own size is nearest to the budget, by ratio. For each was
    made for about the size that it is written in; one that names no width, for the default's."""
    default, widths = defaults(space), {knob.name for knob in space.knobs if knob.role == "width"}

    def distance(own: Knobs) -> float:
        cost = space.cost(default | dict(own) if widths & set(own) else default)
        return abs(math.log(cost.parameters / budget.parameters)) if cost else math.inf

    return [default | dict(own) for own in sorted(({}, *beginnings), key=distance)]


def default_within(space: Space, budget: Budget) -> dict[str, Value]:
    """The default of the budget, with which every search within it begins: the first of the designs for it.
    Raises BudgetError if nothing is within budget."""
    return design_within(space, designs_for(space, space.beginnings, budget)[0], budget)


def design_within(space: Searchable, design: Knobs, budget: Budget) -> dict[str, Value]:
    """The design as it is, if it is within budget and uses at least a share `AS_IT_IS` of it; else fitted. Somebody
    has balanced its widths, and a hundredth more of the budget is worth less. Raises BudgetError if nothing is within
    budget."""
    cost = space.cost(design)
    if cost and budget.covers(cost) and budget.use(cost) >= AS_IT_IS:
        return space.settled(design)
    return fit(space, design, budget, np.random.default_rng(0))


DESIGNS: dict[str, type[Architecture]] = {"resnet": ResNet, "mobilenetv2": MobileNetV2, "vgg": VGG}


@lru_cache
def scaled(name: str, budget: Budget, shape: Shape, classes: int) -> Layer | None:
    """The design with its widths scaled to use as much of the budget as they can; None where it has no network
    within budget."""
    space = Space(DESIGNS[name], shape, classes)
    least = space.cost(lightest(space, budget))
    if least is None or not budget.covers(least):
        return None
    return space.network(fit(space, space.defaults, budget, np.random.default_rng(0), goal=1.0))
