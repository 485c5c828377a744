"""Options as frozen dataclasses whose fields say what they mean, what they may be and what they are unless said.

    @dataclass(frozen=True, kw_only=True)
    class Asked:
        trials: int = option("networks a strategy and budget", default=200, least=1)

        def __post_init__(self) -> None:
            check(self)

From the fields derive the checks, the flags of a command (`nas.cli.flags`), the arguments of a Python function
(`nas.api`), the command that repeats what was done (`words`) and what differs between two (`differences`).
"""

import operator
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from nas.errors import UserError, shown

Names = Sequence[str] | Callable[[], Sequence[str]]
"""Names to choose from, or what finds them."""


@dataclass(frozen=True)
class Option:
    """What a field says of itself. Numbers lie from `least` or above `above`, and up to `most` or below `below`.
    `unset` is what holds where nothing is said, and the default does not tell or is written otherwise by people.

    `flag` is its name on the command line ("": that of the field; None: it has none), `metavar` what stands for its
    value there, `parse` reads it from text (raises UserError); `positional` options have no dashes; `repeats` says
    whether it belongs to the command that repeats what was done; `gathers` several words, given at once or again and
    again.
    """

    meaning: str
    choices: Names = ()
    unset: str = ""
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    flag: str | None = ""
    metavar: str = ""
    parse: Callable[[str], Any] | None = None
    positional: bool = False
    repeats: bool = True
    gathers: Literal["", "words", "again"] = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names to choose from."""
        return tuple(self.choices() if callable(self.choices) else self.choices)

    @property
    def ends(self) -> list[tuple[str, Callable[[Any, Any], bool], float]]:
        """The ends of its range: in a word, what has to hold of a value and the end, the end. Only numbers have any."""
        ends = (
            ("above", operator.gt, self.above),
            ("at least", operator.ge, self.least),
            ("below", operator.lt, self.below),
            ("at most", operator.le, self.most),
        )
        return [(word, holds, end) for word, holds, end in ends if end is not None]


def option(meaning: str, *, default: Any = MISSING, choices: Names = (), **about: Any) -> Any:
    """A field with its meaning and the rest of an `Option`. Without a default it has to be given."""
    return field(default=default, metadata={"option": Option(meaning, choices, **about)})


def described(kind: Any) -> dict[str, tuple[Field[Any], Option]]:
    """The fields of a dataclass (or of an instance) that are options, by name, in their order."""
    return {f.name: (f, f.metadata["option"]) for f in fields(kind) if "option" in f.metadata}


def explained(described_field: Field[Any], about: Option) -> str:
    """The meaning of an option, what it may be, and its default, in one line."""
    default = described_field.default
    tells = default is not MISSING and default is not None and default is not False and default != ()
    holds = about.unset or ("yes" if default is True else text(default) if tells else "")
    names = f": {', '.join(about.names)}" if about.names else ""
    return about.meaning + names + (f" (default: {holds})" if holds else "")


def kinds(annotation: Any) -> tuple[Any, ...]:
    """What an annotation allows besides None: (int,) of `int | None`, (tuple[str, ...],) of that."""
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return tuple(member for member in members if member is not type(None))


def is_listed(annotation: Any) -> bool:
    """Whether values are tuples."""
    return any(get_origin(kind) in (tuple, Sequence) for kind in kinds(annotation))


def tidy(options: Any) -> None:
    """Gives values of the types that people have those that the fields name; for `__post_init__`.

    Where tuples belong, other iterables and single values become tuples, and paths text where no path belongs. Numbers
    of numpy become Python's, whole floats whole numbers where those belong (3e3), and text what the option reads from
    it on the command line ("10K"). What cannot be turned stays, for `check` to refuse. Raises UserError for text that
    cannot be read.
    """
    for name, (described_field, about) in described(options).items():
        value, hint = getattr(options, name), described_field.type
        if value is None or isinstance(hint, str):
            continue
        if is_listed(hint):
            is_single = isinstance(value, str | Path) or not isinstance(value, Iterable) or _is_scalar(value)
            turned = [_tidied(part, hint, about) for part in ((value,) if is_single else value)]
            value = tuple(one for each in turned for one in (each if isinstance(each, tuple) else (each,)))
        else:
            value = _tidied(value, hint, about)
        object.__setattr__(options, name, value)


def _is_scalar(value: Any) -> bool:
    """Whether it is a number (or text) of numpy or torch."""
    return getattr(value, "shape", None) == () and hasattr(value, "item")


def plain(value: Any) -> Any:
    """A number (or text) of numpy or torch as Python's; anything else as it is."""
    return value.item() if _is_scalar(value) else value


def _tidied(value: Any, hint: Any, about: Option) -> Any:
    leaves = _leaves(hint)
    if isinstance(value, Path) and Path not in leaves:
        return str(value)
    if type(value).__module__ == "torch" and leaves == (str,):  # its devices and types have names
        return str(value)
    value = plain(value)
    if isinstance(value, str) and str not in leaves and about.parse:
        return about.parse(value)
    if isinstance(value, float) and int in leaves and float not in leaves and value.is_integer():
        return int(value)
    return value


