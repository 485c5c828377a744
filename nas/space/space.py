"""A search space is a frozen dataclass whose fields are knobs and whose `network()` returns a layer tree.

    @dataclass(frozen=True)
    class Tiny(Architecture):
        width: int = width_knob(4, 8, 12, 16)
        def network(self, shape: Shape, classes: int) -> Layer: ...

An architecture is one instance. `Space` binds the class to a data shape, so that its networks can be built and counted.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Literal, Protocol

from nas.errors import Refusals, RefusedSettingError, SpaceError, shown, words_of
from nas.machine.options import brief, plain
from nas.network.checked import ShapeError
from nas.network.features import features
from nas.network.folds import Cost, cost_and_shape
from nas.network.layers import Layer, Shape
from nas.network.serial import fingerprint
from nas.stored import StoredError, stored

TRIED = 100
"""Settings tried where the default makes no network, before the space is refused."""

MANY = 200
"""Options of a knob above which no more are all looked at."""

MOST_COUNTED = 2**63
"""Parameters or multiply-adds from which on a network is none."""

Value = int | float | bool | str
Knobs = Mapping[str, Value]
Role = Literal["choice", "ordered", "width"]


@dataclass(frozen=True)
class Knob:
    """One decision. "ordered" knobs have numeric options in ascending order; "width" knobs are ordered ones that are
    rescaled to make a network use its budget."""

    name: str
    options: tuple[Value, ...]
    role: Role
    start: int = 0
    """Index of the default: the option that every search begins with."""

    def nearest(self, value: float) -> int:
        """Index of the option nearest to the value on a ratio scale (the lower one of a tie). Ordered knobs only."""
        return bisect_left(self._middles, value + 1)

    @cached_property
    def some(self) -> tuple[Value, ...]:
        """All options, or of more than `MANY` as many, evenly spread from the first to the last."""
        return (*self.options[: -1 : -(-len(self.options) // MANY)], self.options[-1])

    @cached_property
    def _middles(self) -> list[float]:
        """Above each value plus one, the next option is nearer."""
        return [math.sqrt((float(low) + 1) * (float(high) + 1)) for low, high in pairwise(self.options)]


def knob(*options: Value, default: Value | None = None) -> Any:
    """A decision between the options. The default (else the first) is where a search begins. Ascending numbers
    from 0 on make the knob ordered."""
    options = tuple(map(_plain, options))
    numbers = [option for option in options if isinstance(option, int | float) and not isinstance(option, bool)]
    ordered = len(numbers) == len(options) > 1 and numbers == sorted(numbers) and numbers[0] >= 0
    return _knob_field(options, "ordered" if ordered else "choice", _plain(default))


def width_knob(*options: int, default: int | None = None) -> Any:
    """An ordered knob that may be rescaled to use the budget: channels, hidden units, ranks."""
    options = tuple(map(_plain, options))
    if not all(type(option) is int and option > 0 for option in options) or list(options) != sorted(set(options)):
        raise SpaceError(f"a width knob needs ascending positive whole numbers but got {shown(options)}")
    return _knob_field(options, "width", _plain(default))


def _plain(option: Any) -> Any:
    """As `plain`, and the text or number of an enum that is one."""
    return option.value if isinstance(option, Enum) and isinstance(option, int | float | str) else plain(option)


def _knob_field(options: tuple[Value, ...], role: Role, default: Value | None) -> Any:
    if not options:
        raise SpaceError("a knob needs at least one option but got none; write knob(1, 2, 3)")
    if not all(isinstance(option, int | float | bool | str) for option in options):
        raise SpaceError(f"a knob's options must be numbers, booleans or strings but are {shown(options)}")
    if len(set(options)) != len(options):
        raise SpaceError(
            f"a knob needs distinct options but got {shown(options)} (True is 1, and 0.0 False, to Python)"
        )
    try:
        stored(list(options), Any, "a knob's options")
    except StoredError as error:
        raise SpaceError(str(error)) from error
    if default is not None and default not in options:
        raise SpaceError(f"a knob's default must be one of its options but is {default!r}")
    start = 0 if default is None else options.index(default)
    return field(default=options[start], metadata={"options": options, "role": role, "start": start})


class Architecture:
    """Base of every search space: knobs as dataclass fields, and the network they stand for."""

    beginnings: ClassVar[tuple[Knobs, ...]] = ()
    """Good designs beside the default, each by the knobs in which it differs: every search begins with them too."""

    def network(self, shape: Shape, classes: int) -> Layer:
        """Layer tree from images of `shape` (channels, height, width) to (classes,) scores."""
        raise NotImplementedError


class Searchable(Protocol):
    """What a strategy needs to know of a space; a table of evaluated networks can stand in for one."""

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The decisions, in a fixed order."""

    def cost(self, knobs: Knobs) -> Cost | None:
        """Parameters and multiply-adds, None where the knobs give no network for the data's shape."""

    def identity(self, knobs: Knobs) -> str:
        """Equal for two assignments exactly if they stand for the same network."""

    def settled(self, knobs: Knobs) -> dict[str, Value]:
        """The same network with each knob that does nothing for it at its default; of assignments with a cost."""

    def features(self, knobs: Knobs) -> tuple[float, ...]:
        """Numbers that describe the network beside its knobs, as many for every network; of assignments with a cost."""


