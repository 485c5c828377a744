"""The flags of the commands about single networks and spaces."""

import argparse
from typing import Any

from nas.cli.flag_values import add_data_flags, command, count_flag, counts, number
from nas.errors import UserError


def add_network_commands(commands: Any) -> None:
    """space, count, models, recipes, train, table, export."""
    _add_space(commands)
    _add_count(commands)
    _add_models(commands)
    _add_recipes(commands)
    _add_train(commands)
    _add_table(commands)
    _add_export(commands)


def _add_network(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        name,
        metavar=name.upper(),
        help="a model of `nas models`, torchvision:NAME, scaled:NAME@PARAMETERS, a space (name or .py file), "
        "a pareto.json, or a run folder",
    )
    parser.add_argument("knobs", nargs="*", metavar="KNOB=VALUE", help="knobs of a space; the rest stay at defaults")
    parser.add_argument(
        "--select",
        metavar="FINGERPRINT|N",
        help="which network of a pareto.json: fingerprint (its beginning does) or most parameters",
    )


def _add_space(commands: Any) -> None:
    parser = command(
        commands,
        "space",
        "describe a search space: knobs, sizes, what is feasible",
        "nas space mixed --budget 100000 --dataset digits",
    )
    parser.add_argument("space", nargs="?", default="mixed", metavar="SPACE", help="name or .py file (default: mixed)")
    parser.add_argument("--budget", type=number(count_flag), metavar="N", help="most parameters of a network")
    parser.add_argument("--max-macs", type=number(count_flag), metavar="N", help="most multiply-adds of a network")
    _add_shape_flags(parser)
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")


def _add_shape_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", metavar="NAME|PATH", help="take shape and classes from a data set")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="scale its images to this side")
    parser.add_argument("--shape", type=number(_shape), metavar="C,H,W", help="shape of the images (default: 3,32,32)")
    parser.add_argument("--classes", type=int, metavar="N", help="number of classes (default: 100)")


def _shape(text: str) -> tuple[int, int, int]:
    parts = text.lower().replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UserError(f"a shape must be channels,height,width like 3,32,32 but got {text!r}")
    channels, height, width = map(int, parts)
    return channels, height, width


def _add_count(commands: Any) -> None:
    parser = command(
        commands,
        "count",
        "print the layer table of a network",
        "nas count mixed kind2=depthwise width2=32 --classes 10",
    )
    _add_network(parser, "network")
    _add_shape_flags(parser)
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")


def _add_models(commands: Any) -> None:
    parser = command(
        commands, "models", "list the fixed models with their sizes and published accuracies", "nas models"
    )
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")


def _add_recipes(commands: Any) -> None:
    parser = command(commands, "recipes", "list the recipes that networks are trained with", "nas recipes final")
    parser.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help="one recipe, shipped or a .toml file (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")


def _add_training_flags(parser: argparse.ArgumentParser, recipe: str) -> None:
    add_data_flags(parser)
    parser.add_argument(
        "--images", type=number(count_flag), metavar="N", help="training images to use, drawn by class (default: all)"
    )
    parser.add_argument(
        "--validation-share", type=float, metavar="SHARE", help="(default: 0.1; 0.2 below 10,000 images)"
    )
    parser.add_argument(
        "--recipe", default=recipe, metavar="NAME|FILE", help=f"of `nas recipes`, or a .toml file (default: {recipe})"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="changes of the recipe; lists with commas, augmentation=crop,flip or none or auto",
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="as --set epochs=N")
    parser.add_argument("--pretrained", action="store_true", help="begin with ImageNet weights (torchvision's models)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of every random choice (default: 0)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--test", action="store_true", help="in the end read the test split, once; the result is kept with the training"
    )
    parser.add_argument("--json", action="store_true", help="print JSON to stdout")


def _add_train(commands: Any) -> None:
    parser = command(
        commands,
        "train",
        "train one network with a recipe; repeated, the command goes on",
        "nas train cifar_resnet blocks=1 --dataset digits --recipe final --epochs 5",
    )
    _add_network(parser, "model")
    _add_training_flags(parser, "final")
    parser.add_argument(
        "--out", metavar="DIR", help="folder of the training (default: trained/, named after the model and the recipe)"
    )


def _add_table(commands: Any) -> None:
    parser = command(
        commands,
        "table",
        "train several networks, or one in several ways, and compare them",
        "nas table s4-resnet20 --dataset digits --images 500 --epochs 2 --vary dropout=0,0.15",
    )
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help='as of `nas train`, knobs in quotes ("cifar_resnet blocks=9 norm=False"), or a folder of trainings',
    )
    _add_training_flags(parser, "final")
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=V,V",
        help="train with each of these values of the recipe; several --vary: with every combination",
    )
    parser.add_argument(
        "--ladder", metavar="FILE", help="train the steps of a .toml file, each with the changes so far"
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings a line, of different seeds")
    parser.add_argument("--workers", type=int, metavar="N", help="training processes (default: GPUs, or cores)")
    parser.add_argument("--out", default="trained", metavar="DIR", help="folder of the trainings (default: trained)")
    parser.add_argument("--markdown", metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--html", metavar="FILE", help="write the curves as a page that opens without a network")
    parser.set_defaults(unasked=vars(parser.parse_args([])))


def _add_export(commands: Any) -> None:
    parser = command(
        commands,
        "export",
        "write trained networks as folders that need nas no more: torch source, weights, ONNX, a card, predict.py",
        "nas export runs/digits-mixed-10000-100000-20x4-seed0 --budget 10K --to exported",
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="run folder of a search, its pareto.json, or the folder of a training"
    )
    parser.add_argument(
        "--budget",
        type=number(counts),
        metavar="N[,N…]",
        help="most parameters; of a search the best network within each is exported (default: its own budgets)",
    )
    parser.add_argument(
        "--to", required=True, metavar="DIR", help="folder of the export; of a search the folder of DIR/BUDGET folders"
    )
