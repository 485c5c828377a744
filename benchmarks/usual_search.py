"""One process of the other way in benchmarks/time_to_quality.py: the search that a user would write without nas.

    python benchmarks/usual_search.py JOB

JOB is a JSON object: the fields of `Job`. Processes share an Optuna study in a journal file: TPE with its own
constraint (a network over budget is told without training), MedianPruner, images transformed one at a time by
torchvision in a DataLoader, fp32, torch's own layers, nesterov SGD with one cycle. It searches until it is killed, or
its standard input closes.
"""

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import optuna
import torch
from machine import space_named
from numpy.typing import NDArray
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState
from throughput_process import PillowImages, with_torchs_own_layers
from torch import Tensor, nn
from torch.utils.data import DataLoader

from nas.data import MANY_IMAGES
from nas.data.load import SearchData, Split, load_search_data
from nas.machine.process import listen, pick_device
from nas.network.layers import Layer
from nas.network.modules.module import to_module
from nas.search.sampling.proposals import suggest
from nas.space.space import Space

RATE, MOMENTUM, DECAY = 0.1, 0.9, 5e-4


@dataclass(frozen=True)
class Job:
    """What one process does; `slot` tells it from the others, `loaders` are the processes of its DataLoader."""

    journal: str
    dataset: str
    space: str
    budget: int
    max_macs: int | None
    epochs: int
    seed: int
    device: str
    loaders: int
    slot: int = 0

    def text(self) -> str:
        """The job as the command line takes it."""
        return json.dumps(asdict(self))


def open_study(job: Job) -> optuna.Study:
    """The study that the processes share."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        study_name="usual",
        storage=JournalStorage(JournalFileBackend(job.journal)),
        direction="maximize",
        sampler=TPESampler(seed=1_000 * job.seed + job.slot),
        pruner=MedianPruner(),
        load_if_exists=True,
    )


def search(job: Job, data: SearchData) -> None:
    """Asks, trains and tells without end."""
    study, device = open_study(job), pick_device(job.device, job.slot)
    space = space_named(job.space, data.shape, data.classes)
    while True:
        trial = study.ask()
        network = proposed(job, trial, space)
        if network is None:
            study.tell(trial, 0.0)
            continue
        try:
            study.tell(trial, trained(job, trial, network, data, device))
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)


def proposed(job: Job, trial: Trial, space: Space) -> Layer | None:
    """The network that the trial proposes; None if it is over budget, by how much the trial is told."""
    knobs = {knob.name: suggest(trial, knob) for knob in space.knobs}
    cost = space.cost(knobs)
    excess = {"parameters": cost.parameters - job.budget if cost else math.inf}
    if job.max_macs is not None:
        excess["macs"] = cost.macs - job.max_macs if cost else math.inf
    for name, value in excess.items():
        trial.set_constraint(name, value)
    return None if max(excess.values()) > 0 else space.network(knobs)


def trained(job: Job, trial: Trial, network: Layer, data: SearchData, device: torch.device) -> float:
    """Validation accuracy after the last epoch. Raises TrialPruned."""
    torch.manual_seed(1_000_000 * job.seed + trial.number)
    batch_size = 128 if len(data.train.labels) >= MANY_IMAGES else 64
    mean, deviation = _levels(data.train.images)
    batches = DataLoader(
        PillowImages(data.train.images, data.train.labels, mean, deviation, augmented=bool(data.augmentation)),
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=job.loaders,
    )
    module = with_torchs_own_layers(to_module(network)).to(device)
    optimiser = torch.optim.SGD(module.parameters(), RATE, MOMENTUM, weight_decay=DECAY, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, job.epochs * len(batches))
    accuracy = 0.0
    for epoch in range(1, job.epochs + 1):
        module.train()
        for images, labels in batches:
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(module(images.to(device)), labels.to(device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        accuracy = _accuracy(module, data.validation, mean, deviation, device, job.loaders)
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


def _levels(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each colour, 0–1."""
    thousand = images[:: max(1, len(images) // 1_000)] / 255
    return tuple(map(float, thousand.mean((0, 1, 2)))), tuple(map(float, thousand.std((0, 1, 2))))


@torch.no_grad()
def _accuracy(
    module: nn.Module,
    split: Split,
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
    device: torch.device,
    loaders: int,
) -> float:
    module.eval()
    images = PillowImages(split.images, split.labels, mean, deviation, augmented=False)
    batches: Iterable[tuple[Tensor, Tensor]] = DataLoader(images, 256, num_workers=loaders)
    right = sum(int((module(x.to(device)).argmax(1).cpu() == y).sum()) for x, y in batches)
    return right / len(split.labels)


def main() -> int:
    """Searches until it is ended."""
    job = Job(**json.loads(sys.argv[1]))
    listen()
    torch.set_num_threads(1)
    search(job, load_search_data(job.dataset, seed=job.seed, progress=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
