"""Images and labels as arrays: checked, resized, divided by class. Nothing here reads a file."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.errors import DataError
from nas.machine.folders import readable

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SMALLEST_SIDE = 4
LARGEST_SIDE = 1024
CHANNELS = (1, 2, 3, 4)
FEWEST_IMAGES_A_CLASS = 2  # one to train on, one to validate on
NAMES_IN_AN_ERROR = 5

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Checked data: images [N, height, width, channels], C-contiguous; labels [N] in 0..len(class_names)-1."""

    images: Images
    labels: Labels
    class_names: tuple[str, ...]


def labelled_images(
    x: npt.NDArray[Any], y: npt.NDArray[Any], class_names: tuple[str, ...] | None, *, x_name: str, y_name: str
) -> LabelledImages:
    """Check and convert arrays; `x_name` and `y_name` are what an error calls them.

    Without `class_names` there are max(y) + 1 classes, called "0", "1", ...
    DataError: a shape, dtype, pixel value or label that is not accepted, unequal numbers of images and labels, or none.
    """
    images = checked_images(x, x_name)
    labels = checked_labels(y, y_name)
    if len(images) != len(labels):
        raise DataError(
            f"{x_name} has {len(images):,} images but {y_name} has {len(labels):,} labels; give each image a label."
        )
    if not len(images):
        raise DataError(f"{x_name} has no images.")
    _check_label_range(labels, class_names, y_name)
    if class_names is None:
        class_names = tuple(str(label) for label in range(int(labels.max()) + 1))
    return LabelledImages(images, labels, class_names)


def checked_images(x: npt.NDArray[Any], name: str) -> Images:
    """Images as uint8 [N, height, width, channels], without a copy where `x` already is that.

    Accepted: [N, H, W] or [N, H, W, C], C 1..4, sides of at least 4; integers in 0..255, floats in 0..1 or 0..255
    (scaled and rounded). Floats whose largest value lies strictly between 1 and 2 are refused: they are 0..1 with
    an overshoot rather than 0..255, and taking them for the latter would blacken every image.
    """
    _check_image_shape(x.shape, name)
    images = x[..., np.newaxis] if x.ndim == 3 else x
    if not images.size or images.dtype == np.uint8:
        return np.ascontiguousarray(images, dtype=np.uint8)
    if images.dtype.kind not in "iuf":
        raise DataError(f"{name} holds {images.dtype} values; give uint8 (0..255) or floats (0..1).")
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{name} holds NaN or infinite values; clean them, for example with numpy.nan_to_num.")
    ambiguous = images.dtype.kind == "f" and 1 < high < 2
    if low < 0 or high > 255 or ambiguous:
        wanted = "0..1 or 0..255" if images.dtype.kind == "f" else "0..255"
        raise DataError(f"{name} holds values from {low:g} to {high:g}, not within {wanted}; rescale or clip them.")
    factor = 255 if images.dtype.kind == "f" and high <= 1 else 1
    return _rounded(images, factor)


