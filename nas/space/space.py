"""A search space is a frozen dataclass whose fields are knobs and whose `network()` returns a layer tree.

    @dataclass(frozen=True)
    class Tiny(Architecture):
        blocks: int = knob(1, 2, 3)
        width: int = width_knob(4, 8, 12, 16)
        residual: bool = knob(False, True)

        def network(self, shape: Shape, classes: int) -> Layer: ...

An architecture is one instance. `Space` binds the class to a data shape, so that its networks can be built and counted.
"""

import hashlib
import importlib.util
import math
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol, TypeVar

from nas.errors import SpaceError
from nas.machine.registry import defined
from nas.network.folds import Cost, ShapeError, cost, output_shape
from nas.network.layers import Layer, Shape
from nas.network.serial import fingerprint
from nas.space.features import features

T = TypeVar("T")
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
    def _middles(self) -> list[float]:
        """Above each value plus one, the next option is nearer."""
        return [math.sqrt((float(low) + 1) * (float(high) + 1)) for low, high in pairwise(self.options)]


def knob(*options: Value, default: Value | None = None) -> Any:
    """A decision between the options. The default (else the first) is where a search begins. Ascending numbers
    from 0 on make the knob ordered."""
    numbers = [option for option in options if isinstance(option, int | float) and not isinstance(option, bool)]
    ordered = len(numbers) == len(options) > 1 and numbers == sorted(numbers) and numbers[0] >= 0
    return _knob_field(options, "ordered" if ordered else "choice", default)


def width_knob(*options: int, default: int | None = None) -> Any:
    """An ordered knob that may be rescaled to use the budget: channels, hidden units, ranks."""
    if not all(type(option) is int and option > 0 for option in options) or list(options) != sorted(set(options)):
        raise SpaceError(f"a width knob needs ascending positive whole numbers but got {options!r:.80}")
    return _knob_field(options, "width", default)


def _knob_field(options: tuple[Value, ...], role: Role, default: Value | None) -> Any:
    if not options:
        raise SpaceError("a knob needs at least one option but got none; write knob(1, 2, 3)")
    if len(set(options)) != len(options):
        raise SpaceError(f"a knob needs distinct options but got {options!r:.80}")
    if not all(isinstance(option, int | float | bool | str) for option in options):
        raise SpaceError(f"a knob's options must be numbers, booleans or strings but are {options!r:.80}")
    if default is not None and default not in options:
        raise SpaceError(f"a knob's default must be one of its options but is {default!r}")
    start = 0 if default is None else options.index(default)
    return field(default=options[start], metadata={"options": options, "role": role, "start": start})


class Architecture:
    """Base of every search space: knobs as dataclass fields, and the network they stand for."""

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

    @property
    def name(self) -> str:
        """The class name in lower case."""
        return self.architecture.__name__.lower()

    @cached_property
    def knobs(self) -> tuple[Knob, ...]:
        """The knobs in the order of the class's fields."""
        return knobs_of(self.architecture)

    @property
    def defaults(self) -> dict[str, Value]:
        """The default of every knob."""
        return {k.name: k.options[k.start] for k in self.knobs}

    def check(self, knobs: Knobs) -> dict[str, Value]:
        """The knobs completed with defaults; a whole number stands for an equal fraction (2 for 2.0). Raises SpaceError
        for a knob or an option that the space lacks."""
        options = {k.name: k.options for k in self.knobs}
        checked = self.defaults
        for name, value in knobs.items():
            if name not in options:
                raise SpaceError(f"space {self.name!r} has no knob {name!r}; its knobs are {', '.join(options)}")
            meant = [option for option in options[name] if value == option and type(option) in (type(value), float)]
            if not meant or (isinstance(value, bool) and not isinstance(meant[0], bool)):
                raise SpaceError(f"knob {name!r} must be one of {_brief(options[name])} but got {value!r}")
            checked[name] = meant[0]
        return checked

    def network(self, knobs: Knobs) -> Layer:
        """The layer tree of the knobs. Raises SpaceError if the space's own code fails."""

        def what() -> str:
            return f"network() of space {self.name!r} failed for {dict(knobs)}"

        architecture = self.architecture(**knobs)
        network = _run_foreign_code(what, lambda: architecture.network(self.shape, self.classes))
        if not isinstance(network, Layer):
            raise SpaceError(f"{what()}: it must return a layer but returned {type(network).__name__}")
        return network

    def cost(self, knobs: Knobs) -> Cost | None:
        """Parameters and multiply-adds, None where the network does not fit the data's shape."""
        try:
            return cost(self.network(knobs), self.shape)
        except ShapeError:
            return None

    def identity(self, knobs: Knobs) -> str:
        """The fingerprint of the layer tree."""
        return fingerprint(self.network(knobs), self.shape)

    def settled(self, knobs: Knobs) -> dict[str, Value]:
        """The same network with each knob that does nothing for it at its default."""
        network, settled = self.network(knobs), dict(knobs)
        for name, default in self.defaults.items():
            if settled[name] != default and self.network(other := settled | {name: default}) == network:
                settled = other
        return settled

    def features(self, knobs: Knobs) -> tuple[float, ...]:
        """See `nas.space.features.features`. Raises ShapeError where the network does not fit the data's shape."""
        return features(self.network(knobs), self.shape)


