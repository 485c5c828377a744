"""What can be asked of a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.data.augmentations import AUGMENTATIONS
from nas.data.options import DataOptions
from nas.errors import BudgetError, UserError
from nas.machine.options import check, option, tidy
from nas.machine.process import check_device, parse_seconds, patience_option, workers_option
from nas.search.strategies import STRATEGIES
from nas.space.budget import Budget, CapOptions, implied_parameters, parse_caps, parse_counts, written_caps
from nas.space.space import Architecture
from nas.stopping.rules import RULES

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class SearchOptions(CapOptions, DataOptions):
    """Everything that can be asked of a search, and where it is to run. Raises UserError for what cannot be."""

    arrays: "tuple[npt.NDArray[Any], npt.NDArray[Any]] | None" = option(
        "images [N, H, W] or [N, H, W, C] and labels [N] instead of a data set", default=None, flag=None
    )
    augmentation: Sequence[str] | None = option(
        "augmentations of training images, or none",
        default=None,
        unset="what suits the data set",
        choices=tuple(AUGMENTATIONS),
        flag="augment",
        metavar="NAME[,NAME]",
    )
    space: str | type[Architecture] = option(
        "a shipped search space or a .py file; FILE:CLASS where it has several", default="mixed", metavar="NAME|FILE"
    )
    budget: int | Sequence[int] | None = option(
        "most parameters of a network; several budgets are searched side by side (1K,10K,1M)",
        default=None,
        unset="--max parameters, or what --max bytes leaves room for",
        least=1,
        parse=parse_counts,
        metavar="N[,N…]",
    )
    strategies: Sequence[str] = option(
        "how networks are proposed",
        default=("linear", "tpe", "greedy"),
        choices=lambda: tuple(STRATEGIES),
        metavar="NAME[,NAME]",
    )
    trials: int = option("networks per strategy and budget", default=200, least=1)
    epochs: int | None = option("epochs a trial", default=None, unset="12, or 3 below 10,000 images", least=1)
    below: float = option(
        "share of the trials that aim below the budget, for the front", default=0.25, least=0, most=1, metavar="SHARE"
    )
    stop: str | None = option(
        "rule by which hopeless trainings are stopped early",
        default=None,
        unset="extrapolate, or none where trainings are too short to gain by it",
        choices=tuple(RULES),
        metavar="RULE",
    )
    stop_threshold: float | None = option(
        "extrapolate: chance of joining the front below which a training is given up",
        default=None,
        unset="4 / trials, at most 0.2",
        least=0,
        most=1,
        metavar="CHANCE",
    )
    audit: float | None = option(
        "share of the trainings given up that go on in the end, to check the predictions",
        default=None,
        unset="0.05",
        least=0,
        most=1,
        metavar="SHARE",
    )
    changed_space: bool = option(
        "go on although the space's file has changed: trials whose network it makes as before keep their results",
        default=False,
        repeats=False,
    )
    warm_start: str | Path | None = option(
        "begin with the best networks of another run's nearest budget, rescaled", default=None, metavar="RUN"
    )
    seed: int = option("seed of every random choice", default=0, least=0)
    out: str | Path | None = option("run folder", default=None, unset="in runs/, named after the search", metavar="DIR")
    baselines: bool | None = option(
        "train a ResNet, a MobileNetV2 and a VGG scaled to each budget too",
        default=None,
        unset="if strategies are compared",
    )
    workers: int | None = workers_option(
        "training processes on this machine; 0 where those of others are enough (--storage)"
    )
    storage: str | None = option(
        "database in which machines meet, postgresql://USER@HOST/DATABASE; others join by `nas worker`",
        default=None,
        unset="the run folder, for this machine alone",
        repeats=False,
        metavar="URL",
    )
    files: str | Path | None = option(
        "where machines hand over trainings: a folder that all see, or a URL like s3://bucket/prefix (--storage)",
        default=None,
        repeats=False,
        metavar="DIR|URL",
    )
    run: str | None = option(
        "name of the run in the database (--storage)",
        default=None,
        unset="that of its folder",
        repeats=False,
        metavar="NAME",
    )
    patience: float = patience_option()
    device: str = option("auto, cpu, cuda or cuda:N", default="auto", repeats=False, metavar="NAME")
    time_limit: float | None = option(
        "seconds after which the search stops (90s, 30m, 2h)",
        default=None,
        above=0,
        repeats=False,
        parse=parse_seconds,
        metavar="TIME",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        caps = parse_caps(self.max)
        parameters = caps.pop("parameters", None)
        if self.budget is None:
            budget = implied_parameters(caps, self.numbers) if parameters is None else parameters
            if budget is None:
                raise UserError("a search needs a size: give --budget, or parameters or bytes in --max")
            object.__setattr__(self, "budget", budget)
        elif parameters is not None and self.budgets != (parameters,):
            said = ", ".join(f"{budget:,}" for budget in self.budgets)
            raise BudgetError(f"--budget says {said} and --max parameters={parameters:,}; leave one out")
        object.__setattr__(self, "max", written_caps(caps))
        object.__setattr__(self, "budget", tuple(sorted(set(self.budgets))))
        check_device(self.device)
        for name in ("files", "run") if self.storage is None else ():
            if getattr(self, name) is not None:
                raise UserError(f"{name} is for a search with --storage")
        if not self.strategies or not self.budgets:
            raise UserError("a search needs at least one budget and one strategy")

    @property
    def budgets(self) -> tuple[int, ...]:
        """The budgets, ascending, each once."""
        assert self.budget is not None
        return (self.budget,) if isinstance(self.budget, int) else tuple(self.budget)

    def within(self, parameters: int) -> Budget:
        """The budget of so many parameters and the other caps."""
        return Budget(parameters, self.max_macs, numbers=self.numbers, **parse_caps(self.max))


@dataclass(frozen=True)
class WorkerOptions:
    """What can be asked of a machine that trains for a search on another. Raises UserError for what cannot be."""

    storage: str = option(
        "database of the search, postgresql://USER@HOST/DATABASE or with its run, …/DATABASE#RUN", positional=True
    )
    run: str | None = option("name of the run there", default=None, unset="as the address says", metavar="NAME")
    workers: int | None = option("training processes", default=None, unset="GPUs, or cores", least=1)
    device: str = option("auto, cpu, cuda or cuda:N", default="auto", metavar="NAME")
    dataset: str | Path | None = option(
        "where the data of the search lie on this machine",
        default=None,
        unset="where the search says, or fetched once from its files",
        metavar="NAME|PATH",
    )
    patience: float = patience_option()

    def __post_init__(self) -> None:
        tidy(self)
        check(self)
        check_device(self.device)
