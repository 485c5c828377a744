"""Folders of modules each of which adds one thing by being there: a strategy, a command, a card, a format."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """What the modules of a package add, by their names ("greedy_full" is "greedy-full"), in alphabetical order.

    Names are known without importing a module; `load` makes of one what it adds. Packages inside the package, and
    modules whose name begins with an underscore, add nothing.
    """

    def __init__(self, package: str, load: Callable[[ModuleType], T]) -> None:
        self._package, self._load = package, load
        self._loaded: dict[str, T] = {}

    @cached_property
    def _names(self) -> tuple[str, ...]:
        path = importlib.import_module(self._package).__path__
        own = (found.name for found in pkgutil.iter_modules(path) if not found.ispkg)
        return tuple(sorted(name.replace("_", "-") for name in own if not name.startswith("_")))

    def __getitem__(self, name: str) -> T:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._loaded:
            module = importlib.import_module(f"{self._package}.{name.replace('-', '_')}")
            self._loaded[name] = self._load(module)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def only_subclass(base: Callable[[], type[T]]) -> Callable[[ModuleType], type[T]]:
    """What loads the one class that a module defines itself and that is derived from the base."""

    def load(module: ModuleType) -> type[T]:
        own = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, base()) and value.__module__ == module.__name__
        ]
        if len(own) != 1:
            raise TypeError(f"{module.__name__} must define one {base().__name__} but defines {len(own)}")
        return own[0]

    return load
