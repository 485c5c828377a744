"""The commands that train networks and take them away: train, table, export."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.console import default_dataset, terminal_console
from nas.errors import EXIT_DONE, EXIT_NO_ANSWER, UserError
from nas.machine.folders import WorkFolder
from nas.training.training import read_metrics, weights_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from nas.data.load import SearchData
    from nas.machine.folders import WorkFolder
    from nas.results.table import Entry, Line
    from nas.training.recipe import Recipe
    from nas.training.training import Metrics, Training


def asked_recipe(flags: argparse.Namespace, images: int) -> "Recipe":
    """What --recipe, --set and --epochs say, for that many training images."""
    from nas.training.recipe import changed
    from nas.training.recipes import named_recipe

    return changed(named_recipe(flags.recipe, images), _asked_changes(flags))


def _asked_changes(flags: argparse.Namespace) -> dict[str, Any]:
    from nas.training.recipe import parse_changes

    changes = parse_changes(flags.set)
    if flags.epochs is None:
        return changes
    if changes.get("epochs", flags.epochs) != flags.epochs:
        raise UserError(f"--epochs says {flags.epochs} and --set epochs={changes['epochs']}; leave out one of them")
    return changes | {"epochs": flags.epochs}


def _find_data(flags: argparse.Namespace, models: "Iterable[str]") -> None:
    """Where no data set is asked for, the flags are given that of the search that found the networks, if one did."""
    from nas.results.networks import is_stored, stored_data

    if flags.dataset:
        return
    found = {stored_data(Path(model)) for model in models if is_stored(model)}
    if len(found) > 1:
        raise UserError("these networks were found on different data sets or splits; say which to use: --dataset")
    for dataset, image_size, validation_share in found:
        flags.dataset = dataset
        flags.image_size = image_size if flags.image_size is None else flags.image_size
        flags.validation_share = validation_share if flags.validation_share is None else flags.validation_share


def _load(flags: argparse.Namespace, console: "Console", seed: int) -> "tuple[str, SearchData]":
    """The data set as a plan names it, and its data."""
    from nas.data.load import load_search_data

    dataset = default_dataset(flags.dataset, console)
    data = load_search_data(
        dataset,
        seed=seed,
        validation_share=flags.validation_share,
        image_size=flags.image_size,
        images=flags.images,
    )
    return (str(Path(dataset).resolve()) if Path(dataset).exists() else dataset), data


def _training_plan(
    flags: argparse.Namespace,
    model: str,
    knobs: "Sequence[str]",
    recipe: "Recipe",
    dataset: str,
    data: "SearchData",
    seed: int,
) -> "Training":
    """The plan of one training, checked as far as can be without training."""
    from nas.results.networks import find_network
    from nas.space.named import to_stored
    from nas.training.training import Training, check, input_shape

    named = find_network(
        model,
        knobs,
        select=getattr(flags, "select", None),
        shape=input_shape(recipe, data),
        classes=data.classes,
        pretrained=flags.pretrained,
    )
    training = Training(
        model=named.label,
        network=to_stored(named.network),
        dataset=dataset,
        data_checksum=data.checksum,
        image_size=flags.image_size,
        validation_share=flags.validation_share,
        images=flags.images,
        recipe=recipe,
        seed=seed,
    )
    check(training, data)
    return training


def _train(flags: argparse.Namespace) -> int:
    from rich.markup import escape

    from nas.cli.terminal_networks import training_line
    from nas.training.several import train_all

    console = terminal_console()
    folder, epochs = _begin_training(flags, console)

    def show(folder: "WorkFolder[Training]", metrics: "Metrics") -> None:
        console.print(training_line(metrics, epochs), highlight=False, markup=False)

    failures = train_all([folder], workers=1, device=flags.device, on_epoch=show)
    if failure := failures.get(folder.path):
        if failure.is_wrong_use:
            raise UserError(failure.reason)
        console.print(f"[bold red]the training failed:[/] {escape(failure.reason)}", highlight=False, soft_wrap=True)
        return EXIT_NO_ANSWER
    _test([folder], flags)
    _print_metrics(folder, flags, console)
    return EXIT_DONE


def _begin_training(flags: argparse.Namespace, console: "Console") -> "tuple[WorkFolder[Training], int]":
    """The folder of the training, its settings written, and how many epochs it has."""
    from nas.results.table import slug
    from nas.training.training import training_folder

    _find_data(flags, [flags.model])
    dataset, data = _load(flags, console, flags.seed)
    recipe = asked_recipe(flags, len(data.train.images))
    training = _training_plan(flags, flags.model, flags.knobs, recipe, dataset, data, flags.seed)
    name = slug(f"{data.name}-{training.model}-{Path(flags.recipe).stem}-seed{flags.seed}")
    folder = training_folder(Path(flags.out) if flags.out else Path("trained") / name)
    folder.enter(training)
    return folder, recipe.all_epochs


def _test(folders: "list[WorkFolder[Training]]", flags: argparse.Namespace) -> None:
    if flags.test:
        from nas.machine.process import pick_device
        from nas.training.training import load_data
        from nas.training.worker import read_test, run_test

        waiting = [folder for folder in folders if read_metrics(folder).test_accuracy is None]
        if waiting:
            training = waiting[0].read()
            test = read_test(training, load_data(training))
        for folder in waiting:
            run_test(folder, pick_device(flags.device, 0), test)


def _print_metrics(folder: "WorkFolder[Training]", flags: argparse.Namespace, console: "Console") -> None:
    from dataclasses import asdict

    from nas.cli.terminal_networks import training_summary

    metrics = read_metrics(folder)
    if flags.json:
        print(json.dumps(asdict(metrics), indent=2))
    console.print(training_summary(metrics), highlight=False, markup=False, soft_wrap=True)
    console.print(f"weights: {weights_file(folder)}", highlight=False, markup=False, soft_wrap=True)


def _table(flags: argparse.Namespace) -> int:
    from nas.cli.terminal_networks import contest_table, failure_lines
    from nas.machine.folders import check_file
    from nas.results.networks import is_stored
    from nas.results.table import line_values, load_lines, markdown

    console = terminal_console()
    for flag in ("markdown", "html"):
        if file := getattr(flags, flag):
            check_file(Path(file), f"--{flag}")
    loaded = [model for model in flags.models if is_stored(model) and _holds_trainings(Path(model))]
    lines = load_lines(map(Path, loaded))
    models = [model for model in flags.models if model not in loaded]
    if loaded and not models and not flags.ladder:
        _check_nothing_to_train(flags)
    else:
        lines += _train_lines(flags, models, console)
    console.print(contest_table(lines))
    for line in failure_lines(lines):
        console.print(line, soft_wrap=True)
    if flags.json:
        print(json.dumps([line_values(line) for line in lines], indent=2))
    if flags.markdown:
        _write(Path(flags.markdown), markdown(lines), "--markdown")
    if flags.html:
        from nas.results.pages.table import table_page

        _write(Path(flags.html), table_page(lines), "--html")
    return EXIT_DONE if any(line.trainings for line in lines) else EXIT_NO_ANSWER


def _check_nothing_to_train(flags: argparse.Namespace) -> None:
    """Complains of flags that would change nothing, where trainings are only shown."""
    shown = ("models", "json", "markdown", "html")
    idle = [name for name, value in flags.unasked.items() if name not in shown and getattr(flags, name) != value]
    if idle:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise UserError(f"{names}: finished trainings are only shown; name a model to train as well, or leave it out")


def _holds_trainings(path: Path) -> bool:
    return path.is_dir() and not (path / "pareto.json").exists()


def _write(file: Path, text: str, flag: str) -> None:
    try:
        file.write_text(text)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}; give {flag} another file") from error


def _entries(flags: argparse.Namespace, models: list[str], images: int) -> "list[Entry]":
    from nas.results.table import check_entries, entries, read_ladder

    if flags.ladder:
        found = read_ladder(Path(flags.ladder), images, _asked_changes(flags))
    else:
        found = entries(models, asked_recipe(flags, images), flags.vary)
    check_entries(found)
    return found


def _check_table_flags(flags: argparse.Namespace, models: list[str]) -> None:
    if flags.seeds < 1:
        raise UserError(f"--seeds must be at least 1 but got {flags.seeds}")
    if flags.workers is not None and flags.workers < 1:
        raise UserError(f"--workers must be at least 1 but got {flags.workers}")
    if flags.ladder and (models or flags.vary):
        raise UserError("--ladder names its models and changes itself; leave out models and --vary")
    if flags.ladder and flags.recipe != flags.unasked["recipe"]:
        raise UserError(f"--ladder names its recipe itself; leave out --recipe {flags.recipe}")
    if not flags.ladder and not models:
        raise UserError("name at least one model, training folder, or --ladder FILE; `nas models` lists the models")


def _train_lines(flags: argparse.Namespace, models: list[str], console: "Console") -> "list[Line]":
    from nas.api import default_workers
    from nas.cli.terminal_networks import training_line
    from nas.results.table import Line
    from nas.training.several import train_all

    _check_table_flags(flags, models)
    _find_data(flags, models)
    groups = _begin_lines(flags, models, console)
    labels = {folder.path: entry.label for entry, folders in groups for folder in folders}

    def show(folder: "WorkFolder[Training]", metrics: "Metrics") -> None:
        line = f"{labels[folder.path]}: {training_line(metrics, folder.read().recipe.all_epochs)}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    every = [folder for _, folders in groups for folder in folders]
    workers = flags.workers or default_workers(flags.device)
    failures = train_all(every, workers=workers, device=flags.device, on_epoch=show)
    _test([folder for folder in every if folder.path not in failures], flags)
    return [
        Line(
            entry.label,
            tuple(read_metrics(folder) for folder in folders if folder.path not in failures),
            tuple(failures[folder.path].reason for folder in folders if folder.path in failures),
            entry.varied,
            folders[0].read().dataset,
        )
        for entry, folders in groups
    ]


def _begin_lines(
    flags: argparse.Namespace, models: list[str], console: "Console"
) -> "list[tuple[Entry, list[WorkFolder[Training]]]]":
    """Every line and the folders of its trainings, a seed each. All are checked before the settings of the first are
    written."""
    from nas.results.table import slug
    from nas.training.training import training_folder

    trainings: list[tuple[WorkFolder[Training], Training]] = []
    groups: list[tuple[Entry, list[WorkFolder[Training]]]] = []
    for seed in range(flags.seed, flags.seed + flags.seeds):
        dataset, data = _load(flags, console, seed)
        found = _entries(flags, models, len(data.train.images))
        groups = groups or [(entry, []) for entry in found]
        for (entry, folders), own in zip(groups, found, strict=True):
            training = _training_plan(flags, own.model, own.knobs, own.recipe, dataset, data, seed)
            folder = training_folder(Path(flags.out) / f"{slug(entry.label)}-seed{seed}")
            trainings.append((folder, training))
            folders.append(folder)
    for folder, training in trainings:
        folder.enter(training)
    return groups


def _export(flags: argparse.Namespace) -> int:
    from nas.results.export.export import check_packages, check_place, export_network
    from nas.results.export.exportable import exportables

    check_packages()
    console = terminal_console()
    found = {Path(flags.to) / name: each for name, each in exportables(Path(flags.source), flags.budget).items()}
    for to in found:
        check_place(to)
    for to, each in found.items():
        exported = export_network(each.network, each.weights, each.card, to)
        line = (
            f"{to}: {exported.parameters:,} parameters; {each.origin}; ONNX within {exported.difference:.0e} of torch"
        )
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return EXIT_DONE


COMMANDS = {
    "train": _train,
    "table": _table,
    "export": _export,
}
