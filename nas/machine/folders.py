"""Folders that hold one piece of work: claimed for its settings, locked, never left with half a file in them."""

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas.errors import RunError, UserError


def claim(
    settings: Path, content: Mapping[str, Any], *, what: str, leftovers: Collection[str] = (), inner: Sequence[str] = ()
) -> None:
    """Creates the folder of the settings file with its inner folders, and writes the settings, unless it has some. What
    an interrupted claim may have left, `leftovers`, is no obstacle; anything else raises RunError, as does a place that
    cannot be written."""
    folder = settings.parent
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; give --out a folder")
    if settings.exists():
        return
    expected = {_partial(settings).name, *leftovers}
    if folder.is_dir() and any(entry.name not in expected for entry in folder.iterdir()):
        raise RunError(f"{folder} is no {what} and not empty; give --out another folder")
    try:
        for path in (folder, *(folder / name for name in inner)):
            path.mkdir(parents=True, exist_ok=True)
        write_atomically(settings, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror}; give --out another folder") from error


def refuse_other_settings(folder: Path, what: str, differences: Sequence[str]) -> None:
    """Raises RunError naming the differences, if there are any."""
    if differences:
        raise RunError(
            f"{folder} holds a {what} with other settings: {'; '.join(differences)}. "
            "Repeat its own command to continue it, or give --out another folder."
        )


def check_file(path: Path, flag: str) -> None:
    """Raises UserError where no file can be written, before the work is done that goes into it."""
    if path.is_dir() or not path.parent.is_dir():
        problem = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise UserError(f"{path} cannot be written: {problem}; give {flag} another file")


@contextmanager
def file_lock(path: Path, *, wait: bool) -> Iterator[bool]:
    """Holds the lock; without waiting, yields whether it could be had. Freed when we die."""
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def write_atomically(path: Path, text: str) -> None:
    """Replaces the file in one step: a reader sees the old text or the new, whenever we are killed."""
    partial = _partial(path)
    partial.write_text(text)
    os.replace(partial, path)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")
