"""A run on many machines: its journal in a table of PostgreSQL, its turns and leases as locks of a session there."""

import json
import random
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from nas import __version__
from nas.errors import LostError, RunError
from nas.machine.folders import WorkFolder, cut_torn_line
from nas.search.journal import RunStorage, journal_file
from nas.search.search import Search
from nas.search.sharing.address import Address
from nas.search.sharing.session import FORMAT, Session
from nas.search.sharing.shared import Shared
from nas.search.sharing.weights import SharedWeights, Store, Weights, open_store

_CLAIM, _LEAD, _HAND_OUT = 1, 2, 3
"""Locks of a run beside the leases, which are larger numbers."""

_FIRST_LEASE, _LAST_LEASE = 1_000, 2**31 - 1

BEAT = 30.0
"""Seconds between two signs of life of a worker that trains."""

STUCK = 300.0
"""Seconds in which a worker whose turn it is says nothing to the database, after which it is taken to hang."""

_APPEND = """
WITH longer AS (UPDATE nas_runs SET lines = lines + %s WHERE run = %s RETURNING run, lines - %s AS before)
INSERT INTO nas_journal SELECT run, before + place - 1, line
FROM longer, unnest(string_to_array(%s, E'\\n')) WITH ORDINALITY AS new (line, place)
RETURNING n
"""

_LEASES = """
SELECT objid::bigint, pid FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid = %s
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

_END_HUNG = f"""
SELECT pg_terminate_backend(held.pid) FROM ({_LEASES}) AS held (lock, pid) JOIN pg_stat_activity USING (pid)
WHERE state <> 'active' AND now() - state_change > make_interval(secs => CASE WHEN lock = {_CLAIM} THEN %s ELSE %s END)
  AND lock NOT IN ({_LEAD}, {_HAND_OUT})
