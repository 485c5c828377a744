"""The strategies, by the names that `--strategies` takes. A strategy listed here must pass tests/test_samplers.py."""

from nas.samplers.base import FeasibleSampler, suggest
from nas.samplers.evolution import EvolutionSampler
from nas.samplers.gp import GPSampler
from nas.samplers.greedy import FullGreedySampler, GreedySampler
from nas.samplers.listed import ListedSampler
from nas.samplers.local import LocalSampler
from nas.samplers.random import RandomSampler
from nas.samplers.tpe import TPESampler

STRATEGIES: dict[str, type[FeasibleSampler]] = {
    "tpe": TPESampler,
    "greedy": GreedySampler,
    "greedy-full": FullGreedySampler,
    "random": RandomSampler,
    "evolution": EvolutionSampler,
    "local": LocalSampler,
    "gp": GPSampler,
}

__all__ = [
    "STRATEGIES",
    "FeasibleSampler",
    "FullGreedySampler",
    "GreedySampler",
    "ListedSampler",
    "RandomSampler",
    "TPESampler",
    "suggest",
]
