"""Folders that hold one piece of work: claimed for its settings, locked, never left with half a file in them."""

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from nas.errors import RunError, UserError, in_one_line
from nas.machine.options import differences
from nas.stored import parsed

RESTORE = "restore it, or choose another folder"
"""What to do about a file of a folder of work that cannot be read."""

FORMAT = 3
"""Version of settings.json, raised when what lies in a folder of work can no longer be read as it was written."""


class Settings(Protocol):
    """What a folder can be claimed for: everything that decides what the work in it comes to."""

    what: ClassVar[str]
    """What the work is called: "search"."""

    folders: ClassVar[tuple[str, ...]]
    """Folders inside, made when it is claimed."""

    before: ClassVar[tuple[str, ...]]
    """Files that may lie there before."""

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The settings written by `to_json`. Raises ValueError, KeyError, TypeError or UserError for anything else."""


S = TypeVar("S", bound=Settings)
T = TypeVar("T")

TRIES, PAUSE = 3, 1.0
"""How often `insist` tries, and the seconds between."""


@dataclass(frozen=True)
class WorkFolder(Generic[S]):
    """A folder for one search or one training.

    DIR/settings.json    what it was claimed for: the same settings go on, others are refused
        locks/           held while somebody works there

    What else lies in it is named where it is written: `folder / "weights"`.
    """

    path: Path
    kind: type[S]

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def settings(self) -> Path:
        """The settings as JSON."""
        return self.path / "settings.json"

    def enter(self, settings: S) -> None:
        """Creates the folder for the settings or finds the same in it. Raises RunError naming what differs, or where
        the folder holds anything else or cannot be written."""
        self._claim(settings)
        if changed := dict.fromkeys(differences(self.read(), settings)):
            raise RunError(
                f"{self.path} holds a {self.kind.what} with other settings: {'; '.join(changed)}. "
                "Repeat its own command to continue it, or give --out another folder."
            )

    def renew(self, settings: S) -> None:
        """Replaces the settings. Raises RunError where they cannot be written."""
        try:
            self._write(settings)
        except OSError as error:
            raise RunError(f"{self.settings} cannot be written: {error.strerror}") from error

    def _write(self, settings: S) -> None:
        content = {"what": self.kind.what, "format": FORMAT, **settings.to_json()}
        write_atomically(self.settings, json.dumps(content, indent=2) + "\n", synced=True)

    def _claim(self, settings: S) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file; give --out a folder")
        if self.settings.exists():
            return
        inside = ("locks", *self.kind.folders)
        expected = {_partial(self.settings).name, *inside, *self.kind.before}
        if self.path.is_dir() and any(entry.name not in expected for entry in self.path.iterdir()):
            raise RunError(f"{self.path} is no folder of a {self.kind.what} and not empty; give --out another folder")
        try:
            for folder in inside:
                (self.path / folder).mkdir(parents=True, exist_ok=True)
            self._write(settings)
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror}; give --out another folder") from error

    def read(self) -> S:
        """The settings. Raises RunError where there are none, or they are of other work or another version."""
        content = read_settings(self.path)
        if content is None:
            raise RunError(f"{self.path} is no folder of a {self.kind.what}: it has no settings.json")
        if content.get("format") != FORMAT:
            raise RunError(f"{self.path} is of another version of nas; begin anew in another folder")
        if content.get("what") != self.kind.what:
            raise RunError(f"{self.path} holds a {content.get('what')}, not a {self.kind.what}")
        try:
            return self.kind.from_json(content)
        except (ValueError, KeyError, TypeError, AttributeError, UserError) as error:
            why = f"{in_one_line(error):.100}"
            raise RunError(f"{self.settings} cannot be read: {why}; {RESTORE}") from error

    @contextmanager
    def lock(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Holds the named lock of the folder; without waiting, yields whether it could be had. Freed when we die."""
        with file_lock(self.path / "locks" / f"{name}.lock", wait=wait) as held:
            yield held


