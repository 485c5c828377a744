"""A folder of images a class, read."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from nas.data import Part
from nas.data.arrays import LARGEST_SIDE, LabelledImages, first_names, labelled_images
from nas.data.own.listing import files_of
from nas.data.own.pictures import pixels_of, size_of
from nas.errors import DataError

T = TypeVar("T")


def read_folder(path: Path, part: Part, image_size: int | None) -> LabelledImages:
    """The training or the test part of a folder of images a class, as RGB; only the files of that part are opened.

    Layouts: path/train/CLASS/* with path/test/CLASS/* (or val), or path/CLASS/*, of which a stratified 20 % of the
    files in the order of their names is the test part, always the same. Files and folders that are hidden or a
    system's are ignored. The folders may have any usual name (Training and Testing, Train and Valid, …). With
    `image_size` the shorter side of every image is scaled to it and the centre kept, however large it is; without, all
    must have one size. Pictures are read as viewers show them: turned as the camera says, what is transparent on white.
    DataError: another layout, unequal sizes, images that cannot be read, all of which it counts.
    """
    files, labels, class_names = files_of(path, part)
    if image_size is None:
        training_files = files if part == "train" else files_of(path, "train")[0]
        width, height = _common_size(path, files, training_files[0])
    else:
        width = height = image_size
    images = np.empty((len(files), height, width, 3), np.uint8)
    for index, pixels in enumerate(_each(files, lambda file: pixels_of(file, image_size))):
        images[index] = pixels
    return labelled_images(
        images, labels, class_names, x_name=f"the {part} part of {path}", y_name=f"the labels of {path}"
    )


def _common_size(path: Path, files: Sequence[str], reference: str) -> tuple[int, int]:
    """(width, height) of every image in `files`, which must be that of the file `reference`."""
    looked_at = dict.fromkeys([reference, *files])
    sizes = dict(zip(looked_at, list(_each(looked_at, size_of)), strict=True))
    expected = sizes[reference]
    if odd := [file for file, size in sizes.items() if size != expected]:
        median = int(np.median([min(size) for size in sizes.values()]))
        raise DataError(
            f"the images of {path} have different sizes: {reference} {expected[0]}x{expected[1]}, but "
            f"{len(odd):,} of {len(sizes):,} another, the first {odd[0]} {sizes[odd[0]][0]}x{sizes[odd[0]][1]}. "
            f"Add --image-size {median} (the median)."
        )
    if max(expected) > LARGEST_SIDE:
        raise DataError(f"the images of {path} are {expected[0]}x{expected[1]}. Add --image-size, for example 32.")
    return expected


def _each(files: Iterable[str], read: Callable[[str], T]) -> Iterator[T]:
    """What is read of every file. In the end DataError of those that cannot be read, all of which it counts."""
    failures = []
    for file in files:
        try:
            yield read(file)
        except DataError as error:
            failures.append((file, error))
    if len(failures) == 1:
        raise failures[0][1]
    if failures:
        names = first_names([Path(file).name for file, _ in failures])
        raise DataError(f"{len(failures):,} files cannot be read as images: {names}; the first: {failures[0][1]}")