@dataclass(frozen=True)
class Space:
    """A search space bound to a data shape and a number of classes."""

    architecture: type[Architecture]
    shape: Shape
    classes: int
    refusals: Refusals = field(default_factory=Refusals, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The class name in lower case."""
        return self.architecture.__name__.lower()

    @cached_property
    def knobs(self) -> tuple[Knob, ...]:
        """The knobs in the order of the class's fields."""
        return knobs_of(self.architecture)

    @cached_property
    def defaults(self) -> dict[str, Value]:
        """The default of every knob, not to be changed."""
        return {k.name: k.options[k.start] for k in self.knobs}

    @cached_property
    def beginnings(self) -> tuple[dict[str, Value], ...]:
        """The designs with which a search begins after the default, each by the knobs in which it differs. Raises
        SpaceError for what is none."""
        named = self.architecture.beginnings
        if not isinstance(named, list | tuple) or not all(isinstance(knobs, Mapping) for knobs in named):
            like = "({'width': 8},)"
            raise SpaceError(f"beginnings of space {self.name!r} must be knobs like {like} but is {shown(named)}")
        return tuple({name: self.check(knobs)[name] for name in knobs} for knobs in named)

    def check(self, knobs: Knobs) -> dict[str, Value]:
        """The knobs completed with defaults; a whole number stands for an equal fraction (2 for 2.0). Raises SpaceError
        for a knob or an option that the space lacks."""
        options = {k.name: k.options for k in self.knobs}
        checked = dict(self.defaults)
        for name, value in knobs.items():
            if name not in options:
                raise SpaceError(f"space {self.name!r} has no knob {name!r}; its knobs are {', '.join(options)}")
            meant = [option for option in options[name] if value == option and type(option) in (type(value), float)]
            if not meant or (isinstance(value, bool) and not isinstance(meant[0], bool)):
                raise SpaceError(f"knob {name!r} must be one of {brief(options[name])} but got {value!r}")
            checked[name] = meant[0]
        return checked

    def network(self, knobs: Knobs) -> Layer:
        """The layer tree. Raises RefusedSettingError if the space's code fails, SpaceError for knobs that it lacks."""
        if unknown := knobs.keys() - self.defaults.keys():
            raise SpaceError(f"space {self.name!r} has no knob {', '.join(sorted(map(repr, unknown)))}")
        try:
            network = self.architecture(**knobs).network(self.shape, self.classes)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an exit too, which would end us without a word
            raise self._refused(knobs, words_of(error)) from error
        if not isinstance(network, Layer):
            if isinstance(network, Coroutine):
                network.close()  # Python warns of those that nobody awaits
            raise self._refused(knobs, f"it must return a layer but returned {type(network).__name__}")
        return network

    def _refused(self, knobs: Knobs, reason: str) -> RefusedSettingError:
        return RefusedSettingError(self.name, " ".join(f"{name}={value}" for name, value in knobs.items()), reason)

    def cost(self, knobs: Knobs) -> Cost | None:
        """Parameters and multiply-adds; None of a setting that does not exist: the network does not fit the data's
        shape or has other scores than one a class, or the space's own code fails, which is noted in `refusals`."""
        try:
            counted, scores = self.counted(knobs)
            if scores != (self.classes,):
                raise self._refused(knobs, f"it must give ({self.classes},) scores but gives {scores}")
        except ShapeError:
            return None
        except RefusedSettingError as refused:
            self.refusals.note(refused)
            return None
        return counted

    def counted(self, knobs: Knobs) -> tuple[Cost, Shape | tuple[int]]:
        """The cost of the knobs' network, and the shape that comes out of it. Raises ShapeError where it does not fit
        the data's shape, RefusedSettingError where its layers cannot be counted."""
        network = self.network(knobs)
        try:
            counted, scores = cost_and_shape(network, self.shape)
        except ShapeError:
            raise
        except Exception as error:  # whatever the layers make the counting stumble over
            raise self._refused(knobs, words_of(error)) from error
        if max(counted.parameters, counted.macs) > MOST_COUNTED:
            raise self._refused(knobs, f"it must have at most {MOST_COUNTED:,} parameters and multiply-adds")
        return counted, scores

    def identity(self, knobs: Knobs) -> str:
        """The fingerprint of the layer tree."""
        return fingerprint(self.network(knobs), self.shape)

    def settled(self, knobs: Knobs) -> dict[str, Value]:
        """The same network with each knob that does nothing for it at its default."""
        network, settled = self.network(knobs), dict(knobs)
        for name, default in self.defaults.items():
            if settled[name] != default and self.makes(other := settled | {name: default}, network):
                settled = other
        return settled

    def makes(self, knobs: Knobs, network: Layer) -> bool:
        """Whether the knobs make that network."""
        try:
            return self.network(knobs) == network
        except RefusedSettingError:
            return False

    def features(self, knobs: Knobs) -> tuple[float, ...]:
        """See `nas.network.features.features`. Raises ShapeError where the network does not fit the data's shape."""
        return features(self.network(knobs), self.shape)


def bind(architecture: type[Architecture], shape: Shape, classes: int) -> Space:
    """The space for the data. Raises SpaceError where its default network does not fit the images and, of `TRIED` other
    settings, none does either: the space's own code is to blame, not a setting."""
    space = Space(architecture, shape, classes)
    knobs_of(architecture)
    _ = space.beginnings  # raises for what is none
    try:
        _, scores = space.counted(space.defaults)
        if not space.makes(space.defaults, space.network(space.defaults)):
            raise SpaceError(
                f"network() of space {space.name!r} makes another network each time it is called with the same knobs; "
                "what it makes must follow from the knobs, the shape and the classes"
            )
        why = f"networks of space {space.name!r} must give ({classes},) scores but give {scores}"
        if scores == (classes,):
            return space
    except ShapeError as error:
        why = f"the default network of space {space.name!r} does not fit images {shape}: {error}"
    except RefusedSettingError as refused:
        why = str(refused)
    rng = random.Random(0)  # always the same others
    others = ({knob.name: rng.choice(knob.options) for knob in space.knobs} for _ in range(TRIED))
    if not any(map(space.cost, others)):
        raise SpaceError(why)
    return space


def knobs_of(architecture: type[Architecture]) -> tuple[Knob, ...]:
    """The knobs of a space class. Raises SpaceError for a class that is no dataclass or has other fields."""
    where = f"space class {architecture.__name__!r}"
    if not is_dataclass(architecture):
        raise SpaceError(f"{where} must be a dataclass; write @dataclass(frozen=True) above it")
    foreign = [f.name for f in fields(architecture) if "options" not in f.metadata]
    if foreign:
        raise SpaceError(f"{where}: field {foreign[0]!r} must be a knob; write {foreign[0]} = knob(…)")
    return tuple(Knob(name=f.name, **f.metadata) for f in fields(architecture))
