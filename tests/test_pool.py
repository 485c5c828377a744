"""The processes of a pool: real ones, that do little."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import is_alive, wait_for

from nas.machine.pool import Pool, last_line

PROCESS = """
import os, signal, sys, time
from pathlib import Path
from nas.machine.process import listen, report, say_to

if sys.argv[1] == "broken":
    sys.exit("broken from the beginning")
given = listen()
signal.signal(signal.SIGTERM, lambda *_: os._exit(5))
while True:
    what, _, value = given.get().partition(" ")
    match what:
        case "say":
            say_to(Path(value))
            print(os.getpid(), flush=False)
            report(0)
        case "report":
            report(int(value))
        case "exit":
            print("good bye")
            sys.exit(int(value))
        case "environment":
            print(os.environ[value])
            report(0)
        case "work":
            print("at work", flush=True)
            time.sleep(60)
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of processes that run PROCESS."""
    (tmp_path / "some_work.py").write_text(PROCESS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[1]}")
    return tmp_path / "log"


def work(slot: int) -> tuple[str, ...]:
    return "some_work", str(slot)


def outcome(pool: Pool, slot: int = 0) -> int:
    """The code with which the work in the slot ends."""
    return pool.ended(within=30)[slot]


def identify(pool: Pool, log: Path) -> int:
    """Process id of what runs in slot 0."""
    pool.give(0, f"say {log}", log)
    assert outcome(pool) == 0
    return int(last_line(log, otherwise=""))


def test_a_process_takes_one_piece_of_work_after_another_and_says_each_in_its_own_log(log: Path) -> None:
    with Pool(work) as pool:
        first = identify(pool, log.with_name("first"))
        second = identify(pool, log.with_name("second"))
        assert first == second
        pool.give(0, "report 2", log)
        assert outcome(pool) == 2
        assert pool.ended() == {}
        assert len(pool) == 1
    assert [log.with_name(name).read_text() for name in ("first", "second")] == 2 * [f"{first}\n"]
    assert not log.exists()
    assert not is_alive(first)


@pytest.mark.parametrize("code", [0, 1, 7])
def test_the_code_of_a_process_that_ends_itself_is_told_and_the_next_work_gets_another(log: Path, code: int) -> None:
    with Pool(work) as pool:
        first = identify(pool, log)
        pool.give(0, f"exit {code}", log)
        assert outcome(pool) == code
        assert len(pool) == 0
        assert last_line(log, otherwise="") == "good bye"
        assert identify(pool, log) != first


def test_a_process_that_dies_before_it_reads_its_work_has_failed(log: Path) -> None:
    with Pool(lambda slot: ("some_work", "broken")) as pool:
        pool.give(0, "report 0", log)
        assert outcome(pool) == 1
    assert last_line(log, otherwise="") == "broken from the beginning"


def test_a_process_that_is_killed_at_work_costs_its_work_and_one_that_is_idle_none(log: Path) -> None:
    with Pool(work) as pool:
        first = identify(pool, log)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: not is_alive(first))
        second = identify(pool, log)
        pool.give(0, "work", log)
        wait_for(lambda: last_line(log, otherwise="") == "at work")
        pool.give(1, "report 0", log)
        assert pool.ended(within=30) == {1: 0}
        os.kill(second, signal.SIGKILL)
        assert pool.ended(within=30) == {0: -signal.SIGKILL}
        assert len(pool) == 1


def test_processes_are_asked_to_stop_and_what_is_left_is_killed(log: Path) -> None:
    with Pool(work) as pool:
        identify(pool, log)
        pool.ask_to_stop()
        assert outcome(pool) == 5
        at_work = identify(pool, log)
        pool.give(0, "work", log)
        pool.kill()
        assert len(pool) == 0
        assert not is_alive(at_work)


def test_processes_end_in_the_middle_of_their_work_when_their_parent_is_killed(log: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from nas.machine.pool import Pool; log = Path(sys.argv[1])\n"
        "pool = Pool(lambda slot: ('some_work', '0')); pool.give(0, f'say {log}', log); pool.ended(within=30)\n"
        "pool.give(0, 'work', log); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(log)])
    wait_for(lambda: log.exists() and last_line(log, otherwise="") == "at work")
    child = int(log.read_text().splitlines()[0])
    assert is_alive(child)
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_alive(child))


def test_what_the_user_says_of_memory_and_threads_goes_before_what_we_say(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "3")
    with Pool(work) as pool:
        for name, value in (
            ("MALLOC_MMAP_MAX_", "3"),
            ("MALLOC_TRIM_THRESHOLD_", "100000000000"),
            ("GOMP_SPINCOUNT", "1000"),
        ):
            pool.give(0, f"environment {name}", log)
            assert outcome(pool) == 0
            assert last_line(log, otherwise="") == value


def test_a_process_that_said_nothing_has_no_last_line(log: Path) -> None:
    log.write_text(" \n")
    assert last_line(log, otherwise="nothing") == "nothing"
