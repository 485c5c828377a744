"""Searches on many machines, here processes that meet in a real PostgreSQL: the same results, whoever dies."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import searching
from postgres import Server, free_port, program, server
from processes import children, kill, wait_for

from nas import RunError
from nas.api import confirm, search, worker
from nas.cli.main import build_parser
from nas.errors import LostError, UserError
from nas.search.journal import at_one_moment, open_study, written_together
from nas.search.records import read_run
from nas.search.search import run_folder
from nas.search.sharing.address import Address
from nas.search.sharing.mirror import at_hand
from nas.search.sharing.postgres import Database, Lines, leading
from nas.search.sharing.session import Session

CHECKOUT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    program("initdb") is None, reason="PostgreSQL is not installed: nothing of searches on many machines is tested"
)


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install '.[cluster]'")
    with server("max_connections=40") as started:
        yield started


@pytest.fixture(autouse=True)
def _kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What machines keep of runs lies in the folder of the test."""
    monkeypatch.setenv("NAS_DATA", str(tmp_path / "cache"))


def shared(folder: Path, database: Server, out: Path, *flags: str, trials: int = 6, epochs: int = 2) -> list[str]:
    """A search that others can join."""
    meeting = ["--storage", database.url, "--files", str(folder / "files")]
    return searching.command(folder, out, *meeting, "--no-baselines", *flags, trials=trials, epochs=epochs)


def joining(database: Server, run: str, *flags: str) -> list[str]:
    return [sys.executable, "-m", "nas.cli", "worker", database.url, "--run", run, "--device", "cpu", *flags]


NAS = [sys.executable, "-m", "nas.cli"]
CONFIRM = [*NAS, "confirm", "--device", "cpu"]
CONFIRM += ["--epochs", "4", "--seeds", "2", "--top", "2"]


@pytest.fixture(params=["s3", pytest.param("folder", marks=pytest.mark.slow)])
def files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place for the files of a run: a folder, or a bucket of a real S3 server on this machine."""
    if request.param == "folder":
        yield str(tmp_path / "files")
        return
    port = free_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "topsecret")
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as moto:
        wait_for(lambda: listens(port))
        s3fs = pytest.importorskip("s3fs")
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("bucket")
        yield "s3://bucket/searches"
        moto.kill()


def listens(port: int) -> bool:
    with socket.socket() as asks:
        return asks.connect_ex(("127.0.0.1", port)) == 0


def test_a_run_comes_to_the_same_wherever_it_is_kept_and_whoever_goes_on(
    tmp_path: Path, database: Server, files: str
) -> None:
    """Begun on one machine, which is killed, ended on another that leads and trains from then on."""
    name = "bucket" if files.startswith("s3") else "folder"
    flags = ("--workers", "1", "--stop-threshold", "0.3", "--audit", "0.3", "--no-baselines")
    meeting = ("--storage", database.url, "--files", files)
    alone = searching.run(searching.command(tmp_path, tmp_path / "alone", *flags, trials=16, epochs=4))
    assert alone.returncode == 0, alone.stderr
    here, there = tmp_path / "here" / name, tmp_path / "there" / name
    first = subprocess.Popen(
        searching.command(tmp_path, here, *flags, *meeting, trials=16, epochs=4), stderr=subprocess.DEVNULL
    )
    searching.wait_for_trials(here, 2)
    for victim in (*children(first.pid), first.pid):
        kill(victim)
    first.wait()
    last = searching.run(searching.command(tmp_path, there, *flags, *meeting, trials=16, epochs=4))
    assert last.returncode == 0, last.stderr
    assert "continuing after" in last.stderr, "the search was over before it was killed: it proves nothing"
    assert (there / "pareto.json").read_bytes() == (tmp_path / "alone" / "pareto.json").read_bytes()
    rows = database.run(f"SELECT line FROM nas_journal WHERE run = '{name}' ORDER BY n").splitlines()
    assert (there / "journal.log").read_text().splitlines() == rows
    assert {file.name for file in (there / "weights").iterdir()} >= {
        f"{entry['network']}.pt" for entry in searching.result(there)["front"]
    }
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        assert b"topsecret" not in file.read_bytes()


def test_machines_join_die_and_leave_and_nothing_is_lost_or_told_twice(tmp_path: Path, database: Server) -> None:
    """One leads and trains nothing. A worker's whole machine is killed, another is asked to leave, a third ends."""
    lead = subprocess.Popen(
        shared(tmp_path, database, tmp_path / "out" / "many", "--workers", "0", trials=30, epochs=3),
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: (tmp_path / "out" / "many" / "pareto.json").exists())
    dies = subprocess.Popen(joining(database, "many", "--workers", "1"), stderr=subprocess.DEVNULL)
    searching.wait_for_trials(tmp_path / "out" / "many", 1)
    for victim in (dies.pid, *children(dies.pid)):
        kill(victim)
    dies.wait()
    leaves = subprocess.Popen(joining(database, "many", "--workers", "1"), stderr=subprocess.PIPE, text=True)
    assert leaves.stderr is not None
    assert "searching data.npz with 1 worker" in leaves.stderr.readline()
    leaves.stderr.readline()  # it is at work
    leaves.send_signal(signal.SIGTERM)
    assert "left; others" in leaves.communicate(timeout=120)[1]
    assert leaves.returncode == 130
    ends = searching.run(joining(database, "many", "--workers", "2"))
    assert (ends.returncode, ends.stderr.splitlines()[-1]) == (0, "nothing is left to do")
    _, said = lead.communicate(timeout=120)
    assert lead.returncode == 0, said
    counts = searching.result(tmp_path / "out" / "many")["counts"]
    assert (counts["proposed"], counts["failed"]) == (30, 0)
    assert counts["trained"] + counts["replayed"] + counts["stopped"] == 30
    told = [json.loads(line) for line in (tmp_path / "out" / "many" / "journal.log").read_text().splitlines()]
    values = [line["trial_id"] for line in told if line["op_code"] == 6 and line.get("state") == 1]
    assert len(values) == len(set(values))


