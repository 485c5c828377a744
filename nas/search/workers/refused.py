"""What workers met of settings that the space's own code makes no network of, and skipped."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.errors import Refusal, Refusals
from nas.machine.folders import WorkFolder, numbered, write_atomically
from nas.search.search import Search, worker_file
from nas.stored import parsed, stored


@dataclass
class RefusedLog:
    """The refusals of one worker, in a file named after its slot, which goes on with that of the worker before."""

    folder: WorkFolder[Search]
    slot: int
    refusals: Refusals

    def __post_init__(self) -> None:
        self._file = worker_file(self.folder, self.slot, "refused")
        self._before = _read(self._file)
        self._written: tuple[Refusal, ...] = ()

    def write(self) -> None:
        """Rewrites the file if there is something new."""
        if (told := self.refusals.told()) != self._written:
            content = [list(refusal) for refusal in _together([*self._before, *told])]
            write_atomically(self._file, json.dumps(content) + "\n")
            self._written = told


def read_refusals(folder: WorkFolder[Search]) -> list[Refusal]:
    """The refusals of all workers, the most frequent first. A setting that several of them met counts as several."""
    files = numbered(folder / "workers", "refused").values()
    return _together([refusal for file in files for refusal in _read(file)])


def _read(file: Path) -> list[Refusal]:
    """None of a file that is damaged: it is a log, which ends no work."""
    try:
        found: list[Refusal] = stored(parsed(file.read_bytes()), list[Refusal])
    except (OSError, ValueError):
        return []
    return found


def _together(refusals: Sequence[Refusal]) -> list[Refusal]:
    found: dict[str, Refusal] = {}
    for reason, settings, first in refusals:
        known = found.get(reason, Refusal(reason, 0, first))
        found[reason] = Refusal(reason, known.settings + settings, known.first)
    return sorted(found.values(), key=lambda refusal: -refusal.settings)
