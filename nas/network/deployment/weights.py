"""The bytes that a network's weights take where it is deployed, and which of its numbers are no parameters."""

from collections.abc import Sequence

from nas.network import layers
from nas.network.deployment.numbers import BIAS_AND_SCALE, BYTES, Numbers
from nas.network.deployment.ordering import Branch, Lowering
from nas.network.deployment.steps import Read
from nas.network.folds import children, parameters
from nas.network.layers import Layer, Shape


def weight_bytes(layer: Layer, shape: Shape, numbers: Numbers) -> int:
    """Bytes of all that the exported network holds of its weights. Raises ShapeError where the layer does not fit.

    fp32: 4 bytes for each number of `model.onnx`: batch norms are folded into the convolution before them, which then
    has a bias, but for a convolution that is `Tied`, which is there once; a norm that is left holds four numbers a
    channel (mean, variance, factor, shift). The fixed signs of a classifier (`SignLinear`) and the
    products of a `QuadraticLinear` are in the file.

    int8: a byte a weight, and for each output channel a bias of 4 bytes and a scale of 4. A norm that stands alone and
    a `Scale` are convolutions of one weight a channel. A tied convolution with a norm behind it is one of its own in
    every block, as the norms that are folded into it differ; others that are tied are there once.
    """
    total, seen = 0, set[str]()
    for step in _AsWritten(shape).run(layer).steps:
        part, *others = step.parts
        norms = [other.layer for other in others if isinstance(other.layer, layers.BatchNorm)]
        is_shared = part.home is not None and not (norms and numbers == "int8")
        if not (is_shared and part.home in seen):
            total += _held(part.layer, bool(norms) and not is_shared, numbers)
        if part.home is not None:
            seen.add(part.home)
        total += sum(_held(norm, False, numbers) for norm in norms if is_shared)
    return total


def _held(layer: Layer, has_norm: bool, numbers: Numbers) -> int:
    """Bytes of one layer, with norms folded into it if it `has_norm`."""
    match layer:
        case layers.Conv():
            bias = layer.outputs * (layer.bias or has_norm)
            weights, channels = parameters(layer) - layer.outputs * layer.bias, layer.outputs
        case layers.Linear():
            bias, weights, channels = layer.outputs * layer.bias, layer.inputs * layer.outputs, layer.outputs
        case layers.SignLinear():
            bias = layer.outputs * (1 + layer.bias)  # and the factor of each class
            weights, channels = layer.inputs * layer.outputs, layer.outputs
        case layers.QuadraticLinear():
            bias, weights, channels = 0, layer.inputs * layer.outputs, layer.outputs
        case layers.SqueezeExcitation():
            bias = channels = layer.squeezed + layer.channels
            weights = 2 * layer.channels * layer.squeezed
        case layers.BatchNorm():
            bias, weights, channels = 3 * layer.channels, layer.channels, layer.channels
        case layers.Scale():
            bias, weights, channels = 0, layer.channels, layer.channels
        case _:
            return 0
    return weights + BIAS_AND_SCALE * channels if numbers == "int8" else BYTES["fp32"] * (weights + bias)


def generated(layer: Layer) -> int:
    """Numbers that follow from others by a formula, so that they are no parameters: the signs of `SignLinear`, the
    products of `QuadraticLinear`.

    >>> generated(layers.SignLinear(24, 100))
    2400
    """
    match layer:
        case layers.SignLinear():
            return layer.inputs * layer.outputs
        case layers.QuadraticLinear():
            return (layer.inputs - layer.rank) * layer.outputs
        case _:
            return sum(map(generated, children(layer)))


class _AsWritten(Lowering):
    """Branches in the order of the tree, which decides nothing here."""

    def arranged(self, every: Sequence[tuple[Layer, str]], read: Read, is_kept: bool) -> dict[int, Branch]:
        return {number: self.branch(*branch, read, is_kept=True) for number, branch in enumerate(every)}
