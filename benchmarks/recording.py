"""Training steps on a GPU, launched kernel by kernel and as a recorded CUDA graph, and several processes on one GPU.

A step is all that our trainer does for a batch: selection, augmentation, gradients, optimiser, average. The networks
are the default of `mixed` fitted to each budget and a ResNet scaled to the largest. Images are random.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from machine import Figures, parser, say, show, space_named

from nas.data.augment import DeviceData, DeviceSplit
from nas.network.layers import Layer
from nas.space.budget import Budget, parse_count
from nas.space.designs import default_within, scaled
from nas.training import train
from nas.training.recipe import Recipe
from nas.training.steps.graphs import Gradients, RecordedGradients

SHAPE, CLASSES, WARM_UP = (3, 32, 32), 100, 40


def networks(budgets: list[int]) -> dict[str, Layer]:
    """By what they are called."""
    space = space_named("mixed", SHAPE, CLASSES)
    found = {f"mixed at {budget:,}": space.network(default_within(space, Budget(budget))) for budget in budgets}
    resnet = scaled("resnet", Budget(max(budgets)), SHAPE, CLASSES)
    assert resnet is not None
    return found | {f"resnet at {max(budgets):,}": resnet}


def random_data(images: int) -> DeviceData:
    """Random images on the GPU."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, *SHAPE[1:], SHAPE[0]), dtype=torch.uint8, generator=generator).cuda()
    labels = torch.randint(CLASSES, (images,), generator=generator).cuda()
    few = DeviceSplit(pixels[:256], labels[:256])
    level = torch.full(SHAPE[:1], 64.0, device="cuda")
    return DeviceData(DeviceSplit(pixels, labels), few, 2 * level, level, CLASSES, ("crop", "flip"))


def time_steps(
    network: Layer, batch_size: int, steps: int, wait: Callable[[], None] = lambda: None
) -> tuple[float, float]:
    """Seconds a step of the first epoch, after a warm-up, and its training loss; `wait` is called between the two."""
    marks = []

    def pulse(_: int, step: int) -> None:
        if step in (WARM_UP, WARM_UP + steps):
            torch.cuda.synchronize()
            if step == WARM_UP:
                wait()
            marks.append(time.perf_counter())

    data = random_data((WARM_UP + steps + 1) * batch_size)
    epoch = next(train.train(network, data, Recipe(epochs=1, batch_size=batch_size), seed=0, pulse=pulse))
    return (marks[1] - marks[0]) / steps, epoch.train_loss


def busy_share(network: Layer, batch_size: int, steps: int = 20) -> float:
    """Share of the time of some steps in which kernels run on the GPU: by torch's profiler, which slows the host and so
    shows less than there is."""
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
    marks = []

    def pulse(_: int, step: int) -> None:
        if step in (WARM_UP, WARM_UP + steps):
            torch.cuda.synchronize()
            marks.append(time.perf_counter())
            if step == WARM_UP:
                profiler.start()
            else:
                profiler.stop()

    data = random_data((WARM_UP + steps + 1) * batch_size)
    next(train.train(network, data, Recipe(epochs=1, batch_size=batch_size), seed=0, pulse=pulse))
    on_gpu = sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6
    share: float = round(on_gpu / (marks[1] - marks[0]), 3)
    return share


def launched_one_by_one(compute: Gradients, *_: object) -> Gradients:
    """In the place of `RecordedGradients`: nothing is recorded."""
    return compute


def compare(network: Layer, batch_size: int, steps: int, rounds: int) -> Figures:
    """Milliseconds a step of each round, the two ways in turn, the ratio of the medians, images a second, and the
    training losses that each way came to."""
    milliseconds: dict[str, list[float]] = {"one by one": [], "recorded": []}
    losses: dict[str, set[float]] = {way: set() for way in milliseconds}
    for _ in range(rounds):
        for way, gradients in (("one by one", launched_one_by_one), ("recorded", RecordedGradients)):
            with mock.patch.object(train, "RecordedGradients", gradients):
                seconds, loss = time_steps(network, batch_size, steps)
            milliseconds[way].append(1000 * seconds)
            losses[way].add(loss)
    one_by_one, together = (statistics.median(values) for values in milliseconds.values())
    return {
        "milliseconds": {way: [round(value, 3) for value in values] for way, values in milliseconds.items()},
        "losses": {way: sorted(values) for way, values in losses.items()},
        "ratio": round(one_by_one / together, 2),
        "images_per_second": round(1000 * batch_size / together),
    }


def share(name: str, asked: list[str], processes: int, batch_size: int) -> int:
    """Images a second of several processes that train the same network on one GPU at a time."""
    command = [sys.executable, str(Path(__file__)), *asked, "--worker", name]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    for process in running:
        if not process.stdout.readline():  # type: ignore[union-attr]
            raise RuntimeError(f"a process ended early with exit code {process.wait()}; its error stands above")
    for process in running:
        process.stdin.write("go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    seconds = [float(process.communicate()[0]) for process in running]
    return round(sum(batch_size / one for one in seconds))


def wait_for_start() -> None:
    """Says that we are warm and waits for the word."""
    print("ready", flush=True)
    sys.stdin.readline()


def main() -> int:
    """Prints the figures as JSON."""
    arguments = parser(__doc__, "python benchmarks/recording.py --budgets 10K,100K --processes 1,4")
    arguments.add_argument("--budgets", default="10K,100K", help="of the networks (default: %(default)s)")
    arguments.add_argument("--batch", type=int, default=128, help="images a step (default: %(default)s)")
    arguments.add_argument("--steps", type=int, default=150, help="steps timed (default: %(default)s)")
    arguments.add_argument("--rounds", type=int, default=3, help="comparisons (default: %(default)s)")
    arguments.add_argument("--processes", default="1,4", help="that share the GPU (default: %(default)s)")
    arguments.add_argument("--worker", help="(one of those processes: time this network)")
    asked = arguments.parse_args()
    if not torch.cuda.is_available():
        say("this benchmark needs a GPU, and torch finds none here")
        return 2
    every = networks([parse_count(budget) for budget in asked.budgets.split(",")])
    if asked.worker:
        print(time_steps(every[asked.worker], asked.batch, asked.steps, wait_for_start)[0])
        return 0
    steps: Figures = {}
    for name, network in every.items():
        steps[name] = compare(network, asked.batch, asked.steps, asked.rounds)
        steps[name]["busy"] = busy_share(network, asked.batch)
        say(f"{name}: {steps[name]}")
    shared = list(every)[-2]
    rates = {n: share(shared, sys.argv[1:], int(n), asked.batch) for n in asked.processes.split(",")}
    show({"gpu": torch.cuda.get_device_name(), "steps": steps, "processes": {shared: rates}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
