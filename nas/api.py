"""What nas does, as functions of Python: each takes the options of the command of its name.

`nas.search(budget=10_000, dataset="digits")` is `nas search --budget 10000 --dataset digits`; where a command prints, a
function returns. The command line calls the same functions.
"""

import inspect
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from nas.data.inspection import doubts
from nas.data.load import SearchData, array_search_data, check_apart, load_search_data
from nas.errors import RunError, SpaceError, UserError, shown
from nas.machine.folders import WorkFolder, check_no_work, read_settings, slug
from nas.machine.options import described, explained
from nas.machine.process import default_workers
from nas.network.layers import Layer
from nas.results.confirming.confirm import confirm as _confirm
from nas.results.export.export import Exported, check_packages, check_place, export_network
from nas.results.export.exportable import exportables, told_command
from nas.results.moved import move_data
from nas.results.options import ConfirmOptions, ExportOptions, ReportOptions, TableOptions, TrainOptions
from nas.results.scaling import warm_starts
from nas.results.table import table as _table
from nas.results.trainings import train as _train
from nas.search.growth import enter
from nas.search.judging.choice import chosen_rule
from nas.search.options import SearchOptions, WorkerOptions
from nas.search.records import common_failure, read_run
from nas.search.result.front import Front, read_front
from nas.search.sampling.feasible import FeasibleSampler
from nas.search.search import Search, decided, run_folder
from nas.search.sharing.address import Address, parse_address, read_address, without_password
from nas.search.sharing.join import adopt, joined, publish
from nas.search.sharing.mirror import at_hand
from nas.search.sharing.postgres import leading
from nas.search.strategies import STRATEGIES
from nas.search.studies import feasible_baselines, keep_arrays, note_arguments, open_studies, same_space_of, space_of
from nas.search.workers.snapshot import Ending, View
from nas.search.workers.supervisor import Supervisor
from nas.space.draw import check_satisfiable
from nas.space.files import begin_work, find_space, load_architecture
from nas.space.space import Architecture, Space, bind
from nas.training.recipes import recipe_for

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, repr=False)
class Result:
    """A finished (or interrupted) search. `front` is what pareto.json holds."""

    folder: Path
    ending: Ending
    front: Front
    failure: str | None = None

    def __repr__(self) -> str:
        found = [network for budget in self.front.search.budgets if (network := self.front.best(budget))]
        best = "; ".join(f"{one.validation_accuracy:.2%} with {one.parameters:,} parameters" for one in found)
        return f"Result({str(self.folder)!r}, {self.ending}, on the validation split: {best or 'nothing yet'})"

    def network(self, budget: int | None = None) -> Layer:
        """The most accurate network found, or that with at most `budget` parameters. Raises RunError if none is."""
        best = self.front.best(budget)
        if best is None:
            raise RunError(f"the search in {self.folder} found no network" + (f" within {budget:,}" if budget else ""))
        return best.layers


def run_search(asked: SearchOptions, view: View | None = None) -> Result:
    """Searches for the most accurate networks within a budget and returns the Pareto front.

    The data are a data set, or `arrays=(images, labels)`, of which a validation split is set aside. An interrupted
    search goes on when it is called again with the same arguments.

    Raises UserError (BudgetError, SpaceError, DataError, RunError) for what cannot be done, before anything is run.
    """
    data = _load(asked)
    file, class_name = _locate(asked.space)
    space = bind(load_architecture(file, class_name), data.shape, data.classes)
    limits = [asked.within(parameters) for parameters in asked.budgets]
    for limit in limits:
        check_satisfiable(space, limit, space.name)
    wanted = len(set(asked.strategies)) > 1 if asked.baselines is None else asked.baselines
    recipe = recipe_for(len(data.train.images))
    search = decided(
        asked,
        data=data,
        space=space,
        file=file,
        recipe=recipe,
        baselines=feasible_baselines(limits, data.shape, data.classes) if wanted else (),
        starts=() if asked.warm_start is None else _starts(at_hand(asked.warm_start), asked.budgets, space),
        stop=chosen_rule(asked, space, len(data.train.images) * (asked.epochs or recipe.epochs)),
    )
    folder = _folder(asked, search)
    tell = view.tell if view else warnings.warn
    address = _address(asked, folder)
    if address is None and asked.workers == 0:
        raise UserError("workers 0 is for a search with --storage, in which other machines train")
    with leading(address) if address else nullcontext() as session:
        if session and address:
            adopt(session, folder, address)
        for line in enter(folder, search, space, changed_space=asked.changed_space):
            tell(line)
        note_arguments(folder)
        for doubt in doubts(data, asked.dataset):
            tell(f"warning: {doubt}")
        if asked.arrays:
            keep_arrays(folder, *asked.arrays)
        if session and address:
            publish(session, folder, address, search, file)
    workers = min(default_workers(asked.device) if asked.workers is None else asked.workers, search.all_trials)
    ending = Supervisor(
        search, folder, space, workers, asked.device, view, asked.time_limit, patience=asked.patience
    ).run()
    failure = common_failure(read_run(folder)[1], at_least=1)
    return Result(folder.path, ending, read_front(folder.path), failure)


