"""Forward and backward pass of blocks: torch's own kernels in fp32 and bf16, and the forms that our trainer chooses.

Two kinds of blocks: every kind that spaces share x kernel x stride x width x resolution, and the parts (stem, stages,
head) of networks drawn from every shipped space. A block's time is that of the fastest of some rounds, in which the
ways take turns. "forms" are those of nas/network/modules/kernels.py; "chosen" are the forms in the precision that the
trainer takes on this device. `over` lists the blocks that are slower so than the fastest of the others by more than a
tenth. On a GPU torch's own kernels are also timed on images that lie channel by channel ("NCHW"), which none of ours
do.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch
from machine import Figures, parser, say, show

from nas.network.blocks import BLOCKS, stage
from nas.network.folds import output_shape
from nas.network.layers import Layer, Sequence, Shape
from nas.network.modules import kernels
from nas.network.modules.module import to_module
from nas.space.budget import Budget
from nas.space.draw import draw_within
from nas.space.files import load_architecture, shipped_spaces
from nas.space.space import bind
from nas.training.steps.evaluate import best_precision

SHAPE, CLASSES = (3, 32, 32), 100
BUDGETS = (5_000, 50_000)
TOLERANCE = 1.1


@dataclass(frozen=True)
class Part:
    """A block and the shape of what it is given."""

    name: str
    layer: Layer
    shape: Shape


def shared_blocks(kernel_sizes: list[int], widths: list[int], sides: list[int]) -> Iterator[Part]:
    """One block of every kind; those that halve the resolution double the width."""
    for kind in BLOCKS:
        for kernel in kernel_sizes:
            for stride in (1, 2):
                for width in widths:
                    for side in sides:
                        name = f"{kind} kernel {kernel} stride {stride} width {width} at {side}x{side}"
                        block = stage(kind, 1, width, width * stride, kernel=kernel, stride=stride, expansion=2)
                        yield Part(name, block, (width, side, side))


def parts_of_spaces(networks: int) -> Iterator[Part]:
    """The parts of networks drawn from every shipped space at every budget; equal ones once."""
    seen: set[tuple[Layer, Shape]] = set()
    for space_name, file in shipped_spaces().items():
        space = bind(load_architecture(file), SHAPE, CLASSES)
        for budget in BUDGETS:
            for seed in range(networks):
                network = space.network(draw_within(space, Budget(budget), np.random.default_rng(seed)))
                shape: Shape = SHAPE
                for layer in network.layers if isinstance(network, Sequence) else ():
                    if (layer, shape) not in seen:
                        seen.add((layer, shape))
                        title = layer.name if isinstance(layer, Sequence) and layer.name else type(layer).__name__
                        yield Part(f"{space_name} at {budget:,} seed {seed}: {title} on {shape}", layer, shape)
                    shape = output_shape(layer, shape)


def no_forms(*_: object) -> kernels.Forms:
    """In the place of `gradient_forms`: torch's own."""
    return kernels.Forms(strips=False, fp32=False)


@contextmanager
def torchs_own() -> Iterator[None]:
    """Without the forms of nas/network/modules/kernels.py."""
    with (
        mock.patch.object(kernels, "gradient_forms", no_forms),
        mock.patch.object(kernels, "positions_a_row", lambda _: 0),  # noqa: PT008 - a mock takes as long as a kernel
        mock.patch.object(kernels, "LEAST_PRODUCTS", 0),
    ):
        yield


def passes(part: Part, batch: int, device: torch.device, precision: str, form: str) -> Callable[[], None]:
    """A forward and a backward pass of a new module, on images in the precision in which another block leaves them."""
    layout = torch.contiguous_format if form == "NCHW" else torch.channels_last
    torch.manual_seed(0)
    module = to_module(part.layer).to(device).to(memory_format=layout).train()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    x = torch.randn(batch, *part.shape, device=device).to(dtype)
    x = x.contiguous(memory_format=layout) if x.dim() == 4 else x
    x.requires_grad_()

    def run() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            result = module(x)
        result.backward(torch.ones_like(result))
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def milliseconds(part: Part, batch: int, device: torch.device, ways: Iterable[tuple[str, str]], rounds: int) -> Figures:
    """The fastest of the rounds, by way."""
    runs = {way: passes(part, batch, device, *way) for way in ways}
    fastest = dict.fromkeys(runs, float("inf"))
    for round_number in range(rounds + 1):
        for (precision, form), run in runs.items():
            with nullcontext() if form == "forms" else torchs_own():
                started = time.perf_counter()
                run()
                seconds = time.perf_counter() - started
            if round_number:  # the first warms up
                fastest[precision, form] = min(fastest[precision, form], seconds)
    return {" ".join(way): round(1000 * seconds, 3) for way, seconds in fastest.items()}


def main() -> int:
    """Prints the figures as JSON."""
    arguments = parser(__doc__, "python benchmarks/kernels.py --widths 8,32 --sides 32 --networks 0")
    arguments.add_argument("--kernels", default="3,5,7", help="sizes (default: %(default)s)")
    arguments.add_argument("--widths", default="5,8,16,32", help="channels (default: %(default)s)")
    arguments.add_argument("--sides", default="32,16,8", help="of the images (default: %(default)s)")
    arguments.add_argument("--networks", type=int, default=2, help="of a space and budget (default: %(default)s)")
    arguments.add_argument("--batch", type=int, default=128, help="images (default: %(default)s)")
    arguments.add_argument("--rounds", type=int, default=5, help="of which the fastest counts (default: %(default)s)")
    arguments.add_argument("--device", default="", help="default: a GPU if there is one")
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    device = torch.device(asked.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    numbers = [[int(part) for part in text.split(",")] for text in (asked.kernels, asked.widths, asked.sides)]
    precision = best_precision(device)
    forms = ["torch", "forms", "NCHW"] if device.type == "cuda" else ["torch", "forms"]
    ways = [(each, form) for each in dict.fromkeys(("fp32", precision)) for form in forms]
    chosen = f"{precision} forms"
    others = [" ".join(way) for way in ways if " ".join(way) != chosen]
    blocks: Figures = {}
    for part in (*shared_blocks(*numbers), *parts_of_spaces(asked.networks)):
        found = milliseconds(part, asked.batch, device, ways, asked.rounds)
        found["ratio"] = round(found[chosen] / min(found[way] for way in others), 3)
        blocks[part.name] = found
        say(f"{part.name}: {found}")
    ratios = [found["ratio"] for found in blocks.values()]
    show(
        {
            "device": str(device),
            "chosen": chosen,
            "batch": asked.batch,
            "blocks": len(blocks),
            "median_ratio": round(statistics.median(ratios), 3),
            "worst_ratio": max(ratios),
            "over": {name: found for name, found in blocks.items() if found["ratio"] > TOLERANCE},
            "milliseconds": blocks,
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
