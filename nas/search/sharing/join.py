"""How a run comes to be on many machines: begun in a database, joined by workers, looked at from anywhere."""

import hashlib
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from nas.data.load import ARRAYS, SearchData, placed
from nas.errors import DataError, RunError, SpaceError
from nas.machine.folders import WorkFolder, cache_folder, file_lock, slug, write_bytes_atomically
from nas.search.journal import journal_file
from nas.search.search import Search, arrays_file, data_place, run_folder
from nas.search.sharing.address import Address, read_address, write_address
from nas.search.sharing.postgres import Row, find, found, write
from nas.search.sharing.session import Session
from nas.search.sharing.weights import Store
from nas.search.studies import load_data_of
from nas.space.files import find_space, space_checksum

_MARK = "run"
"""A file of the run that is there before any other: who does not see it sees another place of that name."""


def adopt(session: Session, folder: WorkFolder[Search], address: Address) -> None:
    """Prepares the folder of the machine that leads the run there: where the run has begun, perhaps led by another
    machine, with its settings. Raises RunError where the folder holds another run, or one of this machine alone."""
    known, row = read_address(folder), found(session, address.run)
    if known is None and folder.settings.exists():
        raise RunError(f"{folder.path} holds a search of this machine alone; give --out another folder")
    if known is not None and (known.storage, known.run) != (address.storage, address.run):
        raise RunError(f"{folder.path} holds the run {known}, not {address}; give --out another folder")
    if row is not None and row.files != address.files:
        raise RunError(f"{address} has its files at {row.files}; give --files that")
    if row is None and journal_file(folder).exists() and journal_file(folder).stat().st_size:
        raise RunError(f"{address.storage} no longer holds the run {address.run!r}; give --out another folder")
    write_address(folder, address)
    if row is not None and not folder.settings.exists():
        folder.enter(Search.from_json(row.settings))


def publish(session: Session, folder: WorkFolder[Search], address: Address, search: Search, space: Path) -> None:
    """Puts the data of the search among the files of the run where they are one file, and tells the database of it.
    Raises LostError where either is out of reach."""
    before = found(session, address.run)
    settings, source = search.to_json(), space.read_bytes()
    row = Row(settings, source, address.files, f"{slug(address.run)}-{uuid.uuid4().hex[:12]}")
    if before is not None:
        is_same = before.settings | {"dataset": ""} == settings | {"dataset": ""} and before.space == source
        row = replace(row, id=before.id, revision=before.revision + (not is_same))
    if row.store is not None:
        _put(row.store, folder, search)
    write(session, address, row)


def _put(store: Store, folder: WorkFolder[Search], search: Search) -> None:
    store.put(_MARK, b"")
    data = Path(data_place(search, folder))
    if data.is_file() and not store.has(_data_name(search)):
        store.put(_data_name(search), data.read_bytes())


@contextmanager
def joined(address: Address, dataset: str | None) -> Iterator[tuple[WorkFolder[Search], Search, SearchData]]:
    """A folder of this machine that trains for the run, with its settings, its space, and its data: those that are
    given or told of or, where there are none of the name here, those among its files. What is not handed over when it
    is left by an exception stays there for the next.

    Raises RunError where there is no such run, or its trainings could not be handed over; DataError for other data;
    SpaceError for another space.
    """
    with closing(Session(address.storage)) as session:
        row = find(session, address)
    if row.store is None:
        raise RunError(f"{address} has no --files through which machines hand over trainings; search with --files")
    if not row.store.has(_MARK):
        raise RunError(f"{row.files} is not what the run has its files at: mount it on this machine as on the others")
    with _scratch(row.id) as path:
        folder, search = run_folder(path), Search.from_json(row.settings)
        search = replace(search, dataset=placed(dataset or search.dataset))
        write_address(folder, replace(address, files=row.files))
        if not folder.settings.exists():
            folder.enter(search)
        search = replace(search, space=space_here(search, row.space, folder))
        search, data = _data(search, row.store, folder, fetches=dataset is None)
        folder.renew(search)
        yield folder, search, data


@contextmanager
def _scratch(name: str) -> Iterator[Path]:
    """The first folder of this machine for the run in which nobody works. It goes when all was handed over."""
    place = cache_folder() / "workers"
    place.mkdir(parents=True, exist_ok=True)
    for number in count():
        path = place / f"{name}-{slug(socket.gethostname())}-{number}"
        with file_lock(place / f"{path.name}.lock", wait=False) as held:
            if held:
                yield path
                shutil.rmtree(path, ignore_errors=True)
                return


def space_here(search: Search, source: bytes, folder: WorkFolder[Search]) -> str:
    """The space as it is here, or the file of the run, whose code is trusted as that of a run folder is."""
    try:
        file = find_space(search.space)[0]
        if space_checksum(file) == search.space_checksum:
            return search.space
    except SpaceError:
        pass
    if hashlib.sha256(source).hexdigest() != search.space_checksum:
        raise SpaceError(f"the source of space {search.space} in the storage is not that of the search")
    file = folder / "space.py"
    write_bytes_atomically(file, source)
    return f"{file}:{search.space_class}"


def _data(search: Search, store: Store, folder: WorkFolder[Search], *, fetches: bool) -> tuple[Search, SearchData]:
    """The search with the place of its data on this machine, and the data."""
    try:
        return search, load_data_of(search, folder)
    except DataError:
        content = store.get(_data_name(search)) if fetches else None
        if content is None:
            raise
        file = arrays_file(folder) if search.dataset == ARRAYS else folder / f"{search.data_name}.npz"
        write_bytes_atomically(file, content)
        search = search if search.dataset == ARRAYS else replace(search, dataset=str(file))
        return search, load_data_of(search, folder)


def _data_name(search: Search) -> str:
    return f"data/{search.data_checksum[:32]}.npz"