def _address(asked: SearchOptions, folder: WorkFolder[Search]) -> Address | None:
    """Where the machines of the search meet: as is asked, or as its folder says."""
    if asked.storage is None:
        return read_address(folder)
    files = None if asked.files is None else str(asked.files)
    files = files if files is None or "://" in files else str(Path(files).resolve())
    return Address(without_password(asked.storage), asked.run or slug(folder.path.resolve().name), files)


def run_worker(asked: WorkerOptions, view: View | None = None) -> Ending:
    """Trains for a search that another machine leads, until nothing is left to do, and returns how that ended.

    Raises UserError (RunError, DataError, SpaceError) for what cannot be done, LostError where storage or files stay
    out of reach.
    """
    address = parse_address(asked.storage, asked.run)
    workers = asked.workers or default_workers(asked.device)
    with joined(address, None if asked.dataset is None else str(asked.dataset)) as (folder, search, data):
        space = same_space_of(search, folder, data.shape, data.classes)
        return Supervisor(
            search, folder, space, workers, asked.device, view, leads=False, patience=asked.patience
        ).run()


def _folder(asked: SearchOptions, search: Search) -> WorkFolder[Search]:
    folder = run_folder(asked.out or default_folder(search))
    check_apart(folder.path, search.dataset, "--out")
    return folder


def default_folder(search: Search) -> Path:
    """Where a search goes by default: named after what it searches, so that the same command finds it again."""
    what = f"{search.data_name}-{search.space_class.lower()}-{'-'.join(map(str, search.budgets))}"
    return Path("runs") / slug(f"{what}-{search.trials}x{search.epochs}-seed{search.seed}")


def _load(asked: SearchOptions) -> SearchData:
    if (asked.dataset is None) == (asked.arrays is None):
        raise UserError("give either dataset=… or arrays=(images, labels)")
    if asked.arrays is not None:
        if not isinstance(asked.arrays, tuple | list) or len(asked.arrays) != 2:
            raise UserError(f"arrays must be a pair, (images, labels), but is {type(asked.arrays).__name__}")
        return array_search_data(*asked.arrays, seed=asked.seed, validation_share=asked.validation_share)
    assert asked.dataset is not None
    return load_search_data(
        asked.dataset, seed=asked.seed, validation_share=asked.validation_share, image_size=asked.image_size
    )


def _locate(space: str | type[Architecture]) -> tuple[Path, str | None]:
    """The file and, for a class, its name. Raises SpaceError for what is neither."""
    if isinstance(space, str):
        return find_space(space)
    if not isinstance(space, type):
        is_one = isinstance(space, Architecture)
        found = f"an instance; give the class {type(space).__name__}" if is_one else shown(space)
        raise SpaceError(f"space must be a name, a .py file or a class derived from nas.Architecture but is {found}")
    try:
        file = inspect.getsourcefile(space)
    except (TypeError, OSError):
        file = None
    if file is None or not Path(file).is_file():
        raise SpaceError(
            f"space {space.__name__!r} must be defined in a .py file: the workers import it from there. In a notebook, "
            "begin its cell with %%writefile space.py and give space='space.py'"
        )
    return Path(file).resolve(), space.__name__


def _starts(run: Path, budgets: tuple[int, ...], space: Space) -> tuple[list[dict[str, Any]], ...]:
    return warm_starts(read_run(run_folder(run))[1], budgets, space)


