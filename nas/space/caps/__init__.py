"""What can be capped of a network, by the names that `--max` takes: a module here that sets `CAP` to a `Cap` is one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from nas.machine.registry import Registry
from nas.network.deployment.numbers import Numbers
from nas.network.folds import Cost


@dataclass(frozen=True)
class Cap:
    """A number of every network that a search keeps to at most so many.

    `meaning` says in a line what is counted, `count(cost, numbers)` counts it of a network deployed in that format.
    `parse` reads a cap from text (raises BudgetError), `text` writes it as `parse` reads it, `words` for people,
    `brief` for a table.
    `fills`: networks are made to use as much of it as they can, for it is their size; other caps only limit.
    `parameters(most, numbers)`: no network within so much has more parameters, None where nothing is known.
    `title` is what of a network is counted, in units of `unit` if they have a name.
    `flag` is how a search is asked for more. `is_quick`: every `Cost` has it. `is_deployed`: it depends on the numbers.
    """

    title: str
    meaning: str
    count: Callable[[Cost, Numbers], int]
    parse: Callable[[str], int]
    text: Callable[[int], str]
    words: Callable[[int, Numbers], str]
    flag: str
    brief: Callable[[int], str] = lambda has: f"{has:,}"
    fills: bool = False
    is_quick: bool = False
    is_deployed: bool = False
    unit: str = ""
    parameters: Callable[[int, Numbers], int | None] = lambda most, numbers: None

    @property
    def noun(self) -> str:
        """What is counted: "bytes of memory"."""
        return f"{self.unit} of {self.title}" if self.unit else self.title

    def column(self, numbers: Numbers) -> str:
        """The title of a column of such counts."""
        return f"{self.title}, {numbers}" if self.is_deployed else self.title


CAPS: Registry[Cap] = Registry("nas.space.caps", lambda module: cast(Cap, module.CAP))
