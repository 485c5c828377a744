"""What every process that trains shares: its memory, its device, its end."""

import os
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
    """The device of a worker: workers share the GPUs in turn."""
    import torch

    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(f"--device {asked} was asked for, but torch finds no GPU here; use --device cpu")
    return torch.device("cuda", slot % torch.cuda.device_count()) if asked in ("auto", "cuda") else torch.device(asked)


def end_with_parent() -> None:
    """For a thread: ends the process at once when its standard input closes, which is when its parent has died."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)
