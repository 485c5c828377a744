"""Which files of a folder of images belong to which class; nothing is opened."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from nas.data import TEST_SEED, TEST_SHARE, Part
from nas.data.arrays import Labels, divide, first_names
from nas.data.own.parts import FOLDER_LAYOUTS, class_folders, parts_of
from nas.data.own.walk import files_below
from nas.errors import DataError
from nas.machine.folders import readable

ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The files that are read, in any case: those of torchvision's ImageFolder."""


@dataclass(frozen=True, eq=False)
class Listing:
    """The pictures below the class folders of `root` by class, folder and name, and their labels [N]; of each class the
    other files; links to folders that are read otherwise."""

    root: Path
    class_names: tuple[str, ...]
    pictures: list[str]
    labels: Labels
    others: list[list[str]]
    again: tuple[str, ...]

    @property
    def counts(self) -> list[int]:
        """Pictures of each class."""
        return [int(count) for count in np.bincount(self.labels, minlength=len(self.class_names))]


def listings(path: Path) -> tuple[Listing, ...]:
    """Those of the training and of the test part, or the one of a folder whose folders are classes. DataError: another
    layout, a folder that cannot be read."""
    roots = parts_of(path) or (path,)
    class_names = class_folders(roots[0])
    if not class_names:
        raise DataError(f"{path} has no folders of images. The layout is {FOLDER_LAYOUTS}.")
    _check_depth(path, roots[0], class_names)
    return tuple(_listed(root, class_names) for root in roots)


def files_of(path: Path, part: Part) -> tuple[list[str], Labels, tuple[str, ...]]:
    """(files, labels, class names) of one part. DataError as `listings`, and where it has no files."""
    training, *judged = listings(path)
    found = judged[0] if judged and part == "test" else training
    if found is training:
        _check_endings(training)
    if judged:
        _check_same_classes(judged[0].root, training.class_names)
    if not found.pictures:
        raise DataError(
            f"{path} has no images to {part} with; put .png, .jpg, .bmp, .tif or .webp files in {FOLDER_LAYOUTS}."
        )
    class_names = tuple(map(readable, training.class_names))
    if judged:
        return found.pictures, found.labels, class_names
    chosen = divide(found.labels, TEST_SHARE, TEST_SEED)[part == "test"]
    return [found.pictures[index] for index in chosen], found.labels[chosen], class_names


def is_picture(file: str) -> bool:
    """Whether it is read, by its ending."""
    return file.lower().endswith(ENDINGS)


def _listed(root: Path, class_names: tuple[str, ...]) -> Listing:
    """Classes that `root` has not are empty."""
    there = [name for name in class_names if (root / name).is_dir()]
    below = files_below([str(root / name) for name in there])
    files = dict(zip(there, below.files, strict=True))
    pictures = [[file for file in files.get(name, ()) if is_picture(file)] for name in class_names]
    others = [[file for file in files.get(name, ()) if not is_picture(file)] for name in class_names]
    labels = np.repeat(np.arange(len(class_names)), [len(own) for own in pictures])
    return Listing(root, class_names, [*chain.from_iterable(pictures)], labels, others, below.again)


def _check_depth(path: Path, root: Path, class_names: tuple[str, ...]) -> None:
    """DataError where the only class holds folders that look like the classes."""
    deeper, inside = root, class_names
    while len(inside) == 1:
        deeper /= inside[0]
        inside = class_folders(deeper)
    if deeper != root and inside:
        advice = f"give --dataset {deeper}" if root == path else f"move them to {root}"
        raise DataError(f"{root} has 1 class, {class_names[0]}, but {deeper} has {len(inside):,} folders: {advice}.")


def _check_endings(training: Listing) -> None:
    """DataError where a class has files, but none that is read."""
    empty = [label for label, count in enumerate(training.counts) if not count and training.others[label]]
    if not empty:
        return
    endings = Counter(Path(file).suffix.lower() or "unnamed" for label in empty for file in training.others[label])
    told = first_names([f"{count:,} {ending}" for ending, count in endings.most_common()])
    names = first_names([training.class_names[label] for label in empty])
    raise DataError(
        f"{names} of {training.root} has no image that can be read but other files ({told}). Convert them to .png, or "
        f"take the folder away; {', '.join(ENDINGS)} are read."
    )


def _check_same_classes(test: Path, class_names: Sequence[str]) -> None:
    unknown = [name for name in class_folders(test) if name not in class_names]
    if not unknown:
        return
    known = {name.casefold(): name for name in class_names}
    alike = [f" (train: {known[name.casefold()]!r})" if name.casefold() in known else "" for name in unknown]
    told = first_names([f"'{name}'{like}" for name, like in zip(unknown, alike, strict=True)])
    raise DataError(f"{test} has {len(unknown):,} classes that train has not: {told}. Give both the same classes.")
