"""The one manager of processes that train: started, watched, replaced, asked to stop, ended with their parent."""

import contextlib
import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Keeps freed activations in the process, on huge pages: mapping them anew costs a fifth of the time on a CPU. What the
user's own environment says instead goes before it."""

WAITING = {"GOMP_SPINCOUNT": "1000"}
"""Threads of a training that wait for each other spin for microseconds before they sleep, not for milliseconds in which
another command on these cores cannot compute (benchmarks/shared_cores.py)."""

ARITHMETIC = {"OPENBLAS_NUM_THREADS": "1"}
"""Keeps numpy's sums in the same order whatever the number of cores, so that a search goes on elsewhere as here, and
leaves the other cores to the other processes; torch's threads are not meant."""


@dataclass(frozen=True)
class _Process:
    process: subprocess.Popen[bytes]
    channel: socket.socket


class Pool:
    """Numbered slots, each with at most one process, which ends when we do.

    `command` gives the module that the process of a slot runs, and its arguments. The process has a session of its own,
    so that Ctrl-C reaches it only through us. Its standard input is a channel to us, see `nas.machine.process`: it
    brings work, takes reports back, and ends the process when it closes, however we came to our end. Leaving the `with`
    block kills all.
    """

    def __init__(self, command: Callable[[int], Sequence[str]]) -> None:
        self._command = command
        self._running: dict[int, _Process] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def __len__(self) -> int:
        """Processes that have not ended, as far as `ended` has seen."""
        return len(self._running)

    def start(self, slot: int, log: Path) -> None:
        """Starts the process of a slot that has none; what it says goes to the end of the log."""
        ours, theirs = socket.socketpair()
        with theirs, open(log, "ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", *self._command(slot)],
                stdin=theirs.fileno(),
                stdout=file,
                stderr=file,
                env=ALLOCATOR | WAITING | ARITHMETIC | os.environ,
                start_new_session=True,
            )
        self._running[slot] = _Process(process, ours)

    def give(self, slot: int, work: str, log: Path) -> None:
        """Sends one line of work to the process of a slot, which is started if none is alive. It takes the next after
        it has reported on this one."""
        if slot in self._running and self._running[slot].process.poll() is not None:
            self._bury(slot)
        if slot not in self._running:
            self.start(slot, log)
        with contextlib.suppress(BrokenPipeError):  # it has just died, which `ended` will tell
            self._running[slot].channel.sendall(f"{work}\n".encode())

    def ended(self, within: float = 0.0) -> dict[int, int]:
        """The slots where something has ended since the last look, with the code that the process reported of its work,
        or with which it ended itself (-9: killed by signal 9). Returns as soon as there is one, at the latest after
        that many seconds."""
        with selectors.DefaultSelector() as selector:
            for slot, running in self._running.items():
                selector.register(running.channel, selectors.EVENT_READ, slot)
            heard = {key.data for key, _ in selector.select(within)}
        codes = {slot: self._code(slot, slot in heard) for slot in list(self._running)}
        return {slot: code for slot, code in codes.items() if code is not None}

    def _code(self, slot: int, heard: bool) -> int | None:
        running = self._running[slot]
        if heard:
            with contextlib.suppress(ConnectionResetError):  # it died before it had read what we sent
                if report := running.channel.recv(16):
                    return int(report)
        if heard or running.process.poll() is not None:  # what closes its channel is dying, or can no longer be led
            return self._bury(slot)
        return None

    def _bury(self, slot: int) -> int:
        running = self._running.pop(slot)
        with running.process, running.channel:
            running.process.kill()
        return running.process.returncode

    def ask_to_stop(self) -> None:
        """Sends SIGTERM to every process."""
        for running in self._running.values():
            running.process.terminate()

    def kill(self) -> None:
        """Kills every process and waits for its end."""
        for running in self._running.values():
            running.process.kill()
        for slot in list(self._running):
            self._bury(slot)


def last_line(log: Path, *, otherwise: str) -> str:
    """The last that a process has said, or `otherwise` if it said nothing."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else otherwise
