"""Which folders of a folder of images are parts of the data set, and which are classes."""

import re
import unicodedata
from pathlib import Path
from typing import Literal

from nas.data.arrays import first_names
from nas.data.own.walk import is_aside
from nas.errors import DataError

FOLDER_LAYOUTS = "FOLDER/train/CLASS/* with FOLDER/test/CLASS/* (or val), or FOLDER/CLASS/*"

Kind = Literal["training", "test", "validation"]

_CALLED: dict[Kind, str] = {
    "training": "train|training|trainval|entrenamiento|entrainement|apprentissage",
    "test": "test|testing|holdout|prueba",
    "validation": "val|valid|validation|validierung|validacion|dev|development|eval|evaluation",
}
"""What the parts of a data set are called, without accents: in English, German, Spanish and French."""
_THINGS = (
    "sets?|data|dataset|daten|datensatz|datos|donnees|split|folder|images?|imgs?|pictures?|photos?|bilder|imagenes"
)
"""What they may be called the part of."""
_PART = {kind: re.compile(rf"(?:{words})s?(?:{_THINGS})?") for kind, words in _CALLED.items()}


def part_said(name: str) -> tuple[Kind, tuple[str, ...]] | None:
    """The part of a data set that the name of a folder says, and what else it says; None where it says no part or
    several.

    >>> part_said("Training-Set"), part_said("2. testImages"), part_said("seg_val"), part_said("cat")
    (('training', ()), ('test', ()), ('validation', ('seg',)), None)
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", plain)]
    kinds = [next((kind for kind, pattern in _PART.items() if pattern.fullmatch(word)), None) for word in words]
    if len(said := [kind for kind in kinds if kind]) != 1:
        return None
    return said[0], tuple(
        word for word, kind in zip(words, kinds, strict=True) if not kind and not re.fullmatch(_THINGS, word)
    )


def parts_of(path: Path) -> tuple[Path, Path] | None:
    """The folders of the training and of the test part, or of the validation part where there is no other; None where
    the folders are classes. A class may be called "train": only folders of folders are parts, and where a name says
    more ("seg_train") only if those of the other part are the same.

    DataError: a part that is there twice or alone, and folders that can only be parts but hold no classes.
    """
    names = class_folders(path)
    said = {name: found for name in names if (found := part_said(name))}
    filled = {name: kind for name, (kind, rest) in said.items() if not rest and class_folders(path / name)}
    training, test, validation = (_called(path, kind, filled) for kind in _CALLED)
    judged = test or validation
    if training and judged:
        return _inside(training), _inside(judged)
    if training or (filled and len(filled) == len(names)):
        lacks = "neither test nor val" if training else "no train"
        if flat := [name for name, (_, rest) in said.items() if not rest and name not in filled]:
            lacks = f"no folders of classes in {first_names(flat)}"
        raise DataError(f"{path} has a folder {' and '.join(filled)} but {lacks}. The layout is {FOLDER_LAYOUTS}.")
    if pair := _pair(path, said):
        return pair
    _check_no_parts(path, names, said)
    return None


def class_folders(path: Path) -> tuple[str, ...]:
    """The names of the folders in it, in order, without hidden ones. DataError where it cannot be read."""
    try:
        return tuple(sorted(e.name for e in path.iterdir() if e.is_dir() and not is_aside(e.name)))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _called(path: Path, kind: Kind, filled: dict[str, Kind]) -> Path | None:
    """The folder of a part. DataError where it is there twice."""
    names = [name for name, own in filled.items() if own == kind]
    if len(names) > 1:
        raise DataError(
            f"{path} has {' and '.join(names)}, which are the same part of the data; leave one. {FOLDER_LAYOUTS}."
        )
    return path / names[0] if names else None


def _inside(part: Path) -> Path:
    """The folder that holds the classes of a part: archives are often unpacked to train/train/CLASS."""
    while class_folders(part) == (part.name,):
        part /= part.name
    return part


def _pair(path: Path, said: dict[str, tuple[Kind, tuple[str, ...]]]) -> tuple[Path, Path] | None:
    """The one training and the one test part whose names say the same beside that and which hold the same classes."""
    pairs = []
    for rest in {rest for _, rest in said.values()}:
        named: dict[Kind, list[str]] = {kind: [n for n, own in said.items() if own == (kind, rest)] for kind in _CALLED}
        training, judged = named["training"], named["test"] or named["validation"]
        if len(training) == len(judged) == 1:
            pair = _inside(path / training[0]), _inside(path / judged[0])
            if class_folders(pair[0]) and class_folders(pair[0]) == class_folders(pair[1]):
                pairs.append(pair)
    return pairs[0] if len(pairs) == 1 else None


def _check_no_parts(path: Path, names: tuple[str, ...], said: dict[str, tuple[Kind, tuple[str, ...]]]) -> None:
    """DataError where all names say parts, not all the same, and beside that nothing that would tell them apart."""
    if len(said) < len(names) or len({kind for kind, _ in said.values()}) < 2 or len({r for _, r in said.values()}) > 1:
        return
    flat = [name for name in names if not class_folders(path / name)]
    if flat:
        raise DataError(f"{first_names(flat)} of {path} have no folders of classes. The layout is {FOLDER_LAYOUTS}.")
    raise DataError(
        f"{first_names(names)} of {path} are parts of a data set but do not hold the same folders of classes. "
        f"The layout is {FOLDER_LAYOUTS}."
    )
