"""Projected finite-difference greedy search: climb along the surface of networks that use the budget.

At the network q, with accuracy A and parameters N as functions of the ordered knobs, in notches (see `notch`):

    differences    dA_i = A(q + e_i) - A(q), dN_i = N(q + e_i) - N(q), for every ordered knob i
    projection     ort(dA) = dA - (<dA, dN> / <dN, dN>) dN
    step           q + eta * ort(dA) / |ort(dA)|, rounded to the lattice and fitted to the budget

A difference is taken backward where the knob is at its last option or the notch would leave the budget. Every trial of
a search has the same seed, batches and augmentation, so the two sides of a difference are a pair.

What the bare method lacks, and without which it walks at random: a noise floor, below which no difference counts and no
step is taken; knobs that are no numbers, moved by exchange; and restarts where earlier outcomes promise most.
"""

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import combinations, count

import numpy as np
from optuna.study import Study

from nas.search.sampling.feasible import draw_target
from nas.search.sampling.learnt import Forecast, Line, Memory, Vector
from nas.search.sampling.outcomes import Outcome
from nas.search.sampling.walk import Point, Walk, WalkSampler, exchanges, moved, notch, replaced
from nas.seeds import derive_seed
from nas.space.draw import draw_within
from nas.space.space import Value

PROBES = 3
"""Triples of nearly equal networks by which the first start measures the noise; each later one adds a triple."""

FINE = 0.8
"""Notches that a triple may span: a width and its next two options down, if they are as near as this."""

RESTART_DRAWS = 8
RESTART_PAIRS = 24
LENGTHS = (2.0, 4.0, 8.0)
"""Steps in notches: the next is tried while the last one gained; half the first where that did not."""


def project(accuracy: Vector, parameters: Vector) -> Vector:
    """The part of the accuracy's gradient along the surface of equal parameters."""
    square = float(parameters @ parameters)
    return accuracy - (accuracy @ parameters / square if square else 0.0) * parameters


Steps = Generator[Sequence[Point], list[Outcome], Point]
"""A part of a walk; returns where it ends."""

Gradient = Generator[Sequence[Point], list[Outcome], dict[int, float] | None]
"""A part of a walk; returns a slope for each ordered knob, None where no difference beats the floor."""


