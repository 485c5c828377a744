"""The strategies, by the names that `--strategies` takes. A strategy listed here must pass tests/test_samplers.py."""

from nas.samplers.base import FeasibleSampler, suggest
from nas.samplers.random import RandomSampler
from nas.samplers.tpe import TPESampler

STRATEGIES: dict[str, type[FeasibleSampler]] = {"tpe": TPESampler, "random": RandomSampler}

__all__ = ["STRATEGIES", "FeasibleSampler", "RandomSampler", "TPESampler", "suggest"]
