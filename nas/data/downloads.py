"""Data sets that torchvision downloads on first use."""

import contextlib
import http.client
import io
import socket
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.data import Part
from nas.data.arrays import LabelledImages, labelled_images
from nas.errors import DataError
from nas.machine.folders import file_lock

SILENCE_SECONDS = 60  # a download that sends nothing for so long has failed


@dataclass(frozen=True)
class Download:
    """A data set of torchvision: our name for it and that of its class there, and where in the folder of downloads its
    files lie, or the archive that holds them. `damaged` finds unpacked files that torchvision takes for whole though
    they are not, which it would never repair."""

    name: str
    torchvision: str
    place: str
    damaged: Callable[[Path], list[Path]] = lambda directory: []

    def read(self, part: Part, directory: Path, progress: bool) -> LabelledImages:
        """The training or the test part, read from `directory`, where it is downloaded first if it is not there intact;
        one process downloads at a time and the others wait for it. `progress` shows a bar on stderr. DataError: it is
        not there and cannot be downloaded.
        """
        found = self._on_disk(part, directory)
        if found is None:
            found = self._fetched(part, directory, progress)
        return labelled_images(
            np.asarray(found.data),
            np.asarray(found.targets),
            tuple(found.classes),
            x_name=f"the {part} part of {self.name}",
            y_name=f"the labels of {self.name}",
        )

    def _loaded(self, part: Part, directory: Path, download: bool) -> Any:
        import torchvision.datasets

        kind = getattr(torchvision.datasets, self.torchvision)
        return kind(directory, train=part == "train", download=download)

    def _on_disk(self, part: Part, directory: Path) -> Any:
        """The data set as torchvision loads it, or None where it is missing or damaged."""
        if self.damaged(directory):
            return None
        try:
            return self._loaded(part, directory, download=False)
        except (RuntimeError, OSError):
            return None

    def _fetched(self, part: Part, directory: Path, progress: bool) -> Any:
        """As another process has left it that downloads it too, or downloaded."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with file_lock(directory / ".download.lock", wait=True):
                return self._on_disk(part, directory) or self._downloaded(part, directory, progress)
        except (OSError, RuntimeError, EOFError, http.client.HTTPException, tarfile.TarError) as error:
            reason, there = " ".join(str(error).split()).rstrip("."), directory / self.place
            missing = f"{self.name} is not in {directory}"
            found = f"{there} is damaged: it is not the published file" if there.is_file() else missing
            raise DataError(
                f"{found} and cannot be downloaded: {reason}. Put its files there by hand ({there}), or give --dataset "
                "a .npz file or an image folder, or --dataset digits."
            ) from error

    def _downloaded(self, part: Part, directory: Path, progress: bool) -> Any:
        """torchvision has no time limit and writes to stdout: it gets one, and progress goes to stderr if wanted."""
        for file in self.damaged(directory):
            file.unlink()
        people, before = sys.stderr if progress else io.StringIO(), socket.getdefaulttimeout()
        socket.setdefaulttimeout(SILENCE_SECONDS)
        try:
            with contextlib.redirect_stdout(people), contextlib.redirect_stderr(people), _unpacked_within():
                return self._loaded(part, directory, download=True)
        finally:
            socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _unpacked_within() -> Iterator[None]:
    """Whoever unpacks an archive meanwhile and names no filter, as torchvision, has Python's for data: no name in it
    leads out of the folder. Some 3.11 have none."""
    if not hasattr(tarfile, "data_filter"):
        yield
        return
    before = vars(tarfile.TarFile).get("extraction_filter")
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before