def check(options: Any, error: type[UserError] = UserError) -> None:
    """Raises `error` naming the first option that is not what it may be. None passes where it is the default."""
    for name, (described_field, about) in described(options).items():
        value = getattr(options, name)
        is_unset = value is None and described_field.default is None
        if is_unset or isinstance(described_field.type, str):  # annotated in quotes: checked where it is used
            continue
        listed = is_listed(described_field.type)
        if isinstance(value, tuple) != listed:
            raise error(f"{name} must be {'a list' if listed else 'one value'} but got {shown(value)}")
        for one in value if listed else (value,):
            _check_one(name, one, about, described_field.type, error)


def _check_one(name: str, value: Any, about: Option, annotation: Any, error: type[UserError]) -> None:
    leaves = _leaves(annotation)
    if about.names and not (isinstance(value, str) and value in about.names):
        raise error(f"{name} must be of {', '.join(about.names)} but got {shown(value)}")
    if isinstance(value, str) and not value:  # as of a variable of the shell that is not set
        raise error(f"{name} must not be empty")
    if about.ends or leaves in ((int,), (float,)):
        _check_number(name, value, about, whole=float not in leaves, error=error)
    elif set(leaves) <= set(_NAMED) and not isinstance(value, leaves):  # others are checked where they are used
        raise error(f"{name} must be {' or '.join(_NAMED[leaf] for leaf in leaves)} but got {shown(value)}")
    elif Path in leaves and any(len(part.encode(errors="surrogatepass")) > _LONGEST_NAME for part in Path(value).parts):
        raise error(f"{name} must have names of at most {_LONGEST_NAME} bytes but got {shown(value)}")


_NAMED = {str: "text", Path: "a path", bool: "True or False"}
"""Types of values that are not numbers, in words."""

_LONGEST_NAME = 255
"""Bytes of a file's name, on every usual file system."""

_LARGEST = 2**63 - 1
"""The largest whole number that is kept."""


def _leaves(annotation: Any) -> tuple[Any, ...]:
    return tuple(leaf for kind in kinds(annotation) for leaf in (get_args(kind)[:1] if is_listed(kind) else (kind,)))


def _check_number(name: str, value: Any, about: Option, *, whole: bool, error: type[UserError]) -> None:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise error(f"{name} must be a {'whole ' if whole else ''}number but got {shown(value)}")
    if not abs(value) <= sys.float_info.max:  # true of nan, inf and whole numbers beyond any float
        raise error(f"{name} must be a finite number but got {shown(value)}")
    if whole and abs(value) > _LARGEST:
        raise error(f"{name} must be at most {_LARGEST:,} but got {shown(value)}")
    if not all(holds(value, end) for _, holds, end in about.ends):
        raise error(f"{name} must be {bounds(about)} but got {shown(value)}")


def bounds(about: Option) -> str:
    """The range in words: "at least 0 and below 1"."""
    return " and ".join(f"{word} {end:g}" for word, _, end in about.ends)


def brief(options: Sequence[Any]) -> str:
    """The options in a line, the middle of a long list left out."""
    shown = [repr(option) for option in options]
    return ", ".join(shown if len(shown) <= 12 else [*shown[:5], "…", *shown[-3:]])


def differences(stored: Any, asked: Any) -> list[str]:
    """What differs between two dataclasses of one kind, option by option, in words. Fields that are not compared are
    passed over, those whose metadata have "changed" are told by these words alone."""
    found = []
    for f in fields(asked):
        before, now = getattr(stored, f.name), getattr(asked, f.name)
        if not f.compare or before == now:
            continue
        if "changed" in f.metadata:
            found.append(f.metadata["changed"])
        elif is_dataclass(before) and is_dataclass(now):
            found += differences(before, now)
        else:
            found.append(f"{f.name} was {text(before, unset='None')}, now {text(now, unset='None')}")
    return found


def text(value: Any, *, unset: str = "auto", between: str = ",") -> str:
    """A value as a flag takes it; lists with what is `between` their items, "none" for an empty one.

    >>> text(("crop", "flip")), text(()), text(None)
    ('crop,flip', 'none', 'auto')
    """
    if value is None:
        return unset
    return between.join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


def words(options: Any, without: Sequence[str] = ()) -> list[str]:
    """The options as words of a command line, those that are unset or `without` left out, positional ones first."""
    placed: list[str] = []
    flagged: list[str] = []
    gathered: list[str] = []
    for name, (described_field, about) in described(options).items():
        value = getattr(options, name)
        is_idle = value is None or (not value and (described_field.default is False or about.gathers))
        if about.flag is None or not about.repeats or is_idle or name in without:
            continue
        flag = (about.flag or name).replace("_", "-")
        if about.positional:
            placed += map(str, value) if isinstance(value, tuple) else [str(value)]
        elif isinstance(value, bool):
            flagged.append(f"--{flag}" if value else f"--no-{flag}")
        elif about.gathers == "words":
            gathered += [f"--{flag}", *value]  # they would swallow what follows
        elif about.gathers == "again":
            flagged += [word for one in value for word in (f"--{flag}", one)]
        else:
            flagged += [f"--{flag}", text(value)]
    return placed + flagged + gathered
