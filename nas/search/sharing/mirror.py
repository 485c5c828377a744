"""A run by its address, as a folder of this machine that is brought up to date whenever it is asked for."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nas.machine.folders import cache_folder, slug, write_atomically
from nas.search.journal import RunStorage, journal_file
from nas.search.result.front import read_front
from nas.search.search import Search, run_folder
from nas.search.sharing.address import Address, is_storage, parse_address, without_password, write_address
from nas.search.sharing.join import space_here
from nas.search.sharing.postgres import Lines, find, runs
from nas.search.sharing.session import Session
from nas.search.sharing.weights import SharedWeights, open_store


def at_hand(run: str | Path, *, weights: bool = False) -> Path:
    """The folder of a run, which may be given by its address, postgresql://USER@HOST/DATABASE#RUN; with the weights of
    its front where they are asked for. A path is returned as it is.

    Raises RunError where there is no such run, LostError where its storage, or its files, cannot be reached.
    """
    if not is_storage(str(run)):
        return Path(run)
    address = parse_address(str(run))
    folder = run_folder(cache_folder() / "runs" / slug(str(address)))
    session = Session(address.storage)
    try:
        told = find(session, address)
        address, search = replace(address, files=told.files), Search.from_json(told.settings)
        if folder.settings.exists():
            search = replace(search, dataset=folder.read().dataset)  # where it was found on this machine
            folder.renew(search)
        folder.enter(search)
        folder.renew(replace(search, space=space_here(search, told.space, folder)))
        write_address(folder, address)
        RunStorage(Lines(session, address.run, journal_file(folder)))  # which reads them all
    finally:
        session.close()
    if told.front is not None:
        write_atomically(folder / "pareto.json", told.front)
        if weights and address.files:
            _fetch(folder.path, address)
    return folder.path


def _fetch(run: Path, address: Address) -> None:
    """The weights of the front, each once."""
    weights = SharedWeights(run_folder(run), open_store(str(address.files), address.run))
    for network in read_front(run).networks:
        if not weights.file(network.network).exists():
            weights.fetch(network.network)


def all_at_hand(storage: str) -> Sequence[Path]:
    """The folders of every run in a database, see `at_hand`."""
    url = without_password(storage)
    session = Session(url)
    try:
        names = runs(session)
    finally:
        session.close()
    return [at_hand(f"{url}#{name}") for name in names]
