"""A network as operations in a row, and how long the values that they make are needed."""

from collections.abc import Collection, Sequence
from math import inf
from typing import NamedTuple

from nas.network.layers import Layer, Shape


class Part(NamedTuple):
    """A layer of the tree, and the name of its module in `nas.network.modules.module.to_module(network)`. `home` names
    the module that has its weights where blocks have these in common (`Tied`)."""

    layer: Layer
    path: str
    home: str | None = None


class Read(NamedTuple):
    """What a step reads of a value, or what the network gives: `shape` numbers, channel after channel, from the `first`
    one on. `is_whole`: all that the value has."""

    value: int
    first: int
    shape: Shape
    is_whole: bool


class Step(NamedTuple):
    """One operation: reads values that are there, and makes the value numbered `value`, of `shape`.

    `parts` are its layer and what is folded into that or computed with it, in the order of the tree. `can_overwrite`:
    it works number by number, so that its result may lie where a value lies that nobody reads after it. `scratch` more
    numbers are needed while it runs: the vectors of a gate.
    """

    parts: tuple[Part, ...]
    reads: tuple[Read, ...]
    value: int
    shape: Shape
    can_overwrite: bool
    scratch: int = 0


class Run(NamedTuple):
    """Steps in order, from the value that `input` reads to the scores that `result` reads; `sizes`: how many numbers
    each value has."""

    steps: Sequence[Step]
    sizes: Sequence[int]
    input: Read
    result: Read


class Held(NamedTuple):
    """Room for `size` numbers from step `first` to step `last`, both included: a value, and those that overwrite it."""

    size: int
    first: int
    last: int


def peak(run: Run, kept: Collection[int] = ()) -> int:
    """The most numbers that are held at once: the input, the result, what is read later, and what a step is making.
    Values in `kept` are read by others later."""
    last_reads = _last_reads(run, kept)
    most = held = run.sizes[run.input.value]
    for number, step in enumerate(run.steps):
        over = next(iter(_overwritable(step, number, last_reads)), None)
        if over is None:
            held += run.sizes[step.value]
        most = max(most, held + step.scratch)
        read = {read.value for read in step.reads}
        held -= sum(run.sizes[value] for value in read if value != over and last_reads[value] == number)
    return most


def lifetimes(run: Run) -> tuple[list[Held], dict[int, int]]:
    """Everything that is held, and which of it each value lies in. The scratch of step n lies in what -1 - n gives.

    Of two values that a step might overwrite it takes the one that is there longer, so that what was held for a while
    only goes.
    """
    last_reads = _last_reads(run, ())
    held, places = [Held(run.sizes[run.input.value], 0, 0)], {run.input.value: 0}
    for number, step in enumerate(run.steps):
        for read in step.reads:
            _hold(held, places[read.value], number)
        over = _overwritable(step, number, last_reads)
        if over:
            places[step.value] = min((places[value] for value in over), key=lambda place: held[place].first)
        else:
            places[step.value] = len(held)
            held.append(Held(run.sizes[step.value], number, number))
        if step.scratch:
            places[-1 - number] = len(held)
            held.append(Held(step.scratch, number, number))
    _hold(held, places[run.result.value], len(run.steps))
    return held, places


def _hold(held: list[Held], place: int, last: int) -> None:
    """Holds it until that step."""
    held[place] = Held(held[place].size, held[place].first, last)


def _last_reads(run: Run, kept: Collection[int]) -> dict[int, float]:
    """The last step that reads each value; of what is read behind the steps, infinity."""
    last: dict[int, float] = {read.value: number for number, step in enumerate(run.steps) for read in step.reads}
    return last | dict.fromkeys((run.result.value, *kept), inf)


def _overwritable(step: Step, number: int, last_reads: dict[int, float]) -> list[int]:
    """The values in whose place the step's result may lie."""
    if not step.can_overwrite:
        return []
    return [read.value for read in step.reads if read.is_whole and last_reads[read.value] == number]
