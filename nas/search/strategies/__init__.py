"""The strategies, by the names that `--strategies` takes. A strategy listed here must pass tests/test_samplers.py."""

from nas.search.strategies.base import FeasibleSampler, suggest
from nas.search.strategies.evolution import EvolutionSampler
from nas.search.strategies.gp import GPSampler
from nas.search.strategies.greedy import FullGreedySampler, GreedySampler
from nas.search.strategies.listed import ListedSampler
from nas.search.strategies.local import LocalSampler
from nas.search.strategies.random import RandomSampler
from nas.search.strategies.tpe import TPESampler

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
