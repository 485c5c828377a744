"""Which folders of a folder of images are parts of the data set, and which are classes."""

import re
from collections.abc import Sequence
from pathlib import Path

from nas.errors import DataError

FOLDER_LAYOUTS = "FOLDER/train/CLASS/* with FOLDER/test/CLASS/* (or val), or FOLDER/CLASS/*"
TRAINING = ("train", "training", "trainset", "trainingset")
TEST = ("test", "testing", "testset", "testingset")
VALIDATION = ("val", "valid", "validation", "dev", "development", "eval", "evaluation", "validationset", "valset")
"""What the parts of a data set are called, in any case, in the plural too, with "-", "_" or " " anywhere."""


def parts_of(path: Path) -> tuple[Path, Path] | None:
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
    if training or (only and len(only) == len(class_folders(path))):
        found = " and ".join(sorted(folder.name for folder in only))
        lacks = "neither test nor val" if training else "no train"
        raise DataError(f"{path} has a folder {found} but {lacks}. The layout is {FOLDER_LAYOUTS}.")
    return None


def _folders_called(path: Path, names: Sequence[str]) -> list[Path]:
    """The folders of folders in it that are called so."""
    plain = {name: re.sub(r"[-_ ]", "", name.lower()) for name in class_folders(path)}
    called = [path / name for name, word in plain.items() if word in names or word.removesuffix("s") in names]
    return [folder for folder in called if class_folders(folder)]


def class_folders(path: Path) -> tuple[str, ...]:
    """The names of the folders in it, in order, without hidden ones. DataError where it cannot be read."""
    try:
        return tuple(sorted(e.name for e in path.iterdir() if e.is_dir() and not e.name.startswith(".")))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
