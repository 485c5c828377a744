"""Made-up accuracy surfaces, so that a strategy can be judged in seconds instead of days of training.

A surface is what a strategy searches (`nas.space.space.Searchable`) with an accuracy for each of its settings.
"""

import importlib.util
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from nas.network.folds import Cost
from nas.space.files import named_space
from nas.space.space import Knob, Knobs, Role, Searchable, Value, bind

SHAPE, CLASSES = (3, 32, 32), 100
NOISE = 0.005
"""Standard deviation of an accuracy: half a point, as between seeds of a real training."""


class Surface(Searchable, Protocol):
    """A space with an accuracy."""

    def accuracy(self, settings: Knobs, rng: random.Random) -> float:
        """A noisy accuracy (0–1)."""


@dataclass(frozen=True)
class SpaceSurface:
    """A search space with an accuracy of our own making."""

    space: Searchable

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """Of the space."""
        return self.space.knobs

    def cost(self, settings: Knobs) -> Cost | None:
        """Of the network."""
        return self.space.cost(settings)

    def settled(self, settings: Knobs) -> dict[str, Value]:
        """The same: every knob counts."""
        return dict(settings)

    def features(self, settings: Knobs) -> tuple[float, ...]:
        """Of the network."""
        return self.space.features(settings)

    def identity(self, settings: Knobs) -> str:
        """Of the network."""
        return self.space.identity(settings)

    def accuracy(self, settings: Knobs, rng: random.Random) -> float:
        """Grows with the logarithm of the parameters and with depth; likes widths that double from stage to stage,
        3 x 3 kernels first and larger ones last, and the first option of a choice."""
        cost = self.cost(settings)
        if cost is None:
            return 0.0
        depth = sum(float(v) for name, v in settings.items() if name.startswith("blocks"))
        value = 0.15 * math.log10(cost.parameters) + 0.03 * min(depth, 8) / 8
        value -= 0.01 * sum(map(_knob_penalty, self.knobs, (settings[knob.name] for knob in self.knobs)))
        return value - 0.01 * _widening_penalty(self.knobs, settings) + rng.gauss(0, NOISE)


def _knob_penalty(knob: Knob, value: Value) -> float:
    if knob.name.startswith("kernel"):
        wanted = 5 if knob.name.endswith("3") else 3
        return abs(math.log2(float(value) / wanted))
    if knob.role != "choice" or len(knob.options) == 1:
        return 0.0
    return knob.options.index(value) / (len(knob.options) - 1)


def _widening_penalty(knobs: tuple[Knob, ...], settings: Knobs) -> float:
    """How far, in factors of two, each stage is from twice the width of the one before."""
    widths = [float(settings[knob.name]) for knob in knobs if knob.name.startswith("width")]
    return sum(abs(math.log2(after / before) - 1) for before, after in pairwise(widths))


@dataclass(frozen=True)
class FileSurface:
    """Knobs, parameters and accuracy as a Python file defines them."""

    knobs: tuple[Knob, ...]
    count: Callable[[Mapping[str, Any]], int]
    score: Callable[[Mapping[str, Any], random.Random], float]

    def cost(self, settings: Knobs) -> Cost | None:
        """The file's number of parameters; it knows no multiply-adds."""
        return Cost(self.count(settings), 0)

    def settled(self, settings: Knobs) -> dict[str, Value]:
        """The same: every knob counts."""
        return dict(settings)

    def features(self, settings: Knobs) -> tuple[float, ...]:
        """The logarithm (base 2) of its parameters."""
        cost = self.cost(settings)
        return (math.log2(1 + cost.parameters) if cost else 0.0,)

    def identity(self, settings: Knobs) -> str:
        """Each settings are a network of their own."""
        return repr(sorted(settings.items()))

    def accuracy(self, settings: Knobs, rng: random.Random) -> float:
        """The file's accuracy."""
        return self.score(settings, rng)


def shipped_surface(name: str, classes: int = CLASSES) -> SpaceSurface:
    """The made-up accuracy over a shipped space at 3 x 32 x 32."""
    return SpaceSurface(bind(named_space(name), SHAPE, classes))


def read_surface(path: Path, widths: tuple[str, ...]) -> FileSurface:
    """A file with CHOICES, parameters(dict) and accuracy(dict, random.Random); `widths` names its width knobs."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be imported as Python; give --surface a .py file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if missing := set(widths) - set(module.CHOICES):
        raise SystemExit(f"--widths names {', '.join(sorted(missing))}; the knobs are {', '.join(module.CHOICES)}")
    knobs = tuple(Knob(name, tuple(options), _role(name, options, widths)) for name, options in module.CHOICES.items())
    return FileSurface(knobs, module.parameters, module.accuracy)


def _role(name: str, options: list[Value], widths: tuple[str, ...]) -> Role:
    if name in widths:
        return "width"
    numbers = [option for option in options if isinstance(option, int | float) and not isinstance(option, bool)]
    return "ordered" if len(numbers) == len(options) > 1 and numbers == sorted(numbers) else "choice"
