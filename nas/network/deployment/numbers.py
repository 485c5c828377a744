"""The formats of numbers in which a network is deployed."""

from typing import Literal

Numbers = Literal["fp32", "int8"]

BYTES: dict[Numbers, int] = {"fp32": 4, "int8": 1}
"""Bytes of a weight or of a value between layers."""

BIAS_AND_SCALE = 4 + 4
"""Bytes that int8 takes beside the weights of each output channel: an int32 bias and an fp32 scale."""
