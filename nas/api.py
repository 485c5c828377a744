"""`nas.search`: the main job as one function, the same that the command line calls."""

import inspect
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.load import SearchData, array_search_data, load_search_data
from nas.errors import RunError, SpaceError, UserError
from nas.machine.folders import WorkFolder
from nas.machine.process import check_device
from nas.network.folds import parameters
from nas.network.layers import Layer
from nas.network.serial import from_json
from nas.results.scaling import scaling, warm_starts
from nas.search.baselines import feasible_baselines
from nas.search.compare import courses
from nas.search.front import read_result
from nas.search.journal import common_failure, open_storage, open_study, read_records, read_run
from nas.search.search import BASELINES, Search, arrays_file, run_folder
from nas.search.strategies import STRATEGIES
from nas.search.strategies.greedy_full import FullGreedySampler
from nas.search.studies import open_studies, space_of
from nas.search.workers.supervisor import Ending, Supervisor, View
from nas.space.budget import Budget
from nas.space.draw import check_satisfiable
from nas.space.space import Architecture, Space, bind, load_architecture, space_checksum, space_file
from nas.stopping.rules import RULES
from nas.training.recipe import AUGMENTATIONS
from nas.training.recipes import recipe_for


@dataclass(frozen=True)
class Result:
    """A finished (or interrupted) search. `content` is what pareto.json holds."""

    folder: Path
    ending: Ending
    content: dict[str, Any]
    failure: str | None = None

    @property
    def front(self) -> list[dict[str, Any]]:
        """The Pareto front, ascending in parameters and accuracy."""
        front: list[dict[str, Any]] = self.content["front"]
        return front

    def network(self, budget: int | None = None) -> Layer:
        """The most accurate network found, or that with at most `budget` parameters. Raises RunError if none is."""
        within = [entry for entry in self.front if budget is None or entry["parameters"] <= budget]
        if not within:
            raise RunError(f"the search in {self.folder} found no network" + (f" within {budget:,}" if budget else ""))
        return from_json(within[-1]["layers"])


@dataclass(frozen=True)
class Silent:
    """A view that shows nothing."""

    def begin(self, folder: WorkFolder[Search], plan: Search, workers: int) -> None:
        """Nothing."""

    def update(self, snapshot: object) -> None:
        """Nothing."""


