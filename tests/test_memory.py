"""The plan of a network's memory: what is done in its order, at its places, gives what the module gives."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod

import numpy as np
import pytest
import torch
from drawn import IMAGES, shipped
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from nas.network import layers
from nas.network.blocks import BLOCKS, Block, conv_norm
from nas.network.deployment.memory import Operation, Place, Plan, most_at_once, packed, peak_activation, plan
from nas.network.deployment.ordering import Branch, Lowering, run_of
from nas.network.deployment.steps import Held, Read, peak
from nas.network.layers import (
    Activation,
    BatchNorm,
    Concat,
    Conv,
    Flatten,
    Identity,
    Layer,
    Pool,
    Product,
    Residual,
    Scale,
    Shape,
    Shift,
    Slice,
    SqueezeExcitation,
    Subsample,
    Tied,
)
from nas.network.modules.module import to_module
from nas.space.budget import Budget
from nas.space.draw import draw, fit
from nas.space.files import shipped_spaces

FEW, MANY = 12, 1_000
"""Networks executed of each space, by the fast test and by the slow one."""


class Arena:
    """Memory of a fixed size. What nobody has written since it was given out is no number."""

    def __init__(self, size: int) -> None:
        self.numbers = torch.full((size,), torch.nan)
        self.reached = 0

    def allocate(self, place: Place) -> None:
        assert place.offset >= 0
        self.reached = max(self.reached, place.offset + prod(place.shape))
        self.write(place, torch.full(place.shape, torch.nan))

    def read(self, place: Place) -> Tensor:
        return self.numbers[place.offset : place.offset + prod(place.shape)].clone().reshape(1, *place.shape)

    def write(self, place: Place, values: Tensor) -> None:
        self.numbers[place.offset : place.offset + prod(place.shape)] = values.reshape(-1)


def executed(own: Plan, module: nn.Module, image: Tensor) -> Tensor:
    """The scores, computed operation by operation in an arena of the plan's size, all of which is used."""
    arena = Arena(own.size)
    arena.allocate(own.input)
    arena.write(own.input, image)
    for operation in own.operations:
        if operation.overwrites is None:
            arena.allocate(operation.output)
        else:
            assert operation.output == operation.inputs[operation.overwrites]
        if operation.scratch:
            arena.allocate(operation.scratch)
        arena.write(operation.output, computed(operation, module, [arena.read(place) for place in operation.inputs]))
    assert arena.reached == own.size
    return arena.read(own.output)


def computed(operation: Operation, module: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    first, *others = operation.parts
    match first.layer:
        case layers.Residual():
            result = inputs[0] + inputs[1]
        case layers.Product():
            result = inputs[0] * inputs[1]
        case layers.Concat():
            result = torch.cat(list(inputs), 1)
        case _:
            (only,) = inputs
            result = module.get_submodule(first.path)(only)
    for part in others:
        result = module.get_submodule(part.path)(result)
    return result


@dataclass
class Allocated:
    place: Place
    since: int
    until: int

    @property
    def end(self) -> int:
        return self.place.offset + prod(self.place.shape)


def most_allocated(own: Plan) -> int:
    """The most numbers allocated at once, where each value is freed behind the last operation that reads it."""
    allocated = [Allocated(own.input, 0, 0)]

    def reads(place: Place, number: int) -> None:
        end = place.offset + prod(place.shape)
        around = (a for a in reversed(allocated) if a.place.offset <= place.offset and end <= a.end)
        next(around).until = number

    for number, operation in enumerate(own.operations):
        for place in operation.inputs:
            reads(place, number)
        if operation.overwrites is None:
            allocated.append(Allocated(operation.output, number, number))
    reads(own.output, len(own.operations))
    changes = [0] * (len(own.operations) + 2)
    for one in allocated:
        changes[one.since] += prod(one.place.shape)
        changes[one.until + 1] -= prod(one.place.shape)
    scratch = [prod(operation.scratch.shape) if operation.scratch else 0 for operation in own.operations]
    return max(map(sum, zip(accumulate(changes), [*scratch, 0], strict=False)))


def check_plan(layer: Layer, shape: Shape) -> Plan:
    """Executes the layer's plan beside its module, whose norms have seen something."""
    torch.manual_seed(0)
    module = to_module(layer).eval()
    for inner in module.modules():
        if isinstance(inner, nn.BatchNorm2d):
            assert inner.running_mean is not None
            assert inner.running_var is not None
            inner.running_mean.normal_()
            inner.running_var.uniform_(0.5, 2)
    own, image = plan(layer, shape), torch.randn(1, *shape)
    with torch.no_grad():
        expected = module(image.clone())
        torch.testing.assert_close(executed(own, module, image), expected)
    assert own.size == peak_activation(layer, shape)
    return own


def check_networks_of(name: str, count: int) -> None:
    """Half of them fitted to some budget, half uniform draws, where those are not large: an arena is no other then."""
    rng = np.random.default_rng(0)
    for number in range(count):
        shape, classes = IMAGES[number % 16 == 15]  # small ones, as what is checked does not depend on their size
        space = shipped(name, shape, classes)
        knobs = draw(space, rng)
        budget = Budget(int(rng.integers(5_000, 50_000)))
        cost = space.cost(knobs)
        if number % 2 or cost is None or cost.parameters > 4 * budget.parameters:
            knobs = fit(space, knobs, budget, rng)
        if space.cost(knobs) is not None:
            own = check_plan(space.network(knobs), shape)
            assert most_allocated(own) == own.size


@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_a_plan_computes_what_the_module_does_and_holds_no_more_than_it_says(name: str) -> None:
    check_networks_of(name, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_a_thousand_plans_of_each_space_hold_what_they_say(name: str) -> None:
    check_networks_of(name, MANY)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize(("outputs", "stride"), [(8, 1), (12, 2)])
def test_a_plan_of_every_kind_of_block_computes_what_the_module_does(kind: str, outputs: int, stride: int) -> None:
    for excitation in (0, 4):
        block = BLOCKS[kind](Block(8, outputs, 3, stride, 2.0, excitation, "hardswish", length=3))
        own = check_plan(block, (8, 9, 9))
        assert most_allocated(own) == own.size


class Shuffled(Lowering):
    """Branches in any order."""

    def __init__(self, shape: Shape, choose: random.Random) -> None:
        super().__init__(shape)
        self.choose = choose

    def arranged(self, every: Sequence[tuple[Layer, str]], read: Read, is_kept: bool) -> dict[int, Branch]:
        numbers = list(range(len(every)))
        self.choose.shuffle(numbers)
        kept = {number: self.branch(*every[number], read, is_kept=True) for number in numbers}
        if not is_kept and all(branch.result.value != read.value for branch in kept.values()):
            kept[numbers[-1]] = self.branch(*every[numbers[-1]], read, is_kept=False)
        return kept


def fork(rng: random.Random, depth: int) -> Layer:
    """Branches within branches, all 4 channels wide at their ends and anything in between."""

    def branch() -> Layer:
        if depth and rng.random() < 0.5:
            return fork(rng, depth - 1)
        inner = [4, *(rng.randint(1, 12) for _ in range(rng.randint(0, 2))), 4]
        convolutions: Layer = layers.Sequence(tuple(conv_norm(*ends, 1) for ends in pairwise(inner)))
        part: Layer = layers.Sequence((Slice(4, 2), Conv(2, 4, 1)))
        tied = Tied(layers.Sequence((conv_norm(4, 4, 1), conv_norm(4, 4, 3, groups=4))), 2)
        whole: list[Layer] = [convolutions, convolutions, part, tied, Pool("average", 3, 1, 1), Subsample(4, 4)]
        return rng.choice([*whole, Activation(), BatchNorm(4), Scale(4), SqueezeExcitation(4, 2), Shift(4), Identity()])

    match rng.choice(["sum", "product", "concatenation"]):
        case "sum":
            return Residual(branch(), branch())
        case "product":
            return Product(branch(), branch())
        case _:
            several = tuple(branch() for _ in range(rng.randint(2, 4)))
            return layers.Sequence((Concat(several), Conv(4 * len(several), 4, 1)))


def forks(seed: int) -> Layer:
    rng = random.Random(seed)
    return layers.Sequence((Conv(3, 4, 1), fork(rng, 2), fork(rng, 1), fork(rng, 0)))


def test_a_plan_of_branches_within_branches_computes_what_the_module_does() -> None:
    for seed in range(200):
        own = check_plan(forks(seed), (3, 4, 4))
        assert most_allocated(own) <= own.size


@pytest.mark.parametrize("seed", range(40))
def test_no_other_order_of_branches_needs_less_memory(seed: int) -> None:
    rng, tree = random.Random(seed), forks(seed)
    best = peak(run_of(tree, (3, 4, 4)))
    assert all(best <= peak(Shuffled((3, 4, 4), rng).run(tree)) for _ in range(60))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=20))
