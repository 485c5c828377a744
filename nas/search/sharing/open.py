"""Opens what the workers of a run share, wherever its folder says that they meet."""

from nas.machine.folders import WorkFolder
from nas.search.search import Search
from nas.search.sharing.address import read_address
from nas.search.sharing.postgres import Database
from nas.search.sharing.shared import Folder, Shared


def open_shared(folder: WorkFolder[Search], slot: int | None = None, *, leads: bool = False) -> Shared:
    """For the worker in a slot, or one who looks on; who `leads` the run keeps the journal in its folder up to date
    where it lies elsewhere. Raises LostError where that cannot be reached."""
    address = read_address(folder)
    if address is None:
        return Folder(folder, slot)
    return Database(address, folder, works=slot is not None, leads=leads)
