"""Whether layers, and shapes given to them, are what their types say: nothing else can be counted, stored and built."""

from collections.abc import Mapping, Set
from typing import Any, Never, get_args, get_type_hints

from nas.errors import UserError, shown
from nas.machine.options import plain
from nas.network.layers import KINDS, Concat, Function, Layer, Sequence, Shape, Statistic

_CHOICES = {Function: get_args(Function), Statistic: get_args(Statistic)}

_TYPES = {kind: {name: get_type_hints(kind)[name] for name in vars(kind)["__match_args__"]} for kind in KINDS.values()}

_CHECKED = {
    kind: [(n, hint, _CHOICES.get(hint, ())) for n, hint in types.items() if hint not in (Layer, tuple[Layer, ...])]
    for kind, types in _TYPES.items()
}
"""The fields of each kind that hold no layers, with their types, and what may stand there where it can be listed."""

MOST_NESTED = 50
"""Layers that may lie one in another: what walks a tree calls itself for each, and Python allows a thousand calls."""


class LayerError(UserError):
    """A layer that cannot be: no layer at all, a field that is not what its type says, or too many one in another."""


class ShapeError(ValueError):
    """A layer cannot be applied to the shape that reaches it, or what was given is no shape."""


def checked_shape(shape: Any) -> Shape:
    """The shape as a tuple of Python's whole numbers, from whatever lists them: a list, an array's shape, torch's.

    Raises ShapeError where it is no shape.

    >>> checked_shape([3, 32, 32])
    (3, 32, 32)
    """
    try:
        numbers = () if isinstance(shape, Mapping | Set) else tuple(map(plain, shape))
    except TypeError:  # which arrays of no dimension raise too
        numbers = ()
    if len(numbers) not in (1, 3) or not all(type(number) is int and number > 0 for number in numbers):
        wanted = "(channels, height, width), or (features,), in whole numbers of at least 1"
        raise ShapeError(f"a shape must be {wanted} but is {shown(shape)}")
    return numbers


def field_types(kind: type[Layer]) -> dict[str, Any]:
    """The type of every field of a kind of layer, by name."""
    return _TYPES[kind]


def check_fields(layer: Layer) -> None:
    """Makes numbers of numpy in the fields Python's. Raises LayerError naming the first field that is not what it may
    be, layers inside aside, or what is no layer."""
    if type(layer) not in _CHECKED:
        raise not_a_layer(layer)  # type: ignore[arg-type]
    for name, hint, choices in _CHECKED[type(layer)]:
        value = getattr(layer, name)
        if (type(value) is str and value in choices) or (type(value) is int is hint and value > 0):
            continue  # most, in as little time as may be: networks are counted by the thousand
        if (number := plain(value)) is not value:
            object.__setattr__(layer, name, value := number)  # equal, of the same hash: whoever holds it sees no change
        if wanted := wanted_instead(name, hint, value):
            raise LayerError(f"{type(layer).__name__}.{name} must be {wanted} but is {shown(value)}")


def check_nested(nested: int) -> None:
    """Raises LayerError where so many layers lie one in another that others than us could not walk the tree."""
    if nested > MOST_NESTED:
        raise LayerError(f"more than {MOST_NESTED} layers lie one in another")


def listed(layer: Sequence | Concat) -> tuple[Layer, ...]:
    """The layers that it lists. Raises LayerError where they are no tuple: lists can be changed, generators end."""
    found = layer.branches if isinstance(layer, Concat) else layer.layers
    if type(found) is not tuple:
        kind = type(layer).__name__
        raise LayerError(f"{kind} takes a tuple of layers, {kind}((one, other)), but got a {type(found).__name__}")
    return found


def not_a_layer(found: Never) -> LayerError:
    """The error for what is no layer; type checkers see that no kind of layer comes so far."""
    return LayerError(f"a layer must be one of {', '.join(KINDS)} but is {shown(found)}")


def wanted_instead(name: str, hint: Any, value: Any) -> str:
    """What has to stand in a field of that name and type where the value cannot: "one of max, average"; else ""."""
    if hint in _CHOICES:
        is_one = isinstance(value, str) and value in _CHOICES[hint]
        return "" if is_one else "one of " + ", ".join(_CHOICES[hint])
    if hint is float:
        return "" if type(value) in (int, float) and 0 <= value < 1 else "a number from 0 and below 1"
    if hint is int:
        least = 0 if name in ("padding", "first") else 1
        return "" if type(value) is int and value >= least else f"a whole number of at least {least}"
    return "" if type(value) is hint else {bool: "True or False", str: "text"}[hint]