def read_settings(folder: Path) -> dict[str, Any] | None:
    """What settings.json of a folder holds, None where there is none. Raises RunError where it cannot be read."""
    file = folder / "settings.json"
    try:
        content = parsed(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {in_one_line(error):.100}; {RESTORE}") from error
    if not isinstance(content, dict):
        raise RunError(f"{file} cannot be read: it is no JSON object; {RESTORE}")
    return content


def cache_folder() -> Path:
    """Where what was fetched is kept: $NAS_DATA or ~/.cache/nas."""
    return Path(os.environ.get("NAS_DATA") or Path.home() / ".cache" / "nas").expanduser()


def readable(name: str) -> str:
    r"""The name of a file as text for people and files: bytes that are no UTF-8, and halves of signs, are written out.

    >>> print(readable(os.fsdecode(b"caf\xe9")), readable("half \ud83d"))
    caf\xe9 half \ud83d
    """
    name = re.sub("[\ud800-\udc7f\udd00-\udfff]", lambda found: f"\\u{ord(found[0]):x}", name)
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def slug(text: str) -> str:
    """The text as a file name that people can read; long ones end in a hash."""
    name = re.sub(r"[^A-Za-z0-9.=-]+", "-", text).strip("-")
    return name if len(name) <= 80 else f"{name[:70]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def check_file(path: Path, flag: str, ending: str) -> None:
    """Raises UserError where no file can be written, before the work is done that goes into it, or where one lies that
    has another ending, which is something else."""
    problem = ""
    if path.is_dir():
        problem = "it is a folder"
    elif not path.parent.is_dir():
        problem = f"there is no folder {path.parent}"
    elif path.exists() and path.suffix.lower() != ending:
        problem = f"it is there and no {ending} file, and would be lost"
    if problem:
        raise UserError(f"{path} cannot be written: {problem}; give {flag} another file")


def check_no_work(path: Path, flag: str) -> None:
    """Raises UserError where the folder is itself one of work, or lies in one."""
    if (found := read_settings(path)) is not None:
        raise UserError(f"{path} holds a {found.get('what', 'piece of work')}; give {flag} another folder")
    for above in path.resolve().parents:
        with suppress(RunError):  # what is no settings.json of ours
            if "what" in (found := read_settings(above) or {}) and isinstance(found.get("format"), int):
                raise UserError(f"{path} lies in the folder of a {found['what']}; give {flag} another folder")


def numbered(folder: Path, ending: str) -> dict[int, Path]:
    """The files of a folder that are named after a number, as those of workers after their slots, in its order."""
    found = {int(file.stem): file for file in folder.glob(f"*.{ending}") if file.stem.isdecimal()}
    return dict(sorted(found.items()))


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


def insist(write: Callable[[], T]) -> T:
    """What `write` returns, which is tried `TRIES` times: for what costs more than waiting where it is lost. Raises its
    OSError."""
    for _ in range(TRIES - 1):
        try:
            return write()
        except OSError:
            time.sleep(PAUSE)
    return write()


def write_atomically(path: Path, text: str, *, synced: bool = False) -> None:
    """Replaces the file in one step: a reader sees the old text or the new, whenever we are killed; `synced`, whenever
    the power fails."""
    write_bytes_atomically(path, text.encode(errors="backslashreplace"), synced=synced)


def write_bytes_atomically(path: Path, content: bytes | memoryview, *, synced: bool = False) -> None:
    """As `write_atomically`. What cannot be written, on a full disk or elsewhere, leaves no half file: OSError, which
    names the file."""
    partial = _partial(path)
    try:
        with open(partial, "wb") as file:
            file.write(content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        error.filename = error.filename or str(path)
        raise


def cut_torn_line(path: Path) -> None:
    """Cuts off a last line that has no end: its writer was killed, and what is appended next would be lost with it."""
    with open(path, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def check_last_line(path: Path) -> None:
    """Raises ValueError where the last line has an end and is no JSON: readers may pass over it as one that is being
    written, until another follows."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        end, tail = size, b""
        while end and tail.count(b"\n") < 2:
            begin = max(0, end - 2**16)
            file.seek(begin)
            end, tail = begin, file.read(end - begin) + tail
    if tail.endswith(b"\n"):
        json.loads(tail[:-1].rpartition(b"\n")[2])


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")
