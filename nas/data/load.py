"""Data sets: what a search may see, and the test split that only the final commands read.

A data set is a name in DATA_SETS, a .npz file, or a folder of images a class. A name wins over a file of the same name
in the current folder; write ./digits for the folder.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data import MANY_IMAGES, Part
from nas.data.arrays import (
    LabelledImages,
    check_image_size,
    check_trainable,
    checked_names,
    divide,
    labelled_images,
    resized,
)
from nas.data.own.folder import read_folder
from nas.data.own.npz import read_npz
from nas.data.own.parts import FOLDER_LAYOUTS, parts_of
from nas.data.sets import DATA_SETS, cifar100
from nas.errors import DataError, UserError
from nas.machine.folders import cache_folder, readable

LARGEST_VALIDATION_SHARE = 0.5
SMALLEST_AUGMENTED_SIDE = 20

ARRAYS = "arrays"
"""What images are called that were given from Python, without a name."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images [N, height, width, channels] and their labels [N] in 0..classes-1."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SearchData:
    """What a search may see; the test split is not in it and was not read.

    `checksum` is the sha256 of the whole training array (shape, images, labels, class names) before the validation
    split, so it does not depend on the seed. `augmentation` is the subset of ("crop", "flip") that suits the
    data: small networks underfit, and cutout costs them accuracy (studies/final-recipe).
    """

    name: str
    train: Split
    validation: Split
    class_names: tuple[str, ...]
    checksum: str
    augmentation: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, height, width, channels = self.train.images.shape
        return channels, height, width

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def load_search_data(
    dataset: str,
    *,
    seed: int,
    validation_share: float | None = None,
    image_size: int | None = None,
    images: int | None = None,
    all_images: bool = False,
    directory: Path | None = None,
    progress: bool = True,
) -> SearchData:
    """The training images of `dataset`, divided into train and validation by class and `seed`.

    `validation_share`, in (0, 0.5], is 0.1 by default from 10,000 images on and 0.2 below. `image_size` scales the
    shorter side of every image and keeps the centre. `images` is the number of training images to use, drawn by class
    and `seed` (None: all; the validation split stays whole). With `all_images` nothing is set aside: the validation
    split is empty, for a training after everything is chosen. `directory`, by default $NAS_DATA or ~/.cache/nas, holds
    the downloads, which `progress` shows on stderr.
    DataError: no such data set, data that is not accepted, or a download that fails.
    """
    _check_division(seed, validation_share)
    data = _read(dataset, "train", image_size=image_size, directory=directory, progress=progress)
    check_trainable(data, dataset)
    augmentation = DATA_SETS[dataset].augmentation if dataset in DATA_SETS else _augmentation(data.images)
    share = 0.0 if all_images else validation_share
    divided = _divided(data, data_name(dataset), augmentation, seed=seed, validation_share=share)
    return divided if images is None else replace(divided, train=_subset(divided.train, images, seed))


def data_name(dataset: str) -> str:
    """What a data set is called in short: its name, that of the folder, or of the file without its ending."""
    if dataset in DATA_SETS:
        return dataset
    path = Path(dataset).resolve()
    return readable(path.name if os.path.isdir(path) else path.stem)  # which may be another's, and never raises


def placed(dataset: str) -> str:
    """A file or folder by its whole path, which holds from every folder; a name as it is. Raises DataError for a path
    that cannot be noted."""
    if dataset in DATA_SETS or not os.path.exists(dataset):
        return dataset
    path = os.path.realpath(dataset)
    if path != readable(path):
        raise DataError(f"data set {readable(path)} has a path that is no UTF-8; rename it")
    return path


def check_apart(work: Path, dataset: str, flag: str) -> None:
    """Raises UserError where a folder of work would lie among the images of a data set, as a class of its own."""
    if dataset in (*DATA_SETS, ARRAYS) or not os.path.isdir(dataset):
        return
    images = Path(dataset).resolve()
    try:
        read = parts_of(images) or (images,)
    except DataError:  # it can no longer be read as a data set
        read = (images,)
    if any(work.resolve().is_relative_to(part) for part in read):
        raise UserError(f"{work} lies in the data set {images}, as a class of its own; give {flag} another folder")


def check_still_there(dataset: str) -> None:
    """Raises DataError where a file or folder that something was made of is gone."""
    if Path(dataset).is_absolute() and not os.path.exists(dataset):
        raise DataError(f"data set {readable(dataset)} is gone; give --dataset where it lies now")


def load_test(
    dataset: str, *, image_size: int | None = None, directory: Path | None = None
) -> tuple[Split, tuple[str, ...]]:
    """The test split of `dataset` and the class names. A search never calls this. DataError as `load_search_data`."""
    data = _read(dataset, "test", image_size=image_size, directory=directory, progress=True)
    return Split(data.images, data.labels), data.class_names


