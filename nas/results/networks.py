"""Networks by what they are called on the command line: one that nas knows by name, or one of a pareto.json."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from nas.errors import RunError, UserError
from nas.network.layers import Shape
from nas.results.words import short
from nas.space.budget import parse_count
from nas.space.named import Named, check_pretrained, is_known, known_network

FINGERPRINT = "[0-9a-f]{16}|(?=.*[a-f])[0-9a-f]{6,15}"
"""One, or the first six or more digits of one that cannot be read as a number. Others, which could be a number too, are
taken for one where they begin a fingerprint of the front."""


def find_network(
    name: str,
    knobs: Iterable[str] = (),
    *,
    select: str | None = None,
    shape: Shape | None = None,
    classes: int | None = None,
    pretrained: bool = False,
) -> Named:
    """The network called `name`: what `nas.space.named.known_network` takes, or a pareto.json (or run folder) and which
    of its networks, `select` (fingerprint or most parameters).

    Raises SpaceError for what is not known or does not fit images of the shape, UserError for a stored network and
    another shape or number of classes than it was made for.
    """
    knobs = tuple(knobs)
    if not is_stored(name):
        if select:
            raise UserError("--select needs a pareto.json")
        return known_network(name, knobs, shape=shape, classes=classes, pretrained=pretrained)
    if knobs:
        raise UserError("a network of a pareto.json has its own knobs; leave them out")
    found = _stored(Path(name), select, shape, classes)
    check_pretrained(name, found, pretrained)
    return found


def is_stored(name: str) -> bool:
    """Whether it is a file or folder; what nas knows wins over a folder of that name (write ./mixed for the folder)."""
    path = Path(name)
    return path.suffix == ".json" or (os.path.isdir(path) and not is_known(name))  # a name may be too long for a path


def _stored(path: Path, select: str | None, shape: Shape | None, classes: int | None) -> Named:
    from nas.search.result.front import read_front  # brings Optuna, which a training does not need

    content = read_front(path)
    front = content.networks
    begun = [entry for entry in front if select and entry.network.startswith(select)]
    if select and (re.fullmatch(FINGERPRINT, select) or (begun and len(select) >= 6)):
        selected = begun
    else:
        best = content.best(parse_count(select) if select else None)
        selected = [best] if best else []
    if len(selected) != 1:
        sizes = ", ".join(f"{entry.parameters:,} ({short(entry.network)})" for entry in front) or "none"
        has = "several networks" if selected else "no network"
        raise UserError(f"{path} has {has} {select or ''}".rstrip() + f"; the parameters of its front are {sizes}")
    own_shape, own_classes = content.shape, content.classes
    if (shape or own_shape, classes or own_classes) != (own_shape, own_classes):
        raise UserError(
            f"the networks of {path} are for images {own_shape} of {own_classes} classes, "
            f"not {shape or own_shape} of {classes or own_classes}"
        )
    return Named(f"found {selected[0].network}", selected[0].layers, own_shape, own_classes)


def stored_data(path: Path) -> tuple[str, int | None, float | None]:
    """Data set, image size and validation share of the search that a pareto.json or run folder is of. Raises RunError
    where arrays were searched that are not there."""
    from nas.data.load import ARRAYS
    from nas.search.result.front import read_front

    search = read_front(path).search
    dataset, arrays = search.dataset, (path if path.is_dir() else path.parent) / "data.npz"
    if dataset == ARRAYS and not arrays.exists():
        raise RunError(f"{path} is of a search of arrays, and there is no {arrays}; give --dataset")
    return str(arrays) if dataset == ARRAYS else dataset, search.image_size, search.validation_share
