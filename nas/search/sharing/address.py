"""Where the machines of a run meet: a database, the run's name there, a place for its files.

RUN/shared.json     the address, in the run folder of a search on many machines; one on a single machine has none
"""

import json
import os
import re
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from nas.errors import RunError, UserError
from nas.machine.folders import RESTORE, WorkFolder, write_atomically
from nas.stored import parsed, stored

SCHEMES = ("postgresql", "postgres")


@dataclass(frozen=True)
class Address:
    """A run by its database (a URL without its password), its name there, and where its files lie: a folder that all
    machines see, or a URL of fsspec; None where nobody but this machine trains."""

    storage: str
    run: str
    files: str | None = None

    def __post_init__(self) -> None:
        if self.files and ("@" in self.files.partition("://")[2].partition("/")[0]):
            raise UserError(f"{hidden(self.files)} must hold no credentials: they come from the environment")
        if not re.fullmatch(r"[A-Za-z0-9._=,-]{1,100}", self.run):
            raise UserError(f"a run's name must be of letters, digits and . _ = , - but got {self.run!r:.120}")

    def __str__(self) -> str:
        return f"{self.storage}#{self.run}"


def is_storage(text: str) -> bool:
    """Whether it is the URL of a database rather than a path."""
    return text.partition("://")[0] in SCHEMES and "://" in text


def without_password(url: str) -> str:
    """The URL of a database without its password, which goes into the environment of this process and its children, as
    libpq reads it there. Raises UserError for what is no such URL."""
    if not is_storage(url):
        raise UserError(f"a storage must be a URL like postgresql://user@host/database but got {hidden(url)!r:.120}")
    parts = urlsplit(url)
    if "@" in parts.path or parts.netloc.count("@") > 1:
        raise UserError(f"{hidden(url)}: signs of a password such as / and @ must be written as %2F and %40")
    user, at, host = parts.netloc.rpartition("@")
    name, colon, password = user.partition(":")
    if colon:
        os.environ["PGPASSWORD"] = unquote(password)
    kept = []
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key == "password":
            os.environ["PGPASSWORD"] = value
        elif key == "sslpassword":
            raise UserError("give the password of a TLS key by a key that has none: libpq reads it only from the URL")
        else:
            kept.append((key, value))
    query = f"?{urlencode(kept, quote_via=quote)}" if kept else ""
    return f"{parts.scheme}://{name}{at}{host}{parts.path}{query}"


def hidden(url: str) -> str:
    """The text without what may be a password in it, to be shown."""
    return re.sub(r"(://[^/@:]*):.*@", r"\1:…@", re.sub(r"(password=)[^&\s]*", r"\1…", url))


def parse_address(text: str, run: str | None = None) -> Address:
    """The address postgresql://user@host/database#RUN. Raises UserError for anything else, or where no run is named.

    >>> parse_address("postgresql://me@db/nas#first").run
    'first'
    """
    url, _, named = text.partition("#")
    if run and named and run != unquote(named):
        raise UserError(f"the address names the run {named!r} and --run names {run!r}; give one of them")
    if not (run or named):
        raise UserError(f"{hidden(url)} names no run; end it with #NAME")
    return Address(without_password(url), run or unquote(named))


def read_address(folder: WorkFolder[Any]) -> Address | None:
    """Where the machines of the run in the folder meet; None where it is on this machine alone. Raises RunError."""
    file = folder / "shared.json"
    try:
        found: Address = stored(parsed(file.read_text()), Address, "the address")
        return found
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, UserError) as error:
        raise RunError(f"{file} cannot be read: {error!s:.100}; {RESTORE}") from error


def write_address(folder: WorkFolder[Any], address: Address) -> None:
    """Notes in the folder where its machines meet, before anything else is in it."""
    folder.path.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "shared.json", json.dumps(asdict(address), indent=2) + "\n")
