"""The course of a training: the rate of every step, and when to stop."""

import math
from collections.abc import Sequence

from nas.training.recipe import Recipe

ONE_CYCLE_RISE = 0.3
"""Share of the steps over which a one-cycle rate rises (Smith & Topin 2018; torch's default)."""

ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1e-4 / 25
"""Shares of the peak at which a one-cycle rate starts and ends (torch's defaults)."""

PLATEAU_TOLERANCE = 1e-4
"""A loss is an improvement if it is lower by this share (torch's default)."""


def learning_rate(recipe: Recipe, step: int, epoch_steps: int, losses: Sequence[float]) -> float:
    """Rate of a step, counted from 0 over the whole training; `losses` are the validation losses of the epochs before.

    Each restart begins the schedule anew, with its own length and highest rate.
    """
    begun, epochs, highest = 0, recipe.epochs, recipe.learning_rate
    while step >= (begun + epochs) * epoch_steps and recipe.restarts and begun + epochs < recipe.all_epochs:
        begun, epochs, highest = begun + epochs, recipe.restart_epochs, recipe.restart_rate
    within = step - begun * epoch_steps
    share = within / (epochs * epoch_steps)
    warmed = 1.0 if begun else min(1.0, (within + 1) / (recipe.warmup_steps + 1))
    return highest * warmed * _course(recipe, share, losses[begun:])


def _course(recipe: Recipe, share: float, losses: Sequence[float]) -> float:
    """Share of the highest rate after that share of the steps."""
    match recipe.schedule:
        case "constant":
            return 1.0
        case "multi-step":
            return float(recipe.factor ** sum(share >= milestone for milestone in recipe.milestones))
        case "plateau":
            return float(recipe.factor ** _falls(losses, recipe.patience, recipe.cooldown))
        case "cosine":
            return _cosine(1.0, 0.0, share)
        case "one-cycle":
            if share < ONE_CYCLE_RISE:
                return _cosine(ONE_CYCLE_START, 1.0, share / ONE_CYCLE_RISE)
            return _cosine(1.0, ONE_CYCLE_END, (share - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _falls(losses: Sequence[float], patience: int, cooldown: int) -> int:
    """How often torch's ReduceLROnPlateau would have lowered the rate after these losses."""
    best, bad, resting, falls = math.inf, 0, 0, 0
    for loss in losses:
        if loss < best * (1 - PLATEAU_TOLERANCE):
            best, bad = loss, 0
        else:
            bad += 1
        if resting > 0:
            resting, bad = resting - 1, 0
        if bad > patience:
            falls, bad, resting = falls + 1, 0, cooldown
    return falls


def gives_up(recipe: Recipe, losses: Sequence[float]) -> bool:
    """Whether the validation loss has not been lower for `stop_patience` epochs."""
    return recipe.stop_patience > 0 and len(losses) > best_epoch(losses) + recipe.stop_patience


def best_epoch(losses: Sequence[float]) -> int:
    """Index of the lowest loss, the first of equals; 0 where there is none yet."""
    return min(range(len(losses)), key=losses.__getitem__, default=0)
