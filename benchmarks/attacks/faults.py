"""Every call that writes below the folder of a command made to fail once, by a library loaded before libc's own: does
it end with a line of nas's own, and does the same command, called again, come to the same as if nothing had been?
"""

import errno
import os
import random
import shutil
import struct
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from machine import Figures, say

from attacks.kills import TARGETS, Target, left_behind, prepare, run, undisturbed

ERRORS = {name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EACCES", "EMFILE")}
NEVER = 0
ALONE = ("search, 1 worker", "confirm", "train", "export", "report")
"""Targets whose calls come in the same order each time."""


def library(place: Path) -> Path:
    """The library, compiled. Raises RuntimeError where there is no compiler."""
    to = place / "faults.so"
    source = Path(__file__).with_name("faults.c")
    try:
        command = ["cc", "-shared", "-fPIC", "-O1", "-w", str(source), "-o", str(to), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError as error:
        raise RuntimeError("this attack needs a C compiler named cc (Debian: apt install gcc libc6-dev)") from error
    return to


class Faulty:
    """A target whose calls can be made to fail."""

    def __init__(self, target: Target, place: Path) -> None:
        self.target, self.place = target, place
        self.reference = undisturbed(target, place)
        self.library = library(place)
        self.calls = self.attempt(NEVER, 0)[2]

    def attempt(self, at: int, code: int) -> tuple[int | None, str, int]:
        """The command in a fresh folder whose call of that number fails: exit code, what it said, calls made."""
        folder, counter = self._folder(), self.place / "counter"
        shutil.rmtree(folder, ignore_errors=True)
        prepare(self.target, self.place, folder)
        counter.write_bytes(bytes(8))
        loaded = {"LD_PRELOAD": str(self.library), "FAULT_UNDER": f"{folder}/", "FAULT_COUNTER": str(counter)}
        ended, said = run(self.target, folder, os.environ | loaded | {"FAULT_AT": str(at), "FAULT_ERRNO": str(code)})
        return ended, said, struct.unpack("q", counter.read_bytes())[0]

    def fault(self, at: int, code: int) -> tuple[str, str | None]:
        """How the command ended, and what is wrong with that or with what came of it when it was called again."""
        ended, said, calls = self.attempt(at, code)
        how = f"exit {ended}" if calls >= at else "not reached"
        if ended not in (0, 1, 2) or "Traceback" in said:
            return how, f"{how}: {said[-400:]}"
        if ended and not said.strip():
            return how, f"{how} without a word"
        folder = self._folder()
        again, said = run(self.target, folder)
        if again != 0:
            return how, f"{how}, then exit {again}: {said[-400:]}"
        wrong = [*self.target.check(folder, self.reference), *left_behind(folder)]
        return how, f"{how}, then {wrong}" if wrong else None

    def _folder(self) -> Path:
        return self.place / "faulty" / "at"


def attack(count: int | None, seed: int) -> Figures:
    """So many faults, spread over the targets and their calls."""
    count, rng = count or 300, random.Random(seed)
    endings, faults = Counter[str](), []
    with tempfile.TemporaryDirectory() as place:
        targets = [Faulty(target, Path(place)) for target in TARGETS if target.name in ALONE]
        for done in range(count):
            target = targets[done % len(targets)]
            at, name = rng.randint(1, target.calls), rng.choice(sorted(ERRORS))
            how, wrong = target.fault(at, ERRORS[name])
            endings[f"{target.target.name}: {name}: {how}"] += 1
            if wrong:
                faults.append({"target": target.target.name, "call": at, "error": name, "fault": wrong})
                say(f"{target.target.name}, call {at} of {target.calls}, {name}: {wrong}")
            if done % 20 == 19:
                say(f"{done + 1} of {count} calls failed; {len(faults)} faults")
        calls = {target.target.name: target.calls for target in targets}
    return {"failed_calls": count, "calls": calls, "endings": dict(sorted(endings.items())), "faults": faults}
