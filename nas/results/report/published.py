"""Test accuracies that others have published for networks of a known size, to be laid beside a search."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nas.network.folds import parameters
from nas.search.search import Search
from nas.space.models import MODELS, Model, model_network


@dataclass(frozen=True)
class Published:
    """A network and its test accuracy (0–1) on a data set, from a source in words."""

    dataset: str
    label: str
    parameters: int
    accuracy: float
    source: str


HE = "He et al. 2015"
RESNET = "ResNet of He et al. 2015, trained by others"
DENSENET = "DenseNet of Huang et al. 2017, trained by others"
NARROW = "ResNet-10 made narrow, 200 epochs"
SMALL = "a network made for few parameters"

NETWORKS = (
    Published("cifar100", "narrow ResNet-10", 8_000, 0.282, NARROW),
    Published("cifar100", "narrow ResNet-10", 13_000, 0.321, NARROW),
    Published("cifar100", "narrow ResNet-10", 27_900, 0.430, NARROW),
    Published("cifar100", "narrow ResNet-10", 83_900, 0.522, NARROW),
    Published("cifar100", "DenseNet-BC-40-12", 188_000, 0.716, DENSENET),
    Published("cifar100", "ResNet-20", 278_000, 0.688, RESNET),
    Published("cifar100", "ResNet-20, a later recipe", 278_000, 0.704, RESNET),
    Published("cifar100", "ResNet-32", 470_000, 0.702, RESNET),
    Published("cifar100", "ResNet-32, a later recipe", 470_000, 0.711, RESNET),
    Published("cifar100", "CondenseNet-86", 520_000, 0.764, "Huang et al. 2018"),
    Published("cifar100", "DenseNet-BC-100-12", 800_000, 0.777, "Huang et al. 2017"),
    Published("cifar100", "DenseNet-BC-100-12, a later recipe", 800_000, 0.788, DENSENET),
    Published("cifar100", "ResNet-56", 860_000, 0.726, RESNET),
    Published("cifar100", "ResNet-56, a later recipe", 860_000, 0.751, RESNET),
    Published("cifar10", "one convolution reused (fewer than 40,000, more than 91 %)", 40_000, 0.91, SMALL),
    Published("cifar10", "partial depthwise and gated 1×1, 200 epochs", 97_500, 0.944, SMALL),
    Published("cifar10", "ResNet-20", 272_000, 0.913, HE),
    Published("cifar10", "ResNet-20, a later recipe", 272_000, 0.940, RESNET),
)
"""In the order of their sizes. Where a range was published, its ends."""


def known_dataset(search: Search, classes: int | None) -> str | None:
    """The data set that figures were published for, by its name; None for any other."""
    name = "".join(letter for letter in Path(search.dataset).stem.lower() if letter.isalnum())
    for known, count in (("cifar100", 100), ("cifar10", 10)):
        if name == known and classes in (None, count):
            return known
    return None


@lru_cache
def of_reports(dataset: str) -> tuple[Published, ...]:
    """The models of earlier reports (`nas models`) that were made for the data set; fine-tuned ones are left out."""
    return tuple(
        Published(dataset, model.name, parameters(model_network(model)), model.published_accuracy, "an earlier report")
        for model in MODELS.values()
        if isinstance(model, Model) and model.dataset == dataset
    )


def of_others(dataset: str) -> tuple[Published, ...]:
    """Published networks for the data set."""
    return tuple(network for network in NETWORKS if network.dataset == dataset)
