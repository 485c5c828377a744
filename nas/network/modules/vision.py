"""torchvision's classifiers with a head of one's own, and what any module costs without memory for its weights."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor, nn

from nas.errors import SpaceError, UserError
from nas.network.layers import Shape


def torchvision_model(name: str, classes: int, channels: int = 3, pretrained: bool = False) -> nn.Module:
    """A classifier of torchvision whose last layer has `classes` outputs; all else is kept, auxiliary heads are not.

    The first convolution takes `channels` channels. Weights are torchvision's own initial ones or, with `pretrained`,
    its best ones for ImageNet, downloaded to torch's cache on first use; the last layer is always new.

    Sizes of images: the ViTs and maxvit_t take 224 x 224 alone (vit_h_14 518 x 518 if pretrained), inception_v3 at
    least 75 x 75, alexnet 63 x 63; most others 32 x 32 and less, but were made for 224 x 224.

    Raises SpaceError for an unknown name or impossible numbers, UserError where the weights cannot be downloaded.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known)) or "resnet18, mobilenet_v3_small, vit_b_32"
        raise SpaceError(f"torchvision has no classifier named {name!r}; it has {near} and {len(known)} in all")
    if classes < 2:
        raise SpaceError(f"a classifier needs at least 2 classes but got {classes}")
    if channels < 1 or (pretrained and channels != 3):
        wanted = "pretrained weights need 3 channels" if pretrained else "images need at least 1 channel"
        raise SpaceError(f"{wanted} but got {channels}")
    return _for_single_images(_with_ends(_without_auxiliary_heads(_built(name, pretrained)), classes, channels))


class BatchNorm2d(nn.BatchNorm2d):
    """torch's, which in training refuses a single value a channel, as of one image: it has no variance, and is
    normalised by the running mean and variance, which stay."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        if not self.training or x.numel() > x.shape[1]:
            return super().forward(x)
        known = self.running_mean, self.running_var, self.weight, self.bias
        return nn.functional.batch_norm(x, *known, False, 0.0, self.eps)


def _for_single_images(module: nn.Module) -> nn.Module:
    for path, inner in list(module.named_modules()):
        if type(inner) is nn.BatchNorm2d:
            norm = BatchNorm2d(inner.num_features, inner.eps, inner.momentum)
            norm.load_state_dict(inner.state_dict())
            module.set_submodule(path, norm)
    return module


def _built(name: str, pretrained: bool) -> nn.Module:
    from torchvision import models

    weights = models.get_model_weights(name).DEFAULT
    # GoogLeNet and Inception must be told, or they warn that they might initialise otherwise one day.
    said = {"init_weights": not pretrained} if name in ("googlenet", "inception_v3") else {}
    try:
        module: nn.Module = models.get_model(name, weights=weights if pretrained else None, progress=False, **said)
    except OSError as error:
        file = PurePosixPath(weights.url).name
        raise UserError(
            f"the pretrained weights of {name!r} cannot be downloaded ({' '.join(str(error).split())}). "
            f"Connect to the network, put {file} into {torch.hub.get_dir()}/checkpoints, or train from scratch."
        ) from error
    return module


def _without_auxiliary_heads(module: nn.Module) -> nn.Module:
    """GoogLeNet's and Inception's heads for training give a second result, which no recipe here knows."""
    if getattr(module, "aux_logits", False):
        setattr(module, "aux_logits", False)  # noqa: B010 - for mypy, every attribute of a module is a tensor or module
        for head in ("aux1", "aux2", "AuxLogits"):
            if hasattr(module, head):
                setattr(module, head, None)
    return module


def _with_ends(module: nn.Module, classes: int, channels: int) -> nn.Module:
    """The module with a new last layer and, unless it takes `channels` channels already, a new first convolution."""
    convolutions = [path for path, inner in module.named_modules() if isinstance(inner, nn.Conv2d)]
    first = module.get_submodule(convolutions[0])
    assert isinstance(first, nn.Conv2d)
    if first.in_channels != channels:
        module.set_submodule(convolutions[0], _like(first, in_channels=channels))
    path, last = [(p, m) for p, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    if isinstance(last, nn.Conv2d):
        module.set_submodule(path, _like(last, out_channels=classes))
    else:
        module.set_submodule(path, nn.Linear(last.in_features, classes, bias=last.bias is not None))
    if hasattr(module, "num_classes"):
        setattr(module, "num_classes", classes)  # noqa: B010 - as above
    return module


def _like(conv: nn.Conv2d, **changes: int) -> nn.Conv2d:
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    arguments: dict[str, Any] = {name: getattr(conv, name) for name in names}
    return nn.Conv2d(**arguments | changes, bias=conv.bias is not None)


@dataclass(frozen=True)
class ModuleRow:
    """A module that holds parameters of its own or has no modules inside; `parameters` are its own alone."""

    path: str
    kind: str
    parameters: int


@dataclass(frozen=True)
class ModuleCost:
    """Parameters, multiply-adds of a forward pass on one image, and the rows that the parameters sum over."""

    parameters: int
    macs: int
    rows: tuple[ModuleRow, ...]


def count_module(module_factory: Callable[[], nn.Module], shape: Shape) -> ModuleCost:
    """What the module costs on one image of `shape`, built and run on torch's meta device: no memory, no arithmetic.

    Multiply-adds are those of convolutions, matrix products and attention. Raises SpaceError where the module does not
    take images of `shape`.
    """
    from torch.utils.flop_counter import FlopCounterMode

    module = _on_meta(module_factory).eval()
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            module(torch.empty(1, *shape, device="meta"))
    except (RuntimeError, AssertionError, ValueError) as error:
        size = " × ".join(map(str, shape))
        reason = " ".join(str(error).split())
        raise SpaceError(f"{type(module).__name__} does not take images {size}: {reason:.200}") from error
    found = tuple(_rows(module))
    return ModuleCost(sum(row.parameters for row in found), counter.get_total_flops() // 2, found)


def _on_meta(module_factory: Callable[[], nn.Module]) -> nn.Module:
    try:
        with torch.device("meta"):
            return module_factory()
    except NotImplementedError:  # RegNets compute their widths with tensors: built in memory, then emptied
        return module_factory().to("meta")


def _rows(module: nn.Module) -> list[ModuleRow]:
    seen: set[Tensor] = set()
    found = []
    for path, inner in module.named_modules():
        own = [p for p in inner.parameters(recurse=False) if p not in seen]
        seen.update(own)
        if own or not any(True for _ in inner.children()):
            found.append(ModuleRow(path, type(inner).__name__, sum(p.numel() for p in own)))
    return found