@pytest.mark.slow
def test_the_page_on_many_machines_works_when_pasted(
    tmp_path: Path, database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One machine leads, a job of SLURM trains, and the run is looked at from anywhere by its address."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "nas").write_text(f'#!/bin/sh\nexec {sys.executable} -m nas.cli "$@"\n')
    (programs / "nas").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    page = (CHECKOUT / "docs" / "many-machines.md").read_text()
    page = page.replace("postgresql://nas@db.example.org/nas", database.url).replace(
        "/shared/nas", str(tmp_path / "files")
    )
    leads, joins, looks = re.findall(r"```sh\n(nas .*?)```", page, re.DOTALL)
    leader = subprocess.Popen(["bash", "-ec", leads], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (tmp_path / "runs" / "second" / "pareto.json").exists())
    monkeypatch.setenv("NAS_ADDRESS", f"{database.url}#second")
    job = subprocess.run(["bash", str(CHECKOUT / "examples" / "slurm.sbatch")], capture_output=True, text=True)
    assert (job.returncode, job.stderr.splitlines()[-1]) == (0, "nothing is left to do")
    said = leader.communicate(timeout=60)[1]
    assert leader.returncode == 0, said
    done = subprocess.run(["bash", "-ec", joins + looks], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "second.html").stat().st_size > 10_000
    assert (tmp_path / "second-model" / "2000" / "model.onnx").exists()
    far, near = at_hand(f"{database.url}#second"), tmp_path / "runs" / "second"
    assert (far / "pareto.json").read_bytes() == (near / "pareto.json").read_bytes()
    assert read_run(run_folder(far))[1] == read_run(run_folder(near))[1]


@pytest.mark.slow
def test_a_confirmation_is_trained_by_whoever_works_for_the_run(tmp_path: Path, database: Server) -> None:
    """One hands out and tests, a machine that is killed and one that comes later train; one machine alone gets the
    same."""
    run, copy = tmp_path / "confirmed", tmp_path / "copy"
    flags = ("--strategies", "random", "--workers", "1")
    done = searching.run(shared(tmp_path, database, run, *flags, trials=3, epochs=1))
    assert done.returncode == 0, done.stderr
    shutil.copytree(run, copy)
    (copy / "shared.json").unlink()
    hands_out = subprocess.Popen([*CONFIRM, "--workers", "0", str(run)], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: database.run("SELECT count(*) FROM nas_trainings WHERE run = 'confirmed'") != "0")
    dies = subprocess.Popen(joining(database, "confirmed", "--workers", "1"), stderr=subprocess.DEVNULL)
    wait_for(lambda: database.run("SELECT count(*) FROM nas_trainings WHERE metrics <> ''") != "0")
    for victim in (dies.pid, *children(dies.pid)):
        kill(victim)
    dies.wait()
    comes = searching.run(joining(database, "confirmed", "--workers", "1"))
    assert (comes.returncode, comes.stderr.splitlines()[-1]) == (0, "nothing is left to do")
    said = hands_out.communicate(timeout=60)[1]
    assert hands_out.returncode == 0, said
    alone = searching.run([*CONFIRM, "--workers", "2", str(copy)])  # a thread each, as workers have
    assert alone.returncode == 0, alone.stderr
    ours, theirs = (json.loads((folder / "confirmed.json").read_text()) for folder in (run, copy))
    assert ours["networks"] == theirs["networks"]
    assert ours["test_reads"] == 1


@pytest.mark.slow
def test_a_teacher_is_lent_to_whoever_works_for_the_run(tmp_path: Path, database: Server) -> None:
    run, copy, teacher = tmp_path / "taught", tmp_path / "copy", tmp_path / "teacher"
    flags = ("--strategies", "random", "--workers", "1")
    done = searching.run(shared(tmp_path, database, run, *flags, trials=2, epochs=1))
    assert done.returncode == 0, done.stderr
    shutil.copytree(run, copy)
    (copy / "shared.json").unlink()
    dataset = run_folder(run).read().dataset
    training = [*NAS, "train", "plain", "width1=16", "--dataset", dataset, "--epochs", "2", "--out", str(teacher)]
    assert searching.run([*training, "--device", "cpu"]).returncode == 0
    asked = [*CONFIRM, "--teacher", str(teacher)]
    hands_out = subprocess.Popen([*asked, "--workers", "0", str(run)], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: database.run("SELECT count(*) FROM nas_trainings WHERE run = 'taught'") != "0")
    comes = searching.run(joining(database, "taught", "--workers", "1"))
    assert (comes.returncode, comes.stderr.splitlines()[-1]) == (0, "nothing is left to do")
    said = hands_out.communicate(timeout=60)[1]
    assert hands_out.returncode == 0, said
    alone = searching.run([*asked, "--workers", "2", str(copy)])
    assert alone.returncode == 0, alone.stderr
    ours, theirs = (json.loads((folder / "confirmed.json").read_text()) for folder in (run, copy))
    assert ours["networks"] == theirs["networks"]
    assert all(str(teacher) in metrics.read_text() for metrics in run.glob("confirmed/*/metrics.json"))
    assert "plain width1=16" in json.dumps(ours["networks"])


@pytest.mark.slow
def test_a_table_is_trained_by_whoever_works_for_the_run(tmp_path: Path, database: Server) -> None:
    run = tmp_path / "lends"
    done = searching.run(
        shared(tmp_path, database, run, "--strategies", "random", "--workers", "1", trials=1, epochs=1)
    )
    assert done.returncode == 0, done.stderr
    models = ["plain width1=4", "plain width1=6"]
    asked = [*NAS, "table", *models, "--epochs", "2", "--seeds", "2", "--test", "--device", "cpu", "--json"]
    command = [*asked, "--on", f"{database.url}#lends", "--workers", "0", "--out", str(tmp_path / "lent")]
    asks = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: database.run("SELECT count(*) FROM nas_trainings WHERE run = 'lends'") == "4")
    comes = searching.run(joining(database, "lends", "--workers", "1"))
    assert (comes.returncode, comes.stderr.splitlines()[-1]) == (0, "nothing is left to do")
    lent, said = asks.communicate(timeout=60)
    assert asks.returncode == 0, said
    dataset = run_folder(run).read().dataset
    alone = searching.run([*asked, "--dataset", dataset, "--workers", "2", "--out", str(tmp_path / "alone")])
    assert alone.returncode == 0, alone.stderr
    ours, theirs = (without_seconds(json.loads(text)) for text in (lent, alone.stdout))
    assert ours == theirs

    local = tmp_path / "local"
    assert searching.run(searching.command(tmp_path, local, "--workers", "1", trials=1, epochs=1)).returncode == 0
    images, labels = np.zeros((40, 8, 8), np.uint8), np.arange(40) % 2
    np.savez(tmp_path / "other.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    for flags, told in (
        (["--workers", "0", "--dataset", dataset], "leaves nobody to train"),
        (["--on", str(local)], "is a run of one machine"),
        (["--on", str(run), "--dataset", str(tmp_path / "other.npz")], "is not the data set of"),
    ):
        refused = searching.run([*NAS, "table", *models, "--epochs", "1", *flags, "--out", str(tmp_path / "refused")])
        assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
        assert told in refused.stderr
        assert not (tmp_path / "refused").exists()


