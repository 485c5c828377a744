"""Small trainings on the digits: a process for each, or processes that take one after another, as `nas table` has them.

Both ways train the same networks with the same seeds, so many at a time, a thread each; they take turns. What they come
to is compared, byte for byte.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from machine import Figures, mean_and_deviation, parser, say, show

from nas.data.load import load_search_data
from nas.machine.folders import WorkFolder
from nas.results.networks import find_network
from nas.space.named import to_stored
from nas.training.recipe import Recipe
from nas.training.several import train_all
from nas.training.training import Training, training_folder, weights_file

Folders = list[WorkFolder[Training]]


def begin(place: Path, widths: Sequence[int], seeds: int, epochs: int) -> Folders:
    """Folders of trainings that have not begun."""
    folders = []
    for width in widths:
        for seed in range(seeds):
            data = load_search_data("digits", seed=seed)
            found = find_network("plain", [f"width1={width}"], shape=data.shape, classes=data.classes)
            folder = training_folder(place / f"{width}-{seed}")
            folder.enter(
                Training(
                    model=found.label,
                    network=to_stored(found.network),
                    dataset="digits",
                    data_checksum=data.checksum,
                    image_size=None,
                    validation_share=None,
                    images=None,
                    recipe=Recipe(epochs=epochs),
                    seed=seed,
                )
            )
            folders.append(folder)
    return folders


def a_process_each(folders: Folders, workers: int) -> None:
    """Trains with a new process for every folder."""
    torch.set_num_threads(1)
    with ThreadPoolExecutor(workers) as pool:
        failed = list(pool.map(lambda folder: train_all([folder], workers=1, device="cpu"), folders))
    assert not any(failed), failed


def kept_processes(folders: Folders, workers: int) -> None:
    """Trains with as many processes as work at a time."""
    torch.set_num_threads(workers)
    failed = train_all(folders, workers=workers, device="cpu")
    assert not failed, failed


def seconds_of(train: Callable[[Folders, int], None], folders: Folders, workers: int) -> tuple[float, float]:
    """By the clock, and of the processors' time that the processes took."""
    before, started = os.times(), time.perf_counter()
    train(folders, workers)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, used


def _summary(seconds: dict[str, list[tuple[float, float]]], which: int) -> Figures:
    return {name: mean_and_deviation([times[which] for times in each], 2) for name, each in seconds.items()}


def main() -> int:
    """Prints the seconds of both ways as JSON."""
    arguments = parser(__doc__, "python benchmarks/kept_processes.py --rounds 5")
    arguments.add_argument("--rounds", type=int, default=5, help="comparisons (default: %(default)s)")
    arguments.add_argument("--widths", default="8,12", help="of the networks (default: %(default)s)")
    arguments.add_argument("--seeds", type=int, default=3, help="trainings a network (default: %(default)s)")
    arguments.add_argument("--epochs", type=int, default=2, help="of a training (default: %(default)s)")
    arguments.add_argument("--workers", type=int, default=2, help="trainings at a time (default: %(default)s)")
    asked = arguments.parse_args()
    widths = [int(width) for width in asked.widths.split(",")]
    ways = {"a process each": a_process_each, "kept": kept_processes}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(asked.rounds):
        weights: dict[str, list[bytes]] = {}
        for name, train in ways.items():
            with tempfile.TemporaryDirectory() as place:
                folders = begin(Path(place), widths, asked.seeds, asked.epochs)
                seconds[name].append(seconds_of(train, folders, asked.workers))
                weights[name] = [weights_file(folder).read_bytes() for folder in folders]
        assert weights["kept"] == weights["a process each"], "the weights differ"
        say(f"round {number + 1}: " + ", ".join(f"{name} {times[-1][0]:.1f} s" for name, times in seconds.items()))
    ratios = [each[0] / kept[0] for each, kept in zip(*seconds.values(), strict=True)]
    figures: Figures = {
        "trainings": len(widths) * asked.seeds,
        "epochs": asked.epochs,
        "workers": asked.workers,
        "seconds": _summary(seconds, 0),
        "processor_seconds": _summary(seconds, 1),
        "ratio": mean_and_deviation(ratios, 2),
    }
    show(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
