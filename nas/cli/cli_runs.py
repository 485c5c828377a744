"""The commands about searches: search, show, compare, confirm, report, scaling, list, data."""

import argparse
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

from nas.cli.console import default_dataset, terminal_console
from nas.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NO_ANSWER, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from nas.search.workers.supervisor import Snapshot


def _search(flags: argparse.Namespace) -> int:
    from pathlib import Path

    if flags.seeds < 1:
        raise UserError(f"--seeds must be at least 1 but got {flags.seeds}")
    console = terminal_console()
    dataset = default_dataset(flags.dataset, console)
    folders = []
    for seed in range(flags.seed, flags.seed + flags.seeds):
        out = str(Path(flags.out) / f"seed{seed}") if flags.out and flags.seeds > 1 else flags.out
        code, folder = _search_once(flags, dataset, seed, out, console)
        if code != EXIT_DONE:
            return code
        folders.append(folder)
    if len(folders) > 1:
        _print_comparison(folders, console)
        if flags.out:
            _write_report_of_search(Path(flags.out), console)
    return EXIT_DONE


def _search_once(
    flags: argparse.Namespace, dataset: str, seed: int, out: str | None, console: "Console"
) -> "tuple[int, Path]":
    """Exit code and run folder of one search."""
    from nas.api import search
    from nas.cli.terminal import LiveView, PlainView

    view: LiveView | PlainView = LiveView(console) if console.is_terminal else PlainView(console)
    with view:
        result = search(
            budget=flags.budget,
            trials=flags.trials,
            dataset=dataset,
            space=flags.space,
            strategies=flags.strategies,
            baselines=flags.baselines,
            epochs=flags.epochs,
            max_macs=flags.max_macs,
            seed=seed,
            below=flags.below,
            stop=flags.stop,
            stop_threshold=flags.stop_threshold,
            audit=flags.audit,
            warm_start=flags.warm_start,
            out=out,
            workers=flags.workers,
            device=flags.device,
            time_limit=flags.time_limit,
            image_size=flags.image_size,
            validation_share=flags.validation_share,
            augmentation=None if flags.augment is None else tuple(n for n in flags.augment if n != "none"),
            view=view,
        )
    _print_run(result.folder, console)
    if result.ending != "interrupted":
        _write_report_of_search(result.folder, console)
    if result.failure:
        console.print(f"[bold red]every trial failed:[/] {result.failure}", highlight=False)
        return EXIT_NO_ANSWER, result.folder
    if result.ending == "interrupted":
        console.print("interrupted; the same command goes on from here", highlight=False)
        return EXIT_INTERRUPTED, result.folder
    if result.ending == "time limit":
        console.print("time limit reached; the same command goes on from here", highlight=False)
    if result.front:
        _print_what_comes_next(result.folder, console)
    return EXIT_DONE if result.front else EXIT_NO_ANSWER, result.folder


def _write_report_of_search(folder: "Path", console: "Console") -> None:
    """Writes report.html; that it cannot be written is no failure of the search."""
    from nas.results.report import write_report

    try:
        said = f"report: {write_report(folder)}"
    except UserError as error:
        said = f"report not written: {error}"
    except Exception as error:
        said = f"report not written: {type(error).__name__}: {' '.join(str(error).split())}; nas report shows where"
    console.print(said, highlight=False, markup=False, soft_wrap=True)


def _print_what_comes_next(folder: "Path", console: "Console") -> None:
    run = shlex.quote(str(folder))
    for command, what in (
        (f"nas confirm {run}", "trains the winners in full and tests them once"),
        (f"nas report {run}", "writes the report anew, with what was confirmed"),
        (f"nas export {run} --to DIR", "writes the best network to use it elsewhere"),
    ):
        console.print(f"next: {command}  # {what}", highlight=False, markup=False, soft_wrap=True)


def _print_run(folder: "Path", console: "Console") -> None:
    from nas.cli.terminal import comparison, front_plot, stopping, summary
    from nas.search.compare import average_random, compare, courses
    from nas.search.judging.audit import audit

    snapshot = _snapshot(folder)
    search, records = snapshot.search, snapshot.records
    console.print(summary(snapshot))
    if plot := front_plot(records):
        console.print(plot, highlight=False, markup=False)
    console.print(stopping(audit(search, records)))
    console.print(comparison(compare(courses(search, records), average_random(search, records))))
    console.print(f"result: {folder / 'pareto.json'}", highlight=False, markup=False, soft_wrap=True)


def _print_comparison(folders: "list[Path]", console: "Console") -> "list[dict[str, Any]]":
    """Prints the comparison over the runs and returns it."""
    from nas.cli.terminal import comparison
    from nas.search.compare import compare_runs

    compared = compare_runs([(snapshot.search, snapshot.records) for snapshot in map(_snapshot, folders)])
    console.print(comparison(compared))
    return compared


def _snapshot(folder: "Path") -> "Snapshot":
    from nas.search.journal import read_run
    from nas.search.search import run_folder
    from nas.search.workers.supervisor import Snapshot

    search, records = read_run(run_folder(folder))
    return Snapshot(search, records, 0, 0.0, len(records))


def _show(flags: argparse.Namespace) -> int:
    from pathlib import Path

    console = terminal_console()
    if flags.strategy is None:
        _print_run(Path(flags.run), console)
        return EXIT_DONE
    from nas.api import explain

    for line in explain(Path(flags.run), flags.strategy):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return EXIT_DONE


