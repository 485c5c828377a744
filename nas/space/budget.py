"""The hard budget: the one gate that a network passes or not."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.errors import BudgetError
from nas.machine.options import check, option, plain, tidy
from nas.network.checked import ShapeError
from nas.network.deployment.numbers import BYTES, Numbers
from nas.network.folds import Cost, cost, parameters
from nas.network.layers import Layer, Shape
from nas.space.caps import CAPS

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_PREFIXES = ((0, ""), (1, "k"), (2, "m"), (3, "g"))
_BYTES = {f"{prefix}{unit}": base**power for unit, base in (("b", 1_000), ("ib", 1_024)) for power, prefix in _PREFIXES}
_NUMBER = r"((?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:e[0-9]{1,2})?)"

UNCAPPED = sys.maxsize
"""Parameters of a budget that does not cap them."""

FAR = 1e9
"""Above any load."""


@dataclass(frozen=True, init=False)
class Budget:
    """At most so much of each of some `CAPS`: parameters, multiply-adds a forward pass on one image, and others by
    name. `numbers` is the format in which the network is deployed, for those that depend on it.

    >>> Budget(20_000, memory=8_000, numbers="int8")
    Budget(caps=(('parameters', 20000), ('memory', 8000)), numbers='int8')
    """

    caps: tuple[tuple[str, int], ...]
    numbers: Numbers = "fp32"

    def __init__(
        self,
        parameters: int | None = None,
        macs: int | None = None,
        *,
        numbers: Numbers = "fp32",
        **others: int | None,
    ) -> None:
        every = {"parameters": parameters, "macs": macs, **dict(sorted(others.items()))}
        caps = tuple((name, _whole_number(most)) for name, most in every.items() if most is not None)
        for name, most in caps:
            if name not in CAPS:
                raise BudgetError(_unknown(name))
            if type(most) is not int:
                raise BudgetError(f"a budget's {name} must be a whole number but got {most!r:.80}")
            if most < 1:
                raise BudgetError(f"a budget's {name} must be at least 1 but got {most}")
        object.__setattr__(self, "caps", caps)
        object.__setattr__(self, "numbers", numbers)

    @property
    def parameters(self) -> int:
        """The cap on parameters, `UNCAPPED` without one."""
        return dict(self.caps).get("parameters", UNCAPPED)

    def within(self, parameters: int) -> "Budget":
        """The same with another cap on parameters."""
        return Budget(**{**dict(self.caps), "parameters": parameters}, numbers=self.numbers)

    @property
    def quick(self) -> "Budget":
        """Its caps on what every `Cost` has; on parameters alone, at 1, where it has none of them."""
        own = {name: most for name, most in self.caps if CAPS[name].is_quick}
        return Budget(**(own or {"parameters": 1}), numbers=self.numbers)

    def admits(self, layer: Layer, shape: Shape | None = None) -> bool:
        """Whether the network is within budget. Caps on more than parameters need the shape of the images.

        >>> Budget(parameters=1_000).admits(Linear(64, 10))
        True
        """
        if [name for name, _ in self.caps] == ["parameters"]:
            return parameters(layer) <= self.parameters
        if shape is None:
            raise ValueError(f"a budget of {self} needs the shape of the images")
        try:
            return self.covers(cost(layer, shape))
        except ShapeError:
            return False

    def covers(self, cost: Cost) -> bool:
        """Whether a network of this cost is within budget."""
        return all(counted(cost, name, self.numbers) <= most for name, most in self.caps)

    def load(self, cost: Cost) -> float:
        """Share used of the scarcest of the caps; above 1 is over budget."""
        return max((counted(cost, name, self.numbers) / most for name, most in self.caps), default=0.0)

    def burden(self, cost: Cost) -> float:
        """The load, for comparisons: networks above a cap that is quick to count lie behind all others, and what takes
        longer is not counted of them."""
        quick = [(name, most) for name, most in self.caps if CAPS[name].is_quick]
        if len(quick) == len(self.caps):
            return self.load(cost)
        first = max((counted(cost, name, self.numbers) / most for name, most in quick), default=0.0)
        return FAR + first if first > 1 else self.load(cost)

    def use(self, cost: Cost) -> float:
        """Share used of what networks are to fill, the largest of those caps; 0 where there is none of them."""
        fill = ((name, most) for name, most in self.caps if CAPS[name].fills)
        return max((counted(cost, name, self.numbers) / most for name, most in fill), default=0.0)

    def missed(self, cost: Cost) -> tuple[str, str]:
        """What a network over budget has of all that is capped, and the flags that raise the caps that it is above, in
        words."""
        has = {name: counted(cost, name, self.numbers) for name, _ in self.caps}
        above = [name for name, most in self.caps if has[name] > most]
        found = _listed(CAPS[name].words(has[name], self.numbers) for name in has)
        which = f", above the cap on {_listed(above)}" if len(has) > 1 else ""
        return found + which, _listed(CAPS[name].flag for name in above)

    def __str__(self) -> str:
        return _listed(CAPS[name].words(most, self.numbers) for name, most in self.caps)


def counted(cost: Cost, name: str, numbers: Numbers) -> int:
    """What a network has of something that can be capped."""
    known = cost.known.get((name, numbers))
    if known is None:
        known = cost.known[name, numbers] = CAPS[name].count(cost, numbers)
    return known


def all_counted(cost: Cost, numbers: Numbers) -> dict[str, int]:
    """What a network has of everything that can be capped, by name."""
    return {name: counted(cost, name, numbers) for name in CAPS}


def beside(cost: Cost, numbers: Numbers) -> dict[str, int]:
    """What a network has of everything that can be capped beside parameters and multiply-adds, by name."""
    return {name: counted(cost, name, numbers) for name, cap in CAPS.items() if not cap.is_quick}


def parse_caps(texts: Iterable[str]) -> dict[str, int]:
    """Caps written as NAME=MOST, several with commas. Raises BudgetError for what is no cap or is given twice.

    >>> parse_caps(["macs=15M,memory=64KB"])
    {'macs': 15000000, 'memory': 64000}
    """
    caps: dict[str, int] = {}
    for text in (part.strip() for written in texts for part in str(written).split(",")):
        name, equals, most = (part.strip() for part in text.partition("="))
        if not equals:
            raise BudgetError(f"a cap must be NAME=MOST, of {', '.join(CAPS)}, but got {text!r}")
        if name not in CAPS:
            raise BudgetError(_unknown(name))
        if name in caps:
            raise BudgetError(f"the cap on {name} is given twice; leave one out")
        try:
            caps[name] = CAPS[name].parse(most)
        except BudgetError as error:
            raise BudgetError(f"{name}: {error}") from error
    return caps


def written_caps(caps: Mapping[str, int]) -> tuple[str, ...]:
    """The caps as `parse_caps` reads them, in order of their names.

    >>> written_caps({"memory": 64_000})
    ('memory=64000B',)
    """
    return tuple(f"{name}={CAPS[name].text(most)}" for name, most in sorted(caps.items()))


def implied_parameters(caps: Mapping[str, int], numbers: Numbers) -> int | None:
    """The most parameters of a network within those caps, None where they leave that open."""
    ends = [CAPS[name].parameters(most, numbers) for name, most in caps.items()]
    return min((end for end in ends if end is not None), default=None)


def agreed(flag: str, asked: int | None, name: str, capped: int | None) -> int | None:
    """What a flag and the cap of that name say together. Raises BudgetError where they differ."""
    if None not in (asked, capped) and asked != capped:
        raise BudgetError(f"{flag} says {asked:,} and --max {name}={capped:,}; leave one out")
    return capped if asked is None else asked


def parse_count(text: str) -> int:
    """A count as people write it: 100000, 100_000, 100K, 1.5M, 3e5.

    >>> parse_count("1.5K")
    1500
    """
    match = re.fullmatch(_NUMBER + "([kmg]?)", text.strip().lower())
    if not match:
        raise BudgetError(f"a count must be a number like 100000, 100K or 1.5M but got {text!r}")
    return _whole(match[1], _UNITS[match[2]], "a count must be a whole number", text)


def parse_bytes(text: str) -> int:
    """A size with its unit: 64KB (64,000 bytes), 64KiB (65,536), 1.5MB, 800B.

    >>> parse_bytes("64KiB")
    65536
    """
    match = re.fullmatch(_NUMBER + r"\s*((?:[kmg]i?)?b)", text.strip().lower())
    if not match:
        raise BudgetError(f"a size needs a unit, as 64KB (64,000 bytes), 64KiB (65,536) or 64000B, but got {text!r}")
    return _whole(match[1], _BYTES[match[2]], "a size must be a whole number of bytes", text)


def size_text(size: int) -> str:
    """A number of bytes in short.

    >>> size_text(90), size_text(64_000)
    ('90 B', '64.0 KB')
    """
    return f"{size} B" if size < 1_000 else f"{size / 1_000:,.1f} KB"


def parse_counts(text: str) -> tuple[int, ...]:
    """Comma-separated counts in ascending order, each once. Raises BudgetError where commas are those of thousands.

    >>> parse_counts("10K,1K")
    (1000, 10000)
    """
    if re.fullmatch(r"\d{1,3}(,\d{3})*,0\d\d(,\d{3})*", text.strip()):
        raise BudgetError(f"a comma stands between several counts, but got {text!r}; write {text.replace(',', '')}")
    return tuple(sorted({parse_count(part) for part in text.split(",")}))


def _whole(number: str, unit: int, must: str, text: str) -> int:
    count = float(number.replace("_", "")) * unit
    if count != int(count) or count < 1:
        raise BudgetError(f"{must} of at least 1 but got {text!r}")
    return int(count)


def _whole_number(value: Any) -> Any:
    """A number of numpy, or a whole one that is a float, as Python's int; anything else as it is."""
    value = plain(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unknown(name: Any) -> str:
    return f"there is no cap {name!r}; what can be capped is {', '.join(CAPS)}"


def _listed(words: Iterable[str]) -> str:
    *some, last = words
    return f"{', '.join(some)} and {last}" if some else last


@dataclass(frozen=True, kw_only=True)
class CapOptions:
    """What can be capped of networks beside their parameters. Raises UserError for what cannot be."""

    max_macs: int | None = option(
        "most multiply-adds a network (15M), as --max macs=15M",
        default=None,
        unset="no cap",
        least=1,
        parse=parse_count,
        metavar="N",
    )
    max: Sequence[str] | Mapping[str, int | str] = option(
        "most of anything that can be capped of a network, as memory=64KB,bytes=256KB; registries.md lists the caps",
        default=(),
        gathers="again",
        metavar="NAME=MOST[,NAME=MOST]",
    )
    numbers: Numbers = option(
        "format in which networks are deployed, for caps that depend on it", default="fp32", choices=tuple(BYTES)
    )

    def __post_init__(self) -> None:
        if isinstance(self.max, Mapping):
            each = (
                (name, CAPS[name].text(most) if name in CAPS and type(most) is int else most)
                for name, most in ((name, _whole_number(most)) for name, most in self.max.items())
            )
            object.__setattr__(self, "max", tuple(f"{name}={most}" for name, most in each))
        tidy(self)
        check(self)
        caps = parse_caps(self.max)
        object.__setattr__(self, "max_macs", agreed("--max-macs", self.max_macs, "macs", caps.pop("macs", None)))
        object.__setattr__(self, "max", written_caps(caps))

    def limit(self, parameters: int | None) -> "Budget | None":
        """The budget of so many parameters and the caps, None where nothing is capped."""
        caps = parse_caps(self.max)
        own = agreed("--budget", parameters, "parameters", caps.pop("parameters", None))
        budget = Budget(own, self.max_macs, numbers=self.numbers, **caps)
        return budget if budget.caps else None
