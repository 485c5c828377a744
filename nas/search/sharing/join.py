"""How a run comes to be on many machines: begun in a database, joined by workers, looked at from anywhere."""

import hashlib
from dataclasses import replace
from pathlib import Path

from nas.data.load import SearchData
from nas.errors import DataError, RunError, SpaceError
from nas.machine.folders import WorkFolder, placed, write_bytes_atomically
from nas.search.search import ARRAYS, Search, arrays_file
from nas.search.sharing.address import Address, read_address, write_address
from nas.search.sharing.postgres import Told, find, tell
from nas.search.sharing.session import Session
from nas.search.sharing.weights import open_store
from nas.search.studies import load_data_of
from nas.space.files import find_space, space_checksum


def adopt(folder: WorkFolder[Search], address: Address) -> None:
    """Prepares the folder of the machine that leads the run there: where the run has begun, perhaps led by another
    machine, with its settings. Raises RunError where the folder holds another run, or one of this machine alone."""
    found = read_address(folder)
    if found is None and folder.settings.exists():
        raise RunError(f"{folder.path} holds a search of this machine alone; give --out another folder")
    if found is not None and (found.storage, found.run) != (address.storage, address.run):
        raise RunError(f"{folder.path} holds the run {found}, not {address}; give --out another folder")
    session = Session(address.storage)
    try:
        session.make_tables()
        if session.ask("SELECT run FROM nas_runs WHERE run = %s", [address.run]):
            told = find(session, address)
            if told.files != address.files:
                raise RunError(f"{address} has its files at {told.files}; give --files that")
            if found is None:
                folder.enter(Search.from_json(told.settings))
        elif found is not None:
            raise RunError(f"{address.storage} no longer holds the run {address.run!r}; give --out another folder")
    finally:
        session.close()


def publish(folder: WorkFolder[Search], address: Address, search: Search, space: Path) -> None:
    """Tells the database, and the folder, of the run, and puts the data of the search among its files where they are
    one file."""
    write_address(folder, address)
    session = Session(address.storage)
    try:
        tell(session, address, Told(search.to_json(), space.read_bytes(), address.files))
    finally:
        session.close()
    data = arrays_file(folder) if arrays_file(folder).exists() else Path(search.dataset)
    if address.files and data.is_file():
        store, name = open_store(address.files, address.run), _data_name(search)
        if not store.has(name):
            store.put(name, data.read_bytes())


def join(address: Address, folder: WorkFolder[Search], dataset: str | None) -> tuple[Search, SearchData]:
    """Makes the folder one of a machine that trains for the run: with its settings, its space, its data, those that
    are given or told of or, where there are none of the name here, those among its files.

    Raises RunError where there is no such run, or its trainings could not be handed over; DataError for other data;
    SpaceError for another space.
    """
    session = Session(address.storage)
    try:
        told = find(session, address)
    finally:
        session.close()
    if told.files is None:
        raise RunError(
            f"{address} has no --files through which machines could hand over trainings; search with --files"
        )
    address = replace(address, files=told.files)
    search = Search.from_json(told.settings)
    search = replace(search, dataset=placed(dataset or search.dataset))
    folder.enter(search)
    write_address(folder, address)
    search = replace(search, space=space_here(search, told.space, folder))
    search, data = _data(search, address, folder, fetches=dataset is None)
    folder.renew(search)
    return search, data


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


def _data(search: Search, address: Address, folder: WorkFolder[Search], *, fetches: bool) -> tuple[Search, SearchData]:
    """The search with the place of its data on this machine, and the data."""
    try:
        return search, _checked(search, folder)
    except DataError as error:
        content = open_store(str(address.files), address.run).get(_data_name(search)) if fetches else None
        if content is None:
            raise DataError(f"{error}; give --dataset the place of the run's data on this machine") from error
        file = arrays_file(folder) if search.dataset == ARRAYS else folder / f"{Path(search.dataset).stem}.npz"
        write_bytes_atomically(file, content)
        search = search if search.dataset == ARRAYS else replace(search, dataset=str(file))
        return search, _checked(search, folder)


def _checked(search: Search, folder: WorkFolder[Search]) -> SearchData:
    data = load_data_of(search, folder)
    if data.checksum != search.data_checksum:
        raise DataError(f"{search.dataset} is not what the run searches on: its images or labels differ")
    return data


def _data_name(search: Search) -> str:
    return f"data/{search.data_checksum[:32]}.npz"
