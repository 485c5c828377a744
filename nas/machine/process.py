"""What every process that trains shares: its device, its channel to the `Pool` that started it, its end."""

import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from nas.errors import UserError
from nas.machine.options import option

if TYPE_CHECKING:
    import torch


def pick_device(asked: str, slot: int) -> "torch.device":
    """The device of a worker: workers share the GPUs in turn. Raises UserError for a name that is none, or a GPU that
    is not there."""
    check_device(asked)
    import torch

    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(f"--device {asked} was asked for, but torch finds no GPU here; use --device cpu")
    count = torch.cuda.device_count()
    if asked in ("auto", "cuda"):
        return torch.device("cuda", slot % count)
    if int(asked.removeprefix("cuda:")) >= count:
        raise UserError(f"--device {asked} was asked for, but the last GPU here is cuda:{count - 1}")
    return torch.device(asked)


def check_device(asked: str) -> None:
    """Raises UserError for what is no name of a device."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", asked):
        raise UserError(f"device must be auto, cpu, cuda or cuda:N but got {asked!r}")


def default_workers(device: str) -> int:
    """One a GPU, or one a core that we may use."""
    if device != "cpu" and Path("/dev/nvidia0").exists():
        import torch

        if torch.cuda.is_available():
            return torch.cuda.device_count()
    return len(os.sched_getaffinity(0))


def parse_seconds(text: str) -> float:
    """A time as people write it, in seconds.

    >>> parse_seconds("2h")
    7200.0
    """
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError as error:
        raise UserError(f"a time must be like 90, 90s, 30m or 2h but got {text!r}") from error
    if not 0 < seconds < float("inf"):
        raise UserError(f"a time must be above 0 seconds but got {text!r}")
    return seconds


def patience_option() -> float:
    """The option that says how long others may be out of reach, in seconds."""
    found: float = option(
        "how long storage and files may be out of reach before this machine gives up (90s, 2h)",
        default=600.0,
        unset="10m",
        above=0,
        repeats=False,
        parse=parse_seconds,
        metavar="TIME",
    )
    return found


def workers_option(told: str) -> int | None:
    """The option that says how many processes of this machine train, where others may do so too."""
    found: int | None = option(told, default=None, unset="GPUs, or cores", least=0, repeats=False)
    return found


def started() -> float:
    """When this process was started, in seconds of the epoch of Unix."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # field 22, after the name
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def listen() -> "SimpleQueue[str]":
    """The lines of work that the parent sends, as they come. From here on the process ends at once, whatever it is
    doing, when its standard input closes, which is when its parent has died."""
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    return lines


def _listen(lines: "SimpleQueue[str]") -> None:
    unfinished = b""
    try:
        while received := os.read(sys.stdin.fileno(), 65536):
            *whole, unfinished = (unfinished + received).split(b"\n")
            for line in whole:
                lines.put(line.decode())
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


def report(code: int) -> None:
    """Tells the parent with which exit code a piece of work ended. What was said of it is in the log by then."""
    sys.stdout.flush()
    os.write(sys.stdin.fileno(), f"{code}\n".encode())


def say_to(log: Path) -> None:
    """From here on, what the process says goes to the end of that file."""
    with open(log, "ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())


def instructions() -> set[str]:
    """What the processor has, as Linux tells it; older versions of torch do not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}
