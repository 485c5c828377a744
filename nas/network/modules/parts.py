"""Modules of the layers that torch has none for, in torch alone: exported source has these classes word for word."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """body(x) + shortcut(x)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        result: Tensor = self.body(x) + self.shortcut(x)
        return result


class Product(nn.Module):
    """body(x) * gate(x), value by value."""

    def __init__(self, body: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        result: Tensor = self.body(x) * self.gate(x)
        return result


class Concat(nn.Module):
    """The results of all branches, one behind another along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W'], C' the sum of the branches'."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class Slice(nn.Module):
    """`outputs` channels from channel `first` on."""

    def __init__(self, outputs: int, first: int) -> None:
        super().__init__()
        self.outputs, self.first = outputs, first

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, outputs, H, W]."""
        return x[:, self.first : self.first + self.outputs]


class Scale(nn.Module):
    """x times a learned factor a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        return x * self.weight[:, None, None]


class Shift(nn.Module):
    """Moves the channels, divided among the moves of a kernel x kernel window, by whole positions (Wu et al. 2018)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.channels, self.kernel = channels, kernel

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape; zeros where nothing comes in."""
        height, width = x.shape[2:]
        moves, reach = self.kernel * self.kernel, self.kernel // 2
        around = nn.functional.pad(x, (reach, reach, reach, reach))
        moved = []
        for move in range(moves):
            first, last = move * self.channels // moves, (move + 1) * self.channels // moves
            top, left = divmod(move, self.kernel)
            moved.append(around[:, first:last, top : top + height, left : left + width])
        return torch.cat(moved, 1)


class SqueezeExcitation(nn.Module):
    """x times a gate a channel (Hu et al. 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same shape."""
        gate = torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))
        return x * nn.functional.hardsigmoid(self.excite(gate))


class GlobalMaxPool(nn.Module):
    """The maximum over all positions: torch's own has no form in ONNX in its older versions."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C, 1, 1]."""
        return x.amax((2, 3), keepdim=True)


class Subsample(nn.Module):
    """Every `stride`-th position; channels padded with zeros, or cut, to `outputs` (He et al. 2015, option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inputs, self.outputs, self.stride = inputs, outputs, stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, ceil(H / stride), ceil(W / stride)]."""
        x = x[:, : self.outputs, :: self.stride, :: self.stride]
        return nn.functional.pad(x, (0, 0, 0, 0, 0, max(0, self.outputs - self.inputs)))


class Again(nn.Module):
    """Calls a module that has its place elsewhere, where its weights are counted and stored."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.elsewhere = (module,)  # a module in a tuple is no child

    def forward(self, x: Tensor) -> Tensor:
        """What the module does."""
        result: Tensor = self.elsewhere[0](x)
        return result


class Tied(nn.Sequential):
    """Equal blocks one after another, with the first block's 1 x 1 convolutions of one group and gates in all."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__(*blocks)
        gate = "no path"
        for path, module in list(self[0].named_modules()):
            is_pointwise = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
            if path.startswith(f"{gate}."):
                continue
            if isinstance(module, SqueezeExcitation):
                gate = path
            elif isinstance(module, Again):
                (module,) = module.elsewhere
            elif not is_pointwise:
                continue
            for number in range(1, len(blocks)):
                self.set_submodule(f"{number}.{path}".removesuffix("."), Again(module))


def signs(inputs: int, outputs: int) -> Tensor:
    """[outputs, inputs] of -1 and 1: whether a hash of the position, in whole numbers, is below half of its range."""
    row, column = torch.arange(1, outputs + 1)[:, None], torch.arange(1, inputs + 1)[None]
    mixed = (row * 7919 + column * 104729) % 65521
    for _ in range(3):
        mixed = (mixed * mixed + mixed * 31 + row * column) % 65521
    return (mixed < 32761).float() * 2 - 1


class SignLinear(nn.Module):
    """A linear layer of fixed signs, each output times a learned factor; the signs are no part of its state."""

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.signs: Tensor
        self.register_buffer("signs", signs(inputs, outputs), persistent=False)
        self.scale = nn.Parameter(torch.full((outputs,), inputs**-0.5))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs] to [N, outputs]."""
        scores = nn.functional.linear(x, self.signs) * self.scale
        return scores if self.bias is None else scores + self.bias


def quadratic(points: Tensor) -> Tensor:
    """[outputs, rank] to [outputs, rank + rank (rank + 1) / 2]: the values, then all products of two of them."""
    first, second = torch.triu_indices(points.shape[1], points.shape[1], device=points.device)
    return torch.cat([points, points[:, first] * points[:, second]], 1)


class QuadraticLinear(nn.Module):
    """A linear layer whose weights are the values of a point an output, and the products of two of them."""

    def __init__(self, rank: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, rank) * rank**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[N, rank + rank (rank + 1) / 2] to [N, outputs]."""
        return nn.functional.linear(x, quadratic(self.weight))