class FullGreedySampler(WalkSampler):
    """Climbs along the gradient projected on equal parameters, exchanges single knobs, restarts.

    A gradient takes a full set of differences: as many networks as there are ordered knobs.
    """

    def walk(self, start: Point) -> Walk:
        """Climb after climb, with what is learnt from all of them."""
        self._memory = Memory()
        return super().walk(start)

    def climb(self, centre: Point, restart: int) -> Walk:
        """Steps and exchanges until neither gains."""
        yield from self._look([centre])
        self._say(f"start {restart} at {self._described(centre)}", centre)
        yield from self._probe(centre, restart)
        for rounds in count():
            climbed = yield from self._steps(centre, rounds)
            exchanged = yield from self._exchange(climbed, restart, rounds)
            if exchanged == centre:
                break
            centre = exchanged
        self._say(f"no move from {self._described(centre)} gains more than {self._shown(self._memory.floor)}", centre)

    def explain(self, study: Study) -> list[str]:
        """The walk so far in words, trial by trial: starts, noise, gradients, projections, steps, exchanges, and what
        the trials were that the walk did not ask for."""
        if not study.get_trials(deepcopy=False):
            return []
        self._walk = None
        self._first_unknown(self._outcomes(study), self.seen(study), self._beginning(study))
        numbers = {name: number for number, name in sorted(self._identities.items(), reverse=True)}
        lines, told_of = [], set[int]()
        for line in self._memory.log:
            trials = [numbers[name] for point in line.points if (name := self.identity(point)) in numbers]
            told_of.update(trials)
            against = None if line.against is None else numbers.get(self.identity(line.against))
            lines.append(f"{_numbered(trials)}{line.text}" + ("" if against is None else f" (against #{against})"))
        smaller = [n for n in self._identities if n not in told_of and self._aims_below(n)]
        others = [n for n in self._identities if n not in told_of and not self._aims_below(n)]
        lines += [f"{_numbered(smaller)}smaller siblings of the best network, for the front"] if smaller else []
        return lines + ([f"{_numbered(others)}the walk had nothing to ask, or goes on from them"] if others else [])

    def _aims_below(self, number: int) -> bool:
        rng = np.random.default_rng(derive_seed(self.seed, "proposal", number))
        target = draw_target(self.budget, self._smallest.parameters, self.below, rng)
        return target.parameters < self.budget.parameters

    def _look(self, points: Iterable[Point]) -> Walk:
        points = list(points)
        yield from self.look(points)
        self._memory.outcomes.update({point: self.known[self.identity(point)] for point in points})

    def _probe(self, centre: Point, restart: int) -> Walk:
        """Measures the noise: how far the middle of three nearly equal networks lies off the line of the others."""
        memory = self._memory
        wanted = PROBES if restart == 1 else 1
        for i in self.rng("probe", restart).permutation(len(self.space.knobs)):
            knob = self.space.knobs[i]
            index = knob.options.index(centre[i])
            if wanted == 0 or knob.role != "width" or index < 2:
                continue
            triple = [replaced(centre, {int(i): option}) for option in knob.options[index - 2 : index + 1]]
            low, middle, high = (2 * math.log2(float(point[i])) for point in triple)
            if high - low <= FINE and all(map(self.admits, triple)):
                yield from self._look(triple)
                share = (middle - low) / (high - low)
                memory.triples.append((share, tuple(memory.outcomes[point] for point in triple)))
                self._say(f"nearly equal: {knob.name} {', '.join(str(point[i]) for point in triple)}", *triple)
                wanted -= 1
        if not memory.triples:
            self._say("noise: not measured, for no width has two options near enough; every gain counts")
            return
        if restart == 1:
            memory.choose_metric()
        self._say(
            f"noise: {self._shown(memory.noise(memory.metric), sign='')} a value, by {len(memory.triples)} triples of "
            f"nearly equal networks; floor {self._shown(memory.floor, sign='')}"
        )

    def _steps(self, centre: Point, rounds: int) -> Steps:
        """Steps along the projected gradient while they gain more than the floor; the log says why they end."""
        while (gradient := (yield from self._gradient(centre, rounds))) is not None:
            stepped = yield from self._step(centre, gradient)
            if stepped == centre:
                break
            centre = stepped
        return centre

    def _gradient(self, centre: Point, rounds: int) -> Gradient:
        """The projected gradient by full differences: n + 1 networks. None where no difference beats the floor."""
        pairs = self._pairs(centre)
        yield from self._look(point for pair in pairs.values() for point in pair)
        others = [next(point for point in pair if point != centre) for pair in pairs.values()]
        self._say("differences of a notch each", *others, against=centre)
        value = self._memory.value
        accuracy = {i: value(upper) - value(lower) for i, (lower, upper) in pairs.items()}
        accuracy = {i: a if abs(a) > self._memory.floor and math.isfinite(a) else 0.0 for i, a in accuracy.items()}
        parameters = {i: self.parameters(upper) - self.parameters(lower) for i, (lower, upper) in pairs.items()}
        return self._projected(accuracy, parameters)

    def _pairs(self, centre: Point) -> dict[int, tuple[Point, Point]]:
        """The networks below and above the difference of each ordered knob, one of which is the centre."""
        pairs = {}
        for i, knob in enumerate(self.space.knobs):
            if knob.role == "choice":
                continue
            for by in (1, -1):
                option = notch(knob, centre[i], by)
                if option is not None and self.admits(other := replaced(centre, {i: option})):
                    pairs[i] = (centre, other) if by > 0 else (other, centre)
                    break
        return pairs

    def _projected(self, accuracy: Mapping[int, float], parameters: Mapping[int, float]) -> dict[int, float] | None:
        if not any(accuracy.values()):
            self._say("gradient: no difference of an ordered knob beats the floor")
            return None
        along = project(np.array(list(accuracy.values())), np.array([parameters[i] for i in accuracy], dtype=float))
        shown = zip((self._names[i] for i in accuracy), accuracy.values(), parameters.values(), along, strict=True)
        self._say(
            "gradient a notch, and its projection along equal parameters: "
            + "; ".join(f"{name} {self._shown(a)} for {n:+,} → {self._shown(o)}" for name, a, n, o in shown if a or o)
        )
        if not np.linalg.norm(along) > 0:
            self._say("no step: along equal parameters nothing of it is left")
            return None
        return dict(zip(accuracy, map(float, along), strict=True))

    def _step(self, centre: Point, gradient: Mapping[int, float]) -> Steps:
        """The longest of the steps tried that still gained on the one before."""
        norm = math.sqrt(sum(slope**2 for slope in gradient.values()))

        def target(length: float) -> Point:
            moves = {i: moved(self.space.knobs[i], centre[i], length * slope / norm) for i, slope in gradient.items()}
            return self.fit(replaced(centre, moves))

        best = centre
        for length in LENGTHS:
            yield from self._look([target(length)])
            if not self._gains(best, target(length), f"step of {length:g} notches"):
                break
            best = target(length)
        if best == centre:
            short = target(LENGTHS[0] / 2)
            yield from self._look([short])
            if self._gains(centre, short, f"step of {LENGTHS[0] / 2:g} notch"):
                return short
        return best

    def _exchange(self, centre: Point, restart: int, rounds: int) -> Steps:
        """Single knobs moved and fitted, the most promising first; each gain is taken at once."""
        tried: set[tuple[int, Value]] = set()
        rng = self.rng("exchange", restart, rounds)
        while True:
            before = len(self.known)
            moves = [move for move in exchanges(self.space.knobs, centre) if move not in tried]
            promise = self._promise([replaced(centre, dict([move])) for move in moves])
            for i in np.argsort(-(promise + 1e-9 * rng.random(len(moves))), kind="stable"):  # ties in random order
                move = moves[i]
                tried.add(move)
                target = self.fit(replaced(centre, dict([move])))
                if self.identity(target) == self.identity(centre):
                    continue
                yield from self._look([target])
                if self._gains(centre, target, "exchange"):
                    tried.add((move[0], centre[move[0]]))
                    centre = target
                    break
                if len(self.known) > before:
                    break  # something was learnt: rank anew
            else:
                return centre

    def restart(self, restart: int) -> Point:
        """The most promising of some random networks, and of some two moves away from the best one."""
        rng = self.rng("restart", restart)
        points = [self.point(draw_within(self.space, self.budget, rng)) for _ in range(RESTART_DRAWS)]
        best = max(self._memory.outcomes, key=self._memory.value)
        moves = list(exchanges(self.space.knobs, best))
        pairs = list(combinations(range(len(moves)), 2))
        for index in rng.permutation(len(pairs))[:RESTART_PAIRS]:
            points.append(self.fit(replaced(best, dict(moves[i] for i in pairs[index]))))
        fresh = [point for point in points if point not in self._memory.outcomes] or points
        return fresh[int(np.argmax(self._promise(fresh)))]

    def _promise(self, points: Sequence[Point]) -> Vector:
        """What all outcomes so far forecast: what one start learns, the next keeps."""
        return self._forecast.of(points, self._memory.values())

    @cached_property
    def _forecast(self) -> Forecast:
        return Forecast(self.space.knobs)

    def _gains(self, centre: Point, target: Point, move: str) -> bool:
        """Whether the target beats the centre by more than the floor; says so."""
        gain = self._memory.value(target) - self._memory.value(centre)
        taken = gain > self._memory.floor
        both = zip(self._names, centre, target, strict=True)
        changes = ", ".join(f"{name} {before} → {after}" for name, before, after in both if before != after)
        verdict = "taken" if taken else "left"
        if math.isfinite(gain):
            floor = self._shown(self._memory.floor, sign="")
            self._say(f"{move} ({changes}): {self._shown(gain)}, floor {floor}, {verdict}", target, against=centre)
        else:
            self._say(f"{move} ({changes}): a training failed or has not ended, {verdict}", target, against=centre)
        return taken

    def _described(self, point: Point) -> str:
        return f"{self.parameters(point):,} parameters, {self._shown(self._memory.value(point), sign='')}"

    def _shown(self, value: float, sign: str = "+") -> str:
        if self._memory.metric == "accuracy":
            return f"{100 * value:{sign}.2f} points"
        return f"{value:{sign}.4f} nats"

    def _say(self, text: str, *points: Point, against: Point | None = None) -> None:
        self._memory.log.append(Line(text, points, against))


def _numbered(trials: Sequence[int]) -> str:
    return ", ".join(f"#{number}" for number in sorted(set(trials))) + " " if trials else ""
