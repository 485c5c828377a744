"""Folders of modules each of which adds one thing by being there: a strategy, a command, a card, a format."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """What the modules of a package add, and those of the packages in it, which are its topics, by their names
    ("greedy_full" is "greedy-full"), in alphabetical order.

    Names are known without importing a module; `load` makes of one what it adds. Modules whose name begins with an
    underscore add nothing.
    """

    def __init__(self, package: str, load: Callable[[ModuleType], T]) -> None:
        self._package, self._load = package, load
        self._loaded: dict[str, T] = {}

    @cached_property
    def _modules(self) -> dict[str, str]:
        """Dotted name of the module by the name of what it adds."""
        path = importlib.import_module(self._package).__path__
        found = [m for m in pkgutil.walk_packages(path, f"{self._package}.") if not m.ispkg]
        last = {module.name: module.name.rpartition(".")[2] for module in found}
        return {name.replace("_", "-"): module for module, name in last.items() if not name.startswith("_")}

    def __getitem__(self, name: str) -> T:
        if name not in self._loaded:
            self._loaded[name] = self._load(importlib.import_module(self._modules[name]))
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._modules))

    def __len__(self) -> int:
        return len(self._modules)


def only_subclass(base: Callable[[], type[T]]) -> Callable[[ModuleType], type[T]]:
    """What loads the one class that a module defines itself and that is derived from the base."""

    def load(module: ModuleType) -> type[T]:
        own = defined(module, base())
        if len(own) != 1:
            raise TypeError(f"{module.__name__} must define one {base().__name__} but defines {len(own)}")
        return own[0]

    return load


def defined(module: ModuleType, base: type[T]) -> list[type[T]]:
    """The classes that a module defines itself and that are derived from the base, each once, whatever its names."""
    classes = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, base)]
    return [found for found in dict.fromkeys(classes) if found.__module__ == module.__name__]