def _compare(flags: argparse.Namespace) -> int:
    from pathlib import Path

    folders = _run_folders([Path(run) for run in flags.runs])
    compared = _print_comparison(folders, terminal_console())
    if flags.html:
        from nas.api import write_comparison_page

        write_comparison_page(folders, Path(flags.html))
    if flags.json:
        print(json.dumps(compared, indent=2))
    if any(at["pairs"] for at in compared):
        return EXIT_DONE
    print(
        "nas: nothing to compare yet: two strategies with a trained network and the same seed are needed",
        file=sys.stderr,
    )
    return EXIT_NO_ANSWER


def _confirm(flags: argparse.Namespace) -> int:
    from pathlib import Path

    from nas.api import default_workers
    from nas.cli.cli_training import asked_recipe
    from nas.cli.terminal_networks import confirmed_table, training_line
    from nas.results.confirm import Confirmation, confirm
    from nas.search.search import run_folder
    from nas.search.studies import load_data_of
    from nas.training.training import Metrics

    folder = run_folder(Path(flags.run))
    images = len(load_data_of(folder.read(), folder).train.labels)
    recipe = asked_recipe(flags, images)
    confirmation = Confirmation(
        Path(flags.run), recipe, flags.seeds, flags.top, flags.front, flags.baselines, flags.budget
    )
    if flags.workers is not None and flags.workers < 1:
        raise UserError(f"--workers must be at least 1 but got {flags.workers}")
    console = terminal_console()

    def show(label: str, seed: int, metrics: Metrics) -> None:
        line = training_line(metrics, recipe.all_epochs)
        console.print(f"{label}, seed {seed}: {line}", highlight=False, markup=False, soft_wrap=True)

    workers = flags.workers or default_workers(flags.device)
    content = confirm(confirmation, workers=workers, device=flags.device, on_epoch=show)
    if flags.json:
        print(json.dumps(content, indent=2))
    console.print(confirmed_table(content))
    console.print(f"result: {confirmation.result}", highlight=False, markup=False, soft_wrap=True)
    return EXIT_DONE if any(entry["test"] for entry in content["networks"]) else EXIT_NO_ANSWER


def _report(flags: argparse.Namespace) -> int:
    from pathlib import Path

    from nas.results.report import write_report

    run, console = Path(flags.run), terminal_console()
    if flags.watch:
        return _watch(run, flags.port, console)
    file = write_report(run, Path(flags.out) if flags.out else None)
    console.print(f"report: {file}", highlight=False, markup=False, soft_wrap=True)
    if flags.png:
        from nas.results.report.pictures import write_pictures

        pictures = write_pictures(run, Path(flags.png))
        console.print(f"{len(pictures)} pictures: {flags.png}", highlight=False, markup=False, soft_wrap=True)
    return EXIT_DONE


def _watch(run: "Path", port: int, console: "Console") -> int:
    """Until it is interrupted."""
    from nas.results.report.watch import server

    with server(run, port) as made:
        where = f"http://127.0.0.1:{made.server_port}/"
        console.print(f"watching {run} at {where} (Ctrl-C ends it)", highlight=False, markup=False, soft_wrap=True)
        made.serve_forever()
    return EXIT_DONE


def _scaling(flags: argparse.Namespace) -> int:
    from pathlib import Path

    from nas.api import scaling_laws
    from nas.cli.terminal_networks import scaling_table

    if flags.top < 1:
        raise UserError(f"--top must be at least 1 but got {flags.top}")
    found = scaling_laws(Path(flags.run), flags.top)
    if flags.json:
        print(json.dumps(found, indent=2))
    else:
        terminal_console().print(scaling_table(found))
    return EXIT_DONE


def _run_folders(paths: "list[Path]") -> "list[Path]":
    """The run folders named, or inside the folders named."""
    from nas.results.report.folders import run_folders

    return [folder for path in paths for folder in run_folders(path)]


def _list(flags: argparse.Namespace) -> int:
    from pathlib import Path

    from nas.cli.terminal import run_table

    folder = Path(flags.folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {flags.folder!r}; run a search first or name another folder")
    runs = sorted(path.parent for path in folder.glob("*/settings.json"))
    if not runs:
        raise UserError(f"{flags.folder} holds no runs")
    console, readable = terminal_console(), []
    for run in runs:
        try:
            readable.append((run, _snapshot(run)))
        except UserError as error:
            console.print(f"passed over: {error}", highlight=False, markup=False)
    console.print(run_table(readable))
    return EXIT_DONE


def _data(flags: argparse.Namespace) -> int:
    from dataclasses import asdict

    from nas.data.load import describe

    console = terminal_console()
    report = describe(default_dataset(flags.dataset, console), image_size=flags.image_size)
    if flags.json:
        print(json.dumps(asdict(report), indent=2))
        return EXIT_DONE
    for name, value in asdict(report).items():
        shown = f"{value:,}" if isinstance(value, int) else value
        if name == "class_names":
            shown = ", ".join(value[:10]) + (" …" if len(value) > 10 else "")
        console.print(f"{name.replace('_', ' '):>16}  {shown}", highlight=False, markup=False)
    if report.shared_images:
        console.print(
            f"[bold yellow]warning:[/] {report.shared_images} test images are also training images", highlight=False
        )
    return EXIT_DONE


COMMANDS = {
    "search": _search,
    "show": _show,
    "compare": _compare,
    "confirm": _confirm,
    "report": _report,
    "scaling": _scaling,
    "list": _list,
    "data": _data,
}
