"""Where the values of a network lie in the one buffer of its C program, and in which order they are computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from nas.network import layers
from nas.network.deployment.memory import plan
from nas.network.layers import Layer, Shape
from nas.results.export.int8.operations import Operation


@dataclass(frozen=True)
class Arena:
    """The operations in the order that needs least memory; the offset of each value and, by the value that it writes,
    of the scratch of each gate; the size of the buffer in bytes."""

    operations: Sequence[Operation]
    offsets: Mapping[int, int]
    scratch: Mapping[int, int]
    size: int


def arena(network: Layer, operations: Sequence[Operation], shapes: Sequence[Shape]) -> Arena:
    """The operations as `nas.network.deployment.memory.plan` arranges them; slices are parts of what is there."""
    planned = plan(network, shapes[0])
    known = {operation.place: operation for operation in operations}
    order, offsets, scratch = [], {0: planned.input.offset}, {}
    for step in planned.operations:
        for operation in (known.pop(part.path) for part in step.parts if part.path in known):
            order.append(operation)
            offsets[operation.writes] = step.output.offset
            if step.scratch:
                scratch[operation.writes] = step.scratch.offset
    for operation in operations:
        if isinstance(operation.layer, layers.Slice):
            del known[operation.place]
            read = operation.reads[0]
            offsets[operation.writes] = offsets[read] + operation.layer.first * prod(shapes[read][1:])
    assert not known, f"the plan of the network's memory lacks {known}"
    return Arena(order, offsets, scratch, planned.size)
