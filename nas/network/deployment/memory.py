"""The memory that a network's values take while it predicts: every value has its place in one arena."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from nas.network.checked import checked_shape
from nas.network.deployment.ordering import run_of
from nas.network.deployment.steps import Held, Part, Run, lifetimes
from nas.network.layers import Layer, Shape


class Place(NamedTuple):
    """Where a value, or a part of it, lies: `shape` numbers, channel after channel and row by row, from the arena's
    number `offset` on."""

    offset: int
    shape: Shape


class Operation(NamedTuple):
    """One operation of the exported network: the layer and what is folded into it, in the order of the tree (`parts`),
    where it reads and writes, and where its `scratch` is.

    `overwrites`: the input in whose place the output lies, or None where no input and the output have a place in
    common. The inputs of a sum, product or concatenation are in the order of the branches. A gate
    (`SqueezeExcitation`) has as scratch a vector of its channels, means at first and then factors, and behind it one of
    its hidden units.
    """

    parts: tuple[Part, ...]
    inputs: tuple[Place, ...]
    output: Place
    overwrites: int | None
    scratch: Place | None


class Plan(NamedTuple):
    """A network's operations in order, in an arena of `size` numbers: the image lies at `input` before the first, and
    the scores at `output` behind the last."""

    operations: tuple[Operation, ...]
    input: Place
    output: Place
    size: int


def plan(layer: Layer, shape: Shape) -> Plan:
    """How the exported network runs on one image. Raises ShapeError where the layer does not fit the shape.

    The image, the scores and the scratch of gates are part of the arena; sums within an operation (32 bits each in
    int8) are kept in registers and are not.
    """
    run = run_of(layer, shape)
    held, places = lifetimes(run)
    offsets, size = packed(held)

    def place(value: int, first: int, of: Shape) -> Place:
        return Place(offsets[places[value]] + first, of)

    operations = []
    for number, step in enumerate(run.steps):
        over = [n for n, read in enumerate(step.reads) if places[read.value] == places[step.value]]
        operations.append(
            Operation(
                step.parts,
                tuple(place(read.value, read.first, read.shape) for read in step.reads),
                place(step.value, 0, step.shape),
                over[0] if over else None,
                place(-1 - number, 0, (step.scratch,)) if step.scratch else None,
            )
        )
    image, scores = (place(read.value, read.first, read.shape) for read in (run.input, run.result))
    return Plan(tuple(operations), image, scores, size)


def peak_activation(layer: Layer, shape: Shape) -> int:
    """Numbers in the arena of the exported network (4 bytes each in fp32, 1 in int8): the most that are held at once in
    the best order. Raises ShapeError where the layer does not fit the shape."""
    return _size(run_of(layer, checked_shape(shape)))


def _size(run: Run) -> int:
    return packed(lifetimes(run)[0])[1]


def packed(held: Sequence[Held]) -> tuple[list[int], int]:
    """An offset for all that is held, such that what is held at the same time has no place in common, and the size of
    the arena: the most that is held at once, or where no such packing is found, as little more as is."""
    least, beside = most_at_once(held), _beside(held)
    by_size = sorted(range(len(held)), key=lambda number: (-held[number].size, held[number].first))
    offsets = _lowest(held, beside, by_size)
    size = max(offset + one.size for offset, one in zip(offsets, held, strict=True))
    if size == least:
        return offsets, size
    by_time = sorted(range(len(held)), key=lambda number: (held[number].first, -held[number].last))
    by_length = sorted(by_time, key=lambda number: held[number].first - held[number].last)
    for order in (by_time, by_size, by_length):
        if found := _within(held, beside, least, order):
            return found, least
    return offsets, size


def most_at_once(held: Sequence[Held]) -> int:
    """The most numbers held at any step."""
    changes = [0] * (2 + max(one.last for one in held))
    for one in held:
        changes[one.first] += one.size
        changes[one.last + 1] -= one.size
    return max(accumulate(changes))


def _beside(held: Sequence[Held]) -> list[list[int]]:
    """For each, all that is held at some time when it is."""
    found: list[list[int]] = [[] for _ in held]
    active: list[int] = []
    firsts, lasts = [one.first for one in held], [one.last for one in held]
    for number in sorted(range(len(held)), key=firsts.__getitem__):
        first = firsts[number]
        active = [other for other in active if lasts[other] >= first]
        for other in active:
            found[other].append(number)
        found[number] += active
        active.append(number)
    return found


def _lowest(held: Sequence[Held], beside: Sequence[Sequence[int]], order: Iterable[int]) -> list[int]:
    """The lowest place that is free for each, in that order."""
    offsets = [-1] * len(held)
    for number in order:
        size, offset = held[number].size, 0
        for first, end in _taken(held, offsets, beside[number]):
            if first - offset >= size:
                break
            offset = max(offset, end)
        offsets[number] = offset
    return offsets


def _taken(held: Sequence[Held], offsets: Sequence[int], beside: Iterable[int]) -> list[tuple[int, int]]:
    """Where those of them that are placed lie: (first, end), ascending."""
    return sorted([(offsets[n], offsets[n] + held[n].size) for n in beside if offsets[n] >= 0])


def _within(held: Sequence[Held], beside: Sequence[Sequence[int]], size: int, order: Sequence[int]) -> list[int] | None:
    """Offsets in an arena of that size, by a search that gives up after `TRIES` places: each in that order lies at an
    end of a gap, and where that leaves no room for one behind it, at another end."""
    offsets = [-1] * len(held)
    untried: list[list[int]] = []
    for _ in range(TRIES):
        if len(untried) == len(order):
            return offsets
        number = order[len(untried)]
        untried.append(_gap_ends(_taken(held, offsets, beside[number]), held[number].size, size))
        while untried and not untried[-1]:
            untried.pop()
            offsets[order[len(untried)]] = -1
        if not untried:
            return None
        offsets[order[len(untried) - 1]] = untried[-1].pop()
    return None


def _gap_ends(taken: Iterable[tuple[int, int]], own: int, size: int) -> list[int]:
    """The offsets at either end of each gap that is large enough; those nearest to the ends of the arena last."""
    ends, before = set[int](), 0
    for first, end in (*taken, (size, size)):
        if first - before >= own:
            ends |= {before, first - own}
        before = max(before, end)
    return sorted(ends, key=lambda offset: -min(offset, size - own - offset))


TRIES = 2_000
"""Places tried for one network, about, before a larger arena is taken."""
