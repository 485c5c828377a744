"""What searches gained over the default, taken together: as it was confirmed, or else as it was searched."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import special

from nas.results.confirming.content import read_confirmed
from nas.results.confirming.margin import Margin, in_words, margin_of
from nas.search.records import Record
from nas.search.result.front import measured
from nas.search.result.merit import noise_of
from nas.search.search import Search

Run = tuple[Path, Search, Sequence[Record]]
"""A search: its folder, its settings, its records."""


@dataclass(frozen=True)
class Against:
    """The margins of the searches' networks over the default within a budget, whose mean is `margin`: those that were
    confirmed, or, where none was, those of the best observed accuracies. `words` tells it."""

    budget: int
    is_confirmed: bool
    margin: Margin
    words: str


def against_default(runs: Sequence[Run]) -> list[Against]:
    """The margins over the default at each budget of the searches, in ascending order; none of a budget at which the
    default was not measured."""
    budgets = sorted({budget for _, search, _ in runs for budget in search.budgets})
    every = [_confirmed(runs, budget) or _searched(runs, budget) for budget in budgets]
    return [found for found in every if found]


def _confirmed(runs: Sequence[Run], budget: int) -> Against | None:
    contents = [content for path, _, _ in runs if (content := read_confirmed(path))]
    verdicts = [each for content in contents for each in content["verdicts"] if each["budget"] == budget]
    margins = [Margin(**each["margin"]) for each in verdicts if each["margin"]]
    found = margin_of([each.difference for each in margins])
    if found is None:
        return None
    if len(runs) == 1:
        return Against(budget, True, margins[0], f"confirmed, {in_words(margins[0])}")
    claims = sum(each.is_claim for each in margins)
    words = f"confirmed, {in_words(found, unit='searches')}; {claims} of {found.n} intervals above 0"
    return Against(budget, True, found, words)


def _searched(runs: Sequence[Run], budget: int) -> Against | None:
    differences, lucks, counts = [], [], []
    for _, search, records in runs:
        within = {r.network: r.accuracy for r in measured(records) if r.parameters <= budget}
        default = _default(search, records, budget)
        if default is not None:
            differences.append(100 * (max(within.values()) - default))
            counts.append(len(within))
            lucks.append(100 * luck(len(within), noise_of(default, search.validation_images) ** 0.5))
    found = margin_of(differences)
    if found is None:
        return None
    n = f", n = {found.n} searches" if found.n > 1 else ""
    if found.difference <= 0:
        return Against(budget, False, found, f"nothing was observed above the default as searched{n}")
    few = f"{statistics.median_low(counts):,} equal networks"
    words = (
        f"the best observed is {found.difference:.1f} points above the default as searched{n}; that is not confirmed: "
        f"the best of {few} looks {statistics.mean(lucks):.1f} points better by luck"
    )
    return Against(budget, False, found, words)


def _default(search: Search, records: Sequence[Record], budget: int) -> float | None:
    """The accuracy of the trial of the default, with which every study begins after what it was given to start with;
    None where it was not measured."""
    number = len(search.starts_at(budget))
    own = [r for r in measured(records) if r.budget == budget and r.number == number]
    return own[0].accuracy if own else None


def luck(networks: int, deviation: float) -> float:
    """What the best of so many equal networks is expected to look better, measured with that deviation: the largest of
    normal values, by the approximation of Blom (1958).

    >>> [round(luck(networks, 1.0), 1) for networks in (1, 20, 50, 200)]
    [0.0, 1.9, 2.2, 2.7]
    """
    return deviation * float(special.ndtri((networks - 0.375) / (networks + 0.25)))
