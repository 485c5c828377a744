"""A real PostgreSQL for tests and benchmarks: its own data folder, its own port, as another user where we are root."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

INITIALLY = ("-E", "UTF8", "--no-sync", "--locale=C.UTF-8")


def program(name: str) -> str | None:
    """Where Debian, or the path, has it; None where it is not installed."""
    found = shutil.which(name)
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found or (str(versions[-1]) if versions else None)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@dataclass
class Server:
    """A server on this machine, which can be killed and started again."""

    folder: Path
    port: int
    address: str = "127.0.0.1"
    host: Sequence[str] = ()
    """What runs a command where it runs, as `ip netns exec NAME`."""
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Its database as --storage takes it."""
        return f"postgresql://nas@{self.address}:{self.port}/nas"

    def start(self, *settings: str) -> None:
        """Starts it, and waits until it answers."""
        ours = ("fsync=off", f"unix_socket_directories={self.folder}", f"listen_addresses={self.address}", *settings)
        command = [*self.host, *_as_postgres(), _program("postgres"), "-D", str(self.folder / "data")]
        options = ["-p", str(self.port), *(f"-c{setting}" for setting in ours)]
        ready = [*self.host, _program("pg_isready"), "-q", "-h", self.address, "-p", str(self.port), "-t", "1"]
        for _ in range(20):  # after kill -9 it may refuse while the last of the children before it is there
            with open(self.folder / "log", "ab") as log:
                self._process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=log)
            while self._process.poll() is None:
                if subprocess.run(ready).returncode == 0:
                    return
            time.sleep(0.2)
        raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        """As kill -9 does, with all its children."""
        assert self._process is not None
        pid = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
        for each in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(each, 9)
        self._process.wait()

    def run(self, statement: str, database: str = "nas") -> str:
        """What psql says."""
        place = ["-h", self.address, "-p", str(self.port), "-U", "nas", "-d", database]
        psql = [*self.host, "psql", *place, "-At", "-c", statement]
        return subprocess.run(psql, check=True, capture_output=True, text=True).stdout.strip()


def _program(name: str) -> str:
    found = program(name)
    assert found is not None
    return found


def _as_postgres() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


@contextmanager
def server(*settings: str, host: Sequence[str] = (), address: str = "127.0.0.1") -> Iterator[Server]:
    """A new server with an empty database "nas" of the role "nas", see `Server`."""
    with tempfile.TemporaryDirectory(prefix="nas-postgres-") as place:
        folder = Path(place)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        made = [*_as_postgres(), _program("initdb"), "-D", str(folder / "data"), "-U", "nas", "-A", "trust"]
        subprocess.run([*made, *INITIALLY], check=True, stdout=subprocess.DEVNULL)
        with open(folder / "data" / "pg_hba.conf", "a") as access:
            access.write("host all all 0.0.0.0/0 trust\n")
        own = Server(folder, free_port(), address, host)
        own.start(*settings)
        try:
            own.run("CREATE DATABASE nas", "postgres")
            yield own
        finally:
            own.kill()
