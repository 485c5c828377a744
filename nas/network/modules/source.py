"""The torch source of a layer tree: a plain file that builds the network and reads its weights, without nas."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from string import Template
from typing import Any, assert_never

from nas.network import layers
from nas.network.folds import branches, children, macs, output_shape, parameters
from nas.network.layers import Function, Layer, Shape
from nas.network.modules import parts

WIDTH = 120
"""Columns of a line, its comment included; a comment that does not fit has a line of its own."""

INDENT = 4

LONGEST_PERIOD = 4
"""Layers of a repeated block at most."""

_KEEP_SHAPE = (
    layers.BatchNorm
    | layers.Activation
    | layers.Dropout
    | layers.Identity
    | layers.SqueezeExcitation
    | layers.Scale
    | layers.Shift
)

_ACTIVATIONS: dict[Function, str] = {"relu": "nn.ReLU()", "silu": "nn.SiLU()", "hardswish": "nn.Hardswish()"}

_FILE = Template('''\
"""An image classifier of $parameters parameters and $macs multiply-adds an image, found and written by nas.

Takes images [batch, $input], normalised as architecture.json says, and gives scores [batch, $classes].
Needs torch alone. `load()` is the trained network, `network()` one with fresh weights.
"""

import json
import struct
from pathlib import Path

import torch
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("weights.safetensors")

$parts
def network() -> nn.Module:
    """The network with fresh weights. Comments give the shape of one image behind a layer."""
$body


def load(path: str | Path = WEIGHTS) -> nn.Module:
    """The trained network, ready to predict."""
    module = network()
    module.load_state_dict(read_weights(path))
    return module.eval()


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file: the length of a JSON header, the header, the values."""
    content = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, values = json.loads(content[8 : 8 + length]), content[8 + length :]
    header.pop("__metadata__", None)
    kinds = {"F32": torch.float32, "I64": torch.int64}
    weights = {}
    for name, stored in header.items():
        begin, end = stored["data_offsets"]
        flat = torch.frombuffer(bytearray(values[begin:end]), dtype=kinds[stored["dtype"]])
        weights[name] = flat.reshape(stored["shape"])
    return weights


if __name__ == "__main__":
    print(sum(p.numel() for p in network().parameters()))
