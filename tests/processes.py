"""Looking at real processes, waiting for them and killing them, for the tests."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


def children(process: int) -> list[int]:
    """Process ids of those that its main thread has started."""
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def is_alive(process: int) -> bool:
    """Whether one of its threads still runs: a zombie does not."""
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        states = [(thread / "stat").read_text().rsplit(")", 1)[1].split()[0] for thread in threads]
    except (FileNotFoundError, ProcessLookupError):  # one has ended just now: look again
        return Path(f"/proc/{process}").exists() and is_alive(process)
    return any(state != "Z" for state in states)


def kill(process: int) -> None:
    """kill -9, whether or not it is still there."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_for(what: Callable[[], object], timeout: float = 120) -> None:
    """Until it is true."""
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.002)
