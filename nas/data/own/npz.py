"""A .npz of arrays."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data import Part
from nas.data.arrays import LabelledImages, checked_names, first_names, labelled_images
from nas.errors import DataError, in_one_line

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
CLASS_NAMES = "class_names"


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


def npz_doubts(path: Path) -> Iterator[str]:
    """A line on arrays that nobody reads. DataError: not a readable .npz."""
    with _archive(path) as archive:
        ignored = [name for name in archive.files if name not in (*ARRAYS, CLASS_NAMES)]
    if ignored:
        yield f"{first_names(ignored)} of {path} are not read, only {', '.join(ARRAYS)} and {CLASS_NAMES}"


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
    if CLASS_NAMES not in archive.files:
        return None
    names = _member(archive, path, CLASS_NAMES)
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(f"class_names of {path} is {names.dtype} of shape {names.shape}; give one text a class.")
    return checked_names([str(name) for name in names], f"class_names of {path}")


def _npz_part(archive: Any, path: Path, part: Part, class_names: tuple[str, ...] | None) -> LabelledImages:
    x_name, y_name = f"x_{part}", f"y_{part}"
    x, y = _member(archive, path, x_name), _member(archive, path, y_name)
    return labelled_images(x, y, class_names, x_name=f"{x_name} of {path}", y_name=f"{y_name} of {path}")
