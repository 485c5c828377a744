"""The data sets that have names: a module here that sets `DATA` to a `NamedData` is one, by the name of the module.

A new one is tested by being here (tests/test_data_named.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nas.machine.registry import Registry

if TYPE_CHECKING:
    from nas.data import Part
    from nas.data.arrays import LabelledImages


@dataclass(frozen=True)
class NamedData:
    """A data set that nas knows by name.

    `meaning` says in a line what its images show, `augmentation` names what suits them. `read(part, directory,
    progress)` reads a part, from the folder of downloads if it is not embedded; `progress` shows a bar on stderr.
    """

    meaning: str
    augmentation: tuple[str, ...]
    read: "Callable[[Part, Path, bool], LabelledImages]"


DATA_SETS: Registry[NamedData] = Registry("nas.data.sets", lambda module: cast(NamedData, module.DATA))
