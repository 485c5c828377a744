"""kill -9 at random moments of everything that computes, and whether anything is lost, doubled or changed by it.

A campaign is one command in a folder of its own, killed again and again until it ends by itself; what it then leaves is
held against what the same command left undisturbed.
"""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from machine import Figures, say

from nas.machine.folders import file_lock
from nas.search.journal import open_storage
from nas.search.search import run_folder

NAS = [sys.executable, "-m", "nas.cli"]
SEARCH = ["--dataset", "digits", "--budget", "700,2K", "--trials", "6", "--epochs", "3", "--device", "cpu"]
LONGEST = 300


@dataclass(frozen=True)
class Target:
    """A command that is killed."""

    name: str
    arguments: Callable[[Path], list[str]]
    """Given the folder that it works in."""
    seconds: float
    """About what it takes undisturbed."""
    check: Callable[[Path, Path], list[str]]
    """What is wrong in the folder, beside one where the command was left alone."""
    begins_with: str | None = None
    """The target whose undisturbed folder it goes on from."""


@dataclass
class Found:
    """What a campaign, or many, came to."""

    kills: Counter[str] = field(default_factory=Counter)
    campaigns: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: "Found") -> None:
        """Counts the other in."""
        self.kills.update(other.kills)
        self.campaigns += other.campaigns
        self.faults += other.faults


def _search(workers: int) -> Callable[[Path], list[str]]:
    return lambda at: [*NAS, "search", *SEARCH, "--workers", str(workers), "--out", str(at / "run")]


def _confirm(at: Path) -> list[str]:
    short = ["--epochs", "2", "--seeds", "2", "--top", "2", "--no-baselines"]
    return [*NAS, "confirm", str(at / "run"), *short, "--device", "cpu"]


def _train(at: Path) -> list[str]:
    network = ["plain", "width1=8", "width2=8"]
    return [
        *NAS,
        "train",
        *network,
        "--dataset",
        "digits",
        "--epochs",
        "4",
        "--device",
        "cpu",
        "--out",
        str(at / "run"),
    ]


def _export(at: Path) -> list[str]:
    return [*NAS, "export", str(at / "run"), "--budget", "2K", "--to", str(at / "models")]


def _report(at: Path) -> list[str]:
    return [*NAS, "report", str(at / "run")]


def left_behind(at: Path) -> list[str]:
    """Files that only an unfinished write leaves, and locks that somebody still holds."""
    partial = [path for path in at.rglob("*") if ".partial" in path.name or path.suffix == ".tmp"]
    said = [f"left behind: {path.relative_to(at)}" for path in partial]
    for lock in sorted((at / "run" / "locks").glob("*.lock")):
        with file_lock(lock, wait=False) as held:
            if not held:
                said.append(f"still locked: {lock.name}")
    return said


def _trials(at: Path) -> list[str]:
    """Trials lost, doubled or failed, by what Optuna reads of the journal."""
    storage = open_storage(run_folder(at / "run"))
    said = []
    for study in optuna.get_all_study_summaries(storage):
        trials = optuna.load_study(study_name=study.study_name, storage=storage).get_trials()
        states = Counter(trial.state.name for trial in trials)
        if set(states) - {"COMPLETE"}:
            said.append(f"{study.study_name}: {dict(states)}")
        doubled = [epoch for t in trials for epoch in t.intermediate_values if epoch > 3]
        if doubled:
            said.append(f"{study.study_name}: epochs beyond the last: {doubled}")
    return said


def _counts(at: Path, reference: Path) -> list[str]:
    ours, theirs = (json.loads((where / "run" / "pareto.json").read_text())["counts"] for where in (at, reference))
    wrong = {key: (ours[key], theirs[key]) for key in ("proposed", "failed") if ours[key] != theirs[key]}
    return [f"counts {wrong}"] if wrong else []


def _same(name: str, at: Path, reference: Path) -> list[str]:
    return [] if (at / name).read_bytes() == (reference / name).read_bytes() else [f"{name} differs"]


def _check_search(at: Path, reference: Path) -> list[str]:
    return [*_same("run/pareto.json", at, reference), *_trials(at), *left_behind(at)]


def _check_many(at: Path, reference: Path) -> list[str]:
    return [*_counts(at, reference), *_trials(at), *left_behind(at)]


def _check_confirm(at: Path, reference: Path) -> list[str]:
    ours, theirs = (json.loads((where / "run" / "confirmed.json").read_text()) for where in (at, reference))
    said = [] if ours["test_reads"] == theirs["test_reads"] else [f"test split read {ours['test_reads']} times"]
    same = ours["networks"] == theirs["networks"]
    return [*said, *([] if same else ["trainings differ"]), *left_behind(at)]


def _check_train(at: Path, reference: Path) -> list[str]:
    ours, theirs = (json.loads((where / "run" / "metrics.json").read_text()) for where in (at, reference))
    curves = [[[e["train_loss"], e["validation_loss"]] for e in content["epochs"]] for content in (ours, theirs)]
    return [*([] if curves[0] == curves[1] else ["curves differ"]), *left_behind(at)]


