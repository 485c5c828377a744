"""Whether an exported program computes what the network does."""

from collections.abc import Callable

import torch
from torch import Tensor

from nas.errors import RunError
from nas.network.layers import Shape

TOLERANCE = 1e-4
"""Largest difference between two programs of one network, as a share of their largest score."""

BATCHES = (1, 7)
"""Sizes of the random batches on which they are compared."""


class MismatchError(ArithmeticError):
    """An exported program computes something else than the network."""


@torch.inference_mode()
def difference(
    expected: Callable[[Tensor], Tensor], found: Callable[[Tensor], Tensor], shape: Shape, name: str
) -> float:
    """Largest difference of scores on random images, as a share of the largest score. Raises MismatchError above
    TOLERANCE, RunError where the scores of the network are no numbers."""
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch in BATCHES:
        images = torch.randn(batch, *shape, generator=generator)
        wanted = expected(images)
        if not torch.isfinite(wanted).all():
            raise RunError("the network's scores are no numbers: its weights are damaged; train it again")
        apart = ((found(images) - wanted).abs().max() / wanted.abs().max()).item()
        if not apart <= TOLERANCE:
            raise MismatchError(
                f"{name} gives other scores than the network on {batch} random images: they differ by {apart:.2g} of "
                f"the largest, at most {TOLERANCE:g} is allowed; nothing was written"
            )
        worst = max(worst, apart)
    return worst
