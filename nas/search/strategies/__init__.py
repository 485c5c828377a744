"""The strategies, by the names that `--strategies` takes: a module here that defines one `FeasibleSampler` is one.

The first line of its docstring says in the docs what it does. It must pass tests/test_samplers.py, where it is tested
by being here.
"""

from typing import TYPE_CHECKING

from nas.machine.registry import Registry, only_subclass

if TYPE_CHECKING:
    from nas.search.sampling.feasible import FeasibleSampler


def _base() -> "type[FeasibleSampler]":
    from nas.search.sampling.feasible import FeasibleSampler  # brings Optuna, which names alone do not need

    return FeasibleSampler


STRATEGIES: "Registry[type[FeasibleSampler]]" = Registry("nas.search.strategies", only_subclass(_base))