def bind(architecture: type[Architecture], shape: Shape, classes: int) -> Space:
    """The space for the data, its default network built once as a check. Raises SpaceError if that fails."""
    space = Space(architecture, shape, classes)
    network = space.network(space.defaults)
    try:
        scores = output_shape(network, shape)
    except ShapeError as error:
        raise SpaceError(f"the default network of space {space.name!r} does not fit images {shape}: {error}") from error
    if scores != (classes,):
        raise SpaceError(f"networks of space {space.name!r} must give ({classes},) scores but give {scores}")
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


def parse_knobs(decisions: tuple[Knob, ...], assignments: Iterable[str]) -> dict[str, Value]:
    """Knobs written as "knob=value", each value one of the knob's options as Python prints it; a fraction that is whole
    also without its point."""
    options = {knob.name: {text: option for option in knob.options for text in _written(option)} for knob in decisions}
    knobs: dict[str, Value] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or name not in options:
            raise SpaceError(f"settings must be KNOB=VALUE with a knob of {', '.join(options)} but got {assignment!r}")
        if text.lower() not in options[name]:
            known = tuple(dict.fromkeys(options[name].values()))
            raise SpaceError(f"knob {name!r} must be one of {_brief(known)} but got {text!r}")
        knobs[name] = options[name][text.lower()]
    return knobs


def _written(option: Value) -> tuple[str, ...]:
    is_whole = isinstance(option, float) and option.is_integer()
    return (str(option).lower(), str(int(option))) if is_whole else (str(option).lower(),)


def shipped_spaces() -> dict[str, Path]:
    """Name to file of the spaces that come with nas: inside the installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "search_spaces", package.parent / "search_spaces"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    raise SpaceError("the shipped search spaces are missing from this installation of nas; install it again")


def space_file(name_or_path: str) -> Path:
    """The file of a shipped space (by name) or of one's own (by path, ending in .py)."""
    if name_or_path.endswith(".py"):
        path = Path(name_or_path)
        if not path.is_file():
            raise SpaceError(f"there is no space file {name_or_path!r}")
        return path.resolve()
    shipped = shipped_spaces()
    if name_or_path not in shipped:
        raise SpaceError(f"no space is named {name_or_path!r}; shipped are {', '.join(shipped)}; or give a .py file")
    return shipped[name_or_path]


def load_architecture(path: Path, class_name: str | None = None) -> type[Architecture]:
    """The space class in a file: the one named, or the only one. Raises SpaceError for none, several or bad code."""
    module = _import_file(path)
    own = defined(module, Architecture)
    found = [value for value in own if class_name in (None, value.__name__)]
    if len(found) != 1:
        names = ", ".join(value.__name__ for value in own) or "none"
        raise SpaceError(f"{path} must define one class derived from nas.Architecture but defines {names}")
    knobs_of(found[0])
    return found[0]


def space_checksum(path: Path) -> str:
    """sha256 of the file that defines a space: a run is continued only with the space it began with."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _import_file(path: Path) -> ModuleType:
    name = f"nas_space_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpaceError(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader = spec.loader
    _run_foreign_code(lambda: f"space file {path} cannot be imported", lambda: loader.exec_module(module))
    return module


def _run_foreign_code(what: Callable[[], str], code: Callable[[], T]) -> T:
    """The result of code that others wrote; whatever it raises becomes one line that says where."""
    try:
        return code()
    except SpaceError as error:
        raise SpaceError(f"{what()}: {error}") from error
    except Exception as error:
        raise SpaceError(f"{what()}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _brief(options: tuple[Value, ...]) -> str:
    shown = [repr(option) for option in options]
    return ", ".join(shown if len(shown) <= 12 else [*shown[:5], "…", *shown[-3:]])
