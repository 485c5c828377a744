"""The race: the shortlist trained with a few seeds, from which one network of each budget is chosen."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nas.results.confirming.candidates import Candidate
from nas.results.words import counted, short
from nas.search.result.merit import noise_of
from nas.training.training import Metrics, accuracies, validation_losses

CLEARLY = 3.0
"""Standard errors of a difference from which on a candidate is clearly behind."""


@dataclass(frozen=True)
class Entrant:
    """A candidate with its trainings so far, by seed: those of the race, those after it, by which nothing of the race
    is chosen any more, and those on all images, which have no validation. `dropped` is the reason for which it left the
    race, if it did."""

    candidate: Candidate
    race: dict[int, Metrics] = field(default_factory=dict, hash=False)
    trainings: dict[int, Metrics] = field(default_factory=dict, hash=False)
    whole: dict[int, Metrics] = field(default_factory=dict, hash=False)
    dropped: str = ""
    failures: tuple[str, ...] = ()

    @property
    def raced(self) -> list[float]:
        """Validation accuracies in the race."""
        return accuracies(self.race.values())

    @property
    def validation(self) -> list[float]:
        """Validation accuracies after the race, by seed."""
        return accuracies(self.trainings.values())

    def races(self, budget: int) -> bool:
        """Whether it stands for the search at a budget: of the shortlist, and not the default itself."""
        candidate = self.candidate
        return candidate.kind != "baseline" and budget in candidate.raced and budget not in candidate.default_of

    @property
    def in_race(self) -> bool:
        """Whether it stands for the search at some budget and was not dropped."""
        return any(map(self.races, self.candidate.budgets)) and not self.dropped


def racers(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Those among whom there is something to choose: at some budget there are several in the race."""
    budgets = {budget for entrant in entrants for budget in entrant.candidate.budgets}
    fields = [[e for e in entrants if e.in_race and e.races(budget)] for budget in budgets]
    contested = {e.candidate.fingerprint for field in fields if len(field) > 1 for e in field}
    return [entrant for entrant in entrants if entrant.candidate.fingerprint in contested]


def dropped(entrants: Sequence[Entrant], validation_images: int, *, front: bool = False) -> list[Entrant]:
    """The entrants, those marked that are clearly behind the best of all their budgets in the race; of a front, behind
    the best of those that are as small.

    Behind by CLEARLY standard errors of the difference of two means over the seeds so far. Every seed splits the data
    anew, so that one value has the variance of seeds and of a sampling of images: that of the values, at least
    `noise_of` their mean. The default and the baselines are what the others are compared with: they stay.
    """
    return [_judged(entrant, entrants, validation_images, front) for entrant in entrants]


def _judged(entrant: Entrant, entrants: Sequence[Entrant], images: int, front: bool) -> Entrant:
    own = [budget for budget in entrant.candidate.budgets if entrant.races(budget)]
    if not own or entrant.candidate.default_of or entrant.dropped or not entrant.race:
        return entrant
    rivals = [
        other
        for other in entrants
        if all(map(other.races, own))
        and (not front or other.candidate.parameters <= entrant.candidate.parameters)
        and len(other.raced) == len(entrant.raced)
    ]
    leader = max(rivals, key=lambda other: statistics.mean(other.raced), default=entrant)
    behind = statistics.mean(leader.raced) - statistics.mean(entrant.raced)
    if behind <= CLEARLY * math.sqrt(_variance(leader, images) + _variance(entrant, images)):
        return entrant
    seeds = counted(len(entrant.raced), "seed")
    reason = f"{100 * behind:.1f} points behind {short(leader.candidate.fingerprint)} after {seeds}"
    return replace(entrant, dropped=reason)


def _variance(entrant: Entrant, images: int) -> float:
    n, mean = len(entrant.raced), statistics.mean(entrant.raced)
    between = statistics.variance(entrant.raced) if n > 1 else 0.0
    return max(between, noise_of(mean, images)) / n


def winner(entrants: Sequence[Entrant], budget: int) -> Entrant | None:
    """The one of those in the race at the budget with the lowest mean validation log-loss in the race, of equals the
    first; None where there is none. Log-loss says more than accuracy: it counts by how much each image was missed."""
    own = [entrant for entrant in entrants if entrant.in_race and entrant.races(budget)]
    return min(own, key=_race_loss, default=None)


def _race_loss(entrant: Entrant) -> float:
    """Infinite where it did not race: whoever did goes before."""
    return statistics.mean(validation_losses(entrant.race.values())) if entrant.race else math.inf


def best(entrants: Sequence[Entrant], budget: int) -> Entrant | None:
    """The one within the budget with the lowest mean validation log-loss after the race, baselines and dropped ones
    aside; None where there is none."""
    able = [e for e in entrants if e.trainings and not e.dropped and e.candidate.kind != "baseline"]
    within = [e for e in able if e.candidate.parameters <= budget]
    return min(within, key=lambda e: statistics.mean(validation_losses(e.trainings.values())), default=None)


def decided(entrants: Sequence[Entrant], budgets: Sequence[int]) -> list[Entrant]:
    """The entrants, those marked that were in the race and are the winner of none of the budgets."""
    winners = {budget: first for budget in budgets if (first := winner(entrants, budget))}
    kept = {first.candidate.fingerprint for first in winners.values()}
    return [
        replace(entrant, dropped=_behind(entrant, winners))
        if entrant.in_race and not entrant.candidate.default_of and entrant.candidate.fingerprint not in kept
        else entrant
        for entrant in entrants
    ]


def _behind(entrant: Entrant, winners: Mapping[int, Entrant]) -> str:
    first = next(winners[budget] for budget in entrant.candidate.budgets if entrant.races(budget))
    behind, seeds = _race_loss(entrant) - _race_loss(first), counted(len(entrant.race), "seed")
    return f"log-loss {behind:.3f} above {short(first.candidate.fingerprint)} after {seeds}"