def without_seconds(values: Any) -> Any:
    """JSON values of a table without what is measured by the clock."""
    if isinstance(values, dict):
        return {name: without_seconds(value) for name, value in values.items() if "seconds" not in name}
    return [without_seconds(value) for value in values] if isinstance(values, list) else values


def test_the_job_of_kubernetes_asks_for_what_there_is() -> None:
    yaml = pytest.importorskip("yaml")
    job: dict[str, Any] = yaml.safe_load((CHECKOUT / "examples" / "kubernetes.yaml").read_text())
    container: dict[str, Any] = job["spec"]["template"]["spec"]["containers"][0]
    words: list[str] = [*container["command"], *container["args"]]
    assert (job["kind"], words[0]) == ("Job", "nas")
    assert build_parser().parse_args(words[1:]).command == "worker"


def test_who_has_lost_the_session_holds_no_lease_and_can_write_no_more(tmp_path: Path, database: Server) -> None:
    begun(tmp_path, database, "fenced")
    address = Address(database.url, "fenced", str(tmp_path / "files"))
    folder = run_folder(tmp_path / "fenced")
    first, second = Database(address, folder, works=True), Database(address, folder, works=True)
    leases = [first.lease or 0, second.lease or 0]
    assert second.alive([*leases, 7]) == set(leases)

    def dies_in_its_claim() -> None:
        with first.claiming():
            database.run(f"SELECT pg_terminate_backend({first.session.process()})")
            first.storage.set_study_user_attr(0, "written", True)

    with pytest.raises(LostError, match="cannot be reached"):
        dies_in_its_claim()
    with second.claiming():  # a worker that died inside its claim blocks nobody
        assert second.alive(leases) == {second.lease}
        second.end_hung(60)  # nobody hangs
    for each in (first, second):
        each.close()


