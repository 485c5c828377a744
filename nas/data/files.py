"""The user's own data on disk: a .npz of arrays or a folder of images a class."""

import contextlib
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from nas.data.arrays import (
    LARGEST_SIDE,
    NAMES_IN_AN_ERROR,
    LabelledImages,
    Labels,
    centre_square,
    divide,
    first_names,
    labelled_images,
)
from nas.errors import DataError, in_one_line
from nas.machine.folders import readable

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

T = TypeVar("T")
Part = Literal["train", "test"]

TEST_SHARE = 0.2
TEST_SEED = 0  # the test split of data that brings none is the same for every search
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, struct.error)
SIDEWAYS = (5, 6, 7, 8)
"""Orientations of cameras that exchange width and height (EXIF 2.3, tag 274)."""
FOLDER_LAYOUTS = "FOLDER/train/CLASS/* with FOLDER/test/CLASS/* (or val), or FOLDER/CLASS/*"
TRAINING = ("train", "training", "trainset", "trainingset")
TEST = ("test", "testing", "testset", "testingset")
VALIDATION = ("val", "valid", "validation", "dev", "development", "eval", "evaluation", "validationset", "valset")
"""What the parts of a data set are called, in any case, in the plural too, with "-", "_" or " " anywhere."""
OUT_OF_PLACE = ("thumbs.db", "desktop.ini")
"""Files of operating systems, which nobody takes for images."""


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
    for index, pixels in enumerate(_each(files, lambda file: _pixels(file, image_size))):
        images[index] = pixels
    return labelled_images(
        images, labels, class_names, x_name=f"the {part} part of {path}", y_name=f"the labels of {path}"
    )


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[Any]:
    with contextlib.ExitStack() as opened:
        try:
            # Of a damaged file, numpy leaves open what it opened itself.
            archive = np.load(opened.enter_context(path.open("rb")), allow_pickle=False)
        except Exception as error:  # whatever numpy stumbles over in a damaged file
            raise DataError(
                f"{path} cannot be read as .npz: {in_one_line(error)}. Write it with numpy.savez."
            ) from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path} holds one array, not a .npz archive. Write it with numpy.savez.")
        yield opened.enter_context(archive)


def _member(archive: Any, path: Path, name: str) -> npt.NDArray[Any]:
    try:
        array = archive[name]
    except Exception as error:  # as above
        raise DataError(
            f"{name} of {path} cannot be read: {in_one_line(error)}. Save plain arrays with numpy.savez."
        ) from error
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
    if parts := _parts(path):
        training, test = parts
        class_names = _class_folders(training)
        if part == "test":
            _check_same_classes(test, class_names)
        return *_files(test if part == "test" else training, class_names), tuple(map(readable, class_names))
    class_names = _class_folders(path)
    if not class_names:
        raise DataError(f"{path} has no folders of images. The layout is {FOLDER_LAYOUTS}.")
    files, labels = _files(path, class_names)
    chosen = divide(labels, TEST_SHARE, TEST_SEED)[part == "test"]
    return [files[index] for index in chosen], labels[chosen], tuple(map(readable, class_names))


def _parts(path: Path) -> tuple[Path, Path] | None:
    """The folders of the training and of the test part, or of the validation part where there is no other; None where
    the folders are classes. A class may be called "train": only folders of folders are parts."""
    training, test, validation = (_folders_called(path, names) for names in (TRAINING, TEST, VALIDATION))
    for several in (training, test, validation):
        if len(several) > 1:
            names = " and ".join(folder.name for folder in several)
            raise DataError(f"{path} has {names}, which are the same part of the data; leave one. {FOLDER_LAYOUTS}.")
    judged = test or validation
    if training and judged:
        return training[0], judged[0]
    only = {*training, *test, *validation}
    if training or (only and len(only) == len(_class_folders(path))):
        found = " and ".join(sorted(folder.name for folder in only))
        lacks = "neither test nor val" if training else "no train"
        raise DataError(f"{path} has a folder {found} but {lacks}. The layout is {FOLDER_LAYOUTS}.")
    return None


def _folders_called(path: Path, names: Sequence[str]) -> list[Path]:
    """The folders of folders in it that are called so."""
    plain = {name: re.sub(r"[-_ ]", "", name.lower()) for name in _class_folders(path)}
    called = [path / name for name, word in plain.items() if word in names or word.removesuffix("s") in names]
    return [folder for folder in called if _class_folders(folder)]


def unread(path: Path) -> list[str]:
    """The files of an image folder that are read by nobody, relative to it, in order: those that are no images by their
    ending, or lie beside the classes. Hidden ones and those of operating systems are left out."""
    roots = _parts(path) or (path,)
    read = {file for root in roots for file in _files(root, _class_folders(roots[0]))[0]}
    others = (file for file in path.rglob("*") if file.is_file() and str(file) not in read)
    return [str(file) for file in sorted(file.relative_to(path) for file in others) if not _is_aside(file)]


def _is_aside(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts) or file.name.lower() in OUT_OF_PLACE


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
    looked_at = dict.fromkeys([reference, *files])
    sizes = dict(zip(looked_at, list(_each(looked_at, _size)), strict=True))
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


def _size(file: str) -> tuple[int, int]:
    """(width, height) as a viewer shows it."""
    from PIL.ExifTags import Base

    with _picture(file) as picture:
        is_turned = picture.getexif().get(Base.Orientation) in SIDEWAYS
        return picture.size[::-1] if is_turned else picture.size


def _pixels(file: str, image_size: int | None) -> npt.NDArray[np.uint8]:
    """[height, width, 3] of one file."""
    with _picture(file) as picture:
        if picture.mode.startswith(("I", "F")):
            raise DataError(f"{file} has pixels of mode {picture.mode}, more than 8 bits; convert it to 8 bits.")
        if image_size is not None:
            picture.draft("RGB", (image_size, image_size))  # a large JPEG is decoded small, at twice the side or more
        rgb = as_shown(picture)
        return np.asarray(rgb if image_size is None else centre_square(rgb, image_size))


def as_shown(picture: "Picture") -> "Picture":
    """The picture in RGB as viewers show it: turned as the camera says, what is transparent on white."""
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if "transparency" not in picture.info and "A" not in picture.getbands() and "a" not in picture.getbands():
        return picture.convert("RGB")
    layered = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


@contextlib.contextmanager
def _picture(file: str) -> Iterator["Picture"]:
    """The opened image. What Pillow raises for a damaged file, depending on its format, becomes a DataError."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # a large photograph in one's own data is no attack
    try:
        with Image.open(file) as picture:
            yield picture
    except UNREADABLE as error:
        raise DataError(f"{file} cannot be read as an image: {error}. Replace or remove it.") from error
