"""A run by its address, as a folder of this machine that is brought up to date whenever it is asked for."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from nas.machine.folders import WorkFolder, cache_folder, write_atomically
from nas.search.journal import journal_file
from nas.search.result.front import read_front
from nas.search.search import Search, run_folder
from nas.search.sharing.address import Address, is_storage, parse_address, without_password, write_address
from nas.search.sharing.join import space_here
from nas.search.sharing.postgres import Lines, Row, find, runs
from nas.search.sharing.session import Session
from nas.search.sharing.weights import SharedWeights, Store


def at_hand(run: str | Path, *, weights: bool = False) -> Path:
    """The folder of a run, which may be given by its address, postgresql://USER@HOST/DATABASE#RUN; with the weights of
    its front where they are asked for. A path is returned as it is.

    Raises RunError where there is no such run, LostError where its storage, or its files, cannot be reached.
    """
    if not is_storage(str(run)):
        return Path(run)
    address = parse_address(str(run))
    with closing(Session(address.storage)) as session:
        row = find(session, address)
        folder = run_folder(cache_folder() / "runs" / row.id)
        write_address(folder, replace(address, files=row.files))
        (folder / "locks").mkdir(exist_ok=True)
        with folder.lock("mirror", wait=True):
            _bring_up_to_date(folder, session, address, row)
            if weights and row.store and row.front:
                _fetch(folder, row.store)
    return folder.path


def _bring_up_to_date(folder: WorkFolder[Search], session: Session, address: Address, row: Row) -> None:
    search = Search.from_json(row.settings)
    if folder.settings.exists():
        search = replace(search, dataset=folder.read().dataset)  # where it was found on this machine
    else:
        folder.enter(search)
    folder.renew(replace(search, space=space_here(search, row.space, folder)))
    for _ in Lines(session, address.run, journal_file(folder)).read_logs(0):
        pass  # which copies them
    if row.front is not None:
        write_atomically(folder / "pareto.json", row.front)


def _fetch(folder: WorkFolder[Search], store: Store) -> None:
    """The weights of the front, each once."""
    weights = SharedWeights(folder, store)
    for network in read_front(folder.path).networks:
        if not weights.file(network.network).exists():
            weights.fetch(network.network)


def addresses(storage: str) -> Sequence[str]:
    """The addresses of every run in a database."""
    url = without_password(storage)
    with closing(Session(url)) as session:
        return [f"{url}#{name}" for name in runs(session)]