def search(
    *,
    budget: int | Sequence[int],
    trials: int = 200,
    dataset: str | None = None,
    arrays: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None,
    space: str | type[Architecture] = "mixed",
    strategies: Sequence[str] = ("tpe", "greedy"),
    baselines: bool | None = None,
    epochs: int | None = None,
    max_macs: int | None = None,
    seed: int = 0,
    below: float = 0.25,
    stop: str = "extrapolate",
    stop_threshold: float | None = None,
    audit: float = 0.05,
    warm_start: str | Path | None = None,
    out: str | Path | None = None,
    workers: int | None = None,
    device: str = "auto",
    time_limit: float | None = None,
    image_size: int | None = None,
    validation_share: float | None = None,
    augmentation: Sequence[str] | None = None,
    view: View | None = None,
) -> Result:
    """Searches for the most accurate networks with at most `budget` parameters and returns the Pareto front.

    The data are a data set as `--dataset` takes it, or `arrays=(images, labels)`: training images [N, H, W] or
    [N, H, W, C] and labels [N], of which a validation split is set aside. `trials` are per strategy and budget.
    With `baselines` (the default where strategies are compared) a ResNet, a MobileNetV2 and a VGG scaled to each budget
    are trained beside them. `epochs` defaults to 12 from 10,000 images on and to 3 below. `time_limit` is in seconds.
    `stop` is the rule by which trainings are stopped early ("extrapolate", "median", "halving" or "none"; see
    `nas.stopping.rules`), `stop_threshold` the chance of joining the front below which "extrapolate" gives a training
    up (4 divided by a strategy's trials, at most 0.2), `audit` the share of those trainings that go on in the end all
    the same, to check the predictions.
    With `warm_start`, a run folder, the studies begin with the best networks of its nearest budget, rescaled.
    An interrupted search goes on when it is called again with the same arguments.

    Raises UserError (BudgetError, SpaceError, DataError, RunError) for what cannot be done, before anything is run.
    """
    budgets = (budget,) if isinstance(budget, int) else tuple(sorted(set(budget)))
    _check(budgets, trials, strategies, epochs, below, seed, workers, time_limit, device)
    _check_stopping(stop, stop_threshold, audit)
    if unknown := [name for name in augmentation or () if name not in AUGMENTATIONS]:
        raise UserError(f"augmentation must be of {', '.join(AUGMENTATIONS)} but got {', '.join(unknown)}")
    data = _load(dataset, arrays, seed, validation_share, image_size)
    file, class_name = _locate(space)
    bound = bind(load_architecture(file, class_name), data.shape, data.classes)
    recipe = recipe_for(len(data.train.images))
    limits = [Budget(parameters_cap, max_macs) for parameters_cap in budgets]
    for limit in limits:
        check_satisfiable(bound, limit, bound.name)
    strategies = tuple(dict.fromkeys(strategies))
    wanted = len(strategies) > 1 if baselines is None else baselines
    chosen = data.augmentation if augmentation is None else tuple(augmentation)
    plan = Search(
        dataset=data.name if arrays else _absolute(dataset or data.name),
        data_checksum=data.checksum,
        image_size=image_size,
        validation_share=validation_share,
        augmentation=chosen,
        space=str(space) if isinstance(space, str) and not space.endswith(".py") else str(file),
        space_class=bound.architecture.__name__,
        space_checksum=space_checksum(file),
        budgets=budgets,
        max_macs=max_macs,
        strategies=strategies,
        baselines=feasible_baselines(limits, data.shape, data.classes) if wanted else (),
        trials=trials,
        epochs=epochs or recipe.epochs,
        below=below,
        seed=seed,
        recipe=replace(recipe, epochs=epochs or recipe.epochs, augmentation=chosen),
        stop=stop,
        stop_threshold=None if stop == "none" else stop_threshold,
        audit=0.0 if stop == "none" else audit,
        validation_images=len(data.validation.labels),
        starts=() if warm_start is None else warm_starts(read_run(run_folder(Path(warm_start)))[1], budgets, bound),
    )
    folder = run_folder(Path(out) if out else default_folder(plan))
    folder.enter(plan)
    if arrays:
        np.savez(arrays_file(folder), x_train=arrays[0], y_train=arrays[1], x_test=arrays[0][:0], y_test=arrays[1][:0])
    return _run(plan, folder, bound, workers, device, time_limit, view or Silent())


def _run(
    plan: Search,
    folder: WorkFolder[Search],
    space: Space,
    workers: int | None,
    device: str,
    time_limit: float | None,
    view: View,
) -> Result:
    storage = open_storage(folder)
    studies = {key: open_study(storage, *key) for key in plan.studies}
    count = min(workers or default_workers(device), plan.all_trials)
    supervisor = Supervisor(plan, folder, space, studies, count, device, view, time_limit)
    ending = supervisor.run()
    failure = common_failure(read_records(plan, studies), at_least=1)
    return Result(folder.path, ending, read_result(folder.path), failure)


def explain(run: Path, strategy: str) -> list[str]:
    """What a strategy that walks did in a run, step by step in words. Raises RunError for any other strategy."""
    folder = run_folder(run)
    plan = folder.read()
    if strategy not in plan.strategies:
        raise RunError(f"{run} has not searched with {strategy!r}; its strategies are {', '.join(plan.strategies)}")
    if not issubclass(STRATEGIES[strategy], FullGreedySampler):
        raise RunError(f"strategy {strategy!r} keeps no log; greedy and greedy-full do")
    data = read_result(run)["data"]
    space = space_of(plan, tuple(data["shape"]), data["classes"])
    lines = []
    for (name, budget), study in open_studies(plan, folder, space).items():
        if name == strategy:
            assert isinstance(study.sampler, FullGreedySampler)
            lines += [f"budget {budget:,}:", *(f"  {line}" for line in study.sampler.explain(study))]
    return lines


def scaling_laws(run: Path, most: int) -> dict[str, Any]:
    """How the shape of the best networks of a run, `most` a budget, moves with the budget (see `nas.results.scaling`).
    Raises RunError for a run of one budget."""
    plan, records = read_run(run_folder(run))
    data = read_result(run)["data"]
    return scaling(records, space_of(plan, tuple(data["shape"]), data["classes"]), most)


