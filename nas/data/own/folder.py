"""A folder of images a class."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from nas.data import TEST_SEED, TEST_SHARE, Part
from nas.data.arrays import (
    LARGEST_SIDE,
    NAMES_IN_AN_ERROR,
    LabelledImages,
    Labels,
    divide,
    first_names,
    labelled_images,
)
from nas.data.own.parts import FOLDER_LAYOUTS, class_folders, parts_of
from nas.data.own.pictures import pixels_of, size_of
from nas.errors import DataError
from nas.machine.folders import readable

T = TypeVar("T")

OUT_OF_PLACE = ("thumbs.db", "desktop.ini")
"""Files of operating systems, which nobody takes for images."""


def read_folder(path: Path, part: Part, image_size: int | None) -> LabelledImages:
    """The training or the test part of a folder of images a class, as RGB; only the files of that part are opened.

    Layouts: path/train/CLASS/* with path/test/CLASS/* (or val), or path/CLASS/*, of which a stratified 20 % of the
    files in the order of their names is the test part, always the same. Hidden files and folders are ignored.
    The folders may have any usual name (Training and Testing, Train and Valid, …). With `image_size` the shorter side
    of every image is scaled to it and the centre kept, however large it is; without, all must have one size. Pictures
    are read as viewers show them: turned as the camera says, what is transparent on white.
    DataError: another layout, unequal sizes, images that cannot be read, all of which it counts.
    """
    files, labels, class_names = _folder_part(path, part)
    if not files:
        raise DataError(
            f"{path} has no images to {part} with; put .png, .jpg, .bmp, .tif or .webp files in {FOLDER_LAYOUTS}."
        )
    if image_size is None:
        training_files = files if part == "train" else _folder_part(path, "train")[0]
        width, height = _common_size(path, files, (training_files or files)[0])
    else:
        width = height = image_size
    images = np.empty((len(files), height, width, 3), np.uint8)
    for index, pixels in enumerate(_each(files, lambda file: pixels_of(file, image_size))):
        images[index] = pixels
    return labelled_images(
        images, labels, class_names, x_name=f"the {part} part of {path}", y_name=f"the labels of {path}"
    )


def unread(path: Path) -> list[str]:
    """The files of an image folder that are read by nobody, relative to it, in order: those that are no images by their
    ending, or lie beside the classes. Hidden ones and those of operating systems are left out."""
    roots = parts_of(path) or (path,)
    read = {file for root in roots for file in _files(root, class_folders(roots[0]))[0]}
    others = (file for file in path.rglob("*") if file.is_file() and str(file) not in read)
    return [str(file) for file in sorted(file.relative_to(path) for file in others) if not _is_aside(file)]


def _is_aside(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts) or file.name.lower() in OUT_OF_PLACE


def _folder_part(path: Path, part: Part) -> tuple[list[str], Labels, tuple[str, ...]]:
    """(files, labels, class names) of one part; nothing is opened."""
    if found := parts_of(path):
        training, test = found
        class_names = class_folders(training)
        if part == "test":
            _check_same_classes(test, class_names)
        return *_files(test if part == "test" else training, class_names), tuple(map(readable, class_names))
    class_names = class_folders(path)
    if not class_names:
        raise DataError(f"{path} has no folders of images. The layout is {FOLDER_LAYOUTS}.")
    files, labels = _files(path, class_names)
    chosen = divide(labels, TEST_SHARE, TEST_SEED)[part == "test"]
    return [files[index] for index in chosen], labels[chosen], tuple(map(readable, class_names))


def _check_same_classes(test: Path, class_names: tuple[str, ...]) -> None:
    if unknown := [name for name in class_folders(test) if name not in class_names]:
        told = ", ".join(f"'{name}'" for name in unknown[:NAMES_IN_AN_ERROR])
        raise DataError(f"{test} has {len(unknown):,} classes that train has not: {told}. Give both the same classes.")


def _files(root: Path, class_names: tuple[str, ...]) -> tuple[list[str], Labels]:
    """Image files as torchvision's ImageFolder finds them, by class and name, without hidden ones."""
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    numbers = {name: number for number, name in enumerate(class_names)}
    samples = make_dataset(root, numbers, extensions=IMG_EXTENSIONS, allow_empty=True)
    visible = [(file, label) for file, label in samples if not Path(file).name.startswith(".")]
    return [file for file, _ in visible], np.array([label for _, label in visible], np.int64)


def _common_size(path: Path, files: Sequence[str], reference: str) -> tuple[int, int]:
    """(width, height) of every image in `files`, which must be that of the file `reference`."""
    looked_at = dict.fromkeys([reference, *files])
    sizes = dict(zip(looked_at, list(_each(looked_at, size_of)), strict=True))
    expected = sizes[reference]
    if odd := next((file for file, size in sizes.items() if size != expected), None):
        median = int(np.median([min(size) for size in sizes.values()]))
        raise DataError(
            f"the images of {path} have different sizes: {reference} {expected[0]}x{expected[1]}, "
            f"{odd} {sizes[odd][0]}x{sizes[odd][1]}. Add --image-size {median} (the median)."
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
