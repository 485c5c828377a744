"""Local search on the lattice: the baseline that simple NAS spaces are hard to beat (White et al. 2021)."""

import math
from collections.abc import Generator, Sequence
from itertools import count

from nas.search.sampling.walk import IDLE_RESTARTS, Outcome, Point, Walk, WalkSampler, exchanges, replaced
from nas.space.draw import draw_within


class LocalSampler(WalkSampler):
    """Moves one knob at a time and goes on from the first network that is better.

    The moves are tried in random order; when none is better, it restarts at a random network.
    """

    def walk(self, start: Point) -> Walk:
        """Restart after restart."""
        accuracies: dict[str, float] = {}
        centre = start
        idle = 0
        for restart in count(1):
            known = len(accuracies)
            moved: Point | None = centre
            while moved is not None:
                centre, moved = moved, None
                best = yield from self._look(centre, accuracies)
                moves = list(exchanges(self.space.knobs, centre))
                for index in self.rng("order", restart, repr(centre)).permutation(len(moves)):
                    knob, option = moves[index]
                    neighbour = self.fit(replaced(centre, {knob: option}))
                    if _is_better((yield from self._look(neighbour, accuracies)), best):
                        moved = neighbour
                        break
            idle = idle + 1 if len(accuracies) == known else 0
            if idle == IDLE_RESTARTS:
                return
            centre = self.point(draw_within(self.space, self.budget, self.rng("restart", restart)))

    def _look(self, point: Point, accuracies: dict[str, float]) -> Generator[Sequence[Point], list[Outcome], float]:
        """The accuracy, asked for if it is not known yet."""
        identity = self.identity(point)
        if identity not in accuracies:
            accuracies[identity] = (yield [point])[0].accuracy
        return accuracies[identity]


def _is_better(accuracy: float, than: float) -> bool:
    """A failed trial is worse than any other."""
    return accuracy > than or (math.isnan(than) and not math.isnan(accuracy))
