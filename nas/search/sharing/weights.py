"""The states of trainings, by the fingerprint of the network: in the run folder, and where the machines of a run share
them, there too."""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from nas.errors import LostError, UserError, in_one_line
from nas.machine.folders import WorkFolder, write_bytes_atomically
from nas.search.search import Search, weights_file

SHARE = 0.05
"""Share of the time that is spent on sending the states of a training that goes on."""


class Weights:
    """The states in the run folder."""

    def __init__(self, folder: WorkFolder[Search]) -> None:
        self._run = folder

    def file(self, network: str) -> Path:
        """Where the state lies on this machine, once it does."""
        return weights_file(self._run, network)

    def fetch(self, network: str) -> Path:
        """As `file`, with the newest state that any machine has kept, if one has. Raises LostError."""
        return self.file(network)

    def has(self, network: str) -> bool:
        """Whether the state is there. Raises LostError."""
        return self.file(network).exists()

    def keep(self, network: str, *, last: bool) -> None:
        """The state in the file is there for all machines from now on; before the `last` of a training perhaps only
        later. Raises LostError."""

    def drop(self, network: str) -> None:
        """Deletes the state."""
        self.file(network).unlink(missing_ok=True)


class Store(Protocol):
    """Files that all machines see. Each raises LostError where they cannot be reached."""

    def get(self, name: str) -> bytes | None:
        """The content, None where there is no such file."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    def put(self, name: str, content: bytes) -> None:
        """Writes the file so that others see all of it or nothing."""

    def delete(self, name: str) -> None:
        """Deletes the file if it is there."""


class SharedWeights(Weights):
    """The states in a store, each copied into the folder of the machine that trains. `check` raises LostError where
    others may know more than we do, who then must not write."""

    def __init__(self, folder: WorkFolder[Search], store: Store, check: Callable[[], object] = lambda: None) -> None:
        super().__init__(folder)
        self._store, self._check = store, check
        self._dropped: set[str] = set()
        self._send_again = 0.0
        """When the state of a training that goes on is sent again: it takes a while."""

    def stored(self, network: str) -> str:
        """The name of the state in the store."""
        return f"weights/{network}.pt"

    def has(self, network: str) -> bool:
        """Whether it is here or there."""
        return super().has(network) or self._store.has(self.stored(network))

    def fetch(self, network: str) -> Path:
        """The file; that of the store where it holds more epochs than ours, or ours is damaged. Trainings of a network
        are all the same in a run, so that the longer one goes on with the shorter."""
        file, content = self.file(network), self._store.get(self.stored(network))
        if content is not None:
            copy = file.with_name(f"{file.name}.stored")
            write_bytes_atomically(copy, content)
            if _epochs(copy) > _epochs(file):
                os.replace(copy, file)
            copy.unlink(missing_ok=True)
        return file

    def keep(self, network: str, *, last: bool) -> None:
        """Sends the file, if that does not take too much of the time."""
        started = time.monotonic()
        if last or started >= self._send_again:
            self._check()
            self._store.put(self.stored(network), self.file(network).read_bytes())
            ended = time.monotonic()
            self._send_again = ended + (ended - started) * (1 / SHARE - 1)

    def drop(self, network: str) -> None:
        """Deletes the state here and there."""
        super().drop(network)
        if network not in self._dropped:
            self._store.delete(self.stored(network))
            self._dropped.add(network)


def _epochs(file: Path) -> int:
    """Epochs in a state; -1 where it is damaged, or there is none."""
    import torch

    from nas.machine.checkpoint import DamagedCheckpointError, read_checkpoint

    try:
        return len(read_checkpoint(file, torch.device("cpu"))[0]["epochs"])
    except (FileNotFoundError, DamagedCheckpointError):
        return -1


def open_store(place: str, run: str) -> Store:
    """The files of a run at a place: a folder that all machines see, or a URL of fsspec (s3://bucket/prefix). Raises
    UserError for what is neither."""
    if "://" not in place:
        return FolderStore(Path(place) / run)
    return RemoteStore(f"{place.rstrip('/')}/{run}")


class FolderStore:
    """A folder of a file system that all machines have mounted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> bytes | None:
        """See `Store`."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _lost(self._folder, error) from error

    def has(self, name: str) -> bool:
        """See `Store`."""
        return (self._folder / name).is_file()

    def put(self, name: str, content: bytes) -> None:
        """Under a name of its own first, so that two writers do not write one file."""
        file = self._folder / name
        own = file.with_name(f"{file.name}.{uuid.uuid4().hex}.partial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            own.write_bytes(content)
            os.replace(own, file)
        except OSError as error:
            with suppress(OSError):  # the place is out of reach, or gone
                own.unlink()
            raise _lost(self._folder, error) from error

    def delete(self, name: str) -> None:
        """See `Store`."""
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise _lost(self._folder, error) from error


_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 2}}}
}
"""What is said to the file systems of fsspec beside their own defaults: not to wait for minutes."""


class RemoteStore:
    """An object store, through fsspec, whose credentials are in the environment."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._files: Any = None

    def get(self, name: str) -> bytes | None:
        """See `Store`."""
        with _reaching(self._url):
            try:
                content: bytes = self._system().cat_file(self._at(name))
                return content
            except FileNotFoundError:
                return None

    def has(self, name: str) -> bool:
        """See `Store`."""
        with _reaching(self._url):
            found: bool = self._system().isfile(self._at(name))
            return found

    def put(self, name: str, content: bytes) -> None:
        """In one request, which makes all of it or nothing."""
        with _reaching(self._url):
            self._system().pipe_file(self._at(name), content)

    def delete(self, name: str) -> None:
        """See `Store`."""
        with _reaching(self._url), suppress(FileNotFoundError):
            self._system().rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._url}/{name}"

    def _system(self) -> Any:
        """The file system, made when it is first asked for."""
        if self._files is None:
            import fsspec

            try:
                # listings and instances are not kept: others write there too
                options = _OPTIONS.get(self._url.partition("://")[0], {})
                self._files = fsspec.url_to_fs(
                    self._url, use_listings_cache=False, skip_instance_cache=True, **options
                )[0]
            except (ImportError, ValueError) as error:
                raise UserError(
                    f"--files {self._url}: {in_one_line(error):.160}; "
                    "pip install s3fs (extra [cluster]) brings S3, fsspec's documentation names the others"
                ) from error
        return self._files


@contextmanager
def _reaching(place: str) -> Iterator[None]:
    """What keeps us from the files there is a LostError, but for what the user has to mend."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever the library of the store raises
        raise _lost(place, error) from error


def _lost(place: object, error: Exception) -> LostError:
    return LostError(f"files at {place} cannot be reached: {in_one_line(error):.200}")
