"""Where the time of a worker goes: every moment of it belongs to one activity."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from nas.machine.folders import cut_torn_line, numbered
from nas.stored import parsed, stored

Activity = Literal["start", "claim", "wait", "build", "steps", "validation", "checkpoint", "judge", "journal"]
"""What a worker does: starting (process, data), finding out what to train next, waiting for others, making or thawing a
network, training steps, judging the validation split, saving, deciding whether a training goes on, noting results."""

ACTIVITIES: tuple[Activity, ...] = get_args(Activity)


@dataclass(frozen=True)
class Stretch:
    """What a worker did between two trials: seconds of each activity, from `began` (of the epoch of Unix) on."""

    began: float
    trial: str
    seconds: dict[str, float]

    @property
    def ended(self) -> float:
        """When it ended, as `began`."""
        return self.began + sum(self.seconds.values())


@dataclass
class Timeline:
    """The activities of one worker, a line a trial in a file that those before it in its slot began. A line that the
    last of them was killed over is cut off."""

    path: Path
    began: float
    """When the process started."""
    _activity: Activity = "start"
    _since: float = 0.0
    _seconds: dict[Activity, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._since = self.began
        if self.path.exists():
            cut_torn_line(self.path)

    def begin(self, activity: Activity) -> None:
        """From now on the time is spent on this."""
        now = time.time()
        self._seconds[self._activity] = self._seconds.get(self._activity, 0.0) + now - self._since
        self._activity, self._since = activity, now

    def write(self, trial: str) -> None:
        """Appends what was done since the last time, for a trial ("" for none)."""
        self.begin(self._activity)
        seconds = {activity: round(spent, 4) for activity, spent in self._seconds.items()}
        with open(self.path, "a") as file:
            file.write(json.dumps({"began": round(self.began, 3), "trial": trial, "seconds": seconds}) + "\n")
        self.began, self._seconds = self._since, {}


def read_timeline(path: Path) -> list[Stretch]:
    """The stretches of a worker, in order; those of lines that a kill has torn, or that are damaged, are left out."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    stretches = []
    for line in lines:
        try:
            stretches.append(stored(parsed(line), Stretch))
        except ValueError:
            continue
    return stretches


def read_timelines(folder: Path) -> dict[int, list[Stretch]]:
    """What the workers did whose files, named after their slots, lie in the folder; those of whom nothing is known yet
    are left out."""
    known = {slot: read_timeline(file) for slot, file in numbered(folder, "timeline").items()}
    return {slot: stretches for slot, stretches in known.items() if stretches}


def spent(workers: Mapping[int, Sequence[Stretch]]) -> dict[str, float]:
    """Seconds of all workers by activity, the longest first; "idle" is how long workers had ended before the last."""
    seconds: dict[str, float] = {}
    ends = [own[-1].ended for own in workers.values() if own]
    for own in workers.values():
        for stretch in own:
            for activity, each in stretch.seconds.items():
                seconds[activity] = seconds.get(activity, 0.0) + each
    idle = sum(max(ends) - end for end in ends)
    return dict(sorted((seconds | {"idle": idle}).items(), key=lambda item: -item[1]))
