"""One process of benchmarks/throughput.py: our trainer, the usual script or a matrix product, timed from a start line.

    python benchmarks/throughput_process.py JOB

JOB is a JSON object: the fields of `Job`. The process warms up, writes "ready", waits for a line, works, and writes
the seconds it took (or, for a matrix product, the FLOP/s it reached).
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from machine import space_named
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from nas.data.augment import DeviceData, DeviceSplit
from nas.network import layers
from nas.network.blocks import stage, stem
from nas.network.heads import classifier
from nas.network.layers import Layer
from nas.network.modules.module import LeanBatchNorm2d, LeanConv2d, LeanLinear, to_module
from nas.space.budget import Budget, parse_count
from nas.space.designs import default_within
from nas.training.recipe import Recipe
from nas.training.train import train

SIDE, CLASSES = 32, 100
DISTINCT_IMAGES = 10_000
MEAN, DEVIATION = (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)
NETWORKS = ("basic", "mixed", "default@10K", "default@100K")


@dataclass(frozen=True)
class Job:
    """What one process does. `loaders` counts only for the usual script, `threads` only for ours, `size` only for a
    matrix product."""

    role: Literal["ours", "usual", "fp32", "bf16"]
    network: str = "basic"
    batch_size: int = 128
    steps: int = 50
    warmup: int = 10
    loaders: int = 0
    threads: int = 1
    size: int = 1024


def network(name: str) -> Layer:
    """One of `NETWORKS`: dense residual blocks (96,180 parameters), mostly depthwise ones (72,876), or the default of
    space `mixed` fitted to a budget."""
    if name.startswith("default@"):
        space = space_named("mixed", (3, SIDE, SIDE), CLASSES)
        return space.network(default_within(space, Budget(parse_count(name.removeprefix("default@")))))
    first = stage("basic", 1, 16, 16, kernel=3, stride=1, name="stage 1")
    if name == "basic":
        second = stage("basic", 1, 16, 36, kernel=3, stride=2, name="stage 2")
        third, width = stage("basic", 1, 36, 68, kernel=3, stride=2, name="stage 3"), 68
    else:
        second = stage("depthwise", 3, 16, 32, kernel=5, stride=2, expansion=2, name="stage 2")
        third, width = stage("depthwise", 3, 32, 60, kernel=5, stride=2, expansion=2, name="stage 3"), 60
    return layers.Sequence((stem(3, 16), first, second, third, classifier(width, CLASSES)))


def random_images(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """uint8 [count, side, side, 3] and labels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    return images, rng.integers(0, CLASSES, count)


def wait_for_start() -> float:
    """Says that we are warm, waits for the word, and returns the time."""
    print("ready", flush=True)
    sys.stdin.readline()
    return time.perf_counter()


def time_ours(job: Job) -> float:
    """Seconds of the steps after the warm-up in the first epoch of our trainer, its end of an epoch included."""
    torch.set_num_threads(job.threads)
    images, labels = random_images((job.warmup + job.steps) * job.batch_size)
    split = DeviceSplit(torch.from_numpy(images), torch.from_numpy(labels))
    few = DeviceSplit(split.images[:16], split.labels[:16])
    mean, deviation = 255 * torch.tensor(MEAN), 255 * torch.tensor(DEVIATION)
    data = DeviceData(split, few, mean, deviation, 100, ("crop", "flip"))
    started = 0.0

    def pulse(_: int, step: int) -> None:
        nonlocal started
        if step == job.warmup:
            started = wait_for_start()

    next(train(network(job.network), data, Recipe(epochs=1, batch_size=job.batch_size), seed=0, pulse=pulse))
    return time.perf_counter() - started


class PillowImages(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's CIFAR classes give them: PIL, transformed one at a time. There are `count` of them, by
    default each of the array once; those `augmented` are cropped and mirrored."""

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        mean: Sequence[float],
        deviation: Sequence[float],
        *,
        augmented: bool,
        count: int | None = None,
    ) -> None:
        self.images, self.labels = images, labels
        self.count = len(images) if count is None else count
        random = [transforms.RandomCrop(images.shape[1], padding=4), transforms.RandomHorizontalFlip()]
        fixed = [transforms.ToTensor(), transforms.Normalize(mean, deviation)]
        self.transform = transforms.Compose([*(random if augmented else ()), *fixed])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index % len(self.images)]
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        return self.transform(picture), int(self.labels[index % len(self.images)])


TORCHS_OWN: dict[type[nn.Module], type[nn.Module]] = {
    LeanConv2d: nn.Conv2d,
    LeanBatchNorm2d: nn.BatchNorm2d,
    LeanLinear: nn.Linear,
}
"""What the usual script has in the place of the layers that nas computes in forms of its own."""


def with_torchs_own_layers(module: nn.Module) -> nn.Module:
    """The module, its layers those of torch."""
    for inner in module.modules():
        inner.__class__ = TORCHS_OWN.get(type(inner), type(inner))
    return module


def time_usual(job: Job) -> float:
    """Seconds of the steps after the warm-up of the script that everyone writes."""
    count = (job.warmup + job.steps) * job.batch_size
    pictures = PillowImages(*random_images(min(count, DISTINCT_IMAGES)), MEAN, DEVIATION, augmented=True, count=count)
    loader = DataLoader(pictures, job.batch_size, shuffle=True, num_workers=job.loaders)
    module = with_torchs_own_layers(to_module(network(job.network)))
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    batches = iter(loader)
    _usual_steps(module, optimiser, batches, job.warmup)
    started = wait_for_start()
    _usual_steps(module, optimiser, batches, job.steps)
    return time.perf_counter() - started


def _usual_steps(
    module: nn.Module, optimiser: torch.optim.Optimizer, batches: Iterator[tuple[Tensor, Tensor]], steps: int
) -> None:
    module.train()
    for _ in range(steps):
        images, labels = next(batches)
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(module(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def measure_peak(job: Job, seconds: float = 1.5) -> float:
    """FLOP/s of a square matrix product on one thread."""
    torch.set_num_threads(1)
    dtype = torch.float32 if job.role == "fp32" else torch.bfloat16
    left, right = torch.rand(job.size, job.size).to(dtype), torch.rand(job.size, job.size).to(dtype)
    torch.mm(left[:64, :64], right[:64, :64])
    out = torch.empty_like(left)
    started = wait_for_start()
    products = 0
    while time.perf_counter() - started < seconds:
        torch.mm(left, right, out=out)
        products += 1
    return 2 * job.size**3 * products / (time.perf_counter() - started)


def main() -> int:
    """Does the job and writes its figure."""
    job = Job(**json.loads(sys.argv[1]))
    work = {"ours": time_ours, "usual": time_usual, "fp32": measure_peak, "bf16": measure_peak}[job.role]
    print(work(job), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