def _check_export(at: Path, reference: Path) -> list[str]:
    ours, theirs = (
        {str(p.relative_to(where / "models")) for p in (where / "models").rglob("*") if p.is_file()}
        for where in (at, reference)
    )
    return [*([] if ours == theirs else [f"files differ: {sorted(ours ^ theirs)}"]), *left_behind(at)]


def _check_report(at: Path, reference: Path) -> list[str]:
    whole = (at / "run" / "report.html").read_text().rstrip().endswith("</html>")
    return [*([] if whole else ["half a report"]), *left_behind(at)]


TARGETS = [
    Target("search, 1 worker", _search(1), 12, _check_search),
    Target("search, 3 workers", _search(3), 10, _check_many),
    Target("confirm", _confirm, 15, _check_confirm, begins_with="search, 1 worker"),
    Target("train", _train, 5, _check_train),
    Target("export", _export, 8, _check_export, begins_with="confirm"),
    Target("report", _report, 5, _check_report, begins_with="search, 1 worker"),
]
"""What is killed, each beginning where an earlier one ended."""


def undisturbed(target: Target, place: Path) -> Path:
    """The folder where the target was left alone. Raises RuntimeError if that does not end well."""
    at = place / target.name.replace(" ", "-").replace(",", "")
    if at.exists():
        return at
    prepare(target, place, at)
    code, said = run(target, at)
    if code != 0:
        raise RuntimeError(f"{target.name} ends with {code} when left alone: {said[-500:]}")
    return at


def prepare(target: Target, place: Path, at: Path) -> None:
    """The folder in which the target begins."""
    if target.begins_with is None:
        at.mkdir(parents=True)
        return
    before = next(other for other in TARGETS if other.name == target.begins_with)
    shutil.copytree(undisturbed(before, place), at, symlinks=True)


def run(target: Target, at: Path, environment: Mapping[str, str] = os.environ) -> tuple[int | None, str]:
    """Exit code (None: it hung) and what was said."""
    try:
        done = subprocess.run(
            target.arguments(at),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=LONGEST,
            env=dict(environment),
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stderr


def campaign(target: Target, place: Path, rng: random.Random, most_kills: int) -> Found:
    """The command killed until it ends by itself, or so often, and what is wrong then."""
    reference = undisturbed(target, place)
    at = place / "killed" / "at"
    shutil.rmtree(at.parent, ignore_errors=True)
    prepare(target, place, at)
    found = Found(campaigns=1)
    while sum(found.kills.values()) < most_kills:
        with _started(target.arguments(at)) as process:
            kind = _kill_some(process, rng, target.seconds)
            if kind is None:
                break
            found.kills[f"{target.name}: {kind}"] += 1
    code, said = run(target, at)
    wrong = target.check(at, reference) if code == 0 else [f"exit {code}: {said[-300:]}"]
    found.faults = [f"{target.name}: {fault}" for fault in wrong]
    return found


@contextmanager
def _started(arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The command as the head of a process group; whatever is left of it at the end is killed."""
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(arguments, start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing)
    try:
        yield process
    finally:
        kill(process.pid)
        process.wait()


def _kill_some(process: subprocess.Popen[bytes], rng: random.Random, seconds: float) -> str | None:
    """Kills workers, the parent or both at a random moment; who was killed last, None if it had ended by then."""
    time.sleep(rng.uniform(0, 0.8 * seconds))
    if process.poll() is not None:
        return None
    workers = children(process.pid)
    kind = rng.choice(["parent", "all", "worker"])
    if kind == "worker" and workers:
        kill(rng.choice(workers))
        return _go_on(process, rng, seconds)
    for victim in [*(workers if kind == "all" else []), process.pid]:
        kill(victim)
    process.wait()
    return "parent and workers" if kind == "all" and workers else "parent"


def _go_on(process: subprocess.Popen[bytes], rng: random.Random, seconds: float) -> str:
    """After a worker's end its parent lives on for a moment, then it is ended too."""
    time.sleep(rng.uniform(0, 0.5 * seconds))
    kill(process.pid)
    process.wait()
    return "worker, then parent"


def children(process: int) -> list[int]:
    """Process ids of those that its main thread has started."""
    path = Path(f"/proc/{process}/task/{process}/children")
    try:
        return [int(word) for word in path.read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def kill(process: int) -> None:
    """kill -9, whether or not it is still there."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def attack(count: int | None, seed: int) -> Figures:
    """So many kills, spread over the targets, and what is wrong after each campaign."""
    count, rng, found = count or 1000, random.Random(seed), Found()
    with tempfile.TemporaryDirectory() as place:
        for index in itertools.count():
            killed = sum(found.kills.values())
            if killed >= count:
                break
            target = TARGETS[index % len(TARGETS)]
            found.add(campaign(target, Path(place), rng, min(rng.randint(3, 20), count - killed)))
            say(f"{sum(found.kills.values())} of {count} kills; {len(found.faults)} faults {found.faults[-1:]}")
    return {
        "kills": sum(found.kills.values()),
        "campaigns": found.campaigns,
        "of": dict(sorted(found.kills.items())),
        "faults": found.faults,
    }