def write_comparison_page(runs: Sequence[Path], file: Path) -> None:
    """Best-so-far curves of the runs as one HTML file. Raises RunError if it cannot be written."""
    from nas.results.pages.comparison import comparison_page

    found, baselines = [], dict[int, dict[str, list[float]]]()
    for folder in map(run_folder, runs):
        plan, records = read_run(folder)
        found += courses(plan, records)
        for record in records:
            if record.strategy == BASELINES and record.is_measured:
                own = baselines.setdefault(record.budget, {}).setdefault(str(record.knobs["network"]), [])
                own.append(record.accuracy)
    if not found:
        raise RunError("the runs have not finished a trial yet; there is nothing to draw")
    title = f"Best validation accuracy so far, {Path(plan.dataset).stem}, {Path(plan.space).stem} space"
    try:
        file.write_text(comparison_page(found, baselines, title))
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}; give --html another file") from error


def default_folder(plan: Search) -> Path:
    """Where a search goes by default: named after what it searches, so that the same command finds it again."""
    budgets = "-".join(map(str, plan.budgets))
    name = f"{Path(plan.dataset).stem}-{plan.space_class.lower()}-{budgets}-{plan.trials}x{plan.epochs}-seed{plan.seed}"
    return Path("runs") / name


def default_workers(device: str) -> int:
    """One a GPU, or one a core that we may use."""
    if device != "cpu" and Path("/dev/nvidia0").exists():
        import torch

        if torch.cuda.is_available():
            return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _load(
    dataset: str | None,
    arrays: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None,
    seed: int,
    validation_share: float | None,
    image_size: int | None,
) -> SearchData:
    if (dataset is None) == (arrays is None):
        raise UserError("give either dataset=… or arrays=(images, labels)")
    if arrays is not None:
        return array_search_data(*arrays, seed=seed, validation_share=validation_share)
    assert dataset is not None
    return load_search_data(dataset, seed=seed, validation_share=validation_share, image_size=image_size)


def _locate(space: str | type[Architecture]) -> tuple[Path, str | None]:
    """The file and, for a class, its name."""
    if isinstance(space, str):
        return space_file(space), None
    try:
        file = inspect.getsourcefile(space)
    except (TypeError, OSError):
        file = None
    if file is None or not Path(file).is_file():
        raise SpaceError(f"space {space.__name__!r} must be defined in a .py file: the workers import it from there")
    return Path(file).resolve(), space.__name__


def _absolute(dataset: str) -> str:
    return str(Path(dataset).resolve()) if Path(dataset).exists() else dataset


def _check(
    budgets: tuple[int, ...],
    trials: int,
    strategies: Sequence[str],
    epochs: int | None,
    below: float,
    seed: int,
    workers: int | None,
    time_limit: float | None,
    device: str,
) -> None:
    check_device(device)
    if not budgets or min(budgets) < 1:
        raise UserError(f"budget must be at least 1 parameter but got {budgets}")
    unknown = [name for name in strategies if name not in STRATEGIES]
    if unknown or not strategies:
        raise UserError(f"strategies must be of {', '.join(STRATEGIES)} but got {', '.join(unknown) or 'none'}")
    for name, value in (("trials", trials), ("epochs", epochs), ("workers", workers)):
        if value is not None and value < 1:
            raise UserError(f"{name} must be at least 1 but got {value}")
    if not 0 <= below <= 1:
        raise UserError(f"below must be a share between 0 and 1 but got {below}")
    if seed < 0:
        raise UserError(f"seed must be 0 or more but got {seed}")
    if time_limit is not None and time_limit <= 0:
        raise UserError(f"the time limit must be above 0 seconds but got {time_limit}")


def _check_stopping(stop: str, threshold: float | None, audit: float) -> None:
    if stop not in RULES:
        raise UserError(f"stop must be of {', '.join(RULES)} but got {stop!r}")
    for name, value in (("stop threshold", threshold), ("audit", audit)):
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"the {name} must be between 0 and 1 but got {value}")


__all__ = ["Result", "parameters", "search"]
