"""What every process that trains shares: its memory, its device, its end."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import UserError

if TYPE_CHECKING:
    import torch

ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Keeps freed activations in the process, on huge pages: mapping them anew costs a fifth of the time on a CPU."""


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


def end_with_parent() -> None:
    """For a thread: ends the process at once when its standard input closes, which is when its parent has died."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)
