"""Networks by what they are called on the command line: one that nas knows by name, or one of a pareto.json."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import RunError, UserError
from nas.network.layers import Layer, Shape
from nas.results.words import short
from nas.space.budget import parse_count
from nas.space.named import Named, check_pretrained, is_known, known_network

if TYPE_CHECKING:
    from nas.machine.folders import WorkFolder
    from nas.search.result.front import Front
    from nas.search.search import Search

FINGERPRINT = "[0-9a-f]{6,16}"
"""One, or the first six or more digits of one. What could be a number too is a count of parameters where no fingerprint
begins so."""


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
    of its networks, `select`: most parameters or a fingerprint, which in a run may be of any network it has proposed.

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

    front = read_front(path)
    network, layers = _selected(path, front, select)
    own_shape, own_classes = front.shape, front.classes
    if (shape or own_shape, classes or own_classes) != (own_shape, own_classes):
        raise UserError(
            f"the networks of {path} are for images {own_shape} of {own_classes} classes, "
            f"not {shape or own_shape} of {classes or own_classes}"
        )
    return Named(f"found {network}", layers, own_shape, own_classes)


def _selected(path: Path, front: "Front", select: str | None) -> tuple[str, Layer]:
    """Fingerprint and layers of what is selected. Raises UserError where that is none or several."""
    selected = dict[str, Layer]()
    is_count = not select or not re.fullmatch(FINGERPRINT, select) or (select.isdecimal() and len(select) < 16)
    if select and re.fullmatch(FINGERPRINT, select):
        on_front = {entry.network: entry.layers for entry in front.networks if entry.network.startswith(select)}
        selected = on_front or _proposed(path, front, select)
    if is_count and not selected:
        best = front.best(parse_count(select) if select else None)
        selected = {best.network: best.layers} if best else {}
    if len(selected) != 1:
        sizes = ", ".join(f"{entry.parameters:,} ({short(entry.network)})" for entry in front.networks) or "none"
        has = "several networks" if selected else "no network"
        raise UserError(f"{path} has {has} {select or ''}".rstrip() + f"; the parameters of its front are {sizes}")
    return next(iter(selected.items()))


def _proposed(path: Path, front: "Front", begin: str) -> dict[str, Layer]:
    """Networks that a search has proposed, on its front or not, whose fingerprints begin so. None of a pareto.json that
    lies alone."""
    from nas.search.records import read_run
    from nas.search.studies import rebuilt, space_of, studied

    if (folder := run_of(path)) is None:
        return {}
    search, records = read_run(folder)
    begun = {record.network: record for record in records if record.network.startswith(begin)}
    space = space_of(search, folder, front.shape, front.classes)
    return {
        network: rebuilt(record, studied(search, space, record.strategy, record.budget))
        for network, record in begun.items()
    }


def run_of(source: Path) -> "WorkFolder[Search] | None":
    """The run folder that is meant: itself, or the one whose pareto.json it is; None of a file that lies alone."""
    from nas.search.search import run_folder

    folder = run_folder(source if source.is_dir() else source.parent)
    is_own = source.is_dir() or source.resolve() == (folder / "pareto.json").resolve()
    return folder if is_own and folder.settings.exists() else None


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
