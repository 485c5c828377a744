"""What was found of layers that are met again and again."""

from collections.abc import Callable
from typing import Generic, TypeVar

from nas.network.layers import Layer, Shape

T = TypeVar("T")


class Remembered(Generic[T]):
    """What a fold found of layers met before, by identity: the networks of a search share their blocks (see
    `nas.network.blocks`), and to hash a block takes as long as to count it."""

    MOST = 100_000
    """Layers remembered, about, before all are forgotten."""

    def __init__(self) -> None:
        self._found: dict[tuple[object, ...], tuple[Layer, T]] = {}

    def of(self, layer: Layer, fold: Callable[..., T], *shape: Shape) -> T:
        """`fold(layer, *shape)`."""
        key = id(layer), *shape
        known = self._found.get(key)
        if known is None:
            if len(self._found) >= self.MOST:
                self._found.clear()
            known = self._found[key] = layer, fold(layer, *shape)  # who holds the layer keeps its id
        return known[1]
