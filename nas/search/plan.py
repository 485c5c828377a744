"""The plan of a search, and the folder in which it runs.

RUN/settings.json   the plan: the same command continues, another is refused
    journal.log     Optuna's storage: one study a strategy and budget
    pareto.json     the result, rewritten after every trial
    weights/        the state of each training, and the weights of the networks on the front
    workers/        locks, logs and pulses of the worker processes
    data.npz        only where arrays were given instead of a data set
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nas.errors import RecipeError, RunError
from nas.machine.folders import claim, file_lock, refuse_other_settings
from nas.space.budget import Budget
from nas.stopping.rules import default_threshold
from nas.training.recipe import Recipe, changed, recipe_values

BASELINES = "baselines"
"""The study of networks that nobody searched for."""

_OWN = {"data.npz", "weights", "workers"}
"""What an interrupted beginning may have left in a run folder."""


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a search finds. Counts are per strategy and budget; `baselines` are trained beside
    the strategies' trials, at every budget. `recipe` is what `recipe_settings` gives. Runs from before trainings were
    stopped early lack the last five. `starts` are the settings with which the search at each budget begins, if any;
    `validation_images`, which follows from the data set, the share and the seed, is 0 where it was not written down."""

    dataset: str
    data_checksum: str
    image_size: int | None
    validation_share: float | None
    augmentation: tuple[str, ...]
    space: str
    space_class: str
    space_checksum: str
    budgets: tuple[int, ...]
    max_macs: int | None
    strategies: tuple[str, ...]
    baselines: tuple[str, ...]
    trials: int
    epochs: int
    below: float
    seed: int
    recipe: dict[str, Any]
    stop: str = "none"
    stop_threshold: float | None = None
    audit: float = 0.0
    starts: tuple[list[dict[str, Any]], ...] = ()
    validation_images: int = field(default=0, compare=False)

    def budget(self, parameters: int) -> Budget:
        """The budget of one study."""
        return Budget(parameters, self.max_macs)

    def starts_at(self, budget: int) -> list[dict[str, Any]]:
        """Settings with which the studies of one budget begin, before the space's default."""
        return self.starts[self.budgets.index(budget)] if self.starts else []

    @property
    def threshold(self) -> float:
        """The chance of joining the front below which a training is given up."""
        if self.stop_threshold is not None:
            return self.stop_threshold
        return default_threshold(self.trials * len(self.budgets))

    @property
    def training(self) -> Recipe:
        """How every network is trained."""
        return changed(Recipe(), self.recipe | {"epochs": self.epochs, "augmentation": self.augmentation})

    @property
    def studies(self) -> tuple[tuple[str, int], ...]:
        """(strategy, budget) of every study, in the order in which they take turns."""
        strategies = (*self.strategies, *([BASELINES] if self.baselines else []))
        return tuple((strategy, budget) for budget in self.budgets for strategy in strategies)

    def trials_of(self, strategy: str) -> int:
        """Trials of one study."""
        return len(self.baselines) if strategy == BASELINES else self.trials

    @property
    def all_trials(self) -> int:
        """Trials of every study together."""
        return sum(self.trials_of(strategy) for strategy, _ in self.studies)


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder."""

    path: Path

    @property
    def settings(self) -> Path:
        """The plan as JSON."""
        return self.path / "settings.json"

    @property
    def journal(self) -> Path:
        """Optuna's journal file."""
        return self.path / "journal.log"

    @property
    def pareto(self) -> Path:
        """The result."""
        return self.path / "pareto.json"

    @property
    def data(self) -> Path:
        """The arrays given through the Python API."""
        return self.path / "data.npz"

    def weights(self, network: str) -> Path:
        """State of the training of the network with this fingerprint."""
        return self.path / "weights" / f"{network}.pt"

    def worker(self, slot: int, kind: str) -> Path:
        """Lock, log or pulse of the worker in a slot."""
        return self.path / "workers" / f"{slot}.{kind}"

    def read_plan(self) -> Plan:
        """The plan of the run. Raises RunError if the folder holds none."""
        if not self.settings.is_file():
            raise RunError(f"{self.path} is no run folder: it has no settings.json")
        try:
            stored = json.loads(self.settings.read_text())
            stored["recipe"] = recipe_settings(changed(Recipe(), stored["recipe"]))
            known = [f for f in fields(Plan) if f.name in stored or f.default is MISSING]
            return Plan(**{f.name: _tuple(stored[f.name]) for f in known})
        except (OSError, ValueError, KeyError, TypeError, RecipeError) as error:
            raise RunError(f"{self.settings} cannot be read: {error!r:.100}; choose another --out") from error

    def enter(self, plan: Plan) -> None:
        """Creates the folder for the plan or finds the same plan in it. Raises RunError naming what differs."""
        claim(self.settings, asdict(plan), what="run folder", leftovers=_OWN, inner=("weights", "workers"))
        refuse_other_settings(self.path, "search", _differences(self.read_plan(), plan))

    @contextmanager
    def lock(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Holds the named lock of this run; without waiting, yields whether it could be had. Freed when we die."""
        with file_lock(self.path / "workers" / f"{name}.lock", wait=wait) as held:
            yield held


def recipe_settings(recipe: Recipe) -> dict[str, Any]:
    """A plan's recipe as JSON values: all but the epochs and the augmentation, which the plan has itself."""
    return {name: value for name, value in recipe_values(recipe).items() if name not in ("epochs", "augmentation")}


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _differences(stored: Plan, asked: Plan) -> list[str]:
    return [
        f"{f.name} was {_shown(getattr(stored, f.name))}, now {_shown(getattr(asked, f.name))}"
        for f in fields(Plan)
        if f.compare and getattr(stored, f.name) != getattr(asked, f.name)
    ]


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
