"""Data sets known by name: the embedded digits, and those that torchvision downloads on first use."""

import contextlib
import http.client
import io
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from nas.data.arrays import LabelledImages, divide, labelled_images
from nas.data.files import TEST_SEED, TEST_SHARE, Part
from nas.errors import DataError

Named = Literal["cifar100", "cifar10", "fashion-mnist", "digits"]
NAMED: tuple[Named, ...] = get_args(Named)

TORCHVISION_CLASSES = {"cifar100": "CIFAR100", "cifar10": "CIFAR10", "fashion-mnist": "FashionMNIST"}
CIFAR100_URL = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"  # torchvision's; told here without torch
CIFAR100_ARCHIVE_BYTES = 169_001_437
PROBE_SECONDS = 3
SILENCE_SECONDS = 60  # a download that sends nothing for so long has failed


def read_named(dataset: str, part: Part, directory: Path, *, progress: bool) -> LabelledImages:
    """The training or the test part of a data set in NAMED.

    Except for the digits it is read from `directory`, where torchvision downloads it first if it is not there
    intact; one process downloads at a time and the others wait for it. `progress` shows a bar on stderr.
    DataError: it is not there and cannot be downloaded.
    """
    if dataset == "digits":
        return _digits(part)
    found = _on_disk(dataset, part, directory)
    if found is None:
        with _download_errors_told(dataset, directory), _one_process_at_a_time(directory):
            found = _on_disk(dataset, part, directory) or _downloaded(dataset, part, directory, progress=progress)
    return labelled_images(
        np.asarray(found.data),
        np.asarray(found.targets),
        tuple(found.classes),
        x_name=f"the {part} part of {dataset}",
        y_name=f"the labels of {dataset}",
    )


def cifar100_on_disk(directory: Path) -> bool:
    """Whether `directory` holds CIFAR-100 unpacked or as its whole archive, judged by names and size only."""
    unpacked = all((directory / "cifar-100-python" / name).is_file() for name in ("train", "test", "meta"))
    archive = directory / "cifar-100-python.tar.gz"
    return unpacked or (archive.is_file() and archive.stat().st_size == CIFAR100_ARCHIVE_BYTES)


def cifar100_reachable() -> bool:
    """Whether the host that serves CIFAR-100 answers one short request."""
    request = urllib.request.Request(CIFAR100_URL, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            return True
    except (OSError, http.client.HTTPException):
        return False


def _digits(part: Part) -> LabelledImages:
    from sklearn.datasets import load_digits

    digits = load_digits()
    training, test = divide(digits.target, TEST_SHARE, TEST_SEED)
    chosen = training if part == "train" else test
    images = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    names = tuple(str(digit) for digit in range(10))
    return labelled_images(images, digits.target[chosen], names, x_name="the digits", y_name="their labels")


def _torchvision_class(dataset: str) -> Any:
    import torchvision.datasets

    return getattr(torchvision.datasets, TORCHVISION_CLASSES[dataset])


def _on_disk(dataset: str, part: Part, directory: Path) -> Any:
    """The data set as torchvision loads it, or None where it is missing or damaged."""
    if _damaged_files(dataset, directory):
        return None
    try:
        return _torchvision_class(dataset)(directory, train=part == "train", download=False)
    except (RuntimeError, OSError):
        return None


def _downloaded(dataset: str, part: Part, directory: Path, *, progress: bool) -> Any:
    for file in _damaged_files(dataset, directory):
        file.unlink()
    with _quiet(progress), _stalled_downloads_fail():
        return _torchvision_class(dataset)(directory, train=part == "train", download=True)


def _damaged_files(dataset: str, directory: Path) -> list[Path]:
    """Unpacked Fashion-MNIST files that are cut short: torchvision would take them for whole and never repair them.

    Of CIFAR there are none, since torchvision compares the checksums of its unpacked files itself.
    """
    if dataset != "fashion-mnist":
        return []
    return [file for file in sorted(directory.glob("FashionMNIST/raw/*-ubyte")) if not _is_whole(file)]


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


@contextlib.contextmanager
def _download_errors_told(dataset: str, directory: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
        kind = _torchvision_class(dataset)
        place = directory / getattr(kind, "filename", "FashionMNIST/raw")
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"{dataset} is not in {directory} and cannot be downloaded: {reason}. Put its files there "
            f"by hand ({place}), or give --dataset a .npz file or an image folder, or --dataset digits."
        ) from error


@contextlib.contextmanager
def _one_process_at_a_time(directory: Path) -> Iterator[None]:
    """Holds a lock in `directory` that ends with the process, so that none reads what another is unpacking."""
    import fcntl

    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".download.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _quiet(progress: bool) -> Iterator[None]:
    """Keeps torchvision off stdout, and off stderr too where no progress is wanted."""
    people = sys.stderr if progress else io.StringIO()
    with contextlib.redirect_stdout(people), contextlib.redirect_stderr(people):
        yield


@contextlib.contextmanager
def _stalled_downloads_fail() -> Iterator[None]:
    """Gives torchvision's requests, which have no time limit, one: a silent host fails instead of hanging."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
