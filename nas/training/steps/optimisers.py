"""The optimiser that a recipe names."""

import torch
from torch import nn

from nas.training.recipe import Recipe


def make_optimiser(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Weights decay; biases, scales and shifts do not."""
    weights = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    rate = recipe.learning_rate
    match recipe.optimiser:
        case "sgd" | "nesterov":
            nesterov = recipe.optimiser == "nesterov" and recipe.momentum > 0
            return torch.optim.SGD(groups, rate, momentum=recipe.momentum, nesterov=nesterov, fused=True)
        case "adam" | "adamw":
            kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
            return kind(groups, rate, betas=(recipe.momentum, 0.999), fused=True)