def test_what_is_held_at_once_is_packed_side_by_side(drawn: list[tuple[int, int, int]]) -> None:
    held = [Held(size, first, first + length) for size, first, length in drawn]
    offsets, size = packed(held)
    assert size >= most_at_once(held)
    assert size == max(offset + one.size for offset, one in zip(offsets, held, strict=True))
    for i, (a, at) in enumerate(zip(held, offsets, strict=True)):
        for b, beside in zip(held[:i], offsets, strict=False):
            if a.size and b.size and a.first <= b.last and b.first <= a.last:
                assert at + a.size <= beside or beside + b.size <= at


def test_a_packing_takes_no_more_than_is_held_at_once_where_that_can_be() -> None:
    # the largest at the bottom first leaves a gap between the ends that the last is too large for
    chain = [
        Held(784, 0, 0),
        Held(25_088, 0, 1),
        Held(25_088, 1, 2),
        Held(6_272, 2, 3),
        Held(40_768, 3, 4),
        Held(10_192, 4, 5),
    ]
    assert packed(chain)[1] == most_at_once(chain) == 50_960


def test_norms_are_folded_and_activations_computed_with_what_is_before_them() -> None:
    network = layers.Sequence(
        (conv_norm(3, 4, 3, function="relu"), Pool("max", 2), BatchNorm(4), Activation(), Flatten())
    )
    operations = plan(network, (3, 4, 4)).operations
    assert [[part.path for part in operation.parts] for operation in operations] == [
        ["0.0", "0.1", "0.2"],
        ["1"],
        ["2"],
        ["3"],
    ]
    assert [operation.overwrites for operation in operations] == [None, None, 0, 0]


def test_a_gate_needs_room_for_its_vectors() -> None:
    gated = layers.Sequence((Conv(3, 8, 1), SqueezeExcitation(8, 2)))
    assert peak_activation(gated, (3, 4, 4)) == 11 * 16
    assert peak_activation(SqueezeExcitation(8, 2), (8, 4, 4)) == 8 * 16 + 8 + 2


def test_a_part_of_the_channels_is_read_where_it_lies() -> None:
    gated_linear = Product(Slice(8, 4), layers.Sequence((Slice(8, 4, 4), Activation())))
    assert peak_activation(gated_linear, (8, 4, 4)) == 12 * 16  # the activated half beside the whole
    (activation, product) = plan(gated_linear, (8, 4, 4)).operations
    assert activation.inputs[0].offset - product.inputs[0].offset == 4 * 16
    assert product.overwrites == 1
