"""Flags for the images that a network is counted for."""

import argparse

from nas.cli.flags import number
from nas.errors import UserError
from nas.network.layers import Shape


def add_shape_flags(parser: argparse.ArgumentParser) -> None:
    """A data set, or a shape and a number of classes."""
    parser.add_argument("--dataset", metavar="NAME|PATH", help="take shape and classes from a data set")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="scale its images to this side")
    parser.add_argument("--shape", type=number(_shape), metavar="C,H,W", help="shape of the images (default: 3,32,32)")
    parser.add_argument("--classes", type=int, metavar="N", help="number of classes (default: 100)")


def shape_and_classes(flags: argparse.Namespace) -> tuple[Shape | None, int | None]:
    """What the flags ask for; None where they do not say. Raises UserError where they contradict each other."""
    shape, classes = flags.shape, flags.classes
    if flags.dataset:
        if shape or classes:
            raise UserError("give either --dataset or --shape and --classes")
        from nas.data.load import load_search_data

        data = load_search_data(flags.dataset, seed=0, image_size=flags.image_size)
        shape, classes = data.shape, data.classes
    elif flags.image_size:
        raise UserError("--image-size needs --dataset; without one, give --shape")
    if classes is not None and classes < 2:
        raise UserError(f"--classes must be at least 2 but got {classes}")
    return shape, classes


def _shape(text: str) -> Shape:
    parts = text.lower().replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UserError(f"a shape must be channels,height,width like 3,32,32 but got {text!r}")
    return tuple(map(int, parts))
