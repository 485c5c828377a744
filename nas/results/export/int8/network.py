"""A trained network in int8, with all that its forms are written of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from nas.network.layers import Layer, Shape
from nas.results.export.c.arena import Arena, arena
from nas.results.export.card import Preprocessing
from nas.results.export.int8.operations import CannotQuantiseError, Operation, operations
from nas.results.export.int8.quantise import Quantities, quantised
from nas.results.export.measuring import Sample, prepared


@dataclass(frozen=True, eq=False)
class QuantisedNetwork:
    """A network, its operations, the shape of each value, onnx.ModelProto of them in int8 (QDQ), and in a sentence how
    its weights came to be where they are not those of the training."""

    network: Layer
    operations: Sequence[Operation]
    shapes: Sequence[Shape]
    model: Any
    note: str = ""

    @cached_property
    def quantities(self) -> Quantities:
        """The numbers of the model."""
        return Quantities(self.model)

    @cached_property
    def arena(self) -> Arena:
        """Where values lie in one buffer."""
        return arena(self.network, self.operations, self.shapes)


def quantised_network(
    network: Layer, weights: Mapping[str, Tensor], preprocessing: Preprocessing, sample: Sample | None, opset: int
) -> QuantisedNetwork:
    """The network quantised on the sample's training images.

    `weights` is a state_dict of `nas.network.modules.module.to_module(network)`. Raises CannotQuantiseError where it
    has no such form, or there are no images.
    """
    if sample is None or not len(sample.training):
        raise CannotQuantiseError(
            "int8 needs images of the data set, which are not at hand; give --dataset where it is"
        )
    found, shapes = operations(network, preprocessing.shape, weights)
    model = quantised(found, shapes, prepared(sample.training, preprocessing), opset)
    return QuantisedNetwork(network, found, shapes, model)
