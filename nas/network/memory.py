"""The memory that a network's values take while it predicts: a fold over its tree."""

from math import prod

from nas.network import layers
from nas.network.folds import branches, output_shape
from nas.network.layers import Layer, Shape


def peak_activation(layer: Layer, shape: Shape) -> int:
    """The most values alive at once in inference on one image (4 bytes each in fp32).

    Each layer holds its input and its output, except that element-wise layers work in place unless their input is
    still wanted by a branch beside them. Branches are computed one after another, and hold their input until the last
    has used it; their results are added or multiplied in place, but concatenated into values of their own.
    """
    return _peak(layer, shape, kept=0, wanted=False)


def _peak(layer: Layer, shape: Shape, kept: int, wanted: bool) -> int:
    """`kept`: values alive besides the input; `wanted`: the input must outlive this layer."""
    size = prod(shape)
    match layer:
        case layers.Sequence():
            peak = kept + size
            for inner in layer.layers:
                peak = max(peak, _peak(inner, shape, kept, wanted))
                shape = output_shape(inner, shape)
                if wanted:
                    kept, wanted = kept + size, False
            return peak
        case layers.Tied():
            return _peak(layers.Sequence((layer.block,) * layer.times), shape, kept, wanted)
        case layers.Residual() | layers.Product() | layers.Concat():
            return _peak_of_branches(layer, shape, kept, wanted)
        case layers.Identity() | layers.Flatten():
            return kept + size
        case layers.Activation() | layers.BatchNorm() | layers.Dropout() | layers.SqueezeExcitation() | layers.Scale():
            return kept + size * (2 if wanted else 1)
        case _:
            return kept + size + prod(output_shape(layer, shape))


def _peak_of_branches(
    layer: layers.Residual | layers.Product | layers.Concat, shape: Shape, kept: int, wanted: bool
) -> int:
    every, peak, held = branches(layer), 0, kept
    is_read_last = wanted or any(isinstance(branch, layers.Identity) for branch in every)
    for number, branch in enumerate(every, start=1):
        if isinstance(branch, layers.Identity):  # its result is the input, where that lies
            peak = max(peak, held + prod(shape))
            continue
        peak = max(peak, _peak(branch, shape, held, is_read_last or number < len(every)))
        held += prod(output_shape(branch, shape))
    if isinstance(layer, layers.Concat):
        peak = max(peak, held + (prod(shape) if is_read_last else 0) + prod(output_shape(layer, shape)))
    return peak
