"""Projected greedy search whose gradients cost two networks each (see `greedy_full` for the method)."""

import math

from nas.search.sampling.walk import Point, moved, notch, replaced
from nas.search.strategies.greedy_full import FullGreedySampler, Gradient


class GreedySampler(FullGreedySampler):
    """Climbs as `greedy-full` does, with gradients that cost two networks each.

    They are estimated by simultaneous perturbation (Spall 1992): all ordered knobs are moved at once, each a notch up
    or down at random, and back, both fitted; two networks an estimate instead of n + 1. The parameters' gradient is
    counted, which costs nothing.
    """

    def _gradient(self, centre: Point, rounds: int) -> Gradient:
        ordered = [i for i, knob in enumerate(self.space.knobs) if knob.role != "choice"]
        if not ordered:
            return None
        signs = self.rng("signs", repr(centre), rounds).choice((-1, 1), size=len(ordered))
        upper, lower = (
            self.fit(
                replaced(
                    centre,
                    {i: moved(self.space.knobs[i], centre[i], by * s) for i, s in zip(ordered, signs, strict=True)},
                )
            )
            for by in (1.0, -1.0)
        )
        yield from self._look([upper, lower])
        self._say("both sides of a simultaneous difference", upper, lower, against=centre)
        gap = self._memory.value(upper) - self._memory.value(lower)
        if not abs(gap) > self._memory.floor or not math.isfinite(gap):
            failed = "a training failed" if not math.isfinite(gap) else f"{self._shown(gap)} does not beat the floor"
            self._say(f"gradient: of the simultaneous difference {failed}")
            return None
        accuracy = {i: gap / 2 * float(s) for i, s in zip(ordered, signs, strict=True)}
        return self._projected(accuracy, {i: self._counted(centre, i) for i in ordered})

    def _counted(self, centre: Point, i: int) -> int:
        """Parameters that a notch of the knob adds, whether or not that leaves the budget."""
        for by in (1, -1):
            option = notch(self.space.knobs[i], centre[i], by)
            cost = None if option is None else self.space.cost(self.knobs_of(replaced(centre, {i: option})))
            if cost is not None:
                return by * (cost.parameters - self.parameters(centre))
        return 0