def test_who_has_just_written_sees_in_its_turn_what_others_have_written_since(tmp_path: Path, database: Server) -> None:
    begun(tmp_path, database, "turns")
    address = Address(database.url, "turns", str(tmp_path / "files"))
    first, second = (Database(address, run_folder(tmp_path / "turns"), works=True) for _ in range(2))
    study, of_other = (open_study(each.storage, "random", 2_000) for each in (first, second))
    trial = study.ask()
    with written_together(study):  # what is written is not read back before the next turn
        trial.set_user_attr("told", True)
    of_other.ask()
    with first.claiming(), at_one_moment({"random": study}):
        assert len(study.get_trials(deepcopy=False)) == 2
    for each in (first, second):
        each.close()


def test_a_hung_worker_loses_its_lease_and_its_turn(tmp_path: Path, database: Server) -> None:
    begun(tmp_path, database, "hung")
    address = Address(database.url, "hung", str(tmp_path / "files"))
    hangs = Database(address, run_folder(tmp_path / "hung"), works=True)
    looks = Database(address, run_folder(tmp_path / "hung"), works=False)
    assert hangs.lease is not None
    time.sleep(0.2)
    looks.end_hung(60)
    assert looks.alive([hangs.lease]) == {hangs.lease}
    hangs.beat()  # which says that it does not
    looks.end_hung(0.2)
    assert looks.alive([hangs.lease]) == {hangs.lease}
    time.sleep(0.2)
    looks.end_hung(0.1)
    wait_for(lambda: not looks.alive([hangs.lease or 0]))
    for each in (hangs, looks):
        each.close()


