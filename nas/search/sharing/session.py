"""A session with PostgreSQL: one connection, for as long as it lasts. What is locked in it is free when it ends."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nas.errors import LostError, RunError, UserError
from nas.search.sharing.address import hidden

if TYPE_CHECKING:
    import psycopg

FORMAT = 1
"""Version of the tables, raised when they can no longer be read as they were written."""

LIVELINESS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""How soon a cable that is cut is noticed on this side, in seconds and milliseconds. Linux waits for hours."""

_SETTINGS = """
SELECT set_config(name, value, false) FROM pg_settings JOIN (VALUES
    ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'),
    ('tcp_user_timeout', '10000'), ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_session_timeout', '0')
) AS own (name, value) USING (name)
"""
"""The server notices as soon, and gives up nobody who waits for a turn or trains for hours, whatever a role says.
Versions before 14 have no `idle_session_timeout`."""

_TABLES = """
CREATE TABLE IF NOT EXISTS nas_runs (
    run text PRIMARY KEY, id text NOT NULL, revision int NOT NULL DEFAULT 0, format int NOT NULL,
    lines bigint NOT NULL DEFAULT 0, nas text NOT NULL, settings text NOT NULL, space bytea NOT NULL,
    files text, front text);
CREATE TABLE IF NOT EXISTS nas_journal (
    run text NOT NULL REFERENCES nas_runs ON DELETE CASCADE, n bigint NOT NULL, line text NOT NULL,
    PRIMARY KEY (run, n));
CREATE TABLE IF NOT EXISTS nas_trainings (
    run text NOT NULL REFERENCES nas_runs ON DELETE CASCADE, name text NOT NULL, settings text NOT NULL,
    state text NOT NULL, lease bigint, deaths int NOT NULL DEFAULT 0, metrics text NOT NULL DEFAULT '',
    failure text NOT NULL DEFAULT '', PRIMARY KEY (run, name));
"""

_MAKING = 0x6E6173
"""Key of the lock under which the tables are made."""


class Session:
    """A connection that is never opened again: who loses it loses what it holds, and so cannot write what another has
    taken over. `statements` counts those that were sent.

    Raises UserError for what cannot be used, LostError where the server cannot be reached now, which a later try may.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.statements = 0
        self._connection = _connect(url, autocommit=True)
        try:
            self.ask(_SETTINGS)
            self._check_is_direct()
        except BaseException:
            self._connection.close()
            raise

    def ask(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that the statement returns."""
        self.statements += 1
        with _out_of_reach(self.url):
            cursor = self._connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Ends the session, and frees what it holds."""
        self._connection.close()

    def make_tables(self) -> None:
        """Makes the tables where there are none. Raises RunError without the right to."""
        if self.ask("SELECT to_regclass('nas_runs') IS NULL OR to_regclass('nas_trainings') IS NULL")[0][0]:
            self.ask("SELECT pg_advisory_lock(%s)", [_MAKING])
            try:
                for statement in _TABLES.split(";"):
                    if statement.strip():
                        self.ask(statement)
            finally:
                self.ask("SELECT pg_advisory_unlock(%s)", [_MAKING])

    def _check_is_direct(self) -> None:
        """Raises UserError where a pooler gives the server's session to others between two statements: locks would be
        theirs."""
        own = self.process()
        if own == self._connection.info.backend_pid:
            return
        with _connect(self.url, autocommit=False) as other, _out_of_reach(self.url):
            rows = other.execute("SELECT pg_backend_pid()").fetchall()
            is_shared = rows[0][0] == own or self.process() != own
        if is_shared:
            raise UserError(
                f"{hidden(self.url)} leads to a pooler that shares sessions between clients (PgBouncer in transaction "
                "mode): leases need sessions of their own; give the address of PostgreSQL itself"
            )

    def process(self) -> int:
        """The number of the server's process that serves us."""
        process: int = self.ask("SELECT pg_backend_pid()")[0][0]
        return process


def check_package() -> None:
    """Raises UserError where the driver of PostgreSQL is not installed."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--storage needs psycopg, which is not installed: pip install 'psycopg[binary]' (extra [cluster])"
        ) from error


def _connect(url: str, *, autocommit: bool) -> "psycopg.Connection[Any]":
    check_package()
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise UserError(f"{hidden(url)} is no URL of a database: {_words(error)}") from error
    own = LIVELINESS | {"application_name": "nas", "client_encoding": "utf8"}  # else SQL_ASCII is read as bytes
    options: Any = {name: value for name, value in own.items() if name not in given}
    with _out_of_reach(url):
        return psycopg.connect(url, autocommit=autocommit, **options)


_NOT_NOW = ("25006", "55000", "57P03")  # of a standby that takes over, and only reads at first


@contextmanager
def _out_of_reach(url: str) -> Iterator[None]:
    import psycopg

    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise LostError(f"storage {hidden(url)} cannot be reached: {_words(error)}") from error
    except psycopg.Error as error:
        if error.sqlstate in _NOT_NOW:
            raise LostError(f"storage {hidden(url)} is not ready: {_words(error)}") from error
        raise RunError(f"storage {hidden(url)} refuses: {_words(error)}") from error


def _words(error: Exception) -> str:
    return f"{' '.join(str(error).split()):.200}"
