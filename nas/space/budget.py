"""The hard budget: the one gate that a network passes or not."""

import re
from dataclasses import dataclass

from nas.errors import BudgetError
from nas.network.folds import Cost, ShapeError, macs, parameters
from nas.network.layers import Layer, Shape

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


@dataclass(frozen=True)
class Budget:
    """At most `parameters` parameters and, if given, `macs` multiply-adds a forward pass on one image."""

    parameters: int
    macs: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("parameters", self.parameters), ("macs", self.macs)):
            if value is not None and value < 1:
                raise BudgetError(f"a budget's {name} must be at least 1 but got {value}")

    def admits(self, layer: Layer, shape: Shape | None = None) -> bool:
        """Whether the network is within budget. A cap on multiply-adds needs the shape of the images.

        >>> Budget(parameters=1_000).admits(Linear(64, 10))
        True
        """
        if self.macs is None:
            return parameters(layer) <= self.parameters
        if shape is None:
            raise ValueError("a budget with a cap on multiply-adds needs the shape of the images")
        try:
            return self.covers(Cost(parameters(layer), macs(layer, shape)))
        except ShapeError:
            return False

    def covers(self, cost: Cost) -> bool:
        """Whether a network of this cost is within budget."""
        return self.load(cost) <= 1

    def load(self, cost: Cost) -> float:
        """Share used of the scarcer of the two caps; above 1 is over budget."""
        return max(cost.parameters / self.parameters, cost.macs / self.macs if self.macs else 0)

    def __str__(self) -> str:
        return f"{self.parameters:,} parameters" + (f" and {self.macs:,} multiply-adds" if self.macs else "")


def parse_count(text: str) -> int:
    """A count as people write it: 100000, 100_000, 100K, 1.5M, 3e5.

    >>> parse_count("1.5K")
    1500
    """
    match = re.fullmatch(r"((?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:e[0-9]{1,2})?)([kmg]?)", text.strip().lower())
    if not match:
        raise BudgetError(f"a count must be a number like 100000, 100K or 1.5M but got {text!r}")
    count = float(match[1].replace("_", "")) * _UNITS[match[2]]
    if count != int(count) or count < 1:
        raise BudgetError(f"a count must be a whole number of at least 1 but got {text!r}")
    return int(count)


def parse_counts(text: str) -> tuple[int, ...]:
    """Comma-separated counts in ascending order, each once.

    >>> parse_counts("10K,1K")
    (1000, 10000)
    """
    return tuple(sorted({parse_count(part) for part in text.split(",")}))
