"""The cards of a report: a module in a topic in here that defines PLACE and `card` is one.

`card(gathered)` makes it; PLACE is its place among the cards, which ascend in it.
"""

from collections.abc import Callable

from nas.machine.registry import Registry
from nas.results.pages.theme import Card
from nas.results.report.gather import Gathered

CARDS: Registry[tuple[int, Callable[[Gathered], Card]]] = Registry(__name__, lambda module: (module.PLACE, module.card))


def cards(gathered: Gathered) -> list[Card]:
    """Every part of the report, in order."""
    return [make(gathered) for _, make in sorted(CARDS.values(), key=lambda maker: maker[0])]
