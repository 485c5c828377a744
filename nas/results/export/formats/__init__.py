"""The formats in which a network is exported: a module here that sets `FORMAT` to a `Format` is one.

Each is written into every exported folder, or into those for which it was asked. A new one is tested by being here
(tests/test_export.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nas.machine.registry import Registry
from nas.results.options import NO_MORE, OPSET, FormatOptions

if TYPE_CHECKING:
    from torch import Tensor

    from nas.network.layers import Layer, Shape
    from nas.results.export.card import Deployed, ModelCard
    from nas.results.export.int8.network import QuantisedNetwork
    from nas.results.export.measuring import Sample


@dataclass(frozen=True, eq=False)
class Contents:
    """What is exported: a network, its weights (a state_dict of `nas.network.modules.module.to_module(network)`), what
    is known of it, the network as torch source, the versions of all that made the folder, what was asked of it, images
    of its data set where they are at hand, and, for the formats that come last, the programs that were measured."""

    network: "Layer"
    weights: "dict[str, Tensor]"
    card: "ModelCard"
    source: str
    versions: Mapping[str, str]
    asked: FormatOptions = NO_MORE
    sample: "Sample | None" = None
    deployed: "tuple[Deployed, ...]" = ()

    @property
    def opset(self) -> int:
        """Version of ONNX's operators."""
        return self.asked.opset or OPSET

    @property
    def shape(self) -> "Shape":
        """(channels, height, width) of the images that the network takes."""
        return self.card.preprocessing.shape

    @cached_property
    def quantised(self) -> "QuantisedNetwork":
        """The network in int8, fine-tuned where that was asked for. Raises CannotQuantiseError where it has no such
        form, or no images are at hand."""
        from nas.results.export.int8.network import quantised_network

        if epochs := self.asked.finetune_epochs:
            from nas.results.export.int8.finetuning import finetuned_network

            return finetuned_network(self.network, self.weights, self.card, self.sample, self.opset, epochs)
        return quantised_network(self.network, self.weights, self.card.preprocessing, self.sample, self.opset)


class LeftOutError(Exception):
    """A format that nobody asked for by name cannot be written: why, in a line."""


@dataclass(frozen=True)
class Format:
    """A way to write a network.

    `meaning` says in a line what the `files` hold. `write(contents, folder)` writes them; where they are a program
    that can be run here, it returns by how much its scores differ from torch's (see `difference`), which is told with
    the `title`. `packages` are needed for that, `versions(asked)` gives those of which the folder tells. `is_asked`
    says whether it is written for whoever asks so; where it is written unasked and cannot be, `write` raises
    LeftOutError. `measure(contents, folder)` runs the program that was written. Formats that tell of the others are
    written `last`.
    """

    title: str
    meaning: str
    files: tuple[str, ...]
    write: Callable[[Contents, Path], float | None]
    packages: tuple[str, ...] = ()
    versions: Callable[[FormatOptions], Mapping[str, str]] = lambda asked: {}
    is_asked: Callable[[FormatOptions], bool] = lambda asked: True
    measure: "Callable[[Contents, Path], Deployed | None]" = lambda contents, folder: None
    last: bool = False


FORMATS: Registry[Format] = Registry("nas.results.export.formats", lambda module: cast(Format, module.FORMAT))


def wanted(asked: FormatOptions) -> list[Format]:
    """The formats to write for whoever asks so, in that order."""
    return sorted((each for each in FORMATS.values() if each.is_asked(asked)), key=lambda each: each.last)
