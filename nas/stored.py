"""What was written as JSON, read back as the types of its fields say: nothing else comes in.

@dataclass(frozen=True)
class Epoch:
    epoch: Count
    loss: float
    accuracy: Share | None

stored([{"epoch": 1, "loss": 0.5, "accuracy": None}], list[Epoch])
"""

import json
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
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

Reader = Callable[[Any], Any]

Readers = Mapping[Any, Reader]
"""What reads the values of types that have a form of their own."""


def parsed(text: str | bytes) -> Any:
    """The JSON value. Raises ValueError for what is none, or is nested so deeply that it cannot be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def stored(value: Any, kind: Any, where: str = "it", readers: Readers = types.MappingProxyType({})) -> Any:
    """The JSON value as a value of that type: a dataclass, a named tuple, a TypedDict, a list, tuple or mapping of
    such, a union, a literal, text, a number, a truth value, or None. Numbers are finite, text can be written as UTF-8,
    fields that have a default may lack. Raises StoredError; what `readers` raise is theirs."""
    read = _made(kind, readers) if readers else _remembered(kind)
    try:
        return read(value)
    except _MisfitError as misfit:
        raise StoredError(f"{where}{misfit.place}{misfit.said}") from None


class _MisfitError(Exception):
    """A value that is not of its type: the place of it inside what is read, and what is said of it."""

    def __init__(self, said: str) -> None:
        self.said, self.place = said, ""


def _read_at(place: str, key: object, read: Reader, value: Any) -> Any:
    """What `read` makes of a value that lies at that place of what is read: a format, for the name or number of it."""
    try:
        return read(value)
    except _MisfitError as misfit:
        misfit.place = place.format(key) + misfit.place
        raise


def _wrong(wanted: str, value: Any) -> _MisfitError:
    return _MisfitError(f" must be {wanted} but is {value!r:.80}")


@cache
def _remembered(kind: Any) -> Reader:
    """Types are taken apart once, not for each of the many values that are read."""
    return _made(kind, {})


def _made(kind: Any, readers: Readers) -> Reader:
    """What reads values of that type."""
    if kind in readers:
        return readers[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return _clean
    if origin is Annotated:
        return _number(_made(arguments[0], readers), arguments[1])
    if origin is NotRequired:
        return _made(arguments[0], readers)
    if origin in (Union, types.UnionType):
        return _any_of(arguments, readers)
    if origin is Literal:
        return _literal(arguments)
    if kind in _LEAVES:
        return _leaf(kind)
    if isinstance(kind, type) and hasattr(kind, "_fields"):
        return _named_tuple(kind, readers)
    if isinstance(kind, type) and (is_dataclass(kind) or is_typeddict(kind)):
        return _fields(kind, readers)
    many: Any = origin or kind
    if many in (dict, Mapping) or (isinstance(many, type) and issubclass(many, Mapping)):
        return _mapping(_made(arguments[1] if arguments else Any, readers))
    if many is tuple and arguments and arguments[-1] is not ...:
        return _tuple([_made(one, readers) for one in arguments])
    return _many(_made(arguments[0] if arguments else Any, readers), as_tuple=many is tuple)


def _number(read_number: Reader, within: Within) -> Reader:
    most = "" if within.most == math.inf else f" and at most {within.most:g}"

    def read(value: Any) -> Any:
        if not within.finite and isinstance(value, float):
            return value
        number = read_number(value)
        if not within.least <= number <= within.most:
            raise _wrong(f"at least {within.least:g}{most}", number)
        return number

    return read


def _any_of(kinds: Sequence[Any], readers: Readers) -> Reader:
    every = {kind: _made(kind, readers) for kind in kinds}

    def read(value: Any) -> Any:
        if type(value) in every:
            return every[type(value)](value)
        said = {}
        for kind, read_kind in every.items():
            try:
                return read_kind(value)
            except _MisfitError as misfit:
                said[kind] = misfit
        told = [misfit for kind, misfit in said.items() if kind is not type(None)]
        raise told[0] if len(told) == 1 else _wrong(" or ".join(map(_named, kinds)), value)

    return read


def _literal(every: Sequence[Any]) -> Reader:
    def read(value: Any) -> Any:
        if not any(type(value) is type(one) and value == one for one in every):
            raise _wrong("one of " + ", ".join(map(str, every)), value)
        return value

    return read


_LEAVES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


def _named(kind: Any) -> str:
    return _LEAVES.get(kind, getattr(kind, "__name__", str(kind)))


def _leaf(kind: Any) -> Reader:
    def read(value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number if kind is float else type(value) is kind):
            raise _wrong(_LEAVES[kind], value)
        return _clean(value)

    return read


def _clean(value: Any) -> Any:
    """The value, in which every number is one and all text can be written."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _wrong("text that UTF-8 can hold", value) from error
    elif isinstance(value, float) and not math.isfinite(value):
        raise _wrong("a finite number", value)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise _MisfitError(f" must be a number of at most 64 bits but has {value.bit_length()}")
    elif isinstance(value, list | dict):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            _clean(key)
            _read_at("[{}]", key, _clean, one)
    return value


_LARGEST = 2**63 - 1


def _needed(kind: Any) -> frozenset[str]:
    """Names of the fields that have to be there."""
    if is_dataclass(kind):
        return frozenset(f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING)
    required: frozenset[str] = kind.__required_keys__
    return required


def _readers_of(kind: Any, readers: Readers) -> dict[str, Reader]:
    """What reads each field."""
    return {name: _made(hint, readers) for name, hint in get_type_hints(kind, include_extras=True).items()}


def _named_tuple(kind: Any, readers: Readers) -> Reader:
    own = _readers_of(kind, readers)

    def read(value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) > len(own):
            raise _wrong(f"a list of {', '.join(own)}", value)
        found = [_read_at(".{}", name, own[name], one) for one, name in zip(value, own, strict=False)]
        try:
            return kind(*found)
        except TypeError:
            raise _wrong(f"a list of {', '.join(own)}", value) from None

    return read


def _fields(kind: Any, readers: Readers) -> Reader:
    own, needed, is_open_ended = _readers_of(kind, readers), _needed(kind), is_typeddict(kind)

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong("an object", value)
        if missing := sorted(needed - set(value)):
            raise _MisfitError(f" has no {missing[0]!r}")
        if not is_open_ended and (unknown := sorted(set(value) - set(own))):
            raise _MisfitError(f" has {unknown[0]!r:.80}, which nobody knows")
        known = {name: _read_at(".{}", name, own[name], value[name]) for name in own if name in value}
        return {**_clean(value), **known} if is_open_ended else kind(**known)

    return read


def _mapping(read_value: Reader) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong("an object", value)
        return {_clean(key): _read_at("[{!r:.40}]", key, read_value, one) for key, one in value.items()}

    return read


def _tuple(every: Sequence[Reader]) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _wrong("a list", value)
        if len(value) != len(every):
            raise _wrong(f"a list of {len(every)}", value)
        return tuple(_each(value, every))

    return read


def _many(read_one: Reader, *, as_tuple: bool) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _wrong("a list", value)
        found = _each(value, (read_one,) * len(value))
        return found if isinstance(value, list) and not as_tuple else tuple(found)

    return read


def _each(values: Sequence[Any], every: Sequence[Reader]) -> list[Any]:
    return [_read_at("[{}]", i, read, one) for i, (one, read) in enumerate(zip(values, every, strict=True))]
