"""Where machines meet: addresses without passwords, and files of which others see all or nothing."""

import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import searching
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.api import search, worker
from nas.errors import LostError, RunError, UserError
from nas.machine.checkpoint import write_checkpoint
from nas.search.search import run_folder
from nas.search.sharing.address import Address, hidden, parse_address, read_address, without_password, write_address
from nas.search.sharing.weights import FolderStore, RemoteStore, SharedWeights, open_store

PASSWORDS = st.text(min_size=1).map(lambda text: f"0{text}9").filter(str.isprintable)


@given(PASSWORDS, st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_password_goes_from_the_url_into_the_environment(
    monkeypatch: pytest.MonkeyPatch, password: str, in_query: bool
) -> None:
    monkeypatch.setenv("PGPASSWORD", "another")
    safe = quote(password, safe="")
    url = (
        f"postgresql://me@db/nas?password={safe}" if in_query else f"postgresql://me:{safe}@db:5432/nas?sslmode=require"
    )
    kept = without_password(url)
    assert os.environ["PGPASSWORD"] == password
    assert kept == ("postgresql://me@db/nas" if in_query else "postgresql://me@db:5432/nas?sslmode=require")
    assert safe not in hidden(url).replace("password=", "")
    assert without_password(kept) == kept


@pytest.mark.parametrize(
    ("text", "run", "said"),
    [
        ("postgresql://db/nas", None, "names no run; end it with #NAME"),
        ("postgresql://db/nas#one", "two", "names the run 'one' and --run names 'two'"),
        ("postgresql://db/nas", "a/b", "must be of letters, digits and"),
        ("mysql://db/nas", "one", "must be a URL like postgresql://user@host/database"),
        ("runs/first", "one", "must be a URL like postgresql://user@host/database"),
        ("postgresql://me:secret@db/nas?sslpassword=x", "one", "TLS key"),
        ("postgresql://me:se/secret@db/nas", "one", "must be written as %2F"),
        ("postgresql://me:a@secret@db/nas", "one", "must be written as %2F"),
    ],
)
def test_what_is_no_address_is_told_in_one_line(text: str, run: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        parse_address(text, run)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_address_comes_back_from_the_folder_that_notes_it(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    assert read_address(folder) is None
    address = Address("postgresql:///nas?host=/run/postgresql", "one", "s3://bucket/prefix")
    write_address(folder, address)
    assert read_address(folder) == address
    (tmp_path / "shared.json").write_text('{"storage": 3}')
    with pytest.raises(RunError, match=r"shared.json cannot be read"):
        read_address(folder)


def test_credentials_are_refused_in_the_place_of_files() -> None:
    with pytest.raises(UserError, match="credentials") as refused:
        Address("postgresql://db/nas", "one", "s3://key:secret@bucket/prefix")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("wrong", [{"files": "there"}, {"workers": 0}, {"run": "one"}])
def test_what_only_many_machines_need_is_refused_without_a_storage(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is for a search with --storage"):
        search(dataset="digits", budget=1_000, out=tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_a_storage_out_of_reach_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    url = "postgresql://me:secret@127.0.0.1:1/nas?connect_timeout=2"
    done = searching.run(
        searching.command(tmp_path, tmp_path / "out", "--storage", url, "--files", str(tmp_path / "f"))
    )
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("nas: storage postgresql://me@127.0.0.1:1/nas?connect_timeout=2 cannot be reached: ")
    assert "secret" not in done.stderr
    assert not (tmp_path / "out").exists()
    with pytest.raises(LostError, match="cannot be reached"):
        worker(url, run="one")


def test_without_the_driver_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(UserError, match=r"pip install 'psycopg\[binary\]'"):
        worker("postgresql://db/nas", run="one")


def state(path: Path, epochs: int) -> None:
    write_checkpoint(
        path, {"epochs": [{"epoch": n} for n in range(epochs)], "steps": 0}, {"module": {"w": torch.ones(9)}}
    )


def machine(place: Path, store: str) -> SharedWeights:
    (place / "weights").mkdir(parents=True)
    return SharedWeights(run_folder(place), open_store(store, "one"))


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_the_longest_training_is_found_from_any_machine(kind: str, tmp_path: Path) -> None:
    store = str(tmp_path / "files") if kind == "folder" else f"memory://{tmp_path.name}"
    here, there = machine(tmp_path / "here", store), machine(tmp_path / "there", store)
    assert not here.fetch("abc").exists()
    state(here.file("abc"), 2)
    here.keep("abc", last=True)
    assert there.fetch("abc").read_bytes() == here.file("abc").read_bytes()
    state(there.file("abc"), 3)  # killed before it was sent: what is here goes before
    assert there.fetch("abc").read_bytes() != here.file("abc").read_bytes()
    there.keep("abc", last=True)
    here.file("abc").write_bytes(b"damaged")
    assert here.fetch("abc").read_bytes() == there.file("abc").read_bytes()
    here.drop("abc")
    here.drop("abc")
    assert not here.file("abc").exists()
    assert open_store(store, "one").get("weights/abc.pt") is None


def test_a_training_that_goes_on_is_not_sent_all_the_time(tmp_path: Path) -> None:
    here = machine(tmp_path / "here", str(tmp_path / "files"))
    sent = open_store(str(tmp_path / "files"), "one")
    state(here.file("abc"), 1)
    here.keep("abc", last=False)
    first = sent.get("weights/abc.pt")
    here._send_again = float("inf")
    state(here.file("abc"), 2)
    here.keep("abc", last=False)
    assert sent.get("weights/abc.pt") == first
    here.keep("abc", last=True)
    assert sent.get("weights/abc.pt") == here.file("abc").read_bytes()


def test_of_many_writers_readers_see_whole_files(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    contents = [bytes([n]) * 200_000 for n in range(4)]

    def write(content: bytes) -> None:
        for _ in range(20):
            store.put("x", content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert store.get("x") in (None, *contents)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_files_out_of_reach_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LostError, match=r"files at .* cannot be reached: FileExistsError"):
        FolderStore(tmp_path / "file").put("x", b"")
    with pytest.raises(UserError, match="nosuch"):
        RemoteStore("nosuch://bucket").get("x")
