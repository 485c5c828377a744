"""The operations that the exported form of a network runs, in the order that needs the least memory."""

import math
from collections.abc import Iterable, Sequence
from math import prod
from typing import NamedTuple, assert_never

from nas.network import layers
from nas.network.deployment.steps import Part, Read, Run, Step, peak
from nas.network.folds import branches, is_tied, output_shape
from nas.network.layers import Layer, Shape

Joining = layers.Residual | layers.Product | layers.Concat


def run_of(layer: Layer, shape: Shape) -> Run:
    """The layer's operations on one image.

    Batch norms are folded into the convolution right before them; an activation right behind a convolution or a linear
    layer is computed with it. `Flatten`, `Identity`, `Dropout` (in inference) and `Slice`, a part of what is there, are
    no operations. The order is the best of those that compute the branches of a sum, a product or a concatenation one
    after another, each to its end. Raises ShapeError where the layer does not fit the shape.
    """
    output_shape(layer, shape)
    return Lowering(shape).run(layer)


class Branch(NamedTuple):
    """Steps that all begin from one value, and what reads their result."""

    steps: list[Step]
    result: Read


class Lowering:
    """Turns a tree into steps, and numbers the values that they make."""

    def __init__(self, shape: Shape) -> None:
        self.input = Read(0, 0, shape, is_whole=True)
        self.sizes = [prod(shape)]
        self._tied: list[tuple[str, str]] = []
        """The block of each `Tied` around the layer, outermost first, and the first of its blocks."""

    def run(self, layer: Layer) -> Run:
        """All steps."""
        steps: list[Step] = []
        result = self.append(layer, self.input, "", False, steps)
        return Run(steps, self.sizes, self.input, result)

    def append(self, layer: Layer, read: Read, path: str, is_kept: bool, steps: list[Step]) -> Read:
        """Appends the layer's steps, and says what reads its result. `is_kept`: others read its input later."""
        match layer:
            case layers.Sequence():
                return self._append_all(layer.layers, read, path, is_kept, steps)
            case layers.Tied() if layer.times > 1:
                return self._append_tied(layer, read, path, is_kept, steps)
            case layers.Tied():
                return self._append_all((layer.block,), read, path, is_kept, steps)
            case layers.Residual() | layers.Product() | layers.Concat():
                return self._append_joined(layer, read, path, is_kept, steps)
            case layers.Identity() | layers.Dropout():
                return read
            case layers.Flatten():
                return Read(read.value, read.first, (prod(read.shape),), read.is_whole)
            case layers.Slice():
                first = read.first + layer.first * prod(read.shape[1:])
                is_whole = read.is_whole and layer.outputs == layer.inputs
                return Read(read.value, first, (layer.outputs, *read.shape[1:]), is_whole)
            case layers.BatchNorm() | layers.Activation() if _takes_in(steps, layer, read):
                parts = (*steps[-1].parts, self._part(layer, path))
                steps[-1] = Step(parts, *steps[-1][1:])
                return read
            case layers.BatchNorm() | layers.Activation() | layers.Scale():
                return self._append_step(self._part(layer, path), (read,), read.shape, steps, can_overwrite=True)
            case layers.SqueezeExcitation():
                scratch = layer.channels + layer.squeezed
                return self._append_step(self._part(layer, path), (read,), read.shape, steps, True, scratch)
            case (
                layers.Conv()
                | layers.Linear()
                | layers.SignLinear()
                | layers.QuadraticLinear()
                | layers.Pool()
                | layers.GlobalPool()
                | layers.Subsample()
                | layers.Shift()
            ):
                after = output_shape(layer, read.shape)
                return self._append_step(self._part(layer, path), (read,), after, steps, can_overwrite=False)
            case _:
                assert_never(layer)

    def _append_step(
        self,
        part: Part,
        reads: tuple[Read, ...],
        shape: Shape,
        steps: list[Step],
        can_overwrite: bool,
        scratch: int = 0,
    ) -> Read:
        value = len(self.sizes)
        self.sizes.append(prod(shape))
        steps.append(Step((part,), reads, value, shape, can_overwrite, scratch))
        return Read(value, 0, shape, is_whole=True)

    def _append_all(self, every: Iterable[Layer], read: Read, path: str, is_kept: bool, steps: list[Step]) -> Read:
        entered = read.value
        for number, layer in enumerate(every):
            read = self.append(layer, read, _inside(path, number), is_kept and read.value == entered, steps)
        return read

    def _append_tied(self, layer: layers.Tied, read: Read, path: str, is_kept: bool, steps: list[Step]) -> Read:
        entered = read.value
        for number in range(layer.times):
            self._tied.append((_inside(path, number), _inside(path, 0)))
            read = self.append(layer.block, read, _inside(path, number), is_kept and read.value == entered, steps)
            self._tied.pop()
        return read

    def _part(self, layer: Layer, path: str) -> Part:
        if not self._tied or not is_tied(layer):
            return Part(layer, path)
        home = path
        for own, first in reversed(self._tied):
            home = first + home.removeprefix(own)
        return Part(layer, path, home)

    def _append_joined(self, layer: Joining, read: Read, path: str, is_kept: bool, steps: list[Step]) -> Read:
        inner = {layers.Residual: ("body", "shortcut"), layers.Product: ("body", "gate")}.get(type(layer))
        every = branches(layer)
        paths = (_inside(path, name) for name in inner or (f"branches.{number}" for number in range(len(every))))
        arranged = self.arranged(list(zip(every, paths, strict=True)), read, is_kept)
        for branch in arranged.values():
            steps += branch.steps
        results = tuple(arranged[number].result for number in range(len(every)))
        shape = results[0].shape
        if isinstance(layer, layers.Concat):
            shape = (sum(result.shape[0] for result in results), *shape[1:])
        return self._append_step(self._part(layer, path), results, shape, steps, not isinstance(layer, layers.Concat))

    def arranged(self, every: Sequence[tuple[Layer, str]], read: Read, is_kept: bool) -> dict[int, Branch]:
        """The branches, each a layer and its path, by number, in the best order."""
        kept = [self.branch(*branch, read, is_kept=True) for branch in every]
        if sum(bool(branch.steps) for branch in kept) < 2 and any(not branch.steps for branch in kept):
            return dict(enumerate(kept))
        order = self._order(kept, read)
        if is_kept or any(branch.result.value == read.value for branch in kept):
            return {number: kept[number] for number in order}
        best: dict[int, Branch] = {}
        least = math.inf
        for number in reversed(order):  # comes last, and is the last to read the input
            last = self.branch(*every[number], read, is_kept=False) if _reads(kept[number], read) > 1 else kept[number]
            before = [other for other in order if other != number]
            held, most = 0, 0
            for other in before:
                most = max(most, held + self._peak(kept[other], read, is_kept=True))
                held += self._left(kept[other], read)
            most = max(most, held + self._peak(last, read, is_kept=False))
            if most < least:
                least, best = most, {other: kept[other] for other in before} | {number: last}
        return best

    def branch(self, layer: Layer, path: str, read: Read, *, is_kept: bool) -> Branch:
        """A branch on its own."""
        steps: list[Step] = []
        return Branch(steps, self.append(layer, read, path, is_kept, steps))

    def _order(self, kept: Sequence[Branch], read: Read) -> list[int]:
        """The order of branches whose input is there until all are done: the further a branch's peak is above what it
        leaves, the sooner it comes (as registers are given out in Sethi and Ullman 1970; a swap of neighbours out of
        that order lowers no peak)."""
        above = [self._peak(branch, read, is_kept=True) - self._left(branch, read) for branch in kept]
        return sorted(range(len(kept)), key=lambda number: -above[number])

    def _peak(self, branch: Branch, read: Read, *, is_kept: bool) -> int:
        return peak(Run(branch.steps, self.sizes, read, branch.result), (read.value,) if is_kept else ())

    def _left(self, branch: Branch, read: Read) -> int:
        """What is held of the branch when it is done, beside its input."""
        return 0 if branch.result.value == read.value else self.sizes[branch.result.value]


def _inside(path: str, name: str | int) -> str:
    return f"{path}.{name}" if path else str(name)


def _reads(branch: Branch, read: Read) -> int:
    """How many reads of the value the branch has."""
    return sum(own.value == read.value for step in branch.steps for own in step.reads)


def _takes_in(steps: list[Step], layer: layers.BatchNorm | layers.Activation, read: Read) -> bool:
    """Whether the step before computes the layer with its own."""
    if not steps or steps[-1].value != read.value or not read.is_whole:
        return False
    parts = steps[-1].parts
    linear = layers.Linear | layers.SignLinear | layers.QuadraticLinear
    takes = layers.Conv if isinstance(layer, layers.BatchNorm) else layers.Conv | linear
    return isinstance(parts[0].layer, takes) and not isinstance(parts[-1].layer, layers.Activation)
