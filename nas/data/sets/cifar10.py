"""CIFAR-10 (Krizhevsky 2009)."""

from nas.data.downloads import Download
from nas.data.sets import NamedData

DATA = NamedData(
    meaning="60,000 colour photographs, 32 x 32, of 10 kinds of things",
    augmentation=("crop", "flip"),
    read=Download("cifar10", "CIFAR10", "cifar-10-python.tar.gz").read,
)
