"""Test accuracies that others have published for networks of a known size, to be laid beside a search."""

from dataclasses import dataclass
from functools import lru_cache

from nas.network.folds import parameters
from nas.search.search import Search
from nas.space.models import MODELS, Model, model_network


@dataclass(frozen=True)
class Published:
    """A network and its test accuracy (0–1), from a source in words."""

    label: str
    parameters: int
    accuracy: float
    source: str


REPORT = "an earlier report"
HE = "He et al. 2015"
RESNET = "ResNet of He et al. 2015, trained by others"
DENSENET = "DenseNet of Huang et al. 2017, trained by others"
NARROW = "ResNet-10 made narrow, 200 epochs"
SMALL = "a network made for few parameters"

NETWORKS = {
    "cifar100": (
        Published("narrow ResNet-10", 8_000, 0.282, NARROW),
        Published("narrow ResNet-10", 13_000, 0.321, NARROW),
        Published("narrow ResNet-10", 27_900, 0.430, NARROW),
        Published("narrow ResNet-10", 83_900, 0.522, NARROW),
        Published("DenseNet-BC-40-12", 188_000, 0.716, DENSENET),
        Published("ResNet-20", 278_000, 0.688, RESNET),
        Published("ResNet-20, a later recipe", 278_000, 0.704, RESNET),
        Published("ResNet-32", 470_000, 0.702, RESNET),
        Published("ResNet-32, a later recipe", 470_000, 0.711, RESNET),
        Published("CondenseNet-86", 520_000, 0.764, "Huang et al. 2018"),
        Published("DenseNet-BC-100-12", 800_000, 0.777, "Huang et al. 2017"),
        Published("DenseNet-BC-100-12, a later recipe", 800_000, 0.788, DENSENET),
        Published("ResNet-56", 860_000, 0.726, RESNET),
        Published("ResNet-56, a later recipe", 860_000, 0.751, RESNET),
    ),
    "cifar10": (
        Published("one convolution reused (fewer than 40,000, more than 91 %)", 40_000, 0.91, SMALL),
        Published("partial depthwise and gated 1×1, 200 epochs", 97_500, 0.944, SMALL),
        Published("ResNet-20", 272_000, 0.913, HE),
        Published("ResNet-20, a later recipe", 272_000, 0.940, RESNET),
    ),
}
"""What was published for each data set, in the order of the sizes. Where a range was published, its ends."""

CLASSES = {"cifar100": 100, "cifar10": 10}


def published(search: Search, classes: int | None) -> list[Published]:
    """Networks published for the data set of a search, which is known by its name, after the models of earlier reports
    (`nas models`) that were made for it; fine-tuned ones are left out."""
    name = "".join(letter for letter in search.data_name.lower() if letter.isalnum())
    if name not in NETWORKS or classes not in (None, CLASSES[name]):
        return []
    return [*_of_reports(name), *NETWORKS[name]]


@lru_cache
def _of_reports(dataset: str) -> tuple[Published, ...]:
    return tuple(
        Published(model.name, parameters(model_network(model)), model.published_accuracy, REPORT)
        for model in MODELS.values()
        if isinstance(model, Model) and model.dataset == dataset
    )
