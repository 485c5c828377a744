"""The fixed networks of earlier reports as data: knobs of a shipped space, or a name in torchvision.

The systems: S0, convolutions and linear layers under a budget; S1, MBConv by hand; S2, own convolutions beside
fine-tuned torchvision models; S4, ResNets for CIFAR (He et al. 2015). What a model costs follows from its layers.
"""

from dataclasses import dataclass, field

from nas.errors import SpaceError
from nas.network.checked import ShapeError
from nas.network.folds import rows
from nas.network.layers import Layer, Shape
from nas.space.files import named_space
from nas.space.space import Knobs, Space, Value


@dataclass(frozen=True)
class Model:
    """A network in one of the shipped spaces: those that `knobs` leaves out are at their defaults.

    `published_accuracy` is the test accuracy reported for `dataset`, from images of `shape`.
    """

    name: str
    system: str
    dataset: str
    classes: int
    published_accuracy: float
    space: str
    knobs: Knobs = field(hash=False)
    shape: Shape = (3, 32, 32)


@dataclass(frozen=True)
class TorchvisionModel:
    """A torchvision classifier fine-tuned from ImageNet weights; the images are enlarged to `shape`."""

    name: str
    system: str
    dataset: str
    classes: int
    published_accuracy: float
    torchvision: str
    shape: Shape = (3, 224, 224)


def model_network(model: Model, shape: Shape | None = None, classes: int | None = None) -> Layer:
    """The layer tree of the model for images of `shape` and `classes` classes, by default those it was published for.

    Raises SpaceError where the images are so small that a layer would have nothing to work on.
    """
    shape, classes = shape or model.shape, classes or model.classes
    architecture = named_space(model.space)
    space, published = Space(architecture, shape, classes), Space(architecture, model.shape, classes)
    knobs = space.check(model.knobs)
    network = space.network(knobs)
    try:
        is_whole = _windows(network, shape) == _windows(published.network(knobs), model.shape)
    except ShapeError:
        is_whole = False
    if not is_whole:
        raise SpaceError(
            f"model {model.name!r} was made for images {_size(model.shape)} and those of {_size(shape)} are too small "
            "for all of its layers. Enlarge them (--image-size) or choose another model."
        )
    return network


def _windows(network: Layer, shape: Shape) -> list[tuple[str, int]]:
    """Kind and padding of every layer: a space may leave out or pad what small images have no room for."""
    return [(type(row.layer).__name__, getattr(row.layer, "padding", 0)) for row in rows(network, shape)]


def _size(shape: Shape) -> str:
    return " × ".join(map(str, shape))


def _conv_fc(name: str, accuracy: float, widths: tuple[int, ...], **knobs: Value) -> Model:
    numbered = {f"width{number}": width for number, width in enumerate(widths, start=1)}
    knobs = {"convolutions": len(widths)} | numbered | knobs
    return Model(name, name[:2].upper(), "cifar100", 100, accuracy, "conv_fc", knobs)


def _mbconv(name: str, accuracy: float, stem: int, blocks: tuple[int, ...], widths: tuple[int, ...]) -> Model:
    stages = {f"blocks{number}": count for number, count in enumerate(blocks, start=1)}
    stages |= {f"width{number}": width for number, width in enumerate(widths, start=1)}
    knobs = {"stem": stem, "kernel": 3, "expansion": 4} | stages
    return Model(name, "S1", "cifar100", 100, accuracy, "mbconv", knobs)


def _cifar_resnet(depth: int, error: float) -> Model:
    """`error`: per cent on the test split of CIFAR-10."""
    knobs: dict[str, Value] = {"blocks": (depth - 2) // 6, "kind": "basic", "width": 16, "shortcut": "pad"}
    accuracy = round(1 - error / 100, 4)
    return Model(f"s4-resnet{depth}", "S4", "cifar10", 10, accuracy, "cifar_resnet", knobs)


def _fine_tuned(torchvision: str, accuracy: float) -> TorchvisionModel:
    return TorchvisionModel(f"s2-{torchvision}", "S2", "cifar100", 100, accuracy, torchvision)


_SMALL: dict[str, Value] = {"padding": "valid", "order": "relu pool norm", "head": "hidden"}
_S2: dict[str, Value] = {"kernel": 5, "padding": "same", "order": "norm relu pool"}

MODELS: dict[str, Model | TorchvisionModel] = {
    model.name: model
    for model in (
        _conv_fc("s0-2k", 0.1167, (5,), pool=3, pooled_input=True, **_SMALL | {"head": "linear"}),
        _conv_fc("s0-5k", 0.1914, (6, 10), pool=3, **_SMALL | {"head": "linear"}),
        _conv_fc("s0-10k", 0.2197, (6, 10, 12), hidden=55, **_SMALL),
        _conv_fc("s0-50k", 0.2939, (8, 16, 32), hidden=189, **_SMALL),
        _conv_fc("s0-100k", 0.3497, (16, 32, 64), hidden=213, **_SMALL),
        _conv_fc("s0-500k", 0.4134, (32, 64), order="norm relu pool", pooled="last", residual=True),
        _conv_fc("s0-1m", 0.4313, (64, 128, 256), head="hidden", hidden=150),
        _mbconv("s1-50k", 0.297, 16, (1, 1, 1, 1), (16, 32, 32, 100)),
        _mbconv("s1-100k", 0.3553, 32, (1, 1, 1, 1), (32, 32, 64, 100)),
        _mbconv("s1-350k", 0.4078, 32, (1, 1, 1, 1), (32, 64, 128, 256)),
        _mbconv("s1-500k", 0.4334, 32, (1, 1, 2, 1), (32, 64, 128, 256)),
        _mbconv("s1-1m", 0.4906, 32, (1, 2, 2, 2), (32, 64, 128, 256)),
        _conv_fc("s2-cnn2", 0.3975, (16, 32), **_S2),
        _conv_fc("s2-cnn3", 0.4414, (16, 32, 64), **_S2),
        _conv_fc("s2-cnn5", 0.4420, (16, 32, 64, 128, 256), **_S2),
        _fine_tuned("vgg19", 0.7161),
        _fine_tuned("resnet101", 0.8392),
        _fine_tuned("vit_b_32", 0.8434),
        _fine_tuned("swin_b", 0.8353),
        _cifar_resnet(20, 8.75),
        _cifar_resnet(32, 7.51),
        _cifar_resnet(44, 7.17),
        _cifar_resnet(56, 6.97),
        _cifar_resnet(110, 6.43),
        _cifar_resnet(1202, 7.93),
    )
}
"""The models by name, in the order of the systems."""
