"""The user's own data on disk: a .npz of arrays or a folder of images a class."""

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from nas.data.arrays import (
    LARGEST_SIDE,
    NAMES_IN_AN_ERROR,
    LabelledImages,
    Labels,
    centre_square,
    divide,
    labelled_images,
)
from nas.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Part = Literal["train", "test"]

TEST_SHARE = 0.2
TEST_SEED = 0  # the test split of data that brings none is the same for every search
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, struct.error)
FOLDER_LAYOUTS = "FOLDER/train/CLASS/* with FOLDER/test/CLASS/* (or val), or FOLDER/CLASS/*"


def read_npz(path: Path, part: Part) -> LabelledImages:
    """The training or the test part of a .npz file; for the training part the test arrays are not read.

    DataError: not a readable .npz, an array missing or pickled, arrays that are not accepted, test images of
    another shape than the training images.
    """
    with _archive(path) as archive:
        if missing := [name for name in ARRAYS if name not in archive.files]:
            found = ", ".join(archive.files) or "nothing"
            raise DataError(f"{path} has no {', '.join(missing)}; it holds {found}. Save it with {', '.join(ARRAYS)}.")
        training = _npz_part(archive, path, "train", _npz_class_names(archive, path))
        if part == "train":
            return training
        test = _npz_part(archive, path, "test", training.class_names)
    if test.images.shape[1:] != training.images.shape[1:]:
        raise DataError(
            f"{path}: x_test has images of shape {test.images.shape[1:]} but x_train of {training.images.shape[1:]}; "
            "give both the same shape."
        )
    return test


def read_folder(path: Path, part: Part, image_size: int | None) -> LabelledImages:
    """The training or the test part of a folder of images a class, as RGB; only the files of that part are opened.

    Layouts: path/train/CLASS/* with path/test/CLASS/* (or val), or path/CLASS/*, of which a stratified 20 % of the
    files in the order of their names is the test part, always the same. Hidden files and folders are ignored.
    With `image_size` the shorter side of every image is scaled to it and the centre kept; without, all must have
    one size.
    DataError: another layout, unequal sizes, an image that cannot be read.
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
    for index, file in enumerate(files):
        images[index] = _pixels(file, image_size)
    return labelled_images(
        images, labels, class_names, x_name=f"the {part} part of {path}", y_name=f"the labels of {path}"
    )


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[Any]:
    with contextlib.ExitStack() as opened:
        try:
            # Of a damaged file, numpy leaves open what it opened itself.
            archive = np.load(opened.enter_context(path.open("rb")), allow_pickle=False)
        except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} cannot be read as .npz: {error}. Write it with numpy.savez.") from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path} holds one array, not a .npz archive. Write it with numpy.savez.")
        yield opened.enter_context(archive)


def _member(archive: Any, path: Path, name: str) -> npt.NDArray[Any]:
    try:
        array = archive[name]
    except (OSError, ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{name} of {path} cannot be read: {error}. Save plain arrays with numpy.savez.") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name} of {path} is not an array. Save plain arrays with numpy.savez.")
    return array


def _npz_class_names(archive: Any, path: Path) -> tuple[str, ...] | None:
    if "class_names" not in archive.files:
        return None
    names = _member(archive, path, "class_names")
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(f"class_names of {path} is {names.dtype} of shape {names.shape}; give one text a class.")
    return tuple(str(name) for name in names)


def _npz_part(archive: Any, path: Path, part: Part, class_names: tuple[str, ...] | None) -> LabelledImages:
    x_name, y_name = f"x_{part}", f"y_{part}"
    x, y = _member(archive, path, x_name), _member(archive, path, y_name)
    return labelled_images(x, y, class_names, x_name=f"{x_name} of {path}", y_name=f"{y_name} of {path}")


def _folder_part(path: Path, part: Part) -> tuple[list[str], Labels, tuple[str, ...]]:
    """(files, labels, class names) of one part; nothing is opened."""
    # A class may be called "train": only a folder of folders is a division.
    if (path / "train").is_dir() and _class_folders(path / "train"):
        test = next((path / name for name in ("test", "val") if (path / name).is_dir()), None)
        if test is None:
            raise DataError(f"{path} has a folder train but neither test nor val. The layout is {FOLDER_LAYOUTS}.")
        class_names = _class_folders(path / "train")
        if part == "test":
            _check_same_classes(test, class_names)
        return *_files(test if part == "test" else path / "train", class_names), class_names
    class_names = _class_folders(path)
    if not class_names:
        raise DataError(f"{path} has no folders of images. The layout is {FOLDER_LAYOUTS}.")
    files, labels = _files(path, class_names)
    chosen = divide(labels, TEST_SHARE, TEST_SEED)[part == "test"]
    return [files[index] for index in chosen], labels[chosen], class_names


def _class_folders(path: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(e.name for e in path.iterdir() if e.is_dir() and not e.name.startswith(".")))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _check_same_classes(test: Path, class_names: tuple[str, ...]) -> None:
    if unknown := [name for name in _class_folders(test) if name not in class_names]:
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
    expected = _size(reference)
    sizes = {file: _size(file) for file in files}
    if odd := next((file for file, size in sizes.items() if size != expected), None):
        median = int(np.median([min(size) for size in [expected, *sizes.values()]]))
        raise DataError(
            f"the images of {path} have different sizes: {reference} {expected[0]}x{expected[1]}, "
            f"{odd} {sizes[odd][0]}x{sizes[odd][1]}. Add --image-size {median} (the median)."
        )
    if max(expected) > LARGEST_SIDE:
        raise DataError(f"the images of {path} are {expected[0]}x{expected[1]}. Add --image-size, for example 32.")
    return expected


def _size(file: str) -> tuple[int, int]:
    with _picture(file) as picture:
        return picture.size


def _pixels(file: str, image_size: int | None) -> npt.NDArray[np.uint8]:
    """[height, width, 3] of one file."""
    with _picture(file) as picture:
        if picture.mode.startswith(("I", "F")):
            raise DataError(f"{file} has pixels of mode {picture.mode}, more than 8 bits; convert it to 8 bits.")
        # Straight to RGB, a palette with transparency would make Pillow warn.
        opaque = picture.convert("RGBA") if "transparency" in picture.info else picture
        rgb = opaque.convert("RGB")
        return np.asarray(rgb if image_size is None else centre_square(rgb, image_size))


@contextlib.contextmanager
def _picture(file: str) -> Iterator["Picture"]:
    """The opened image. What Pillow raises for a damaged file, depending on its format, becomes a DataError."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            yield picture
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise DataError(f"{file} cannot be read as an image: {error}. Replace or remove it.") from error
