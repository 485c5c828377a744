"""Fashion-MNIST (Xiao et al. 2017)."""

from pathlib import Path

import numpy as np

from nas.data.downloads import Download
from nas.data.sets import NamedData

FOLDER = "FashionMNIST/raw"


def _damaged(directory: Path) -> list[Path]:
    """Unpacked files that are cut short: unlike CIFAR's, torchvision does not compare their checksums."""
    return [file for file in sorted(directory.glob(f"{FOLDER}/*-ubyte")) if not _is_whole(file)]


def _is_whole(file: Path) -> bool:
    """Whether an IDX file of bytes is as long as its header says (http://yann.lecun.com/exdb/mnist/)."""
    with file.open("rb") as stream:
        magic = stream.read(4)
        if len(magic) < 4 or magic[:3] != b"\x00\x00\x08":
            return False
        sides = stream.read(4 * magic[3])
    if len(sides) < 4 * magic[3]:
        return False
    values = int(np.prod(np.frombuffer(sides, ">u4"), dtype=np.int64))
    return file.stat().st_size == 4 + len(sides) + values


DATA = NamedData(
    meaning="70,000 grey pictures, 28 x 28, of 10 kinds of clothes",
    augmentation=("crop", "flip"),
    read=Download("fashion-mnist", "FashionMNIST", FOLDER, _damaged).read,
)
