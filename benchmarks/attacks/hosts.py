"""A search on three hosts, made of network namespaces: kill -9 of workers, of whole machines and of the one that leads,
of the database, cables cut, a bucket that does not answer. Is a trial lost, told twice, failed, an epoch trained twice?

Host 1 has PostgreSQL, an S3 server and the leader, hosts 2 and 3 train. Needs root, `ip` and moto.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from machine import Figures, say
from postgres import Server, server

from attacks.kills import NAS, children, kill
from nas.search.records import Record, read_run
from nas.search.search import run_folder
from nas.training.train import DivergenceError

NETWORK = "10.77.0"
HOSTS = ("nas1", "nas2", "nas3")
EPOCHS, WORKERS = 4, 2
TRIALS = 3
"""Trials an accident: with fewer, a search on a fast machine is over before all have happened."""
BETWEEN, STANDSTILL = 2.0, 20.0
"""Most seconds from an epoch to the next accident, and without an epoch."""

SHARES = {"worker": 240, "machine": 40, "leader": 20, "database": 20, "cable": 20, "bucket": 1}
"""How often each happens in a whole attack."""

LONGEST_CUT, SHORTEST_CUT, BUCKET_AWAY = 90.0, 5.0, 60.0

COUNTING = '''
import importlib.abc, importlib.util, os, sys

class Finder(importlib.abc.MetaPathFinder):
    """Counts every epoch that is trained to its end, in a file that grows by a byte each."""

    def find_spec(self, name, path=None, target=None):
        if name != "nas.training.train":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def counting(module):
            execute(module)
            epoch = module._Training.epoch

            def counted(*arguments):
                done = epoch(*arguments)
                with open(os.environ["NAS_COUNTED"], "ab") as file:
                    file.write(b".")
                return done

            module._Training.epoch = counted

        spec.loader.exec_module = counting
        return spec

sys.meta_path.insert(0, Finder())
'''


def on(host: str, *command: str) -> list[str]:
    """The command on that host."""
    return ["ip", "netns", "exec", host, *command]


@contextmanager
def network() -> Iterator[None]:
    """The hosts, joined by a switch that is a namespace of its own."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    def clear() -> None:
        for name in ("nas0", *HOSTS):
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)

    clear()
    try:
        ip("netns", "add", "nas0")
        ip("-n", "nas0", "link", "add", "switch", "type", "bridge")
        ip("-n", "nas0", "link", "set", "switch", "up")
        for number, host in enumerate(HOSTS, start=1):
            ip("netns", "add", host)
            ip("link", "add", "cable", "netns", host, "type", "veth", "peer", "name", f"port{number}", "netns", "nas0")
            ip("-n", "nas0", "link", "set", f"port{number}", "master", "switch", "up")
            ip("-n", host, "addr", "add", f"{NETWORK}.{number}/24", "dev", "cable")
            ip("-n", host, "link", "set", "cable", "up")
            ip("-n", host, "link", "set", "lo", "up")
        yield
    finally:
        clear()


