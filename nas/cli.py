"""The command line: flags to values, errors to exit codes, nothing else.

Exit codes: 0 done; 1 ran but has no answer; 2 wrong use; 130 interrupted. JSON goes to stdout, all else to stderr.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nas.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

EXIT_DONE, EXIT_NO_ANSWER, EXIT_WRONG_USE, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    parsed = build_parser().parse_args(arguments)
    try:
        code: int = parsed.command(parsed)
        return code
    except UserError as error:
        print(f"nas: {error}", file=sys.stderr)
        return EXIT_WRONG_USE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """Every command with its flags and an example."""
    parser = argparse.ArgumentParser(
        prog="nas",
        description="Finds the best small image classifiers under a hard parameter budget.",
        epilog="example:\n  nas search --budget 100000 --trials 200",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_search(commands)
    _add_show(commands)
    _add_list(commands)
    _add_space(commands)
    _add_count(commands)
    _add_data(commands)
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], summary: str, example: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run)
    return parser


def _number(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A flag's parser whose complaint argparse shows in one line."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _counts(text: str) -> tuple[int, ...]:
    from nas.budget import parse_counts

    return parse_counts(text)


def _count_flag(text: str) -> int:
    from nas.budget import parse_count

    return parse_count(text)


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError as error:
        raise UserError(f"a time must be like 90, 90s, 30m or 2h but got {text!r}") from error
    if not 0 < seconds < float("inf"):
        raise UserError(f"a time must be above 0 seconds but got {text!r}")
    return seconds


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _add_data_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset",
        metavar="NAME|PATH",
        help="cifar100, cifar10, fashion-mnist, digits, a .npz file, or a folder of images a class "
        "(default: cifar100 if it is on disk or can be downloaded, else digits)",
    )
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="scale images to this many pixels a side")


def _add_space_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--space", default="mixed", metavar="NAME|FILE", help="a shipped search space or a .py file (default: mixed)"
    )


def _add_search(commands: Any) -> None:
    parser = _command(
        commands,
        "search",
        _search,
        "search for the most accurate networks within a budget",
        "nas search --dataset digits --budget 10K,100K --trials 20 --epochs 4",
    )
    parser.add_argument(
        "--budget",
        type=_number(_counts),
        required=True,
        metavar="N[,N…]",
        help="most parameters of a network; several budgets are searched side by side (1K,10K,1M)",
    )
    parser.add_argument(
        "--trials", type=int, default=200, metavar="N", help="networks per strategy and budget (default: 200)"
    )
    _add_data_flags(parser)
    _add_space_flag(parser)
    parser.add_argument(
        "--max-macs", type=_number(_count_flag), metavar="N", help="most multiply-adds a network (15M); default: no cap"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs a trial (default: 12; 3 below 10,000 images)")
    parser.add_argument(
        "--strategies", type=_names, default=("tpe",), metavar="NAME[,NAME]", help="tpe, random (default: tpe)"
    )
    parser.add_argument(
        "--below",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="share of the trials that aim below the budget, for the front (default: 0.25)",
    )
    parser.add_argument(
        "--validation-share", type=float, metavar="SHARE", help="(default: 0.1; 0.2 below 10,000 images)"
    )
    parser.add_argument(
        "--augment",
        type=_names,
        metavar="NAME[,NAME]",
        help="crop, flip, cutout, or none (default: what suits the data set)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of every random choice (default: 0)")
    parser.add_argument("--out", metavar="DIR", help="run folder (default: runs/, named after the search)")
    parser.add_argument("--workers", type=int, metavar="N", help="training processes (default: GPUs, or cores)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--time-limit", type=_number(_seconds), metavar="TIME", help="stop after this long (90s, 30m, 2h)"
    )


def _add_show(commands: Any) -> None:
    parser = _command(
        commands, "show", _show, "show a finished or running search", "nas show runs/digits-mixed-100000-200x3-seed0"
    )
    parser.add_argument("run", metavar="RUN", help="run folder")


def _add_list(commands: Any) -> None:
    parser = _command(commands, "list", _list, "list the searches in a folder", "nas list runs")
    parser.add_argument(
        "folder", nargs="?", default="runs", metavar="DIR", help="folder of run folders (default: runs)"
    )


def _add_space(commands: Any) -> None:
    parser = _command(
        commands,
        "space",
        _space,
        "describe a search space: knobs, sizes, what is feasible",
        "nas space mixed --budget 100000 --dataset digits",
    )
    parser.add_argument("space", nargs="?", default="mixed", metavar="SPACE", help="name or .py file (default: mixed)")
    parser.add_argument("--budget", type=_number(_count_flag), metavar="N", help="most parameters of a network")
    parser.add_argument("--max-macs", type=_number(_count_flag), metavar="N", help="most multiply-adds of a network")
    _add_shape_flags(parser)
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")


def _add_shape_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", metavar="NAME|PATH", help="take shape and classes from a data set")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="scale its images to this side")
    parser.add_argument("--shape", type=_number(_shape), metavar="C,H,W", help="shape of the images (default: 3,32,32)")
    parser.add_argument("--classes", type=int, metavar="N", help="number of classes (default: 100)")


def _shape(text: str) -> tuple[int, int, int]:
    parts = text.lower().replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UserError(f"a shape must be channels,height,width like 3,32,32 but got {text!r}")
    channels, height, width = map(int, parts)
    return channels, height, width


def _add_count(commands: Any) -> None:
    parser = _command(
        commands,
        "count",
        _count,
        "print the layer table of a network",
        "nas count mixed kind2=depthwise width2=32 --classes 10",
    )
    parser.add_argument("network", metavar="NETWORK", help="a space (name or .py file), a pareto.json, or a run folder")
    parser.add_argument("knobs", nargs="*", metavar="KNOB=VALUE", help="knob settings; the rest stay at their defaults")
    parser.add_argument(
        "--select", metavar="FINGERPRINT|N", help="which network of a pareto.json: fingerprint or most parameters"
    )
    _add_shape_flags(parser)
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")


def _add_data(commands: Any) -> None:
    parser = _command(
        commands,
        "data",
        _data,
        "check a data set, both splits, and count images that they share",
        "nas data --dataset digits",
    )
    _add_data_flags(parser)
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")


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
    from nas.api import search
    from nas.terminal import LiveView, PlainView

    console = _console()
    view: LiveView | PlainView = LiveView(console) if console.is_terminal else PlainView(console)
    dataset = _dataset(flags.dataset, console)
    with view:
        result = search(
            budget=flags.budget,
            trials=flags.trials,
            dataset=dataset,
            space=flags.space,
            strategies=flags.strategies,
            epochs=flags.epochs,
            max_macs=flags.max_macs,
            seed=flags.seed,
            below=flags.below,
            out=flags.out,
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
        return EXIT_NO_ANSWER
    if result.ending == "interrupted":
        console.print("interrupted; the same command goes on from here", highlight=False)
        return EXIT_INTERRUPTED
    if result.ending == "time limit":
        console.print("time limit reached; the same command goes on from here", highlight=False)
    return EXIT_DONE if result.front else EXIT_NO_ANSWER


def _print_run(folder: Any, console: "Console") -> None:
    from nas.terminal import front_plot, summary

    snapshot = _snapshot(folder)
    console.print(summary(snapshot))
    if plot := front_plot(snapshot.records):
        console.print(plot, highlight=False, markup=False)
    console.print(f"result: {folder / 'pareto.json'}", highlight=False, markup=False, soft_wrap=True)


def _snapshot(folder: Any) -> Any:
    from nas.plan import RunFolder
    from nas.storage import open_storage, open_study, read_records
    from nas.supervise import Snapshot

    run = RunFolder(folder)
    plan = run.read_plan()
    storage = open_storage(run)
    records = read_records(plan, {key: open_study(storage, *key) for key in plan.studies})
    return Snapshot(plan, records, 0, 0.0, len(records))


def _show(flags: argparse.Namespace) -> int:
    from pathlib import Path

    _print_run(Path(flags.run), _console())
    return EXIT_DONE


def _list(flags: argparse.Namespace) -> int:
    from pathlib import Path

    from nas.terminal import run_table

    folder = Path(flags.folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {flags.folder!r}; run a search first or name another folder")
    runs = sorted(path.parent for path in folder.glob("*/settings.json"))
    if not runs:
        raise UserError(f"{flags.folder} holds no runs")
    _console().print(run_table([(run, _snapshot(run)) for run in runs]))
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