def array_search_data(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    *,
    seed: int,
    validation_share: float | None = None,
    class_names: Sequence[str] | None = None,
    name: str = ARRAYS,
) -> SearchData:
    """`load_search_data` for arrays at hand: images x and labels y, accepted as x_train and y_train of a .npz are."""
    _check_division(seed, validation_share)
    names = None if class_names is None else checked_names(class_names, "class_names")
    data = labelled_images(np.asarray(x), np.asarray(y), names, x_name="x", y_name="y")
    check_trainable(data, name)
    return _divided(data, name, _augmentation(data.images), seed=seed, validation_share=validation_share)


def choose_default(
    directory: Path | None = None, *, reachable: Callable[[], bool] = cifar100.is_reachable
) -> tuple[str, str | None]:
    """The data set to use where none is asked for, and what to tell the user about it.

    ("cifar100", None) if it is on disk or `reachable()` says that it can be downloaded, else ("digits", notice).
    """
    place = _directory(directory)
    if cifar100.is_on_disk(place) or reachable():
        return "cifar100", None
    return "digits", (
        f"CIFAR-100 is neither in {place} nor downloadable, so the small embedded digits (1,797 images of 8x8) are "
        f"used instead. For the real thing go online or put {cifar100.ARCHIVE} in {place}."
    )


def _read(
    dataset: str, part: Part, *, image_size: int | None, directory: Path | None, progress: bool
) -> LabelledImages:
    check_image_size(image_size)
    if dataset in DATA_SETS:
        data = DATA_SETS[dataset].read(part, _directory(directory), progress)
    elif os.path.isfile(dataset) and dataset.lower().endswith(".npz"):
        data = read_npz(Path(dataset), part)
    elif os.path.isdir(dataset):
        return read_folder(Path(dataset), part, image_size)
    else:
        raise _unknown(dataset)
    if image_size is None:
        return data
    return LabelledImages(resized(data.images, image_size), data.labels, data.class_names)


def _unknown(dataset: str) -> DataError:
    is_file = os.path.isfile(dataset)
    found = "is a file but not a .npz" if is_file else "is no known name and no such file or folder exists"
    return DataError(
        f"data set '{dataset}' {found}. Give one of {', '.join(DATA_SETS)}, a .npz file with x_train, y_train, x_test "
        f"and y_test, or an image folder ({FOLDER_LAYOUTS})."
    )


def _directory(directory: Path | None) -> Path:
    return cache_folder() if directory is None else directory


def _divided(
    data: LabelledImages, name: str, augmentation: tuple[str, ...], *, seed: int, validation_share: float | None
) -> SearchData:
    default_share = 0.1 if len(data.labels) >= MANY_IMAGES else 0.2
    share = default_share if validation_share is None else validation_share
    whole = np.arange(len(data.labels))
    train, validation = divide(data.labels, share, seed) if share else (whole, whole[:0])
    return SearchData(
        name=name,
        train=Split(data.images[train], data.labels[train]),
        validation=Split(data.images[validation], data.labels[validation]),
        class_names=data.class_names,
        checksum=_checksum(data),
        augmentation=augmentation,
    )


def _subset(split: Split, images: int, seed: int) -> Split:
    """About that many images, the same share of every class and at least one."""
    classes, whole = len(np.unique(split.labels)), len(split.labels)
    if not classes <= images <= whole:
        raise DataError(
            f"--images is {images:,}; it must be from {classes:,}, one a class, to {whole:,}, the size of the training "
            "split."
        )
    if images == whole:
        return split
    _, taken = divide(split.labels, images / whole, seed)
    return Split(split.images[taken], split.labels[taken])


def _check_division(seed: int, validation_share: float | None) -> None:
    if seed < 0:
        raise DataError(f"--seed is {seed}; it must be 0 or more.")
    if validation_share is not None and not 0 < validation_share <= LARGEST_VALIDATION_SHARE:
        raise DataError(
            f"--validation-share is {validation_share}; it must be above 0 and at most {LARGEST_VALIDATION_SHARE}."
        )


def _checksum(data: LabelledImages) -> str:
    """sha256 of a JSON line of shape and class names, then the images, then the labels as little-endian int64."""
    head = json.dumps({"shape": data.images.shape, "class_names": data.class_names})
    digest = hashlib.sha256(f"{head}\n".encode())
    digest.update(data.images.data)
    digest.update(data.labels.astype("<i8").data)
    return digest.hexdigest()


def _augmentation(images: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """What suits images of which only the shape is known: letters and digits of one channel must not be mirrored."""
    _, height, width, channels = images.shape
    if min(height, width) < SMALLEST_AUGMENTED_SIDE:
        return ()
    return ("crop", "flip") if channels == 3 else ("crop",)


def digest(image: npt.NDArray[np.uint8]) -> bytes:
    """Equal for images that are equal pixel for pixel."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
