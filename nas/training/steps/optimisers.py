"""The optimisers that a recipe names."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nas.training.recipe import Recipe

GROWS_FROM, GROWS_TO = 10_000, 100_000
MUON_SHARE = 0.25
"""Rate of Muon's matrices as a share of the recipe's, which is that of all other parameters; chosen by trainings
(studies/final-recipe)."""


def make_optimisers(module: nn.Module, recipe: Recipe) -> list[Optimizer]:
    """What steps the parameters, each group with the "share" that its rate is of the recipe's. Weights decay; biases,
    scales and shifts do not."""
    recipe = replace(recipe, weight_decay=decay(recipe, sum(p.numel() for p in module.parameters())))
    rate = recipe.learning_rate
    match recipe.optimiser:
        case "sgd" | "nesterov":
            return [_sgd(module.parameters(), recipe, nesterov=recipe.optimiser == "nesterov")]
        case "adam" | "adamw":
            kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
            return [kind(_groups(module.parameters(), recipe), rate, betas=(recipe.momentum, 0.999), fused=True)]
        case "muon":
            mixing = [p for p in module.parameters() if _mixes_channels(p)]
            others = [p for p in module.parameters() if not _mixes_channels(p)]
            return [*([_muon(mixing, recipe)] if mixing else []), _sgd(others, recipe, nesterov=True)]


def decay(recipe: Recipe, parameters: int) -> float:
    """The weight decay of a network with so many parameters: it grows from `GROWS_FROM` to `GROWS_TO` of them, where
    networks begin to fit what they are trained on (studies/final-recipe), as their number to the power `decay_growth`.

    >>> [round(decay(Recipe(decay_growth=0.6), n), 5) for n in (1_000, 10_000, 50_000, 100_000, 1_000_000)]
    [0.0005, 0.0005, 0.00131, 0.00199, 0.00199]
    """
    size = min(max(parameters, GROWS_FROM), GROWS_TO) / GROWS_FROM
    return float(recipe.weight_decay * size**recipe.decay_growth)


def _groups(parameters: Iterable[nn.Parameter], recipe: Recipe) -> list[dict[str, object]]:
    every = list(parameters)
    weights, others = [p for p in every if p.ndim > 1], [p for p in every if p.ndim <= 1]
    return [
        {"params": weights, "weight_decay": recipe.weight_decay, "share": 1.0},
        {"params": others, "weight_decay": 0.0, "share": 1.0},
    ]


def _sgd(parameters: Iterable[nn.Parameter], recipe: Recipe, *, nesterov: bool) -> Optimizer:
    nesterov = nesterov and recipe.momentum > 0
    return torch.optim.SGD(
        _groups(parameters, recipe), recipe.learning_rate, momentum=recipe.momentum, nesterov=nesterov, fused=True
    )


def _mixes_channels(parameter: Tensor) -> bool:
    """Whether it is a weight of several inputs: of a linear layer or a convolution that is not depthwise."""
    return parameter.ndim > 1 and parameter.shape[1] > 1


def _muon(weights: list[nn.Parameter], recipe: Recipe) -> Optimizer:
    """torch's Muon (Jordan 2024): a matrix's step is made orthogonal, so that all its directions are learnt alike.

    It takes matrices alone: those here are views of the weights, [outputs, inputs], and take their gradients before
    each step. Its decay is decoupled, and is scaled to shrink a weight by as much a step as SGD's does.
    """
    matrices = [nn.Parameter(_channels_last(weight.detach()).view(len(weight), -1)) for weight in weights]
    group = {"params": matrices, "weight_decay": recipe.weight_decay / MUON_SHARE, "share": MUON_SHARE}
    optimiser = torch.optim.Muon([group], lr=recipe.learning_rate * MUON_SHARE, momentum=recipe.momentum)

    def take_gradients(*_: object) -> None:
        for weight, matrix in zip(weights, matrices, strict=True):
            gradient = weight.grad
            matrix.grad = None if gradient is None else _channels_last(gradient).reshape(len(weight), -1)

    optimiser.register_step_pre_hook(take_gradients)
    return optimiser


def _channels_last(weight: Tensor) -> Tensor:
    """As it lies in memory: [outputs, height, width, inputs] of a convolution's."""
    return weight.permute(0, 2, 3, 1) if weight.ndim == 4 else weight