"""


@dataclass(frozen=True)
class Row:
    """What the database holds of a run besides its journal: its settings, the source of its space, where its files lie,
    a name that no other run has had, how often the settings have changed, and pareto.json as it was last written."""

    settings: dict[str, Any]
    space: bytes
    files: str | None
    id: str
    revision: int = 0
    front: str | None = None

    @property
    def store(self) -> Store | None:
        """Its files."""
        return open_store(self.files, self.id) if self.files else None


class Lines(BaseJournalBackend):
    """The journal as lines of a table. One statement appends, and the row of the run, which it changes, puts in order
    those who do: numbers have no gaps, and are those of the order in which lines became visible.

    `copy`: a journal file that is kept as long as the table, as far as it is read here: `read` lines of the table,
    `copied` ones of the file.
    """

    def __init__(self, session: Session, run: str, copy: Path | None = None) -> None:
        self._session, self._run, self._copy = session, run, copy
        self.copied = self.read = 0
        if copy and copy.exists():
            self._count(copy)

    def _count(self, copy: Path) -> None:
        cut_torn_line(copy)
        self.copied = copy.read_bytes().count(b"\n")

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """See `optuna.storages.journal.BaseJournalBackend`."""
        rows = self._session.ask(
            "SELECT line FROM nas_journal WHERE run = %s AND n >= %s ORDER BY n", [self._run, log_number_from]
        )
        lines = [line for (line,) in rows]
        self.read = log_number_from + len(lines)
        if self._copy and (new := lines[max(0, self.copied - log_number_from) :]):
            try:
                with open(self._copy, "a") as file:
                    file.writelines(f"{line}\n" for line in new)
                self.copied += len(new)
            except BaseException:  # Ctrl-C too, after which a search may go on with what is here
                self._count(self._copy)
                raise
        return map(json.loads, lines)

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """See `optuna.storages.journal.BaseJournalBackend`."""
        lines = [json.dumps(log, separators=(",", ":")) for log in logs]
        if len(self._session.ask(_APPEND, [len(lines), self._run, len(lines), "\n".join(lines)])) != len(lines):
            raise RunError(f"the storage no longer holds the run {self._run!r}")


class Database(Shared):
    """A run in a database. A lease is a number drawn at random, a lock of the session, which also writes our lines: who
    has lost the session can neither hold the lease nor write."""

    polls = 1.0

    def __init__(self, address: Address, folder: WorkFolder[Search], *, works: bool, leads: bool = False) -> None:
        self.session = Session(address.storage)
        try:
            self._begin(address, folder, works=works, leads=leads)
        except BaseException:
            self.session.close()
            raise

    def _begin(self, address: Address, folder: WorkFolder[Search], *, works: bool, leads: bool) -> None:
        row = find(self.session, address)
        self._revision = row.revision
        self.run, self._beats_again = address.run, 0.0
        self._locks = locks_of(self.session, address.run)
        self.lease = self._lease() if works else None
        self.store = row.store
        self.weights = SharedWeights(folder, self.store, self.check) if self.store else Weights(folder)
        copy = journal_file(folder) if leads else None
        lines = Lines(self.session, address.run, copy)
        self.storage = RunStorage(lines)
        if lines.copied > lines.read:
            raise RunError(
                f"{copy} holds {lines.copied} lines, and {address} only {lines.read}: the storage has lost some; "
                "restore it, or move the file away"
            )

    def _lease(self) -> int:
        while True:
            lease = random.SystemRandom().randint(_FIRST_LEASE, _LAST_LEASE)
            if self._try(lease):
                return lease

    def _try(self, lock: int) -> bool:
        had: bool = self.session.ask("SELECT pg_try_advisory_lock(%s, %s)", [self._locks, lock])[0][0]
        return had

    def _free(self, lock: int) -> None:
        self.session.ask("SELECT pg_advisory_unlock(%s, %s)", [self._locks, lock])

    @contextmanager
    def claiming(self, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Under a lock of the session."""
        if not self._try(_CLAIM):
            waiting()
            self.session.ask("SELECT pg_advisory_lock(%s, %s)", [self._locks, _CLAIM])
        try:
            self._check_revision()
            yield
        except LostError:  # and the lock with it
            raise
        except BaseException:
            with suppress(LostError):
                self._free(_CLAIM)
            raise
        self._free(_CLAIM)

    def _check_revision(self) -> None:
        rows = self.session.ask("SELECT revision FROM nas_runs WHERE run = %s", [self.run])
        if rows != [(self._revision,)]:
            raise RunError(f"the search {self.run!r} has changed since this machine joined it; join again")

    def check(self) -> None:
        """Raises LostError where the lease is lost: what we know may be older than what others do."""
        self.session.ask("SELECT 1")

    def alive(self, leases: Collection[int]) -> set[int]:
        """Those that are locked."""
        if not leases:
            return set()
        return {lease for lease, _ in self.session.ask(_LEASES, [self._locks])} & set(leases)

    def hands_out(self) -> bool:
        """Whether trainings are handed out beside the search (see `handing_out`)."""
        return any(lock == _HAND_OUT for lock, _ in self.session.ask(_LEASES, [self._locks]))

    @contextmanager
    def handing_out(self) -> Iterator[None]:
        """Trainings are handed out meanwhile, so that workers stay."""
        self.session.ask("SELECT pg_advisory_lock_shared(%s, %s)", [self._locks, _HAND_OUT])
        try:
            yield
        finally:
            with suppress(LostError):
                self.session.ask("SELECT pg_advisory_unlock_shared(%s, %s)", [self._locks, _HAND_OUT])

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Under a lock of the session."""
        had = self._try(_LEAD)
        try:
            yield had
        finally:
            if had:
                with suppress(LostError):
                    self._free(_LEAD)

    def beat(self) -> None:
        """One statement from time to time."""
        now = time.monotonic()
        if now >= self._beats_again:
            self._beats_again = now + BEAT
            with suppress(LostError):
                self.check()

    def end_hung(self, seconds: float) -> None:
        """Ends the sessions of workers that said nothing for so long."""
        self.session.ask(_END_HUNG, [self._locks, STUCK, seconds])

    def show(self, front: str) -> None:
        """Keeps it beside the journal."""
        self.session.ask("UPDATE nas_runs SET front = %s WHERE run = %s", [front, self.run])

    def close(self) -> None:
        """Ends the session."""
        self.session.close()


def locks_of(session: Session, run: str) -> int:
    """The key under which the locks of the run are, in whatever schema its tables lie."""
    table = session.ask("SELECT 'nas_runs'::regclass::oid::bigint")[0][0]
    return zlib.crc32(f"{table}/{run}".encode()) % 2**31


@contextmanager
def leading(address: Address) -> Iterator[Session]:
    """A session in which nobody else begins the run, or leads it. Raises RunError where another does."""
    with closing(Session(address.storage)) as session:
        session.make_tables()
        if not session.ask("SELECT pg_try_advisory_lock(%s, %s)", [locks_of(session, address.run), _LEAD])[0][0]:
            raise RunError(f"another machine leads {address}; wait for it, or give another name")
        yield session


def found(session: Session, run: str) -> Row | None:
    """What is told of the run, None where there is none. Raises RunError where it is of another version of nas."""
    if session.ask("SELECT to_regclass('nas_runs') IS NULL")[0][0]:
        return None
    rows = session.ask(
        "SELECT format, nas, settings, space, files, id, revision, front FROM nas_runs WHERE run = %s", [run]
    )
    if not rows:
        return None
    version, of_nas, settings, space, *rest = rows[0]
    if (version, of_nas) != (FORMAT, __version__):
        raise RunError(f"run {run!r} is of nas {of_nas}, and this is nas {__version__}; use that one")
    return Row(json.loads(settings), bytes(space), *rest)


def find(session: Session, address: Address) -> Row:
    """As `found`. Raises RunError where there is no such run."""
    row = found(session, address.run)
    if row is None:
        raise RunError(f"{address.storage} holds no run {address.run!r}; it holds {', '.join(runs(session)) or 'none'}")
    return row


def runs(session: Session) -> list[str]:
    """The names of the runs in the database."""
    if session.ask("SELECT to_regclass('nas_runs') IS NULL")[0][0]:
        return []
    return [name for (name,) in session.ask("SELECT run FROM nas_runs ORDER BY run")]


def write(session: Session, address: Address, row: Row) -> None:
    """Writes what is told of the run but its front, which begins with that if it is new."""
    session.ask(
        "INSERT INTO nas_runs (run, id, revision, format, nas, settings, space, files) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (run) DO UPDATE "
        "SET revision = excluded.revision, settings = excluded.settings, space = excluded.space",
        [address.run, row.id, row.revision, FORMAT, __version__, json.dumps(row.settings), row.space, row.files],
    )
