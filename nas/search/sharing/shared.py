"""What the workers of a run share, as one of them sees it; on one machine that is the run folder."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager

from nas.machine.folders import WorkFolder
from nas.search.journal import RunStorage, open_storage
from nas.search.search import Search
from nas.search.sharing.weights import Weights


class Shared(ABC):
    """The journal of a run, the turn to claim, who is alive, the states of trainings.

    A worker works under a `lease`, which is free as soon as it has ended, however it did; who only looks on has none.
    """

    storage: RunStorage
    weights: Weights
    lease: int | None
    polls: float = 0.2
    """Seconds between two looks of one who waits."""

    @abstractmethod
    def claiming(self, waiting: Callable[[], object] = lambda: None) -> AbstractContextManager[None]:
        """It is our turn meanwhile: no other worker of the run claims. Where it is not at once, `waiting` is called
        first, to make use of the time."""

    @abstractmethod
    def alive(self, leases: Collection[int]) -> set[int]:
        """Those of the leases that somebody holds."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[bool]:
        """Whether nobody else leads the run, which nobody else can meanwhile."""

    @abstractmethod
    def beat(self) -> None:
        """Says that we are at work, called at every step of a training. What is out of reach is told by what is done
        next, so that an epoch comes to its end."""

    @abstractmethod
    def end_hung(self, seconds: float) -> None:
        """Frees the leases of workers that were not heard of for so long: a hung process must not keep its trial."""

    @abstractmethod
    def show(self, front: str) -> None:
        """The text of pareto.json, for those who look at the run from elsewhere."""

    @abstractmethod
    def close(self) -> None:
        """Frees what we hold."""


class Folder(Shared):
    """The run folder of a single machine. A lease is the number of a slot, whose lock the worker holds."""

    def __init__(self, folder: WorkFolder[Search], slot: int | None) -> None:
        self.storage = open_storage(folder)
        self.weights = Weights(folder)
        self.lease = slot
        self._folder = folder

    @contextmanager
    def claiming(self, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Under a lock of the folder."""
        with self._folder.lock("claim", wait=False) as held:
            if held:
                yield
        if not held:
            waiting()
            with self._folder.lock("claim", wait=True):
                yield

    def alive(self, leases: Collection[int]) -> set[int]:
        """Those of slots whose lock is held."""
        return {lease for lease in leases if lease == self.lease or self._is_held(lease)}

    def _is_held(self, slot: int) -> bool:
        with self._folder.lock(f"slot-{slot}", wait=False) as free:
            return not free

    def alone(self) -> AbstractContextManager[bool]:
        """Under a lock of the folder."""
        return self._folder.lock("run", wait=False)

    def beat(self) -> None:
        """Nobody asks."""

    def end_hung(self, seconds: float) -> None:
        """None is freed: a process of this machine can be ended by whoever sees it hang."""

    def show(self, front: str) -> None:
        """It is in the folder."""

    def close(self) -> None:
        """Nothing is held but the lock of the slot, which is its process's."""