def checked_labels(y: npt.NDArray[Any], name: str) -> Labels:
    """Labels as int64 [N]; [N, 1] is flattened. DataError: another shape, or not integers, or negative."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise DataError(f"{name} has shape {y.shape}; give one integer an image, [N] (one-hot: use argmax(axis=1)).")
    if y.dtype.kind not in "iu":
        raise DataError(f"{name} holds {y.dtype} values; give integers from 0 to classes - 1.")
    if len(y) and y.min() < 0:
        raise DataError(f"{name} holds the label {y.min()}; labels go from 0 to classes - 1.")
    if len(y) and y.max() > np.iinfo(np.int64).max:
        raise DataError(f"{name} holds the label {y.max()}; labels go from 0 to classes - 1.")
    return y.astype(np.int64)


def checked_names(names: Sequence[str], what: str) -> tuple[str, ...]:
    """The names of classes as text that can be written. DataError: an empty one, or one that is there twice."""
    readable_names = tuple(map(readable, names))
    if not all(name.strip() for name in readable_names):
        raise DataError(f"{what} holds an empty name; give each class one.")
    if twice := [name for name, count in Counter(readable_names).items() if count > 1]:
        raise DataError(f"{what} holds {first_names(twice)} several times; give each class a name of its own.")
    return readable_names


def check_trainable(data: LabelledImages, name: str) -> None:
    """DataError unless there are at least 2 classes with at least 2 training images each."""
    classes = len(data.class_names)
    if classes < 2:
        raise DataError(f"{name} has {classes} class; a classifier needs at least 2.")
    counts = np.bincount(data.labels, minlength=classes)
    rare = np.flatnonzero(counts < FEWEST_IMAGES_A_CLASS)
    if not len(rare):
        return
    told = first_names([f"'{data.class_names[label]}' ({counts[label]})" for label in rare])
    raise DataError(
        f"{name}: {len(rare):,} of {classes:,} classes have fewer than {FEWEST_IMAGES_A_CLASS} training images, "
        f"test images aside: {told}. Add images, or remove these classes and number the rest from 0."
    )


def first_names(names: Sequence[str]) -> str:
    """The first few of many, and how many more there are.

    >>> first_names("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    more = f" and {len(names) - NAMES_IN_AN_ERROR:,} more" if len(names) > NAMES_IN_AN_ERROR else ""
    return ", ".join(names[:NAMES_IN_AN_ERROR]) + more


def divide(labels: Labels, share: float, seed: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Divide the indices of `labels` at random, class by class: (kept, taken), each in ascending order.

    Of a class of n images round(n * share) are taken, but at least 1 and at most n - 1 (of a single image none).
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    wanted = np.minimum(np.maximum(np.rint(counts * share).astype(np.intp), 1), counts - 1)
    place_in_class = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    taken = place_in_class < np.repeat(wanted, counts)
    return np.sort(order[~taken]), np.sort(order[taken])


def check_image_size(image_size: int | None) -> None:
    """DataError unless `image_size` is None or 4..1024."""
    if image_size is not None and not SMALLEST_SIDE <= image_size <= LARGEST_SIDE:
        raise DataError(f"--image-size is {image_size}; it must be {SMALLEST_SIDE} to {LARGEST_SIDE} pixels.")


def resized(images: Images, size: int) -> Images:
    """Every image as [size, size, channels], by `centre_square`; images that have this size are not copied."""
    if images.shape[1:3] == (size, size):
        return images
    from PIL import Image

    result = np.empty((len(images), size, size, images.shape[3]), np.uint8)
    channels = images.shape[3]
    pictures = [slice(3)] if channels == 3 else range(channels)  # RGB is one; a fourth would be taken for transparency
    for index, image in enumerate(images):
        for part in pictures:
            result[index, ..., part] = np.asarray(centre_square(Image.fromarray(image[..., part]), size))
    return result


def centre_square(picture: "Picture", size: int) -> "Picture":
    """A picture scaled bilinearly until its shorter side is `size`, and of that the centre of size x size."""
    from PIL import Image, ImageOps

    return ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)


def _check_image_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) == 4 and shape[3] not in CHANNELS and shape[1] in CHANNELS:
        raise DataError(f"{name} has shape {shape}: channels come first; give {name.split()[0]}.transpose(0, 2, 3, 1).")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in CHANNELS):
        raise DataError(f"{name} has shape {shape}; give [N, height, width] or [N, height, width, channels of 1 to 4].")
    if min(shape[1:3]) < SMALLEST_SIDE:
        raise DataError(
            f"{name} has images of {shape[1]}x{shape[2]}; at least {SMALLEST_SIDE}x{SMALLEST_SIDE} is needed."
        )


def _check_label_range(labels: Labels, class_names: tuple[str, ...] | None, name: str) -> None:
    lowest, highest = int(labels.min()), int(labels.max())
    if class_names is None and highest >= len(labels):
        raise DataError(
            f"{name} goes up to {highest} with {len(labels):,} images; number the classes from 0 without gaps."
        )
    if lowest == 1 and (class_names is None or highest == len(class_names)):
        raise DataError(f"{name} starts at 1 and goes up to {highest}; labels start at 0: subtract 1.")
    if class_names is not None and highest >= len(class_names):
        raise DataError(
            f"{name} holds the label {highest} but there are {len(class_names):,} classes; "
            f"labels go from 0 to {len(class_names) - 1}."
        )


def _rounded(images: npt.NDArray[Any], factor: int) -> Images:
    """images * factor rounded to uint8, a thousand at a time: a float copy of everything may not fit in memory."""
    result = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), 1000):
        part = images[start : start + 1000].astype(np.float32)
        result[start : start + 1000] = np.rint(part * factor)
    return result
