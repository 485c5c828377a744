"""Killing is normal: kill -9 at any moment loses nothing and changes nothing."""

import random
import subprocess
import time
from pathlib import Path

import pytest
import searching
from processes import children, kill

from nas.machine import pulse
from nas.machine.pulse import KernelKills, fatal


def journal_size(out: Path) -> int:
    journal = out / "journal.log"
    return journal.stat().st_size if journal.exists() else 0


@pytest.mark.parametrize(("kills", "trials"), [(3, 8), pytest.param(20, 20, marks=pytest.mark.slow)])
def test_a_search_killed_at_random_moments_gives_the_uninterrupted_result(
    kills: int, trials: int, tmp_path: Path
) -> None:
    rng = random.Random(0)
    strategies = ("--strategies", "tpe,random", "--no-baselines")
    flags = ("--workers", "1", "--budget", "700,2000", *strategies, "--stop-threshold", "0.3", "--audit", "0.3")
    arguments = searching.command(tmp_path, tmp_path / "whole", *flags, trials=trials, epochs=4)
    assert searching.run_cli(arguments).returncode == 0
    stopping = searching.result(tmp_path / "whole")["stopping"]
    assert min(stopping["stopped"], stopping["audited"]) > 0, "nothing was stopped: it proves little"
    arguments = searching.command(tmp_path, tmp_path / "killed", *flags, trials=trials, epochs=4)
    for _ in range(kills):
        enough = journal_size(tmp_path / "killed") + rng.randint(1, 6000)
        search = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while journal_size(tmp_path / "killed") < enough and search.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        victims = [*children(search.pid), search.pid]
        for victim in victims if rng.random() < 0.7 else victims[-1:]:
            kill(victim)
        search.wait()
    done = searching.run(arguments)
    assert done.returncode == 0, done.stderr
    assert "continuing after" in done.stderr, "the search was over before the last kill: it proves nothing"
    assert (tmp_path / "killed" / "pareto.json").read_bytes() == (tmp_path / "whole" / "pareto.json").read_bytes()


@pytest.mark.parametrize(("kills", "trials"), [(3, 18), pytest.param(10, 60, marks=pytest.mark.slow)])
def test_killing_one_of_two_workers_again_and_again_loses_nothing(kills: int, trials: int, tmp_path: Path) -> None:
    rng = random.Random(1)
    arguments = searching.command(tmp_path, tmp_path / "out", "--workers", "2", trials=trials, epochs=3)
    search = subprocess.Popen(arguments, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    searching.wait_for_trials(tmp_path / "out", 1)
    killed = 0
    while killed < kills and search.poll() is None:
        workers = children(search.pid)
        if workers:
            kill(rng.choice(workers))
            killed += 1
        time.sleep(rng.uniform(0.3, 1.5))
    _, said = search.communicate(timeout=300)
    assert search.returncode == 0, said
    assert killed == kills, "the search was over before the last kill: it proves nothing"
    counts = searching.result(tmp_path / "out")["counts"]
    assert counts["proposed"] == trials
    assert counts["failed"] == 0
    assert counts["trained"] + counts["replayed"] + counts["stopped"] == trials
    for entry in searching.result(tmp_path / "out")["front"]:
        assert [epoch["epoch"] for epoch in entry["curve"]] == [1, 2, 3]


@pytest.mark.parametrize("part", ["tiny.py", "data.npz"])
def test_a_worker_that_starts_anew_works_on_what_the_search_began_with_or_not_at_all(part: str, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / part
    command = searching.command(tmp_path, out, "--workers", "1", "--stop", "none", trials=3, epochs=100)
    begun = file.read_bytes()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        searching.wait_for_trials(out, 1)
        if part == "tiny.py":
            file.write_bytes(begun.replace(b"kernel=self.kernel", b"kernel=7"))
        else:
            searching.write_data(tmp_path, images=200)
        for worker in children(process.pid):
            kill(worker)
        said = process.communicate(timeout=120)[1].splitlines()[-1]
    assert process.returncode == 2
    assert ("has changed since the search began" if part == "tiny.py" else "is not what the search began with") in said
    file.write_bytes(begun)
    done = searching.run(command)
    assert done.returncode == 0, done.stderr
    counts = searching.result(out)["counts"]
    assert (counts["trained"], counts["failed"]) == (3, 0)


def test_a_trial_that_kills_its_worker_again_and_again_is_failed_and_the_search_goes_on(tmp_path: Path) -> None:
    suicidal = "import os, sys\n            'worker' in sys.argv[0] and os.abort()"
    head = f'        if self.kind == "conv" and self.width == 9 and self.blocks == 2:\n            {suicidal}\n'
    searching.write_space(tmp_path, searching.SPACE.replace("        body =", head + "        body ="))
    done = searching.run_cli(searching.command(tmp_path, tmp_path / "out", "--workers", "1", trials=2, epochs=1))
    assert done.returncode == 0, done.stderr
    content = searching.result(tmp_path / "out")
    assert [content["counts"][what] for what in ("proposed", "failed", "trained")] == [2, 1, 1]
    assert content["failures"] == {"it killed its worker 3 times, last in epoch 0 at step 0": 1}


def test_kills_from_outside_are_forgiven_more_often_than_what_a_network_does() -> None:
    assert fatal(["2 5"] * 2) is None
    assert fatal(["2 5"] * 3) == "it killed its worker 3 times, last in epoch 2 at step 5"
    assert fatal([f"2 {step}" for step in range(9)]) is None
    assert fatal([f"2 {step}" for step in range(10)]) is not None
    assert fatal(["0 0 killed"] * 9) is None
    assert fatal(["0 0 killed"] * 10) == "it killed its worker 10 times, last in epoch 0 at step 0"
    assert fatal([f"2 {step} killed" for step in range(29)]) is None
    assert fatal([f"2 {step} killed" for step in range(30)]) is not None
    assert fatal(["2 5 killed", "2 5 killed", "2 5"]) is not None, "the last was no kill: at one step the third death"


def test_a_kill_is_from_outside_unless_the_kernel_has_killed_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = tmp_path / "vmstat"
    monkeypatch.setattr(pulse, "_KERNEL", counted)
    assert not KernelKills().is_from_outside(-9), "nothing is known: as if it were the network's"
    counted.write_text("pgfault 5\noom_kill 3\nswap_ra 0\n")
    kernel = KernelKills()
    assert kernel.is_from_outside(-9)
    assert not kernel.is_from_outside(-11)
    counted.write_text("oom_kill 4")
    assert not kernel.is_from_outside(-9)
    assert kernel.is_from_outside(-9)
