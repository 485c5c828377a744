"""What is in a data set, and what looks wrong in data that can be used all the same: told before hours are spent."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.data.arrays import first_names
from nas.data.load import SearchData, Split, digest, load_search_data, load_test
from nas.data.own.doubts import folder_doubts
from nas.data.own.npz import npz_doubts
from nas.data.sets import DATA_SETS
from nas.errors import written_out

MOSTLY_ONE_CLASS = 0.9
"""Share of the training images from which on one class has nearly all of them."""

DARK = 16
"""Largest value of images, of 255, up to which all look black: they count something, or were scaled by mistake."""

FEW = 0.01
"""Share of the images from which on equal ones are told: every large data set has some."""

SIDE = 8
"""Pixels a side to which images are averaged to see whether labels have anything to do with them."""

FEWEST = 200
"""Images needed to see that."""

MOST = 20_000
"""Images looked at for that, at most."""

SOME = 1_000
"""Images of each split whose values are compared."""

CLEAR = 3.0
"""Standard deviations above chance from which on labels have something to do with images."""


@dataclass(frozen=True)
class DataReport:
    """What is in a data set.

    `shape` is (channels, height, width). `smallest_class` and `largest_class` count training images of a class;
    `shared_images` counts the test images that also occur among the training images, pixel for pixel; `doubts` tells
    what looks wrong.
    """

    name: str
    shape: tuple[int, int, int]
    classes: int
    class_names: tuple[str, ...]
    training_images: int
    test_images: int
    smallest_class: int
    largest_class: int
    shared_images: int
    doubts: tuple[str, ...] = ()


def describe(dataset: str, *, image_size: int | None = None, directory: Path | None = None) -> DataReport:
    """Read both splits of `dataset` and count. DataError as `load_search_data`."""
    data = load_search_data(dataset, seed=0, image_size=image_size, directory=directory)
    test, class_names = load_test(dataset, image_size=image_size, directory=directory)
    labels = _labels(data)
    counts = np.bincount(labels, minlength=len(class_names))
    training = Split(np.concatenate([data.train.images, data.validation.images]), labels)
    shared = shared_images(training, test)
    told = [f"{shared:,} of {len(test.labels):,} test images are training images too"] if shared else []
    told += _other_scale(training, test)
    if not Path(dataset).is_dir():  # of a folder, whoever lists it tells
        told += map(written_out, _untested(test, class_names))
    return DataReport(
        name=data.name,
        shape=data.shape,
        classes=len(class_names),
        class_names=class_names,
        training_images=len(labels),
        test_images=len(test.labels),
        smallest_class=int(counts.min()),
        largest_class=int(counts.max()),
        shared_images=shared,
        doubts=(*told, *doubts(data, dataset)),
    )


def shared_images(a: Split, b: Split) -> int:
    """Number of images of `b` that also occur in `a`, pixel for pixel."""
    if a.images.shape[1:] != b.images.shape[1:]:
        return 0
    known = {digest(image) for image in a.images}
    return sum(digest(image) in known for image in b.images)


def doubts(data: SearchData, dataset: str | None = None) -> list[str]:
    """A line for everything that looks wrong: what `folder_doubts` or `npz_doubts` tells of a `dataset` on disk, values
    that use next to nothing of their range, nearly all images in one class, equal images in training and validation
    split or with different labels, labels that have nothing to do with the images. Takes a second or two; the test
    split is not read."""
    own = Path(dataset) if dataset and dataset not in DATA_SETS else None
    found = [] if own is None else [*(folder_doubts(own) if own.is_dir() else npz_doubts(own))]
    if own is None and dataset and os.path.exists(dataset):
        found.append(f"{dataset} is a data set of nas; what lies here by that name is not read: ./{dataset} would be")
    found += [*_dark(data), *_one_class(data), *_equal_images(data), *_shuffled(data)]
    return [written_out(line) for line in found]


def _untested(test: Split, class_names: tuple[str, ...]) -> Iterator[str]:
    counts = np.bincount(test.labels, minlength=len(class_names))
    if names := [name for name, count in zip(class_names, counts, strict=True) if not count]:
        yield f"{len(names):,} of {len(class_names):,} classes have no test image: {first_names(names)}"


def _other_scale(training: Split, test: Split) -> Iterator[str]:
    if training.images.max() <= DARK:
        return  # which is told
    some = [split.images[:: -(-len(split.images) // SOME)] for split in (training, test)]
    (mean, spread), (other, other_spread) = ((float(images.mean()), float(images.std())) for images in some)
    if abs(mean - other) > max(spread, other_spread) or not 0.5 < (spread + 1) / (other_spread + 1) < 2:
        own, others = f"{mean:.0f} ± {spread:.0f}", f"{other:.0f} ± {other_spread:.0f}"
        yield f"training images hold values of {own} (mean and deviation), test images of {others}: scale them alike"


def _labels(data: SearchData) -> npt.NDArray[np.int64]:
    return np.concatenate([data.train.labels, data.validation.labels])


def _dark(data: SearchData) -> Iterator[str]:
    low, high = int(data.train.images.min()), int(data.train.images.max())
    if high <= DARK:
        yield f"images hold values {low} to {high} of 0 to 255; they look scaled or binary: multiply them"


def _one_class(data: SearchData) -> Iterator[str]:
    counts = np.bincount(_labels(data), minlength=data.classes)
    share = float(counts.max() / counts.sum())
    if share >= MOSTLY_ONE_CLASS:
        name = data.class_names[int(counts.argmax())]
        yield f"{share:.0%} of the training images are of class {name!r}: who always says so is as often right"


def _equal_images(data: SearchData) -> Iterator[str]:
    labels: dict[bytes, set[int]] = {}
    training = [digest(image) for image in data.train.images]
    validation = [digest(image) for image in data.validation.images]
    for known, label in zip((*training, *validation), _labels(data), strict=True):
        labels.setdefault(known, set()).add(int(label))
    known_training = set(training)
    shared = len([known for known in validation if known in known_training])
    if shared >= FEW * len(validation) > 0:
        yield f"{shared:,} of {len(validation):,} validation images are training images too, pixel for pixel"
    twice = [sorted(own) for own in labels.values() if len(own) > 1]
    if len(twice) >= FEW * len(labels):
        names = " and ".join(repr(data.class_names[label]) for label in twice[0])
        yield f"{len(twice):,} images are there with several labels, the first as {names}: is a folder there twice?"


def _shuffled(data: SearchData) -> Iterator[str]:
    """Judged by the nearest mean of a class, on images of SIDE x SIDE pixels: its hits against those of chance, which
    are those of independent labels of the same frequencies."""
    rng = np.random.default_rng(0)
    chosen = [rng.permutation(len(split.labels))[:MOST] for split in (data.train, data.validation)]
    (x, y), (x_new, y_new) = (
        (_small(split.images[own]), split.labels[own])
        for split, own in zip((data.train, data.validation), chosen, strict=True)
    )
    if min(len(y), len(y_new)) < FEWEST:
        return
    known = np.unique(y)
    means = np.stack([x[y == label].mean(axis=0) for label in known])
    distances = (means**2).sum(axis=1) - 2 * x_new @ means.T
    said = known[distances.argmin(axis=1)]
    hits = float((said == y_new).mean())
    frequencies = (np.bincount(labels, minlength=data.classes) / len(labels) for labels in (said, y_new))
    chance = float(np.prod(list(frequencies), axis=0).sum())
    if chance < 1 and hits <= chance + CLEAR * float(np.sqrt(chance * (1 - chance) / len(y_new))):
        yield (
            f"labels look shuffled: the nearest mean image of a class is right for {hits:.1%} of the validation "
            f"images, chance for {chance:.1%}"
        )


def _small(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """[N, values], averaged over blocks, standardised an image."""
    blocks = [np.array_split(np.arange(length), min(SIDE, length)) for length in images.shape[1:3]]
    rows = np.stack([images[:, block].mean(axis=1) for block in blocks[0]], axis=1)
    both = np.stack([rows[:, :, block].mean(axis=2) for block in blocks[1]], axis=2)
    flat: npt.NDArray[np.float64] = both.reshape(len(images), -1)
    standardised: npt.NDArray[np.float64] = (flat - flat.mean(axis=1, keepdims=True)) / (
        flat.std(axis=1, keepdims=True) + 1.0
    )
    return standardised
