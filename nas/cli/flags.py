"""The flags of the commands about searches and data: what they are called, what --help says."""

import argparse
from typing import Any, NoReturn

from nas import __version__
from nas.cli.flag_values import add_data_flags, command, count_flag, counts, names, number, seconds_flag
from nas.cli.flags_networks import add_network_commands


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
    parser.add_argument("--version", action="version", version=f"nas {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, dest="name", metavar="COMMAND")
    _add_search(commands)
    _add_show(commands)
    _add_compare(commands)
    _add_confirm(commands)
    _add_report(commands)
    _add_scaling(commands)
    _add_list(commands)
    _add_data(commands)
    add_network_commands(commands)
    return parser


def _add_space_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--space", default="mixed", metavar="NAME|FILE", help="a shipped search space or a .py file (default: mixed)"
    )


def _add_search(commands: Any) -> None:
    parser = command(
        commands,
        "search",
        "search for the most accurate networks within a budget",
        "nas search --dataset digits --budget 10K,100K --trials 20 --epochs 4",
    )
    parser.add_argument(
        "--budget",
        type=number(counts),
        required=True,
        metavar="N[,N…]",
        help="most parameters of a network; several budgets are searched side by side (1K,10K,1M)",
    )
    parser.add_argument(
        "--trials", type=int, default=200, metavar="N", help="networks per strategy and budget (default: 200)"
    )
    add_data_flags(parser)
    _add_space_flag(parser)
    parser.add_argument(
        "--max-macs", type=number(count_flag), metavar="N", help="most multiply-adds a network (15M); default: no cap"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs a trial (default: 12; 3 below 10,000 images)")
    parser.add_argument(
        "--strategies",
        type=names,
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
        type=names,
        metavar="NAME[,NAME]",
        help="of nas recipes: crop, flip, cutout, …, or none (default: what suits the data set)",
    )
    parser.add_argument(
        "--warm-start",
        metavar="RUN",
        help="begin with the best networks of this finished search, of its nearest budget, rescaled",
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
        "--time-limit", type=number(seconds_flag), metavar="TIME", help="stop after this long (90s, 30m, 2h)"
    )


def _add_show(commands: Any) -> None:
    parser = command(
        commands, "show", "show a finished or running search", "nas show runs/digits-mixed-100000-200x3-seed0"
    )
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--strategy", metavar="NAME", help="tell what this strategy did, step by step (greedy)")


def _add_compare(commands: Any) -> None:
    parser = command(
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


def _add_confirm(commands: Any) -> None:
    parser = command(
        commands,
        "confirm",
        "train the winners of a search in full, with several seeds, and test them once",
        "nas confirm runs/digits-mixed-10000-100000-20x4-seed0 --epochs 20 --seeds 3",
    )
    parser.add_argument("run", metavar="RUN", help="run folder of a search")
    parser.add_argument(
        "--budget", type=number(counts), default=(), metavar="N[,N…]", help="of these budgets alone (default: all)"
    )
    parser.add_argument("--top", type=int, default=1, metavar="K", help="best networks of each budget (default: 1)")
    parser.add_argument("--front", action="store_true", help="every network of the Pareto front instead")
    parser.add_argument(
        "--baselines",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a ResNet, a MobileNetV2 and a VGG scaled to each budget too (default: yes)",
    )
    parser.add_argument(
        "--recipe", default="final", metavar="NAME|FILE", help="of `nas recipes`, or a .toml file (default: final)"
    )
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="changes of the recipe"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="as --set epochs=N")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each network (default: 3)")
    parser.add_argument("--workers", type=int, metavar="N", help="training processes (default: GPUs, or cores)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")


def _add_report(commands: Any) -> None:
    parser = command(
        commands,
        "report",
        "write a finished or running search as one HTML file that opens without a network",
        "nas report runs/digits-mixed-100000-200x3-seed0",
    )
    parser.add_argument("run", metavar="RUN", help="run folder, or a folder of run folders that differ in their seed")
    parser.add_argument("--out", metavar="FILE", help="the HTML file (default: RUN/report.html)")
    parser.add_argument("--png", metavar="DIR", help="write the plots as PNG files too (needs Kaleido and Chrome)")
    parser.add_argument("--watch", action="store_true", help="serve it on this machine instead, always up to date")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port of --watch (default: a free one)")


def _add_scaling(commands: Any) -> None:
    parser = command(
        commands,
        "scaling",
        "fit how the shape of the best networks moves with the budget",
        "nas scaling runs/digits-mixed-1000-10000-100000-20x3-seed0",
    )
    parser.add_argument("run", metavar="RUN", help="run folder of a search with several budgets")
    parser.add_argument(
        "--top", type=int, default=3, metavar="N", help="best networks of each budget that are fitted (default: 3)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")


def _add_list(commands: Any) -> None:
    parser = command(commands, "list", "list the searches in a folder", "nas list runs")
    parser.add_argument(
        "folder", nargs="?", default="runs", metavar="DIR", help="folder of run folders (default: runs)"
    )


def _add_data(commands: Any) -> None:
    parser = command(
        commands,
        "data",
        "check a data set, both splits, and count images that they share",
        "nas data --dataset digits",
    )
    add_data_flags(parser)
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")