''')

_PARTS: dict[type[Layer], tuple[Any, ...]] = {
    layers.Residual: (parts.Residual,),
    layers.Product: (parts.Product,),
    layers.Concat: (parts.Concat,),
    layers.Slice: (parts.Slice,),
    layers.Scale: (parts.Scale,),
    layers.Shift: (parts.Shift,),
    layers.SqueezeExcitation: (parts.SqueezeExcitation,),
    layers.Subsample: (parts.Subsample,),
    layers.GlobalPool: (parts.GlobalMaxPool,),
    layers.Tied: (parts.SqueezeExcitation, parts.Again, parts.Tied),
    layers.SignLinear: (parts.signs, parts.SignLinear),
    layers.QuadraticLinear: (parts.quadratic, parts.QuadraticLinear),
}
"""Classes and functions of the layers that torch has none for, written where the network needs them."""


@dataclass(frozen=True)
class _Line:
    """`depth` levels of indentation, code, and a comment behind it."""

    depth: int
    code: str
    comment: str = ""

    @property
    def text(self) -> str:
        """The line, or two where the comment would reach beyond WIDTH."""
        indent = " " * (INDENT * self.depth)
        if not (self.code and self.comment):
            return f"{indent}{self.code}{self.comment and f'# {self.comment}'}"
        line = f"{indent}{self.code}  # {self.comment}"
        return line if len(line) <= WIDTH else f"{indent}# {self.comment}\n{indent}{self.code}"


def torch_source(network: Layer, shape: Shape) -> str:
    """A Python file whose `network()` has the parameters, the state_dict keys and the outputs of
    `nas.network.modules.module.to_module(network)`, and whose `load()` reads them from a safetensors file.

    Formatted as `ruff format` does at WIDTH. Raises ShapeError where the network does not fit images of the shape.
    """
    lines = _expression(network, shape)
    lines[0] = replace(lines[0], code=f"return {lines[0].code}")
    kinds = _kinds(network)
    needed = dict.fromkeys(part for kind, every in _PARTS.items() if kind in kinds for part in every)
    return _FILE.substitute(
        parameters=f"{parameters(network):,}",
        macs=f"{macs(network, shape):,}",
        input=", ".join(map(str, shape)),
        classes=output_shape(network, shape)[0],
        parts="".join(f"\n{inspect.getsource(part)}\n" for part in needed),
        body="\n".join(replace(line, depth=line.depth + 1).text for line in lines),
    )


def _kinds(layer: Layer) -> set[type[Layer]]:
    own = set() if layer == layers.GlobalPool("average") else {type(layer)}  # torch has one for the mean
    return own.union(*map(_kinds, children(layer)))


def _expression(layer: Layer, shape: Shape) -> list[_Line]:
    """The lines of the expression that builds the layer's module."""
    match layer:
        case layers.Sequence(layers=()):
            return [_Line(0, "nn.Sequential()")]
        case layers.Sequence():
            return _call("nn.Sequential", _elements(layer, shape))
        case layers.Residual() | layers.Product() | layers.Concat():
            inner = (line for branch in branches(layer) for line in _argument(_expression(branch, shape)))
            return _call(type(layer).__name__, inner)
        case layers.Tied():
            block = list(_argument(_expression(layer.block, shape)))
            return _call("Tied", iter(_comprehension(block, 1, layer.times)))
        case _:
            after = output_shape(layer, shape)
            return [_Line(0, _leaf(layer), "" if isinstance(layer, _KEEP_SHAPE) else " x ".join(map(str, after)))]


def _call(name: str, arguments: Iterator[_Line]) -> list[_Line]:
    return [_Line(0, f"{name}("), *(replace(line, depth=line.depth + 1) for line in arguments), _Line(0, ")")]


def _argument(lines: list[_Line]) -> list[_Line]:
    return [*lines[:-1], replace(lines[-1], code=f"{lines[-1].code},")]


def _elements(sequence: layers.Sequence, shape: Shape) -> Iterator[_Line]:
    """The arguments of a sequence. Blocks that repeat themselves are written once, in a comprehension."""
    written = [repr(layer) for layer in sequence.layers]  # unlike ==, repr tells names apart
    position = 0
    while position < len(written):
        period, count = _repetition(written[position:])
        block = sequence.layers[position : position + period]
        after = output_shape(layers.Sequence(block), shape)
        if after != shape or not isinstance(block[0], layers.Sequence | layers.Residual):
            period, count, block = 1, 1, block[:1]
            after = output_shape(block[0], shape)
        lines = list(_block(block, shape))
        yield from lines if count == 1 else _comprehension(lines, period, count)
        position, shape = position + period * count, after


def _repetition(written: list[str]) -> tuple[int, int]:
    """(period, count) of what the list begins with: the shortest beginning that is followed by itself."""
    for period in range(1, LONGEST_PERIOD + 1):
        count = 1
        while written[count * period : (count + 1) * period] == written[:period]:
            count += 1
        if count > 1:
            return period, count
    return 1, 1


def _block(block: tuple[Layer, ...], shape: Shape) -> Iterator[_Line]:
    for layer in block:
        if isinstance(layer, layers.Sequence) and layer.name:
            yield _Line(0, "", "".join(c if c.isprintable() else " " for c in layer.name))
        yield from _argument(_expression(layer, shape))
        shape = output_shape(layer, shape)


def _comprehension(lines: list[_Line], period: int, count: int) -> list[_Line]:
    """`lines` are the arguments of a block of `period` layers, of which each of the `count` blocks has its own."""
    loop = f"for _ in range({count})"
    if period == 1:
        inside = [*lines[:-1], replace(lines[-1], code=lines[-1].code.removesuffix(",")), _Line(0, loop)]
    else:
        every = [replace(line, depth=line.depth + 1) for line in lines]
        inside = [_Line(0, "layer"), _Line(0, loop), _Line(0, "for layer in ("), *every, _Line(0, ")")]
    return [_Line(0, "*["), *(replace(line, depth=line.depth + 1) for line in inside), _Line(0, "],")]


def _leaf(layer: Layer) -> str:
    match layer:
        case layers.Conv():
            keywords = _keywords(layer, stride=1, padding=0, dilation=1, groups=1, bias=True)
            return f"nn.Conv2d({layer.inputs}, {layer.outputs}, {layer.kernel}{keywords})"
        case layers.BatchNorm():
            return f"nn.BatchNorm2d({layer.channels})"
        case layers.Activation():
            return _ACTIVATIONS[layer.function]
        case layers.SqueezeExcitation():
            return f"SqueezeExcitation({layer.channels}, {layer.squeezed})"
        case layers.Identity():
            return "nn.Identity()"
        case layers.Subsample():
            return f"Subsample({layer.inputs}, {layer.outputs}, {layer.stride})"
        case layers.Pool():
            kind = "nn.MaxPool2d" if layer.statistic == "max" else "nn.AvgPool2d"
            return f"{kind}({layer.size}{_keywords(layer, stride=layer.size, padding=0)})"
        case layers.GlobalPool():
            return "GlobalMaxPool()" if layer.statistic == "max" else "nn.AdaptiveAvgPool2d(1)"
        case layers.Flatten():
            return "nn.Flatten()"
        case layers.Linear():
            return f"nn.Linear({layer.inputs}, {layer.outputs}{_keywords(layer, bias=True)})"
        case layers.Dropout():
            return f"nn.Dropout({layer.rate})"
        case layers.Slice():
            return f"Slice({layer.outputs}, {layer.first})"
        case layers.Scale():
            return f"Scale({layer.channels})"
        case layers.Shift():
            return f"Shift({layer.channels}, {layer.kernel})"
        case layers.SignLinear():
            return f"SignLinear({layer.inputs}, {layer.outputs}, {layer.bias})"
        case layers.QuadraticLinear():
            return f"QuadraticLinear({layer.rank}, {layer.outputs})"
        case layers.Sequence() | layers.Residual() | layers.Product() | layers.Concat() | layers.Tied():
            raise AssertionError(f"{type(layer).__name__} is no leaf")
        case _:
            assert_never(layer)


def _keywords(layer: Layer, **defaults: int) -> str:
    """`, name=value` of every field that differs from torch's default."""
    values = {name: getattr(layer, name) for name in defaults}
    return "".join(f", {name}={value}" for name, value in values.items() if value != defaults[name])
