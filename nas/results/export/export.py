"""A network to take away: a folder that needs nas no more, in the formats that are `wanted`."""

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from nas import __version__
from nas.errors import UserError
from nas.machine.folders import readable
from nas.network.folds import parameters
from nas.network.layers import Layer
from nas.network.modules.source import torch_source
from nas.results.export.card import Deployed, ModelCard
from nas.results.export.formats import FORMATS, Contents, LeftOutError, wanted
from nas.results.options import NO_MORE, FormatOptions
from nas.stored import parsed

if TYPE_CHECKING:
    from nas.results.export.measuring import Sample


@dataclass(frozen=True)
class Exported:
    """A folder that was written, by how much the programs in it differ from torch, by their titles, as shares of the
    largest score, what they take and give as they were measured, and in lines what was left out."""

    path: Path
    parameters: int
    differences: dict[str, float]
    deployed: tuple[Deployed, ...] = ()
    left_out: tuple[str, ...] = ()


def export_network(
    network: Layer,
    weights: dict[str, Tensor],
    card: ModelCard,
    to: Path,
    asked: FormatOptions = NO_MORE,
    sample: "Sample | None" = None,
) -> Exported:
    """Writes the folder, or leaves what was there: all is written and compared beside it and then moved.

    `weights` is a state_dict of `nas.network.modules.module.to_module(network)`; without a `sample` of its data set the
    network is not quantised. An earlier export is replaced. Raises UserError for a package or a program that is
    missing, a place that cannot be used or a form asked for by name that the network does not have, MismatchError if a
    program in the folder is wrong.
    """
    check_packages(asked)
    check_place(to)
    card = replace(card, commands=tuple(map(readable, card.commands)), teacher=readable(card.teacher))
    to = to.resolve()
    try:
        with _parents(to), _beside(to) as beside:
            (beside / "new").mkdir()
            exported = _write(network, weights, card, beside / "new", asked, sample)
            _move(beside, to)
    except OSError as error:
        raise UserError(f"{to} cannot be written: {error.strerror}; give --to another folder") from error
    return replace(exported, path=to)


@contextmanager
def _beside(to: Path) -> Iterator[Path]:
    """A folder beside it, gone in the end; what an export left there that was killed goes at once."""
    beside = to.with_name(f"{to.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _parents(to: Path) -> Iterator[None]:
    """The folders above it are there; those that were made for it go again where it fails."""
    made = [parent for parent in to.parents if not parent.exists()]
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for parent in made:
            with suppress(OSError):  # something else lies there by now
                parent.rmdir()
        raise


def check_packages(asked: FormatOptions = NO_MORE) -> None:
    """Raises UserError naming the packages that are missing."""
    needed = {name for written in wanted(asked) for name in written.packages}
    if missing := sorted(name for name in needed if importlib.util.find_spec(name) is None):
        names = " ".join(missing)
        raise UserError(f"nas export needs packages that are not installed; install them: pip install {names}")


def check_place(to: Path) -> None:
    """Raises UserError unless there is nothing, an empty folder, or an earlier export."""
    nearest = next(place for place in (to, *to.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise UserError(f"{nearest} is a file; give --to a folder")
    if to.is_dir() and any(to.iterdir()) and not _is_export(to):
        raise UserError(f"{to} is not empty and holds more than an earlier export; give --to another folder")


def _is_export(folder: Path) -> bool:
    """Whether a folder holds an export, of which Python may have compiled the sources, and nothing else."""
    try:
        architecture = parsed((folder / "architecture.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    is_ours = isinstance(architecture, dict) and {"schema_version", "fingerprint"} <= set(architecture)
    files = {file for written in FORMATS.values() for file in written.files}
    return is_ours and {entry.name for entry in folder.iterdir()} <= files | {"__pycache__"}


def _move(beside: Path, to: Path) -> None:
    """`beside`/new to its place; what was there goes into `beside`, where it lies between the two renames."""
    replaces = to.exists()
    if replaces:
        os.rename(to, beside / "previous")
    try:
        os.rename(beside / "new", to)
    except OSError:
        if replaces:
            os.rename(beside / "previous", to)
        raise


def _write(
    network: Layer,
    weights: dict[str, Tensor],
    card: ModelCard,
    folder: Path,
    asked: FormatOptions,
    sample: "Sample | None",
) -> Exported:
    """Every file; each program is measured when it is written, before the files that tell of it."""
    versions = {"nas": __version__, "python": platform.python_version(), "torch": version("torch")}
    for written in wanted(asked):
        versions |= written.versions(asked)
    source = torch_source(network, card.preprocessing.shape)
    contents = Contents(network, weights, card, source, versions, asked, sample)
    differences: dict[str, float] = {}
    deployed: list[Deployed] = []
    left_out: list[str] = []
    for written in wanted(asked):
        try:
            apart = written.write(replace(contents, deployed=tuple(deployed)) if written.last else contents, folder)
        except LeftOutError as error:
            left_out.append(str(error))
            continue
        if apart is not None:
            differences[written.title] = apart
        if found := written.measure(contents, folder):
            deployed.append(found)
    return Exported(folder, parameters(network), differences, tuple(deployed), tuple(left_out))
