"""What every process that trains shares: its memory, its device, its end."""

import os
import re
import sys
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


def end_with_parent() -> None:
    """For a thread: ends the process at once when its standard input closes, which is when its parent has died."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)
