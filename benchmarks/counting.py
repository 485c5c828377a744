"""Time to count a network's parameters without building it, and whether the count equals torch's.

Networks are drawn over every shipped space: half of them fitted to budgets log-uniform between 3K and 1M, half uniform
(those above 20M parameters are drawn again). Torch's count is of the module built on the meta device. "network" is the
making of the layer tree from blocks that the search has met before, which are cached; "p95" is over networks, each
timed as the fastest of five calls.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from machine import Figures, parser, say, show, spread

from nas.network.folds import macs, parameters
from nas.network.layers import Layer
from nas.network.modules.module import to_module
from nas.space.budget import Budget
from nas.space.draw import draw, fit
from nas.space.files import load_architecture, shipped_spaces
from nas.space.space import Knobs, Space, bind

SHAPE, CLASSES = (3, 32, 32), 100
BUDGETS = (3_000, 1_000_000)
MOST_PARAMETERS = 20_000_000
REPEATS = 5


def drawn(space: Space, count: int, rng: np.random.Generator) -> Iterator[Knobs]:
    """That many settings: fitted to a random budget and uniform in turn."""
    for number in range(count):
        yield fitted(space, rng) if number % 2 == 0 else uniform(space, rng)


def fitted(space: Space, rng: np.random.Generator) -> Knobs:
    """A draw fitted to a budget log-uniform between the two of `BUDGETS`."""
    low, high = map(math.log, BUDGETS)
    return fit(space, draw(space, rng), Budget(int(math.exp(rng.uniform(low, high)))), rng)


def uniform(space: Space, rng: np.random.Generator) -> Knobs:
    """A uniform draw of at most `MOST_PARAMETERS`."""
    while True:
        settings = draw(space, rng)
        if parameters(space.network(settings)) <= MOST_PARAMETERS:
            return settings


def count_by_building(layer: Layer) -> int:
    """Torch's own count; no memory is taken."""
    with torch.device("meta"):
        return sum(p.numel() for p in to_module(layer).parameters())


def unequal(space: Space, count: int, rng: np.random.Generator) -> int:
    """How many of the drawn networks torch counts otherwise."""
    networks = map(space.network, drawn(space, count, rng))
    return sum(parameters(layer) != count_by_building(layer) for layer in networks)


def seconds_of(work: Callable[[], object]) -> float:
    """The fastest of a few calls: other processes only ever add."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def time_counting(space: Space, count: int, rng: np.random.Generator) -> Figures:
    """Microseconds to count, to make the layer tree, to count multiply-adds, and to count by building with torch."""
    times: dict[str, list[float]] = {
        name: [] for name in ("parameters", "network", "macs", "network_and_cost", "parameters_by_building")
    }
    for settings in drawn(space, count, rng):
        layer = space.network(settings)
        times["parameters"].append(seconds_of(partial(parameters, layer)))
        times["network"].append(seconds_of(partial(space.network, settings)))
        times["macs"].append(seconds_of(partial(macs, layer, space.shape)))
        times["network_and_cost"].append(seconds_of(partial(space.cost, settings)))
        times["parameters_by_building"].append(seconds_of(partial(count_by_building, layer)))
    return {name: spread(values, unit=1e-6) for name, values in times.items()} | {
        "times_faster_than_building": round(
            statistics.median(times["parameters_by_building"]) / statistics.median(times["parameters"])
        )
    }


def main() -> int:
    """Prints the figures as JSON; exit code 1 if any count is unequal."""
    arguments = parser(__doc__, "python benchmarks/counting.py --networks 1000 --timed 200")
    arguments.add_argument("--networks", type=int, default=10_000, help="compared with torch (default: %(default)s)")
    arguments.add_argument("--timed", type=int, default=500, help="networks timed (default: %(default)s)")
    arguments.add_argument("--space", default="mixed", help="shipped space that is timed (default: %(default)s)")
    arguments.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    asked = arguments.parse_args()
    rng = np.random.default_rng(asked.seed)
    spaces = {name: bind(load_architecture(path), SHAPE, CLASSES) for name, path in shipped_spaces().items()}
    timing = time_counting(spaces[asked.space], asked.timed, rng)
    counts = {}
    for number, (name, space) in enumerate(spaces.items()):
        networks = (asked.networks + number) // len(spaces)
        counts[name] = {"networks": networks, "unequal": unequal(space, networks, rng)}
        say(f"{name}: {counts[name]}")
    total = sum(figures["unequal"] for figures in counts.values())
    show(
        {
            "space_timed": asked.space,
            "microseconds": timing,
            "networks": sum(figures["networks"] for figures in counts.values()),
            "unequal": total,
            "spaces": counts,
        }
    )
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
