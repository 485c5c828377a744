"""Local search on the lattice: the baseline that simple NAS spaces are hard to beat (White et al. 2021)."""

import math
from collections.abc import Generator, Sequence

from nas.search.sampling.outcomes import Outcome
from nas.search.sampling.walk import Point, Walk, WalkSampler, exchanges, replaced


class LocalSampler(WalkSampler):
    """Moves one knob at a time and goes on from the first network that is better.

    The moves are tried in random order; when none is better, it restarts at a random network.
    """

    def climb(self, centre: Point, restart: int) -> Walk:
        """From the first better neighbour to the next, until none is better."""
        moved: Point | None = centre
        while moved is not None:
            centre, moved = moved, None
            best = yield from self._accuracy(centre)
            moves = list(exchanges(self.space.knobs, centre))
            for index in self.rng("order", restart, repr(centre)).permutation(len(moves)):
                knob, option = moves[index]
                neighbour = self.fit(replaced(centre, {knob: option}))
                accuracy = yield from self._accuracy(neighbour)
                if accuracy > best or (math.isnan(best) and not math.isnan(accuracy)):  # worst is a failed trial
                    moved = neighbour
                    break

    def _accuracy(self, point: Point) -> Generator[Sequence[Point], list[Outcome], float]:
        yield from self.look([point])
        return self.known[self.identity(point)].accuracy