@dataclass
class Machines:
    """What runs, and what has happened to it."""

    place: Path
    database: Server
    trials: int
    environment: dict[str, str]
    happened: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _moved: tuple[int, float] = (0, 0.0)
    _away: set[str] = field(default_factory=set)
    """Cables, databases and buckets that are out of reach now."""

    @property
    def run(self) -> Path:
        """Of the leader."""
        return self.place / "run"

    def command(self, host: str) -> list[str]:
        """What the host runs."""
        if host == HOSTS[0]:
            search = ["--dataset", "digits", "--budget", "1K,3K", "--strategies", "tpe,random", "--no-baselines"]
            counts = ["--trials", str(self.trials // 4), "--epochs", str(EPOCHS), "--stop-threshold", "0.3"]
            meeting = ["--storage", self.database.url, "--files", "s3://bucket/nas", "--workers", "0"]
            return on(host, *NAS, "search", *search, *counts, *meeting, "--out", str(self.run))
        return on(host, *NAS, "worker", self.database.url, "--run", "run", "--workers", str(WORKERS), "--device", "cpu")

    def keep_running(self) -> bool:
        """Starts again what has ended before the search was over, as a launcher does; whether the leader still runs."""
        for host in HOSTS:
            process = self._running.get(host)
            code = None if process is None else process.poll()
            if process is not None and code is None:
                continue
            if host == HOSTS[0] and code == 0:
                return False
            if code == 0:
                continue  # nothing was left for it
            if process is not None and code not in (-signal.SIGKILL, 2):
                self.faults.append(f"{host} ended with {code}")
            with open(self.place / f"{host}.log", "ab") as log:
                self._running[host] = subprocess.Popen(
                    self.command(host), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
                )
        return True

    def strike(self, what: str, rng: random.Random) -> None:
        """Lets that happen, if it can now."""
        trainers = [self._running[host].pid for host in HOSTS[1:] if host in self._running]
        if what == "worker" and (victims := [child for pid in trainers for child in children(pid)]):
            kill(rng.choice(victims))
        elif what == "machine" and trainers:
            pid = rng.choice(trainers)
            for victim in (pid, *children(pid)):
                kill(victim)
        elif what == "leader":
            kill(self._running[HOSTS[0]].pid)
        elif what == "database" and "database" not in self._away:
            self.database.kill()
            self._later("database", rng.uniform(1, 5), self.database.start)
        elif what == "cable":
            host = rng.choice(HOSTS[1:])
            if host in self._away:
                return
            self._cable(host, "down")
            self._later(host, rng.uniform(SHORTEST_CUT, LONGEST_CUT), lambda: self._cable(host, "up"))
        elif what == "bucket" and "bucket" not in self._away:
            bucket = self._running["bucket"]
            bucket.send_signal(signal.SIGSTOP)
            self._later("bucket", BUCKET_AWAY, lambda: bucket.send_signal(signal.SIGCONT))
        else:
            return
        self.happened[what] += 1

    def _cable(self, host: str, state: str) -> None:
        subprocess.run(["ip", "-n", host, "link", "set", "cable", state], check=True)

    def _later(self, what: str, seconds: float, back: Callable[[], object]) -> None:
        self._away.add(what)

        def ends() -> None:
            back()
            self._away.discard(what)

        timer = threading.Timer(seconds, ends)
        timer.daemon = True
        timer.start()

    def start_bucket(self) -> None:
        """The S3 server, whose content is lost with it: it is stopped, not killed."""
        command = on(HOSTS[0], sys.executable, "-m", "moto.server", "-H", f"{NETWORK}.1", "-p", "5000")
        self._running["bucket"] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        make = "import s3fs; s3fs.S3FileSystem().mkdir('bucket')"
        while subprocess.run(
            on(HOSTS[0], sys.executable, "-c", make), env=self.environment, capture_output=True
        ).returncode:
            time.sleep(0.2)

    def end(self) -> None:
        """Kills what is left."""
        for process in self._running.values():
            for victim in (*children(process.pid), process.pid):
                kill(victim)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)

    def has_moved(self) -> bool:
        """Whether an epoch was trained since it last had, or none for long: nobody is struck again and again before it
        does anything."""
        now, (epochs, at) = time.monotonic(), self._moved
        if self.epochs() == epochs and now - at < STANDSTILL:
            return False
        self._moved = self.epochs(), now
        return True

    def epochs(self) -> int:
        """Trained to their end, on all hosts."""
        counted = Path(self.environment["NAS_COUNTED"])
        return counted.stat().st_size if counted.exists() else 0


def check(machines: Machines) -> Figures:
    """What the search came to, and what is wrong with that."""
    search, records = read_run(run_folder(machines.run))
    counts = Counter(record.state for record in records)
    if len(records) != search.all_trials or set(counts) - {"trained", "stopped", "replayed", "failed"}:
        machines.faults.append(f"{dict(counts)} of {search.all_trials} trials")
    failed = [record for record in records if record.state == "failed"]
    diverged = [record for record in failed if record.failure.startswith(DivergenceError.__name__)]
    machines.faults += [_told(record) for record in failed if record not in diverged]
    lines = [json.loads(line) for line in (machines.run / "journal.log").read_text().splitlines()]
    stored = machines.database.run("SELECT line FROM nas_journal WHERE run = 'run' ORDER BY n").splitlines()
    if [json.loads(line) for line in stored] != lines:
        machines.faults.append("the leader's journal is not that of the database")
    told = Counter(line["trial_id"] for line in lines if line["op_code"] == 6 and line.get("state") == 1)
    machines.faults += [f"trial {trial} was told {times} times" for trial, times in told.items() if times > 1]
    needed: dict[str, int] = {}
    for record in records:
        if record.state != "replayed":
            needed[record.network] = max(needed.get(record.network, 0), len(record.accuracies))
    trained, least = machines.epochs(), sum(needed.values())
    allowed = sum(machines.happened[what] * times for what, times in TRAINED_TWICE.items())
    if trained - least > allowed:
        machines.faults.append(f"{trained - least} epochs were trained twice, {allowed} accidents may have caused one")
    return {
        "trials": search.all_trials,
        "states": dict(counts),
        "diverged": [_told(record) for record in diverged],
        "epochs": {"needed": least, "trained_twice": trained - least, "accidents_of_workers": allowed},
    }


def _told(record: Record) -> str:
    """Of a training that failed."""
    knobs = " ".join(f"{name}={value}" for name, value in record.knobs.items())
    return f"{record.strategy} #{record.number} of {record.budget:,} ({knobs}): {record.failure}"


TRAINED_TWICE = {"worker": 1, "machine": WORKERS, "database": 2 * WORKERS, "cable": WORKERS, "bucket": 2 * WORKERS}
"""Trainings that an accident ends in the middle of an epoch, at most."""


def attack(count: int | None, seed: int) -> Figures:
    """So many accidents, of which each kind has its share, and then the rest of the search in peace."""
    rng, whole = random.Random(seed), sum(SHARES.values())
    accidents = count or whole
    plan = [what for what, share in SHARES.items() for _ in range(max(1, round(share * accidents / whole)))]
    rng.shuffle(plan)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, network(), server(host=on(HOSTS[0]), address=f"{NETWORK}.1") as base:
        place = Path(folder)
        (place / "sitecustomize.py").write_text(COUNTING)
        paths = f"{place}:{Path(__file__).resolve().parents[2]}"
        own = {"PYTHONPATH": paths, "NAS_COUNTED": str(place / "counted"), "OMP_NUM_THREADS": "1"}
        s3 = {"AWS_ENDPOINT_URL": f"http://{NETWORK}.1:5000", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        machines = Machines(place, base, trials=TRIALS * accidents, environment=os.environ | own | s3)
        try:
            machines.start_bucket()
            while machines.keep_running():
                if plan and machines.has_moved():
                    time.sleep(rng.uniform(0, BETWEEN))
                    machines.strike(plan.pop(), rng)
                    say(f"{sum(machines.happened.values())} of {accidents} accidents, {machines.epochs()} epochs")
                else:
                    time.sleep(0.5)
                if time.monotonic() - began > accidents * STANDSTILL + 600:
                    machines.faults.append("it did not come to an end")
                    break
            figures = check(machines)
        finally:
            machines.end()
            for log in sorted(place.glob("*.log")):
                if "Traceback" in log.read_text():
                    machines.faults.append(f"{log.name}: a traceback")
        logs = {log.name: log.read_text()[-3000:] for log in place.glob("*.log")} if machines.faults else {}
    happened = {"accidents": dict(machines.happened), "left": len(plan), "seconds": round(time.monotonic() - began)}
    return {**happened, **figures, "faults": machines.faults, "logs": logs}
