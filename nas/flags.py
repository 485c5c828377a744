"""The flags of every command: what they are called, how they are read, what --help says."""

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from nas.errors import UserError


class _Parser(argparse.ArgumentParser):
    """Complains in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """Every command with its flags and an example."""
    parser = _Parser(
        prog="nas",
        description="Finds the best small image classifiers under a hard parameter budget.",
        epilog="example:\n  nas search --budget 100000 --trials 200",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, dest="name", metavar="COMMAND")
    _add_search(commands)
    _add_show(commands)
    _add_compare(commands)
    _add_list(commands)
    _add_space(commands)
    _add_count(commands)
    _add_data(commands)
    return parser


def _command(commands: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
        "--strategies",
        type=_names,
        default=("tpe", "greedy"),
        metavar="NAME[,NAME]",
        help="tpe, greedy, greedy-full, random, evolution, local, gp (default: tpe,greedy)",
    )
    parser.add_argument(
        "--baselines",
        action=argparse.BooleanOptionalAction,
        help="train a ResNet, a MobileNetV2 and a VGG scaled to each budget too (default: if strategies are compared)",
    )
    parser.add_argument(
        "--below",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="share of the trials that aim below the budget, for the front (default: 0.25)",
    )
    parser.add_argument(
        "--stop",
        default="extrapolate",
        metavar="RULE",
        help="stop hopeless trainings early: extrapolate, median, halving, or none (default: extrapolate)",
    )
    parser.add_argument(
        "--stop-threshold",
        type=float,
        metavar="CHANCE",
        help="extrapolate: chance of joining the front below which a training is given up "
        "(default: 4 / trials, at most 0.2)",
    )
    parser.add_argument(
        "--audit",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="share of the trainings given up that go on in the end, to check the predictions (default: 0.05)",
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
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="independent searches, of this seed and those that follow, each a run of its own (default: 1)",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="run folder (default: runs/, named after the search), or folder of the --seeds"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="training processes (default: GPUs, or cores)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--time-limit", type=_number(_seconds), metavar="TIME", help="stop after this long (90s, 30m, 2h)"
    )


def _add_show(commands: Any) -> None:
    parser = _command(
        commands, "show", "show a finished or running search", "nas show runs/digits-mixed-100000-200x3-seed0"
    )
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--strategy", metavar="NAME", help="tell what this strategy did, step by step (greedy)")


def _add_compare(commands: Any) -> None:
    parser = _command(
        commands,
        "compare",
        "compare strategies over independent searches",
        "nas compare runs/digits-mixed-100000-200x3-seed* --html comparison.html",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folders that differ in their seed, or a folder of such run folders"
    )
    parser.add_argument(
        "--html", metavar="FILE", help="write best-so-far curves as a page that opens without a network"
    )
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")


def _add_list(commands: Any) -> None:
    parser = _command(commands, "list", "list the searches in a folder", "nas list runs")
    parser.add_argument(
        "folder", nargs="?", default="runs", metavar="DIR", help="folder of run folders (default: runs)"
    )


def _add_space(commands: Any) -> None:
    parser = _command(
        commands,
        "space",
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
        "check a data set, both splits, and count images that they share",
        "nas data --dataset digits",
    )
    _add_data_flags(parser)
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")
