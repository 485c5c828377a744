"""A machine that gives out: full disks, too many open files, short memory, damaged files. One line, nothing lost."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import searching
import torch

from nas.data.augment import DeviceData
from nas.data.load import load_search_data
from nas.errors import is_of_the_machine, told_of_the_machine
from nas.machine.checkpoint import DamagedCheckpointError, read_checkpoint, write_checkpoint
from nas.machine.folders import write_atomically
from nas.network.blocks import stage
from nas.network.heads import classifier
from nas.network.layers import Layer, Sequence
from nas.search.records import read_run
from nas.search.search import run_folder
from nas.training.recipe import Recipe
from nas.training.train import train

NETWORK = Sequence((stage("basic", 1, 1, 4, kernel=3, stride=2), classifier(4, 10)))
RECIPE = Recipe(epochs=3, batch_size=64, warmup_steps=0)


def no_larger_files(size: int) -> Callable[[], None]:
    """For the process and those that it starts: what is written beyond so many bytes fails, as on a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_a_search_on_a_full_disk_ends_with_one_line_and_goes_on_to_the_same_result(tmp_path: Path) -> None:
    command = searching.command(tmp_path, tmp_path / "out", "--workers", "1", trials=3, epochs=2)
    limited = subprocess.run(command, capture_output=True, text=True, timeout=120, preexec_fn=no_larger_files(9_000))
    assert limited.returncode == 2, limited.stderr
    last = limited.stderr.strip().splitlines()[-1]
    assert last.startswith("nas: ")
    assert last.endswith("nothing is lost: mend that and repeat the command")
    assert "File too large" in last
    assert "Traceback" not in limited.stderr
    assert not list((tmp_path / "out").rglob("*.partial"))
    if (tmp_path / "out" / "settings.json").exists():
        _, records = read_run(run_folder(tmp_path / "out"))
        assert [record for record in records if record.state == "failed"] == []
    assert searching.run_cli(command).returncode == 0
    whole = searching.command(tmp_path, tmp_path / "whole", "--workers", "1", trials=3, epochs=2)
    assert searching.run_cli(whole).returncode == 0
    assert (tmp_path / "out" / "pareto.json").read_bytes() == (tmp_path / "whole" / "pareto.json").read_bytes()


def test_too_many_open_files_are_told_in_one_line(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))

    command = searching.command(tmp_path, tmp_path / "out", "--workers", "3", trials=3)
    limited = subprocess.run(command, capture_output=True, text=True, timeout=120, preexec_fn=limit)
    assert limited.returncode == 2, limited.stderr
    assert "Too many open files" in limited.stderr.strip().splitlines()[-1]
    assert "Traceback" not in limited.stderr


def test_what_cannot_be_written_leaves_what_was_there_and_no_half_file(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    write_checkpoint(file, {"n": 1}, {"a": {"x": torch.ones(3)}})
    code = (
        "import torch; from pathlib import Path; from nas.machine.checkpoint import write_checkpoint\n"
        f"write_checkpoint(Path({str(file)!r}), {{'n': 2}}, {{'a': {{'x': torch.ones(100_000)}}}})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=no_larger_files(50_000), timeout=60
    )
    assert f"OSError: [Errno 27] File too large: {str(file)!r}" in done.stderr
    assert read_checkpoint(file, torch.device("cpu"))[0] == {"n": 1}
    assert os.listdir(tmp_path) == ["state.pt"]


def some_digits() -> DeviceData:
    return DeviceData.of(load_search_data("digits", seed=0, images=200), torch.device("cpu"), ())


def train_an_epoch(network: Layer, checkpoint: Path) -> None:
    begun = train(network, some_digits(), RECIPE, seed=0, checkpoint=checkpoint)
    next(begun)
    begun.close()


def check_that_it_begins_anew(checkpoint: Path) -> None:
    found = list(train(NETWORK, some_digits(), RECIPE, seed=0, checkpoint=checkpoint))
    expected = list(train(NETWORK, some_digits(), RECIPE, seed=0))
    assert [epoch.validation_loss for epoch in found] == [epoch.validation_loss for epoch in expected]


@pytest.mark.parametrize("damage", ["empty", "cut", "other bytes", "another file of torch"])
def test_a_damaged_checkpoint_is_told_and_the_training_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    file = tmp_path / "state.pt"
    train_an_epoch(NETWORK, file)
    whole = file.read_bytes()
    if damage == "another file of torch":
        torch.save({"x": torch.ones(3)}, file)
    else:
        file.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "other bytes": b"x" * len(whole)}[damage])
    with pytest.raises(DamagedCheckpointError):
        read_checkpoint(file, torch.device("cpu"))
    check_that_it_begins_anew(file)
    told = capsys.readouterr().err
    assert told.startswith(f"{file} is damaged: ")
    assert told.endswith("; the training begins anew\n")
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("other", ["network", "optimiser"])
def test_the_checkpoint_of_another_training_is_told_and_the_training_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    file = tmp_path / "state.pt"
    wider = Sequence((stage("basic", 1, 1, 6, kernel=3, stride=2), classifier(6, 10)))
    train_an_epoch(wider if other == "network" else NETWORK, file)
    if other == "optimiser":
        values, groups = read_checkpoint(file, torch.device("cpu"))
        write_checkpoint(file, values, groups | {"optimiser": {"999 momentum": torch.zeros(3)}})
    check_that_it_begins_anew(file)
    told = capsys.readouterr().err
    assert told.startswith(f"{file} is of another {'network' if other == 'network' else 'training'}")
    assert told.endswith("; the training begins anew\n")


@pytest.mark.parametrize(
    ("error", "is_machine", "words"),
    [
        (OSError(28, "No space left on device", "/x/y"), True, "/x/y: No space left on device; nothing is lost"),
        (MemoryError(), True, "memory is short: MemoryError"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True, "memory is short: "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True, "memory is short: "),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 640 bytes."),
            True,
            "memory is",
        ),
        (RuntimeError("can't allocate memory: you tried to allocate 460922888192000 bytes."), False, ""),
        (
            torch.OutOfMemoryError("out of memory. Tried to allocate 90.0 GiB. GPU 0 has a total capacity of 79.2 GiB"),
            False,
            "",
        ),
        (RuntimeError("could not create a primitive"), True, "memory is short: "),
        (RuntimeError("could not create a primitive descriptor for a convolution"), False, ""),
        (ImportError("x.so: failed to map segment from shared object"), True, "memory is short: "),
        (ImportError("No module named 'x'"), False, ""),
        (RuntimeError("can't start new thread"), True, "threads are short: "),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True, "memory is short: "),
        (RuntimeError("shapes do not match"), False, ""),
        (ValueError("out of memory"), False, ""),
    ],
)
def test_what_is_the_machines_fault_is_told_from_what_is_a_networks(
    error: Exception, is_machine: bool, words: str
) -> None:
    assert is_of_the_machine(error) == is_machine
    assert not is_machine or told_of_the_machine(error).startswith(words)


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_atomically(file, "old")
    (tmp_path / "a.json.partial").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