def explain(run: Path, strategy: str) -> list[str]:
    """What a strategy that keeps a log did in a run, step by step in words. Raises RunError for any other strategy."""
    folder = run_folder(run)
    search = folder.read()
    if strategy not in search.strategies:
        raise RunError(f"{run} has not searched with {strategy!r}; its strategies are {', '.join(search.strategies)}")
    if not STRATEGIES[strategy].keeps_log():
        others = " and ".join(name for name, kind in STRATEGIES.items() if kind.keeps_log())
        raise RunError(f"strategy {strategy!r} keeps no log; {others} do")
    front = read_front(run)
    studies = open_studies(search, folder, space_of(search, folder, front.shape, front.classes))
    lines = []
    for (name, budget), study in studies.items():
        if name == strategy and isinstance(study.sampler, FeasibleSampler):
            lines += [f"budget {budget:,}:", *(f"  {line}" for line in study.sampler.explain(study) or ())]
    return lines


def run_export(asked: ExportOptions) -> list[tuple[Path, Exported, str]]:
    """Writes trained networks as folders that need nas no more; returns each folder, what was written, and in words
    where the weights come from.

    Raises UserError where a package is missing, a place cannot be used, or there are no trained networks.
    """
    check_packages(asked)
    check_no_work(Path(asked.to), "--to")
    source = at_hand(asked.source, weights=True)
    settings = read_settings(source if source.is_dir() else source.parent) or {}
    check_apart(Path(asked.to), str(settings.get("dataset", "")), "--to")
    if asked.dataset:
        move_data(source, asked.dataset)
    budgets = asked.budget if isinstance(asked.budget, tuple) else None
    found = {Path(asked.to) / name: each for name, each in exportables(source, budgets).items()}
    for to in found:
        check_place(to)
    result = []
    for to, each in found.items():
        card = told_command(each.card, asked)
        result.append((to, export_network(each.network, each.weights, card, to, asked, each.sample), each.origin))
    return result


@dataclass(frozen=True)
class Report:
    """A report that was written: the HTML file, and its plots as pictures where they were asked for."""

    file: Path
    pictures: tuple[Path, ...] = ()


def run_report(asked: ReportOptions) -> Report:
    """Writes a search, finished or running, as one HTML file that opens without a network.

    Raises RunError where there is no run, or a file cannot be written, UserError where pictures cannot be drawn.
    """
    from nas.results.report.pictures import write_pictures
    from nas.results.report.whole import write_report

    run = at_hand(asked.run)
    file = write_report(run, Path(asked.out) if asked.out else None)
    return Report(file, tuple(write_pictures(run, Path(asked.png))) if asked.png else ())


def _takes(options: Callable[P, Any], run: Callable[..., R]) -> Callable[P, R]:
    """A function that takes the options as its own arguments, `_takes(SearchOptions, run_search)(budget=10_000)`, and
    after them, by name, what `run` takes besides, as `view` and `on_epoch`."""
    own = inspect.signature(options)
    besides = [one.replace(kind=one.KEYWORD_ONLY) for one in list(inspect.signature(run).parameters.values())[1:]]

    def called(*arguments: P.args, **keywords: P.kwargs) -> R:
        begin_work()
        given = {one.name: keywords.pop(one.name) for one in besides if one.name in keywords}
        try:
            own.bind(*arguments, **keywords)
        except TypeError as error:
            raise UserError(f"nas.{called.__name__}: {error}; help(nas.{called.__name__}) has its arguments") from error
        return run(options(*arguments, **keywords), **given)

    meanings = "\n".join(f"    {name}: {explained(*about)}" for name, about in described(options).items())
    called.__name__ = called.__qualname__ = options.__name__.removesuffix("Options").lower()
    called.__doc__ = f"{inspect.getdoc(run)}\n\nArguments:\n{meanings}"
    returns = inspect.signature(run).return_annotation
    taken = [*own.parameters.values(), *besides]
    called.__signature__ = own.replace(parameters=taken, return_annotation=returns)  # type: ignore[attr-defined]
    return called


search = _takes(SearchOptions, run_search)
worker = _takes(WorkerOptions, run_worker)
train = _takes(TrainOptions, _train)
table = _takes(TableOptions, _table)
confirm = _takes(ConfirmOptions, _confirm)
export = _takes(ExportOptions, run_export)
report = _takes(ReportOptions, run_report)
