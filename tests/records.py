"""Hand-made plans and records of a small space, for tests of what is made of them."""

from dataclasses import dataclass, replace

from nas.network.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Pool,
    Residual,
    Sequence,
    Shape,
    SqueezeExcitation,
    Subsample,
)
from nas.search.records import Record, State
from nas.search.search import Search
from nas.space.space import Architecture, Knobs, Space, bind, knob, width_knob
from nas.training.recipes import recipe_for


@dataclass(frozen=True)
class ManyKinds(Architecture):
    """A network with many kinds of layer in it."""

    width: int = width_knob(4, 8, 16)
    kernel: int = knob(3, 5)
    gate: bool = knob(False, True)

    def network(self, shape: Shape, classes: int) -> Layer:
        body: tuple[Layer, ...] = (Conv(self.width, self.width, self.kernel), BatchNorm(self.width))
        if self.gate:
            body = (*body, SqueezeExcitation(self.width, 2))
        return Sequence(
            (
                Sequence((Conv(shape[0], self.width, 3, bias=True), Activation("silu"), Pool("max", 2)), "stem"),
                Residual(Sequence(body), Identity()),
                Residual(Conv(self.width, 2 * self.width, 3, 2), Subsample(self.width, 2 * self.width, 2)),
                Sequence((GlobalPool(), Flatten(), Dropout(0.1), Linear(2 * self.width, classes)), "head"),
            )
        )


SPACE: Space = bind(ManyKinds, (1, 8, 8), 10)

PLAN = Search(
    dataset="digits",
    data_checksum="0" * 64,
    image_size=None,
    validation_share=None,
    augmentation=(),
    space="my_space.py",
    space_class="ManyKinds",
    space_checksum="1" * 64,
    budgets=(1_000, 10_000),
    max_macs=None,
    strategies=("tpe", "random"),
    baselines=(),
    trials=3,
    epochs=2,
    below=0.25,
    seed=0,
    recipe=replace(recipe_for(1_000), epochs=2, augmentation=()),
)


def record(
    settings: Knobs,
    accuracy: float,
    *,
    state: State = "trained",
    strategy: str = "tpe",
    budget: int = 10_000,
    number: int = 0,
    failure: str = "",
) -> Record:
    """A trial of SPACE that ended at the accuracy after two epochs."""
    cost = SPACE.cost(settings)
    assert cost is not None
    curve = ((2.0, 2.1, accuracy / 2), (1.0, 1.2, accuracy)) if state in ("trained", "replayed") else ()
    return Record(
        strategy=strategy,
        budget=budget,
        number=number,
        state=state,
        knobs=settings,
        network=SPACE.identity(settings),
        parameters=cost.parameters,
        macs=cost.macs,
        accuracies=tuple(row[2] for row in curve),
        curve=curve,
        seconds=1.5,
        worker=0,
        failure=failure,
    )