def begun(folder: Path, database: Server, name: str, trials: int = 3, out: Path | None = None) -> None:
    """A run of which nothing is trained yet."""
    from nas.search.workers.supervisor import Supervisor

    data = folder / "data.npz" if (folder / "data.npz").exists() else searching.write_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Supervisor, "run", lambda self: "interrupted")
        with pytest.raises(RunError, match=r"there is no pareto.json|another machine leads") as raised:
            search(
                dataset=str(data),
                space=str(searching.write_space(folder)),
                budget=2_000,
                strategies="random",
                trials=trials,
                epochs=1,
                out=out or folder / name,
                storage=database.url,
                files=folder / "files",
                workers=0,
            )
    if "another machine leads" in str(raised.value):
        raise raised.value


def test_the_server_dies_in_the_middle_and_workers_go_on_where_they_were(tmp_path: Path) -> None:
    with server() as own:
        arguments = shared(tmp_path, own, tmp_path / "out", "--workers", "2", trials=10, epochs=4)
        running = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        searching.wait_for_trials(tmp_path / "out", 2)
        own.kill()
        time.sleep(3)
        own.start()
        _, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert "cannot be reached" in said
    assert "the storage is there again" in said
    counts = searching.result(tmp_path / "out")["counts"]
    assert (counts["proposed"], counts["failed"]) == (10, 0)


@pytest.mark.slow
def test_a_machine_whose_patience_ends_says_so_in_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    with server() as own:
        arguments = shared(tmp_path, own, tmp_path / "out", "--workers", "1", "--patience", "2s", trials=20, epochs=4)
        running = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        searching.wait_for_trials(tmp_path / "out", 1)
        own.kill()
        _, said = running.communicate(timeout=60)
        assert running.returncode == 2
        assert said.splitlines()[-1].startswith(f"nas: storage {own.url} cannot be reached")
        own.start()
        done = searching.run(arguments)
        assert done.returncode == 0, done.stderr
        assert searching.result(tmp_path / "out")["counts"]["failed"] == 0
        confirm = [*CONFIRM, "--workers", "0", "--patience", "2s", str(tmp_path / "out")]
        confirming = subprocess.Popen(confirm, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: own.run("SELECT count(*) FROM nas_trainings") != "0")
        own.kill()
        _, said = confirming.communicate(timeout=60)
    assert confirming.returncode == 2
    assert said.splitlines()[-1].startswith(f"nas: storage {own.url} cannot be reached")
    assert not (tmp_path / "out" / "confirmed.json").exists()


def test_other_data_another_version_and_wrong_places_are_one_line_each(tmp_path: Path, database: Server) -> None:
    begun(tmp_path, database, "mine")
    (tmp_path / "out").mkdir()
    searching.write_data(tmp_path / "out", images=120)
    with pytest.raises(UserError, match="is not what the search began with: its images or labels differ"):
        worker(database.url, run="mine", dataset=tmp_path / "out" / "data.npz")
    with pytest.raises(RunError, match=r"holds no run 'yours'; it holds .*mine"):
        worker(database.url, run="yours")
    with pytest.raises(RunError, match=r"has its files at .*; give --files that"):
        again(tmp_path, database, files=tmp_path / "elsewhere")
    searching.write_space(tmp_path, searching.SPACE + "\n")
    with pytest.raises(RunError, match="the file of the space"):
        again(tmp_path, database, files=tmp_path / "files")
    database.run("UPDATE nas_runs SET nas = '0.0.1' WHERE run = 'mine'")
    with pytest.raises(RunError, match=r"is of nas 0\.0\.1, and this is nas"):
        worker(database.url, run="mine")
    (tmp_path / "alone").mkdir()
    alone = searching.run(searching.command(tmp_path, tmp_path / "alone", "--workers", "1", trials=1, epochs=1))
    assert alone.returncode == 0, alone.stderr
    joined = searching.run(shared(tmp_path, database, tmp_path / "alone", trials=1, epochs=1))
    assert (joined.returncode, joined.stderr.splitlines()[-1][-62:]) == (
        2, "holds a search of this machine alone; give --out another folder"[-62:]
    )  # fmt: skip


def again(folder: Path, database: Server, files: Path) -> None:
    search(
        dataset=str(folder / "data.npz"),
        space=str(folder / "tiny.py"),
        budget=2_000,
        strategies="random",
        trials=3,
        epochs=1,
        out=folder / "mine",
        storage=database.url,
        files=files,
        workers=0,
    )


