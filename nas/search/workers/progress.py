"""How much of a search is done and how much is left: the epochs that are still to be trained, as far as can be known.

Epochs are weighed by the seconds that an epoch of such a network takes, so that a large network counts for more than a
small one. A trial not yet proposed takes as many epochs as the latest of its study, those they will go on with
included; a training that runs, as many as those that came further; a stopped one, what the rule says now.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nas.search.judging.judge import Judge, is_audited, is_judged
from nas.search.records import Record
from nas.search.search import Search

Study = tuple[str, int]

RECENT = 15
"""Trials of a study that say what the next will take."""

HOLDS = 3
"""Stopped trainings that are assumed to have gone on with half of what they lacked, before any has."""

WARM_UP = 10.0
"""Seconds for which processes are assumed to train all the time, before it is seen how much they do."""

WINDOW = 60.0
"""Seconds from whose work the time left is told."""

HASTE = 2.0
"""How many times as fast as the work is done the share moves where less turns out to be left than was thought."""

CREDITED = 0.9
"""Share of an epoch that counts as done before it has ended."""

REFRESHED = 0.02
"""Share of the trials after which stopped trainings are judged anew while new networks are left to try: it takes
longer than all else."""


@dataclass(frozen=True)
class Workload:
    """What is done and what is left, the latter in seconds of one process (in epochs as long as none `is_timed`).

    `epochs` trained of each network, by fingerprint, and what an epoch of it takes; `left` in all, `in_hand` of the
    epochs being trained now, one a running training, `longest` of the running training that will last longest.
    `going_on` stopped trainings will go on.
    """

    epochs: Mapping[str, int]
    seconds: Mapping[str, float]
    left: float
    in_hand: float
    longest: float
    going_on: int
    is_timed: bool

    def done(self, since: Mapping[str, int]) -> float:
        """The work done since the networks had been trained for so many epochs, as `left`."""
        return sum((epochs - since.get(name, 0)) * self.seconds[name] for name, epochs in self.epochs.items())


@dataclass
class Outlook:
    """Tells the workload of a search again and again."""

    search: Search
    _judged_at: int = -1
    _chances: dict[tuple[str, int, int], float] = field(default_factory=dict)
    """Chances that stopped trainings go on, by strategy, budget and number."""

    def workload(self, records: Sequence[Record]) -> Workload:
        """The work done and left as the records show it. A network that several trials share counts once."""
        self._judge(records)
        return _Count(self.search, records, self._chances).workload()

    def _judge(self, records: Sequence[Record]) -> None:
        """Notes which stopped trainings will go on, once enough has been told since the last time."""
        told = sum(1 + record.resumed for record in records if record.is_finished)
        lacking = self.search.all_trials - len(records)
        if told == self._judged_at or (lacking and told - self._judged_at <= REFRESHED * self.search.all_trials):
            return
        self._judged_at = told
        chances = Judge(self.search, records).chances_to_go_on(records)
        self._chances = {(r.strategy, r.budget, r.number): chance for r, chance in chances}


class _Count:
    """The epochs of one moment."""

    def __init__(
        self, search: Search, records: Sequence[Record], chances: Mapping[tuple[str, int, int], float]
    ) -> None:
        self._search, self._records = search, records
        self._longest: dict[str, int] = {}
        for record in records:
            self._longest[record.network] = max(self._longest.get(record.network, 0), len(record.accuracies))
        busy = {record.network for record in records if record.state in ("running", "waiting")}
        self._chances = {
            record.network: chances.get((record.strategy, record.budget, record.number), 0.0)
            for record in records
            if record.state == "stopped" and record.network not in busy
        }
        self._share = self._share_gone_on()
        self._seconds = {study: self._seconds_an_epoch(study) for study in search.studies}
        self._totals = {study: self._recent_totals(study) for study in search.studies}

    def workload(self) -> Workload:
        seconds: dict[str, float] = {}
        left: dict[str, float] = {}
        in_hand: dict[str, float] = {}
        for record in self._records:
            name, usual = record.network, self._seconds[record.strategy, record.budget]
            seconds[name] = record.seconds / len(record.accuracies) if record.seconds else seconds.get(name, usual)
            epochs = self._left(record)
            left[name] = max(left.get(name, 0.0), epochs * seconds[name])
            if record.state == "running" and epochs:
                in_hand[name] = min(1.0, epochs) * seconds[name]
        new = sum(self._lacking(study) * self._expected(study, -1) * self._seconds[study] for study in self._totals)
        return Workload(
            epochs=self._longest,
            seconds=seconds,
            left=new + sum(left.values()),
            in_hand=sum(in_hand.values()),
            longest=max((left[name] for name in in_hand), default=0.0),
            going_on=sum(chance == 1 for chance in self._chances.values()),
            is_timed=any(record.seconds for record in self._records),
        )

    def _lacking(self, study: Study) -> int:
        proposed = sum((record.strategy, record.budget) == study for record in self._records)
        return max(0, self._search.trials_of(study[0]) - proposed)

    def _left(self, record: Record) -> float:
        """Epochs that the training of a record is still to take."""
        reached, full = self._longest[record.network], self._search.epochs
        study = record.strategy, record.budget
        if record.state == "running":
            if not is_judged(self._search, record.strategy) or record.audited:
                return full - reached
            goes_to = reached + self._share * (full - reached) if record.resumed else self._expected(study, reached)
            return min(max(goes_to - reached, 1.0), full - reached)
        if record.state == "stopped" and is_audited(self._search, record):
            return full - reached
        return self._chances.get(record.network, 0.0) * self._share * (full - reached)

    def _expected(self, study: Study, reached: int) -> float:
        """Epochs that a training of the study takes which has come so far (-1: not yet proposed): the mean of those
        that came further, and of one to the last epoch, since the first of a search are never stopped."""
        if not is_judged(self._search, study[0]):
            return self._search.epochs
        return statistics.fmean([self._search.epochs, *(total for total in self._totals[study] if total > reached)])

    def _recent_totals(self, study: Study) -> list[float]:
        """Epochs of the latest trials of the study that have ended, replays 0, with those that they will go on for."""
        recent = [record for record in _of(self._records, study) if record.is_finished][-RECENT:]
        return [
            0.0 if record.state == "replayed" else self._longest[record.network] + self._left(record)
            for record in recent
        ]

    def _seconds_an_epoch(self, study: Study) -> float:
        """The median of the latest networks of the study; else of those of its budget, else of all, else 1."""
        same_budget = (record for record in self._records if record.budget == study[1])
        for records in (_of(self._records, study), same_budget, self._records):
            known = [r.seconds / len(r.accuracies) for r in records if r.seconds and r.state != "replayed"]
            if known:
                return statistics.median(known[-RECENT:])
        return 1.0

    def _share_gone_on(self) -> float:
        """Share of the epochs lacking when they were first stopped, for which trainings that went on were trained."""
        lacked, trained = HOLDS * self._search.epochs, 0.75 * HOLDS * self._search.epochs
        for record in self._records:
            if (
                record.resumed
                and record.is_finished
                and not record.audited
                and self._chances.get(record.network, 0.0) < 1
            ):
                lacked += self._search.epochs - record.first_epochs
                trained += len(record.accuracies) - record.first_epochs
        return trained / lacked


def _of(records: Iterable[Record], study: Study) -> list[Record]:
    return [record for record in records if (record.strategy, record.budget) == study]


@dataclass
class Progress:
    """The share of the work that is done and the seconds that are left, look after look.

    The share begins where the work stands and never falls. Where more turns out to be left than was thought it slows
    down, where less is left it hastens: in each case it advances as work is done, and only then.
    """

    search: Search
    workers: int
    share: float = 0.0
    seconds_left: float | None = None
    """None as long as it is not known how fast work is done."""
    workload: Workload | None = None
    _ahead: float = 0.0
    """Work that the share counts as done, of epochs that have not ended."""
    _looks: list[tuple[float, Mapping[str, int]]] = field(default_factory=list)
    """(seconds, epochs of each network) whenever an epoch had ended, those within the window."""

    def __post_init__(self) -> None:
        self._forecaster = Outlook(self.search)

    def look(self, records: Sequence[Record], seconds: float) -> None:
        """Takes in the records as they are so many seconds after the workers were started."""
        work = self._forecaster.workload(records)
        if self.workload is None:
            done = work.done({})
            self.share = done / (done + work.left) if done else 0.0
            self._looks = [(seconds, work.epochs)]
        gained = work.done(self._looks[-1][1])
        if gained > 0:
            self._looks.append((seconds, work.epochs))
            while len(self._looks) > 2 and self._looks[1][0] < seconds - WINDOW:
                self._looks.pop(0)
        speed = self._speed(work, seconds)
        credited = min(speed * (seconds - self._looks[-1][0]), CREDITED * work.in_hand)
        self._advance(work, gained, credited)
        if speed:
            self.seconds_left = max((work.left - credited) / speed, work.longest - credited if work.is_timed else 0.0)
        self.workload = work

    def _advance(self, work: Workload, gained: float, credited: float) -> None:
        before = min(self._ahead, gained + CREDITED * work.in_hand)
        self._ahead = max(before - gained, credited)
        advanced, left = gained + self._ahead - before, max(work.left - self._ahead, 0.0)
        if advanced > 0:
            done = work.done({}) + self._ahead
            step = (1 - self.share) * advanced / (advanced + left)
            self.share += min(max(step, done / (done + left) - self.share), HASTE * step)

    def _speed(self, work: Workload, seconds: float) -> float:
        """Work done in a second of the clock, in all processes, until the last epoch ended, or until now where the
        next takes longer than it should; 0 where nothing is known of it yet."""
        (since, epochs), (until, _) = self._looks[0], self._looks[-1]
        warm_up = WARM_UP if work.is_timed else 0.0
        done, passed = self.workers * warm_up + work.done(epochs), warm_up + until - since
        if not done or not passed:
            return 0.0
        late = max(0.0, seconds - until - work.in_hand * passed / done)
        return done / (passed + late)
