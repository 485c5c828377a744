"""Finds the best small image classifiers under a hard parameter budget.

    import nas

    result = nas.search(budget=10_000, dataset="digits", trials=20)
    print(nas.parameters(result.network()))

What the commands do, Python has as functions with the same options: `nas.search`, `nas.confirm`, `nas.report`,
`nas.train`, `nas.table`, `nas.export`. Importing nas is cheap: these, `nas.to_module` and `nas.CurvePruner` load torch
and Optuna when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from nas.errors import BudgetError, DataError, RecipeError, RunError, SpaceError, UserError
from nas.network.deployment.memory import peak_activation
from nas.network.folds import macs, output_shape, parameters
from nas.network.layers import (
    Activation,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Pool,
    Product,
    QuadraticLinear,
    Residual,
    Scale,
    Sequence,
    Shape,
    Shift,
    SignLinear,
    Slice,
    SqueezeExcitation,
    Subsample,
    Tied,
)
from nas.space.budget import Budget
from nas.space.space import Architecture, knob, width_knob

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nas.api import Result, confirm, export, report, search, table, train, worker
    from nas.network.modules.module import to_module
    from nas.search.judging.pruner import CurvePruner

_HEAVY = dict.fromkeys(("Result", "confirm", "export", "report", "table", "train", "worker"), "nas.api") | {
    "to_module": "nas.network.modules.module",
    "CurvePruner": "nas.search.judging.pruner",
}

__all__ = [
    "Activation",
    "Architecture",
    "BatchNorm",
    "Budget",
    "BudgetError",
    "Concat",
    "Conv",
    "CurvePruner",
    "DataError",
    "Dropout",
    "Flatten",
    "GlobalPool",
    "Identity",
    "Layer",
    "Linear",
    "Pool",
    "Product",
    "QuadraticLinear",
    "RecipeError",
    "Residual",
    "Result",
    "RunError",
    "Scale",
    "Sequence",
    "Shape",
    "Shift",
    "SignLinear",
    "Slice",
    "SpaceError",
    "SqueezeExcitation",
    "Subsample",
    "Tied",
    "UserError",
    "confirm",
    "export",
    "knob",
    "macs",
    "output_shape",
    "parameters",
    "peak_activation",
    "report",
    "search",
    "table",
    "to_module",
    "train",
    "width_knob",
    "worker",
]


def __getattr__(name: str) -> Any:
    if name == "search":
        return importlib.import_module("nas.search")  # the room, which can be called
    if name in _HEAVY:
        return getattr(importlib.import_module(_HEAVY[name]), name)
    raise AttributeError(f"module 'nas' has no attribute {name!r}")
