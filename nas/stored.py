"""What was written as JSON, read back as the types of its fields say: nothing else comes in.

@dataclass(frozen=True)
class Epoch:
    epoch: Count
    loss: float
    accuracy: Share | None

stored([{"epoch": 1, "loss": 0.5, "accuracy": None}], list[Epoch])
"""

import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from nas.errors import UserError


class StoredError(UserError, ValueError):
    """JSON that is not of the type that it is read as: its text says where, what belongs there and what was found."""


@dataclass(frozen=True)
class Within:
    """The range of a number, for `Annotated`."""

    least: float = -math.inf
    most: float = math.inf
    finite: bool = True


Share = Annotated[float, Within(0, 1)]
Count = Annotated[int, Within(0)]
Positive = Annotated[int, Within(1)]
Duration = Annotated[float, Within(0)]
Loss = Annotated[float, Within(finite=False)]
"""A number that is not one where a training exploded."""

Readers = Mapping[Any, Callable[[Any], Any]]
"""What reads the values of types that have a form of their own."""


def stored(value: Any, kind: Any, where: str = "it", readers: Readers = types.MappingProxyType({})) -> Any:
    """The JSON value as a value of that type: a dataclass, a named tuple, a TypedDict, a list, tuple or mapping of
    such, a union, a literal, text, a number, a truth value, or None. Numbers are finite, text can be written as UTF-8,
    fields that have a default may lack. Raises StoredError; what `readers` raise is theirs."""
    if kind in readers:
        return readers[kind](value)
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return _clean(value, where)
    if origin is Annotated:
        if not arguments[1].finite and isinstance(value, float):
            return value
        number = stored(value, arguments[0], where, readers)
        _check_range(number, arguments[1], where)
        return number
    if origin is NotRequired:
        return stored(value, arguments[0], where, readers)
    if origin in (Union, types.UnionType):
        return _any_of(value, arguments, where, readers)
    if origin is Literal:
        if not any(type(value) is type(one) and value == one for one in arguments):
            raise _wrong(where, "one of " + ", ".join(map(str, arguments)), value)
        return value
    if kind in _LEAVES:
        return _leaf(value, kind, where)
    if isinstance(kind, type) and (is_dataclass(kind) or is_typeddict(kind) or hasattr(kind, "_fields")):
        return _with_fields(value, kind, where, readers)
    return _many(value, origin or kind, arguments, where, readers)


def _any_of(value: Any, kinds: Sequence[Any], where: str, readers: Readers) -> Any:
    said = []
    for kind in kinds:
        try:
            return stored(value, kind, where, readers)
        except StoredError as error:
            said.append(error)
    told = [error for error, kind in zip(said, kinds, strict=True) if kind is not type(None)]
    raise told[0] if len(told) == 1 else _wrong(where, " or ".join(_named(kind) for kind in kinds), value)


_LEAVES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


def _named(kind: Any) -> str:
    return _LEAVES.get(kind, getattr(kind, "__name__", str(kind)))


def _leaf(value: Any, kind: Any, where: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = is_number if kind is float else type(value) is kind
    if not fits:
        raise _wrong(where, _LEAVES[kind], value)
    return _clean(value, where)


def _clean(value: Any, where: str) -> Any:
    """The value, in which every number is one and all text can be written."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _wrong(where, "text that UTF-8 can hold", value) from error
    elif isinstance(value, float) and not math.isfinite(value):
        raise _wrong(where, "a finite number", value)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise StoredError(f"{where} must be a number of at most 64 bits but has {value.bit_length()}")
    elif isinstance(value, list | dict):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in inner:
            _clean(key, where)
            _clean(one, f"{where}[{key}]")
    return value


_LARGEST = 2**63 - 1


def _check_range(number: Any, within: Within, where: str) -> None:
    if not within.least <= number <= within.most:
        most = "" if within.most == math.inf else f" and at most {within.most:g}"
        raise _wrong(where, f"at least {within.least:g}{most}", number)


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@lru_cache
def _needed(kind: Any) -> frozenset[str]:
    """Names of the fields that have to be there."""
    if is_dataclass(kind):
        return frozenset(f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING)
    required: frozenset[str] = kind.__required_keys__
    return required


def _with_fields(value: Any, kind: Any, where: str, readers: Readers) -> Any:
    hints = _hints(kind)
    if hasattr(kind, "_fields"):  # a named tuple
        if not isinstance(value, list | tuple) or len(value) > len(hints):
            raise _wrong(where, f"a list of {', '.join(hints)}", value)
        pairs = zip(value, hints.items(), strict=False)
        try:
            return kind(*(stored(one, hint, f"{where}.{name}", readers) for one, (name, hint) in pairs))
        except TypeError as error:
            raise _wrong(where, f"a list of {', '.join(hints)}", value) from error
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    if missing := sorted(_needed(kind) - set(value)):
        raise StoredError(f"{where} has no {missing[0]!r}")
    open_ended = is_typeddict(kind)
    if not open_ended and (unknown := sorted(set(value) - set(hints))):
        raise StoredError(f"{where} has {unknown[0]!r:.80}, which nobody knows")
    known = {
        name: stored(value[name], hint, f"{where}.{name}", readers) for name, hint in hints.items() if name in value
    }
    return {**_clean(value, where), **known} if open_ended else kind(**known)


def _many(value: Any, kind: Any, arguments: tuple[Any, ...], where: str, readers: Readers) -> Any:
    if kind in (dict, Mapping) or (isinstance(kind, type) and issubclass(kind, Mapping)):
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        of = arguments[1] if arguments else Any
        return {_clean(key, where): stored(one, of, f"{where}[{key!r:.40}]", readers) for key, one in value.items()}
    if not isinstance(value, list | tuple):
        raise _wrong(where, "a list", value)
    if kind is tuple and arguments and arguments[-1] is not ...:
        if len(value) != len(arguments):
            raise _wrong(where, f"a list of {len(arguments)}", value)
        kinds = arguments
    else:
        kinds = ((arguments[0] if arguments else Any),) * len(value)
    found = [stored(one, of, f"{where}[{i}]", readers) for i, (one, of) in enumerate(zip(value, kinds, strict=True))]
    return found if isinstance(value, list) and kind is not tuple else tuple(found)


def _wrong(where: str, wanted: str, value: Any) -> StoredError:
    return StoredError(f"{where} must be {wanted} but is {value!r:.80}")
