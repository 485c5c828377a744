"""Which data a search or a training is asked to use."""

from dataclasses import dataclass

from nas.data.sets import DATA_SETS
from nas.machine.options import option


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which data set, and what is made of its training images."""

    dataset: str | None = option(
        f"{', '.join(DATA_SETS)}, a .npz file, or a folder of images a class",
        default=None,
        unset="on the command line cifar100 if it is on disk or can be downloaded, else digits",
        metavar="NAME|PATH",
    )
    image_size: int | None = option("scale images to this many pixels a side", default=None, metavar="PIXELS")
    validation_share: float | None = option(
        "share of the training images that is set aside",
        default=None,
        unset="0.1, or 0.2 below 10,000 images",
        metavar="SHARE",
    )
