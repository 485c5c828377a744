"""The numbers that kernels are given, rounded where onnxruntime rounds them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from nas.results.export.int8.operations import CannotQuantiseError, Floats
from nas.results.export.int8.quantise import UNSIGNED, Matrix, Scale

SPAN = 255
"""Largest difference of two values in int8."""

Terms = tuple[object, ...]
"""Arguments of a call."""


def sum_terms(one: Scale, other: Scale, after: Scale) -> Terms:
    """Factors and summand of a sum of values from 0 to 255, rounded where onnxruntime's build rounds."""
    by, by_other = one.step / after.step, other.step / after.step
    zero, one_zero, other_zero = (np.float32(scale.zero + UNSIGNED) for scale in (after, one, other))
    return by, by_other, zero - np.float32(np.float64(by) * one_zero + by_other * other_zero)


def product_terms(one: Scale, other: Scale, after: Scale) -> Terms:
    """The factor and the zeros of a product."""
    return one.step * other.step / after.step, one.zero, other.zero, after.zero


def factors(found: Matrix, before: Scale, after: Scale) -> Floats:
    """What one step of each output's sum is, in steps of the result, rounded where onnxruntime rounds."""
    result: Floats = before.step * found.steps / after.step
    return result


def check_sums(rows: npt.NDArray[np.int64], found: Matrix) -> None:
    """Raises CannotQuantiseError where a sum could leave 32 bits."""
    largest = SPAN * np.abs(rows).sum(1) + np.abs(found.bias.astype(np.int64))
    if largest.max() >= 2**31:
        raise CannotQuantiseError("a layer has so many inputs that their sums do not fit the 32 bits that C adds in")


def table(function: str, before: Scale, after: Scale) -> npt.NDArray[np.float32]:
    """A function of each of the 256 values, from -128 on."""
    x = before.step * (np.arange(-128, 128) - before.zero).astype(np.float32)
    with np.errstate(over="ignore"):  # the exponential of a large number is infinite, and its sigmoid 0
        y: Floats = np.rint(_FUNCTIONS[function](x) / after.step) + after.zero
    return y.clip(-128, 127)


def _hardsigmoid(x: Floats) -> Any:
    return (x * np.float32(1 / 6) + np.float32(0.5)).clip(0, 1)


_FUNCTIONS = {
    "relu": lambda x: x.clip(0),
    "silu": lambda x: x * (1 / (1 + np.exp(-x))),
    "hardswish": lambda x: x * _hardsigmoid(x),
    "hardsigmoid": _hardsigmoid,
}
"""Functions of float32, as onnxruntime computes them."""