def test_a_role_that_owns_its_schema_alone_is_enough_and_others_are_told_what_they_lack(
    tmp_path: Path, database: Server
) -> None:
    database.run("CREATE ROLE small LOGIN; CREATE SCHEMA small AUTHORIZATION small")
    url = database.url.replace("nas@", "small@")
    session = Session(f"{url}?options=-csearch_path%3Dsmall")
    session.make_tables()
    assert session.ask("SELECT count(*) FROM nas_runs") == [(0,)]
    session.close()
    database.run("CREATE DATABASE bare")
    bare = Session(url.replace("/nas", "/bare"))
    with pytest.raises(RunError, match="refuses: permission denied for schema public"):
        bare.make_tables()
    bare.close()


def test_a_role_that_times_out_and_a_database_without_an_encoding_are_used_as_others_are(database: Server) -> None:
    database.run("CREATE ROLE hasty LOGIN")
    for setting in ("statement_timeout", "lock_timeout", "idle_session_timeout"):
        database.run(f"ALTER ROLE hasty SET {setting} = '20ms'")
    database.run("CREATE DATABASE plain ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    url = database.url.replace("nas@", "hasty@").replace("/nas", "/plain")
    with closing(Session(url)) as hasty:
        assert hasty.ask("SELECT 'é'::text FROM pg_sleep(0.1)") == [("é",)]
        time.sleep(0.1)
        assert hasty.ask("SELECT 1") == [(1,)]


def test_lines_that_an_interrupted_copy_has_written_are_not_copied_again(
    tmp_path: Path, database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(tmp_path, database, "copied")
    with closing(Session(database.url)) as session:
        whole = Lines(session, "copied", tmp_path / "whole.log")
        whole.append_logs([{"line": number} for number in range(3)])
        assert len(list(whole.read_logs(0))) == 3
        copy = Lines(session, "copied", tmp_path / "copy.log")

        def interrupted(self: Lines, name: str, value: object) -> None:
            object.__setattr__(self, name, value)
            if name == "copied":
                monkeypatch.undo()
                raise KeyboardInterrupt

        monkeypatch.setattr(Lines, "__setattr__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            copy.read_logs(0)
        copy.read_logs(0)
    assert (tmp_path / "copy.log").read_text() == (tmp_path / "whole.log").read_text()


def test_processes_that_end_at_once_again_and_again_end_what_waits_for_them(
    tmp_path: Path, database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    done = searching.run(shared(tmp_path, database, out, "--workers", "1", trials=1, epochs=1))
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RunError, match=r"ended 5 times without an epoch done \(exit 1\): they said nothing; see "):
        confirm(out, epochs=1, seeds=1, workers=1, baselines=False)


def test_one_machine_leads_and_workers_of_an_older_search_are_told_to_join_again(
    tmp_path: Path, database: Server
) -> None:
    begun(tmp_path, database, "grows")
    address = Address(database.url, "grows", str(tmp_path / "files"))
    works = Database(address, run_folder(tmp_path / "grows"), works=True)
    with leading(address), pytest.raises(RunError, match=r"another machine leads .*#grows"):
        begun(tmp_path, database, "grows")
    before = database.run("SELECT settings FROM nas_runs WHERE run = 'grows'")
    assert '"trials": 3' in before
    with pytest.warns(UserWarning, match="trials was 3, now 4"):
        begun(tmp_path, database, "grows", trials=4, out=tmp_path / "elsewhere" / "grows")
    with pytest.raises(RunError, match="has changed since this machine joined it"), works.claiming():
        pass
    works.close()


def test_files_that_are_another_place_on_this_machine_are_told(tmp_path: Path, database: Server) -> None:
    begun(tmp_path, database, "unmounted")
    shutil.rmtree(tmp_path / "files")
    with pytest.raises(RunError, match="is not what the run has its files at: mount it"):
        worker(database.url, run="unmounted")
    assert not (tmp_path / "files").exists()


@pytest.mark.slow
def test_a_changed_space_goes_on_from_another_machine(tmp_path: Path, database: Server) -> None:
    """Trials whose network is another now are left aside in the database, not in the folder."""
    out = tmp_path / "here" / "changes"
    done = searching.run(
        shared(tmp_path, database, out, "--workers", "1", "--strategies", "random", trials=3, epochs=1)
    )
    assert done.returncode == 0, done.stderr
    searching.write_space(tmp_path, searching.SPACE.replace("stride=2, expansion=2", "stride=2, expansion=3"))
    there = shared(tmp_path, database, tmp_path / "there" / "changes", "--workers", "1", "--strategies", "random")
    goes_on = searching.run([*there, "--trials", "4", "--epochs", "1", "--changed-space"])
    assert goes_on.returncode == 0, goes_on.stderr
    assert "the file of the space has changed" in goes_on.stderr
    rows = database.run("SELECT line FROM nas_journal WHERE run = 'changes' ORDER BY n").splitlines()
    assert (tmp_path / "there" / "changes" / "journal.log").read_text().splitlines() == rows


def test_a_storage_that_has_lost_lines_is_not_led_on(tmp_path: Path, database: Server) -> None:
    begun(tmp_path, database, "lost")
    address, folder = Address(database.url, "lost", None), run_folder(tmp_path / "lost")
    leads = Database(address, folder, works=False, leads=True)
    open_study(leads.storage, "random", 2_000)
    leads.close()
    database.run("DELETE FROM nas_journal WHERE run = 'lost'")
    with pytest.raises(RunError, match=r"journal.log holds 1 lines, and .*#lost only 0: the storage has lost some"):
        Database(address, folder, works=False, leads=True)


def test_too_many_connections_are_one_line(database: Server) -> None:
    with ExitStack() as kept:

        def fill() -> None:
            for _ in range(60):
                kept.callback(Session(database.url).close)

        with pytest.raises(LostError, match=r"cannot be reached: .*(too many|remaining)"):
            fill()


def answers(port: int) -> bool:
    return subprocess.run(["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0


def test_a_pooler_that_shares_sessions_is_refused(tmp_path: Path, database: Server) -> None:
    pooler = program("pgbouncer") or ("/usr/sbin/pgbouncer" if Path("/usr/sbin/pgbouncer").exists() else None)
    if pooler is None:
        pytest.skip("pgbouncer is not installed")
    for mode, refused in (("transaction", True), ("session", False)):
        port = free_port()
        (tmp_path / "users.txt").write_text('"nas" ""\n')
        (tmp_path / "pooler.ini").write_text(
            f"[databases]\nnas = host=127.0.0.1 port={database.port}\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
            f"listen_port={port}\nauth_type=trust\nauth_file={tmp_path}/users.txt\npool_mode={mode}\nunix_socket_dir=\n"
        )
        os.chmod(tmp_path, 0o755)
        user = ["-u", "postgres"] if os.geteuid() == 0 else []
        started = subprocess.Popen(
            [pooler, "-q", *user, str(tmp_path / "pooler.ini")], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            wait_for(partial(answers, port))
            url = f"postgresql://nas@127.0.0.1:{port}/nas"
            if refused:
                with pytest.raises(UserError, match="PgBouncer in transaction mode"):
                    Session(url)
            else:
                Session(url).close()
        finally:
            started.kill()
            started.wait()


@pytest.mark.slow
def test_a_node_of_a_ray_cluster_is_killed_and_nothing_is_lost(tmp_path: Path, database: Server) -> None:
    """Two nodes of one actor each; the second is killed in the middle, and another comes."""
    pytest.importorskip("ray", reason="ray is not installed: pip install ray")
    from ray.cluster_utils import Cluster

    out = tmp_path / "rayed"
    lead = subprocess.Popen(
        shared(tmp_path, database, out, "--workers", "0", trials=30, epochs=3), stderr=subprocess.DEVNULL
    )
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    driver = [sys.executable, str(CHECKOUT / "examples" / "ray_workers.py"), f"{database.url}#rayed"]
    environment = os.environ | {"RAY_ADDRESS": cluster.address, "PYTHONPATH": str(CHECKOUT)}
    try:
        with subprocess.Popen(driver, env=environment, stdout=subprocess.PIPE, text=True) as actors:
            searching.wait_for_trials(out, 4)
            cluster.remove_node(nodes[1], allow_graceful=False)
            cluster.add_node(num_cpus=1)
            said = actors.communicate(timeout=240)[0]
            assert "2 actors ended: complete" in said
        assert lead.wait(60) == 0
    finally:
        cluster.shutdown()
        kill(lead.pid)
    counts = searching.result(out)["counts"]
    assert (counts["proposed"], counts["failed"]) == (30, 0)
    assert counts["trained"] + counts["replayed"] + counts["stopped"] == 30
