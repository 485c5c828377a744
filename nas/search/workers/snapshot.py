"""What there is to show of a search at one moment, and what shows it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from nas.machine.folders import WorkFolder
from nas.search.judging.forecasts import Forecast, no_forecast
from nas.search.judging.judge import Judge
from nas.search.records import Record, common_failure
from nas.search.search import Search
from nas.search.workers.claims import SAME_FAILURES

Ending = Literal["complete", "interrupted", "time limit"]


@dataclass(frozen=True)
class Snapshot:
    """What there is to show of a run at one moment."""

    search: Search
    records: Sequence[Record]
    seconds: float
    finished_before: int
    time_limit: float | None = None
    """Seconds after which it is to stop."""
    forecast: Callable[[Sequence[Record]], Forecast] = lambda _: no_forecast
    """What the workers' judges hear of the networks, by the records."""

    @property
    def total(self) -> int:
        """Trials of the whole search."""
        return self.search.all_trials

    @property
    def finished(self) -> int:
        """Trials trained, stopped, replayed or failed."""
        return sum(record.is_finished for record in self.records)

    @property
    def told(self) -> int:
        """Networks of which something was told, those included whose stopped training has gone on since."""
        return sum(record.is_finished or record.resumed > 0 for record in self.records)

    @cached_property
    def is_complete(self) -> bool:
        """Whether every trial is told and no stopped training should go on."""
        if self.finished < self.total or len(self.records) > self.finished:
            return False
        judge = Judge(self.search, self.records, self.forecast(self.records))
        return judge.to_resume(self.records, nothing_new=True)[0] is None and judge.to_audit(self.records) is None

    @property
    def is_over(self) -> bool:
        """Whether no worker would find anything to do, of any machine."""
        failed = common_failure(self.records, SAME_FAILURES) is not None
        return self.is_complete or (failed and all(record.is_finished for record in self.records))

    @property
    def epochs(self) -> int:
        """Epochs trained so far, replays aside."""
        return sum(len(record.accuracies) for record in self.records if record.state != "replayed")


class View(Protocol):
    """Shows the search while it runs."""

    def begin(self, folder: WorkFolder[Search], search: Search, workers: int) -> None:
        """Says what begins, and where."""

    def update(self, snapshot: Snapshot) -> None:
        """Shows this moment."""

    def tell(self, line: str) -> None:
        """Says something beside that."""
