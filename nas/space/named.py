"""Networks that nas itself knows by name: a fixed model, a design scaled to a budget, knobs of a space, a
classifier of torchvision."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nas.errors import SpaceError, UserError
from nas.machine.options import brief
from nas.network.checked import ShapeError
from nas.network.folds import cost
from nas.network.layers import Layer, Shape
from nas.network.serial import from_json, to_json
from nas.space.budget import Budget, parse_count
from nas.space.designs import DESIGNS, scaled
from nas.space.files import is_space, named_space, shipped_spaces, space_stem
from nas.space.models import MODELS, TorchvisionModel, model_network
from nas.space.space import Knob, Value, bind

TORCHVISION = "torchvision:"
SCALED = "scaled:"
SMALL_IMAGES: Shape = (3, 32, 32)
ENLARGED_IMAGES: Shape = (3, 224, 224)


@dataclass(frozen=True)
class Torchvision:
    """A classifier of torchvision with a head of one's own."""

    name: str
    pretrained: bool = False


@dataclass(frozen=True)
class Named:
    """A network and what it is called. It takes images of `shape` and tells `classes` classes apart."""

    label: str
    network: Layer | Torchvision
    shape: Shape
    classes: int


def known_network(
    name: str,
    knobs: tuple[str, ...] = (),
    *,
    shape: Shape | None = None,
    classes: int | None = None,
    pretrained: bool = False,
) -> Named:
    """The network that nas knows as `name`: a model of `nas models`, "torchvision:resnet18", "scaled:resnet@50K" (the
    widest ResNet of at most 50,000 parameters), a shipped space or a .py file with `knobs` ("width1=16").

    Without `shape` and `classes`, those that a model was published for, else 3 x 32 x 32 and 100. Raises SpaceError for
    what is not known or does not fit images of the shape.
    """
    if name in MODELS or name.startswith((TORCHVISION, SCALED)):
        if knobs:
            raise UserError(f"{name} is a fixed model and has no knobs; leave out {' '.join(knobs)}")
        found = _fixed(name, shape, classes, pretrained)
    else:
        found = _of_space(name, knobs, shape or SMALL_IMAGES, classes or 100)
    check_pretrained(name, found, pretrained)
    if isinstance(found.network, Layer):
        size(found.network, found.shape, found.classes)
    return found


def check_pretrained(name: str, found: Named, pretrained: bool) -> None:
    """Raises UserError where pretrained weights are asked for and there are none, SpaceError where they do not fit."""
    if pretrained and not isinstance(found.network, Torchvision):
        raise UserError(f"there are pretrained weights for torchvision's models only; {name} is none")
    if pretrained and found.shape[0] != 3:
        raise SpaceError(f"pretrained weights need 3 channels but got {found.shape[0]}")


def is_known(name: str) -> bool:
    """Whether nas itself knows what is called so: a model, a shipped space, a scaled design, one of torchvision's."""
    return name in MODELS or name in shipped_spaces() or name.startswith((TORCHVISION, SCALED))


def _fixed(name: str, shape: Shape | None, classes: int | None, pretrained: bool) -> Named:
    if name.startswith(TORCHVISION):
        return Named(
            name, Torchvision(name.removeprefix(TORCHVISION), pretrained), shape or ENLARGED_IMAGES, classes or 100
        )
    if name.startswith(SCALED):
        return _scaled(name, shape or SMALL_IMAGES, classes or 100)
    model = MODELS[name]
    shape, classes = shape or model.shape, classes or model.classes
    if isinstance(model, TorchvisionModel):
        return Named(name, Torchvision(model.torchvision, pretrained), shape, classes)
    return Named(name, model_network(model, shape, classes), shape, classes)


def _scaled(name: str, shape: Shape, classes: int) -> Named:
    design, at, most = name.removeprefix(SCALED).partition("@")
    if design not in DESIGNS or not at:
        raise SpaceError(
            f"a scaled design is {SCALED}NAME@PARAMETERS, like {SCALED}resnet@50K, with a name of "
            f"{', '.join(DESIGNS)}, but got {name!r}"
        )
    budget = Budget(parse_count(most))
    network = scaled(design, budget, shape, classes)
    if network is None:
        raise SpaceError(
            f"{name} has no network: with every width at 1 it has more than {budget.parameters:,} parameters, for "
            f"images {' × '.join(map(str, shape))} of {classes} classes; ask for more"
        )
    return Named(name, network, shape, classes)


def _of_space(name: str, knobs: tuple[str, ...], shape: Shape, classes: int) -> Named:
    if not is_space(name):
        raise SpaceError(
            f"no model or space is named {name!r}: `nas models` lists the models; spaces are "
            f"{', '.join(shipped_spaces())} or a .py file; {TORCHVISION}NAME is one of torchvision's, "
            f"{SCALED}NAME@PARAMETERS a scaled design"
        )
    space = bind(named_space(name), shape, classes)
    network = space.network(space.check(parse_knobs(space.knobs, knobs)))
    return Named(shlex.join((space_stem(name), *knobs)), network, shape, classes)


def to_stored(network: Layer | Torchvision) -> dict[str, Any]:
    """The network as JSON values."""
    if isinstance(network, Torchvision):
        return {"torchvision": network.name, "pretrained": network.pretrained}
    return to_json(network)


def from_stored(stored: dict[str, Any]) -> Layer | Torchvision:
    """The network written by `to_stored`."""
    if "torchvision" in stored:
        return Torchvision(stored["torchvision"], stored["pretrained"])
    return from_json(stored)


def size(network: Layer | Torchvision, shape: Shape, classes: int) -> tuple[int, int]:
    """(parameters, multiply-adds of a forward pass on one image of the shape). Raises SpaceError if it does not fit."""
    if isinstance(network, Torchvision):
        from nas.network.modules.vision import count_module, torchvision_model

        name = network.name
        found = count_module(lambda: torchvision_model(name, classes, channels=shape[0]), shape)
        return found.parameters, found.macs
    try:
        counted = cost(network, shape)
    except ShapeError as error:
        raise SpaceError(f"the network does not fit images {' × '.join(map(str, shape))}: {error}") from error
    return counted.parameters, counted.macs


def parse_knobs(decisions: tuple[Knob, ...], assignments: Iterable[str]) -> dict[str, Value]:
    """Knobs written as "knob=value", each value one of the knob's options as Python prints it, in any case where no
    two options differ in that alone; numbers in any way of writing them (.25, 1e-3, 2 for 2.0)."""
    options = {knob.name: knob.options for knob in decisions}
    knobs: dict[str, Value] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or name not in options:
            raise SpaceError(f"settings must be KNOB=VALUE with a knob of {', '.join(options)} but got {assignment!r}")
        if name in knobs:
            raise SpaceError(f"knob {name!r} is given twice; give it one value")
        meant = _meant(options[name], text)
        if meant is None:
            raise SpaceError(f"knob {name!r} must be one of {brief(options[name])} but got {text!r}")
        knobs[name] = meant
    return knobs


def _meant(options: tuple[Value, ...], text: str) -> Value | None:
    """The option that is written so, None where there is none or there are several."""
    exact = [option for option in options if str(option) == text]
    folded = [option for option in options if str(option).lower() == text.lower()]
    found = exact or folded or [option for option in options if _is_number(option) and option == _number(text)]
    return found[0] if len(found) == 1 else None


def _is_number(option: Value) -> bool:
    return isinstance(option, int | float) and not isinstance(option, bool)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
