"""The files below folders: without what systems put there, each folder once, links followed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.errors import DataError

SYSTEM_FOLDERS = ("@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information")
"""Folders of operating systems and storage, whose files are no data: passed over as hidden ones are."""
SYSTEM_FILES = ("thumbs.db", "desktop.ini")
"""Files of operating systems, which nobody takes for images."""


@dataclass(frozen=True)
class Below:
    """What lies below some folders: the files of each, by folder and name; the links to folders that are reached
    otherwise, which are not followed; the links that lead nowhere, which are among the files."""

    files: tuple[tuple[str, ...], ...]
    again: tuple[str, ...]
    dangling: tuple[str, ...]


def is_aside(name: str) -> bool:
    """Whether a file or folder is hidden or a system's."""
    return name.startswith(".") or name in SYSTEM_FOLDERS or name.lower() in SYSTEM_FILES


def files_below(folders: Sequence[str], *, lenient: bool = False) -> Below:
    """What lies below the folders. DataError: a folder that cannot be read, which counts as a file if `lenient`."""
    walk = _Walk(folders, lenient)
    files = tuple(walk.files(folder) for folder in folders)
    return Below(files, tuple(sorted(walk.again)), tuple(sorted(walk.dangling)))


class _Walk:
    """A walk through folders that remembers where it has been, by the real paths of folders."""

    def __init__(self, folders: Sequence[str], lenient: bool) -> None:
        self._lenient = lenient
        self._own = {os.path.realpath(folder) for folder in folders}
        self._above = {str(parent) for folder in self._own for parent in Path(folder).parents}
        self._linked: set[str] = set()
        self.again: list[str] = []
        self.dangling: list[str] = []

    def files(self, folder: str) -> tuple[str, ...]:
        """The files below one of the folders."""
        names: dict[str, list[str]] = {}
        waiting = [(folder, os.path.realpath(folder))]
        while waiting:
            here, place = waiting.pop()
            try:
                with os.scandir(here) as found:
                    entries = sorted((e for e in found if not is_aside(e.name)), key=lambda entry: entry.name)
            except OSError as error:
                if not self._lenient:
                    raise DataError(
                        f"{here} cannot be read: {error.strerror}. Make it readable or take it away."
                    ) from error
                names.setdefault(os.path.dirname(here), []).append(os.path.basename(here))
                continue
            folders = [entry for entry in entries if _is_folder(entry)]
            waiting += [(entry.path, target) for entry in folders if (target := self._target(entry, place))]
            names[here] = [entry.name for entry in entries if entry not in folders and self._is_file(entry)]
        return tuple(os.path.join(here, name) for here in sorted(names) for name in sorted(names[here]))

    def _target(self, entry: "os.DirEntry[str]", place: str) -> str:
        """The real path of a folder in `place`; "" where it is reached otherwise."""
        target = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(place, entry.name)
        if target in self._linked or (entry.is_symlink() and self._is_reached(target)):
            self.again.append(entry.path)
            return ""
        if entry.is_symlink() or place in self._linked:
            self._linked.add(target)
        return target

    def _is_reached(self, target: str) -> bool:
        """Whether it is one of the folders, holds one, or lies below one and not in a hidden folder."""
        if target in self._own or target in self._above:
            return True
        own = next((parent for parent in Path(target).parents if str(parent) in self._own), None)
        return own is not None and not any(map(is_aside, Path(target).relative_to(own).parts))

    def _is_file(self, entry: "os.DirEntry[str]") -> bool:
        """Whether it can be opened like a file, unlike a pipe; a link that leads nowhere fails then."""
        if entry.is_symlink() and not os.path.exists(entry.path):
            self.dangling.append(entry.path)
            return True
        return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()
