"""CIFAR-100 (Krizhevsky 2009), and whether it can be had: it is what is searched on where nothing else is asked for."""

import http.client
import urllib.request
from pathlib import Path

from nas.data.downloads import Download
from nas.data.sets import NamedData

ARCHIVE = "cifar-100-python.tar.gz"
ARCHIVE_BYTES = 169_001_437
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"  # torchvision's; told here without torch
PROBE_SECONDS = 3

DATA = NamedData(
    meaning="60,000 colour photographs, 32 x 32, of 100 kinds of things",
    augmentation=("crop", "flip"),
    read=Download("cifar100", "CIFAR100", ARCHIVE).read,
)


def is_on_disk(directory: Path) -> bool:
    """Whether `directory` holds CIFAR-100 unpacked or as its whole archive, judged by names and size only."""
    unpacked = all((directory / "cifar-100-python" / name).is_file() for name in ("train", "test", "meta"))
    archive = directory / ARCHIVE
    return unpacked or (archive.is_file() and archive.stat().st_size == ARCHIVE_BYTES)


def is_reachable() -> bool:
    """Whether the host that serves CIFAR-100 answers one short request."""
    request = urllib.request.Request(URL, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return True
    except (OSError, http.client.HTTPException):
        return False
