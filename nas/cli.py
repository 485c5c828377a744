"""The command line: what each command does with its flags, and errors to exit codes.

Exit codes: 0 done; 1 ran but has no answer; 2 wrong use; 130 interrupted. JSON goes to stdout, all else to stderr.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nas.errors import EXIT_WRONG_USE, UserError
from nas.flags import build_parser

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from nas.supervise import Snapshot

EXIT_DONE, EXIT_NO_ANSWER, EXIT_INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    flags = build_parser().parse_args(arguments)
    commands = {
        "search": _search,
        "show": _show,
        "compare": _compare,
        "list": _list,
        "space": _space,
        "count": _count,
        "data": _data,
    }
    try:
        return commands[flags.name](flags)
    except UserError as error:
        print(f"nas: {error}", file=sys.stderr)
        return EXIT_WRONG_USE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True)


def _dataset(asked: str | None, console: "Console") -> str:
    """The data set asked for, or the default with its notice."""
    if asked:
        return asked
    from rich.panel import Panel

    from nas.data import choose_default

    name, notice = choose_default()
    if notice:
        console.print(Panel(notice, title="no CIFAR-100 here", border_style="bold yellow"))
    return name


def _search(flags: argparse.Namespace) -> int:
    from pathlib import Path

    if flags.seeds < 1:
        raise UserError(f"--seeds must be at least 1 but got {flags.seeds}")
    console = _console()
    dataset = _dataset(flags.dataset, console)
    folders = []
    for seed in range(flags.seed, flags.seed + flags.seeds):
        out = str(Path(flags.out) / f"seed{seed}") if flags.out and flags.seeds > 1 else flags.out
        code, folder = _search_once(flags, dataset, seed, out, console)
        if code != EXIT_DONE:
            return code
        folders.append(folder)
    if len(folders) > 1:
        _print_comparison(folders, console)
    return EXIT_DONE


def _search_once(
    flags: argparse.Namespace, dataset: str, seed: int, out: str | None, console: "Console"
) -> "tuple[int, Path]":
    """Exit code and run folder of one search."""
    from nas.api import search
    from nas.terminal import LiveView, PlainView

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
    if result.failure:
        console.print(f"[bold red]every trial failed:[/] {result.failure}", highlight=False)
        return EXIT_NO_ANSWER, result.folder
    if result.ending == "interrupted":
        console.print("interrupted; the same command goes on from here", highlight=False)
        return EXIT_INTERRUPTED, result.folder
    if result.ending == "time limit":
        console.print("time limit reached; the same command goes on from here", highlight=False)
    return EXIT_DONE if result.front else EXIT_NO_ANSWER, result.folder


def _print_run(folder: "Path", console: "Console") -> None:
    from nas.audit import audit
    from nas.compare import average_random, compare, courses
    from nas.terminal import comparison, front_plot, stopping, summary

    snapshot = _snapshot(folder)
    plan, records = snapshot.plan, snapshot.records
    console.print(summary(snapshot))
    if plot := front_plot(records):
        console.print(plot, highlight=False, markup=False)
    console.print(stopping(audit(plan, records)))
    console.print(comparison(compare(courses(plan, records), average_random(plan, records))))
    console.print(f"result: {folder / 'pareto.json'}", highlight=False, markup=False, soft_wrap=True)


def _print_comparison(folders: "list[Path]", console: "Console") -> "list[dict[str, Any]]":
    """Prints the comparison over the runs and returns it."""
    from nas.compare import compare_runs
    from nas.terminal import comparison

    compared = compare_runs([(snapshot.plan, snapshot.records) for snapshot in map(_snapshot, folders)])
    console.print(comparison(compared))
    return compared


def _snapshot(folder: "Path") -> "Snapshot":
    from nas.plan import RunFolder
    from nas.storage import read_run
    from nas.supervise import Snapshot

    plan, records = read_run(RunFolder(folder))
    return Snapshot(plan, records, 0, 0.0, len(records))


def _show(flags: argparse.Namespace) -> int:
    from pathlib import Path

    console = _console()
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
    compared = _print_comparison(folders, _console())
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


def _run_folders(paths: "list[Path]") -> "list[Path]":
    """The run folders named, or inside the folders named."""
    folders = []
    for path in paths:
        inside = sorted(settings.parent for settings in path.glob("*/settings.json"))
        if not (path / "settings.json").is_file() and inside:
            folders += inside
        else:
            folders.append(path)
    return folders


def _list(flags: argparse.Namespace) -> int:
    from pathlib import Path

    from nas.terminal import run_table

    folder = Path(flags.folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {flags.folder!r}; run a search first or name another folder")
    runs = sorted(path.parent for path in folder.glob("*/settings.json"))
    if not runs:
        raise UserError(f"{flags.folder} holds no runs")
    console, readable = _console(), []
    for run in runs:
        try:
            readable.append((run, _snapshot(run)))
        except UserError as error:
            console.print(f"passed over: {error}", highlight=False, markup=False)
    console.print(run_table(readable))
    return EXIT_DONE


def _bound_space(flags: argparse.Namespace, name: str) -> Any:
    """The space for the shape and classes that the flags ask for."""
    from nas.space import bind, load_architecture, space_file

    shape, classes = flags.shape, flags.classes
    if flags.dataset:
        if shape or classes:
            raise UserError("give either --dataset or --shape and --classes")
        from nas.data import load_search_data

        data = load_search_data(flags.dataset, seed=0, image_size=flags.image_size)
        shape, classes = data.shape, data.classes
    elif flags.image_size:
        raise UserError("--image-size needs --dataset; without one, give --shape")
    if classes is not None and classes < 2:
        raise UserError(f"--classes must be at least 2 but got {classes}")
    return bind(load_architecture(space_file(name)), shape or (3, 32, 32), classes or 100)


def _space(flags: argparse.Namespace) -> int:
    from nas.budget import Budget
    from nas.survey import survey, survey_json, survey_table

    space = _bound_space(flags, flags.space)
    if flags.max_macs and not flags.budget:
        raise UserError("--max-macs needs --budget")
    found = survey(space, Budget(flags.budget, flags.max_macs) if flags.budget else None)
    if flags.json:
        print(json.dumps(survey_json(found), indent=2))
    else:
        _console().print(survey_table(found))
    return EXIT_DONE if found.satisfiable is not False else EXIT_NO_ANSWER


def _count(flags: argparse.Namespace) -> int:
    from dataclasses import asdict

    from nas.folds import peak_activation, rows
    from nas.serial import to_json
    from nas.terminal import layer_table

    network, shape = _counted_network(flags)
    listed = list(rows(network, shape))
    if flags.json:
        content = {
            "parameters": sum(row.parameters for row in listed),
            "macs": sum(row.macs for row in listed),
            "peak_activation": peak_activation(network, shape),
            "rows": [asdict(row) | {"layer": to_json(row.layer)} for row in listed],
        }
        print(json.dumps(content, indent=2))
        return EXIT_DONE
    console = _console()
    console.print(layer_table(listed))
    peak = peak_activation(network, shape)
    console.print(f"peak activation: {peak:,} values ({4 * peak / 1024:,.0f} KiB in fp32) an image", highlight=False)
    return EXIT_DONE


def _counted_network(flags: argparse.Namespace) -> Any:
    """(layer tree, input shape) that the flags name."""
    from pathlib import Path

    from nas.space import parse_settings

    path = Path(flags.network)
    if path.is_dir() or path.suffix == ".json":
        if flags.knobs or flags.shape or flags.classes or flags.dataset:
            raise UserError("a network of a pareto.json has its own knobs, shape and classes; leave them out")
        return _stored_network(path, flags.select)
    if flags.select:
        raise UserError("--select needs a pareto.json")
    space = _bound_space(flags, flags.network)
    network = space.network(space.check(parse_settings(space.knobs, flags.knobs)))
    return network, space.shape


def _stored_network(path: Any, select: str | None) -> Any:
    from nas.budget import parse_count
    from nas.front import read_result
    from nas.serial import from_json

    content = read_result(path)
    front = content["front"]
    if select and re.fullmatch("[0-9a-f]{16}", select):
        selected = [entry for entry in front if entry["network"] == select]
    else:
        most = parse_count(select) if select else float("inf")
        selected = [entry for entry in front if entry["parameters"] <= most][-1:]
    if not selected:
        raise UserError(f"{path} has no network {select or ''}".rstrip() + f"; its front has {len(front)}")
    return from_json(selected[0]["layers"]), tuple(content["data"]["shape"])


def _data(flags: argparse.Namespace) -> int:
    from dataclasses import asdict

    from nas.data import describe

    console = _console()
    report = describe(_dataset(flags.dataset, console), image_size=flags.image_size)
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


if __name__ == "__main__":
    sys.exit(main())
