"""What was decided of a search, and the folder in which it runs.

RUN/settings.json   what was decided: the same command continues, another is refused
    journal.log     Optuna's storage: one study a strategy and budget
    pareto.json     the result, rewritten after every trial
    pareto-N-epochs.json  that of the search when it had fewer epochs, if it had
    weights/        the state of each training, and the weights of the networks on the front
    workers/        logs and pulses of the worker processes
    data.npz        only where arrays were given instead of a data set
    arguments.json  what the script that searches was called with, for its workers
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from nas.data.load import ARRAYS, data_name, placed
from nas.machine.folders import WorkFolder
from nas.machine.options import words
from nas.network.deployment.numbers import Numbers
from nas.search.options import SearchOptions
from nas.space.budget import Budget, parse_caps
from nas.space.files import space_checksum, space_fingerprint, space_stem, told_space
from nas.space.space import Space
from nas.stopping.rules import default_threshold
from nas.stored import Count, stored
from nas.training.recipe import Recipe, changed, recipe_values

if TYPE_CHECKING:
    from nas.data.load import SearchData

BASELINES = "baselines"
"""The study of networks that nobody searched for."""


@dataclass(frozen=True)
class Search:
    """Everything that decides what a search finds. Counts are per strategy and budget; `baselines` are trained beside
    the strategies' trials, at every budget. `max` are caps beside `budgets` and `max_macs`, of networks deployed in
    `numbers`. `starts` are the knobs with which the search at each budget begins, if any, before the space's default;
    `beginnings` those of the space with which it goes on after that (see `nas.space.space.Architecture`);
    `space_fingerprint` tells what the space's file makes (see `nas.space.files.space_fingerprint`);
    `validation_images` follows from the data set, the share and the seed."""

    what: ClassVar[str] = "search"
    folders: ClassVar[tuple[str, ...]] = ("weights", "workers")
    before: ClassVar[tuple[str, ...]] = ("shared.json", "shared.json.partial")

    dataset: str
    data_checksum: str
    image_size: int | None
    validation_share: float | None
    augmentation: tuple[str, ...]
    space: str
    space_class: str
    space_checksum: str = field(metadata={"changed": "the file of the space (--changed-space goes on all the same)"})
    budgets: tuple[int, ...]
    max_macs: int | None
    strategies: tuple[str, ...]
    baselines: tuple[str, ...]
    trials: int
    epochs: int
    below: float
    seed: int
    recipe: Recipe
    stop: str = "none"
    stop_threshold: float | None = None
    audit: float = 0.0
    starts: tuple[list[dict[str, Any]], ...] = ()
    beginnings: tuple[dict[str, Any], ...] = ()
    space_fingerprint: str = field(
        default="", metadata={"changed": "what the file of the space makes (--changed-space goes on all the same)"}
    )
    max: tuple[str, ...] = ()
    numbers: Numbers = "fp32"
    validation_images: Count = field(default=0, compare=False)

    def budget(self, parameters: int) -> Budget:
        """The budget of one study."""
        return Budget(parameters, self.max_macs, numbers=self.numbers, **parse_caps(self.max))

    def starts_at(self, budget: int) -> list[dict[str, Any]]:
        """Knobs with which the studies of one budget begin, before the space's default."""
        return self.starts[self.budgets.index(budget)] if self.starts else []

    @property
    def data_name(self) -> str:
        """The data set in short, for people."""
        return data_name(self.dataset)

    @property
    def space_name(self) -> str:
        """The space in short, for people."""
        return space_stem(self.space)

    @property
    def threshold(self) -> float:
        """The chance of joining the front below which a training is given up."""
        if self.stop_threshold is not None:
            return self.stop_threshold
        return default_threshold(self.trials * len(self.budgets))

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

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON values; of the recipe all but epochs and augmentation, which have fields of their own."""
        own = {name: value for name, value in recipe_values(self.recipe).items() if name not in _IN_BOTH}
        values = {f.name: getattr(self, f.name) for f in fields(self)} | {"recipe": own}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """See `nas.machine.folders.Settings`."""
        own = {f.name: content[f.name] for f in fields(cls) if f.name in content}
        own["recipe"] = {**stored(content["recipe"], dict[str, Any], "recipe"), **{n: content[n] for n in _IN_BOTH}}
        found: Self = stored(own, cls, "the search", {Recipe: lambda values: changed(Recipe(), values)})
        found.asked()  # refuses what nobody can ask for
        return found

    def asked(self, out: Path | None = None) -> SearchOptions:
        """The options that ask for this search, every one written out. The run of a warm start is not known: RUN; nor
        are arrays given from Python: ARRAYS."""
        same = {f.name for f in fields(SearchOptions)} & {f.name for f in fields(self)}
        return SearchOptions(
            **{name: getattr(self, name) for name in same}
            | {
                "dataset": "ARRAYS" if self.dataset == ARRAYS else self.dataset,
                "budget": self.budgets,
                "baselines": bool(self.baselines),
                "audit": None if self.stop == "none" else self.audit,
                "warm_start": "RUN" if self.starts else None,
                "out": out,
            }
        )

    def command(self, out: Path | None = None, seeds: int = 1) -> str:
        """The command of this search, or of several with seeds from its own on."""
        several = ["--seeds", str(seeds)] if seeds > 1 else []
        return shlex.join(["nas", "search", *words(self.asked(out)), *several])


def decided(
    asked: SearchOptions,
    *,
    data: "SearchData",
    space: Space,
    file: Path,
    recipe: Recipe,
    baselines: tuple[str, ...],
    starts: tuple[list[dict[str, Any]], ...],
    stop: str,
) -> Search:
    """What is searched where that is asked: of these data, in this space from that file, trained with the recipe as
    far as the options do not say otherwise, beside these baselines, begun with those knobs, stopped by that rule."""
    dataset = asked.dataset or data.name
    epochs = asked.epochs or recipe.epochs
    stops = stop != "none"
    augmentation = data.augmentation if asked.augmentation is None else tuple(asked.augmentation)
    as_asked = {f.name: getattr(asked, f.name) for f in fields(Search) if hasattr(asked, f.name)}
    return Search(
        **as_asked
        | {
            "dataset": placed(dataset) if asked.arrays is None else dataset,
            "data_checksum": data.checksum,
            "augmentation": augmentation,
            "space": told_space(file, space.architecture.__name__),
            "space_class": space.architecture.__name__,
            "space_checksum": space_checksum(file),
            "space_fingerprint": space_fingerprint(space),
            "strategies": tuple(dict.fromkeys(asked.strategies)),
            "baselines": baselines,
            "epochs": epochs,
            "recipe": replace(recipe, epochs=epochs, augmentation=augmentation),
            "stop": stop,
            "stop_threshold": asked.stop_threshold if stops else None,
            "audit": (DEFAULT_AUDIT if asked.audit is None else asked.audit) if stops else 0.0,
            "starts": starts,
            "beginnings": space.beginnings,
            "validation_images": len(data.validation.labels),
        }
    )


DEFAULT_AUDIT = 0.05

_IN_BOTH = ("epochs", "augmentation")
"""What a search and its recipe both say."""


def run_folder(path: str | Path) -> WorkFolder[Search]:
    """The folder of a search."""
    return WorkFolder(Path(path), Search)


def arrays_file(folder: WorkFolder[Search]) -> Path:
    """Arrays given through the Python API."""
    return folder / "data.npz"


def data_place(search: Search, folder: WorkFolder[Search]) -> str:
    """Where the data are: the run's own arrays as long as they are there, or what the search was told."""
    return str(arrays_file(folder)) if arrays_file(folder).exists() else search.dataset


def arguments_file(folder: WorkFolder[Search]) -> Path:
    """What the file of the space sees in `sys.argv` behind its own name."""
    return folder / "arguments.json"


def weights_file(folder: WorkFolder[Search], network: str) -> Path:
    """State of the training of the network with this fingerprint."""
    return folder / "weights" / f"{network}.pt"


def worker_file(folder: WorkFolder[Search], slot: int, kind: str) -> Path:
    """Log, pulse or timeline of the worker in a slot."""
    return folder / "workers" / f"{slot}.{kind}"
