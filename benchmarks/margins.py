"""Ways to tell whether a search found something better than the default: false claims, and power at equal trainings.

The best of a shortlist is to be compared with the default. One that is chosen and measured by the same trainings looks
better than it is. A claim is a 95 % interval of the margin that lies above 0. Values are normal, in accuracy points.

same seeds    every network with the same seeds; the best mean is chosen, and its paired t interval told
bonferroni    the same with the interval widened for as many comparisons as there are candidates
dunnett       the same with Dunnett's simultaneous interval (1955), the variance pooled over all networks
race, then    the best mean of a few seeds is chosen, then it and the default are trained with others: paired t
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from machine import parser, say, show
from scipy import stats

Array = npt.NDArray[np.float64]

CONFIDENCE = 0.95
DUNNETT_DRAWS = 200_000

SPREADS: dict[str, Callable[[int], Array]] = {
    "alike": lambda candidates: np.full(candidates + 1, 0.5),
    "unlike": lambda candidates: np.r_[0.3, np.linspace(0.3, 1.2, candidates)],
}
"""Standard deviations between seeds, the default's first, then a candidate each."""


@dataclass(frozen=True)
class Way:
    """A way of choosing and telling: with `race` 0 by the same seeds."""

    name: str
    race: int
    seeds: int

    def trainings(self, candidates: int) -> int:
        """How many it takes."""
        return candidates * self.race + 2 * self.seeds if self.race else (candidates + 1) * self.seeds


def ways(candidates: int) -> list[Way]:
    """Those compared: of equal trainings, about, and the two in use by default and with three seeds."""
    longer = 7 if candidates == 3 else 10
    same = [Way(name, 0, 5) for name in ("same seeds", "bonferroni", "dunnett")]
    return [*same, *(Way("race, then", 2, seeds) for seeds in (3, 5, longer)), Way("race, then", 3, 5)]


def drawn(means: Array, deviations: Array, seeds: int, simulations: int, rng: np.random.Generator) -> Array:
    """Values [simulation, network, seed], the default's first."""
    noise = rng.standard_normal((simulations, len(means), seeds))
    return np.asarray(means[:, None] + deviations[:, None] * noise)


def lower_ends(way: Way, means: Array, deviations: Array, simulations: int, rng: np.random.Generator) -> Array:
    """The lower end of the interval of each simulated confirmation."""
    every = np.arange(simulations)
    values = drawn(means, deviations, way.seeds, simulations, rng)
    chooses = drawn(means, deviations, way.race, simulations, rng) if way.race else values
    chosen = 1 + chooses[:, 1:].mean(axis=2).argmax(axis=1)
    differences = values[every, chosen] - values[:, 0]
    error = differences.std(axis=1, ddof=1) / np.sqrt(way.seeds)
    candidates = len(means) - 1
    if way.name == "dunnett":
        error, quantile = _pooled_error(values), _dunnett(candidates, way.seeds)
    else:
        comparisons = candidates if way.name == "bonferroni" else 1
        quantile = float(stats.t.ppf(1 - (1 - CONFIDENCE) / 2 / comparisons, way.seeds - 1))
    return np.asarray(differences.mean(axis=1) - quantile * error)


def _pooled_error(values: Array) -> Array:
    """Standard error of a difference of two means, from what remains beside the means of networks and seeds."""
    rest = values - values.mean(axis=2, keepdims=True) - values.mean(axis=1, keepdims=True)
    rest += values.mean(axis=(1, 2), keepdims=True)
    networks, seeds = values.shape[1:]
    return np.asarray(np.sqrt(2 * (rest**2).sum(axis=(1, 2)) / ((networks - 1) * (seeds - 1)) / seeds))


def _dunnett(candidates: int, seeds: int) -> float:
    """The quantile of the largest of that many |t| that share a control, by simulation."""
    rng = np.random.default_rng(1)
    normal = rng.standard_normal((DUNNETT_DRAWS, candidates + 1))
    freedom = candidates * (seeds - 1)
    scale = np.sqrt(rng.chisquare(freedom, DUNNETT_DRAWS) / freedom)
    largest = np.abs(normal[:, 1:] - normal[:, :1]).max(axis=1) / (np.sqrt(2) * scale)
    return float(np.quantile(largest, CONFIDENCE))


def means_of(gain: float, candidates: int, better: str) -> Array:
    """True means, the default's first: one candidate or all of them better by the gain."""
    above = [gain] * candidates if better == "all" else [*[0.0] * (candidates - 1), gain]
    return np.array([0.0, *above])


def shares(
    way: Way, gains: Sequence[float], candidates: int, spread: str, better: str, simulations: int
) -> list[float]:
    """The share of confirmations that claim something at each gain."""
    rng = np.random.default_rng(0)
    deviations = SPREADS[spread](candidates)
    means = [means_of(gain, candidates, better) for gain in gains]
    return [float((lower_ends(way, each, deviations, simulations, rng) > 0).mean()) for each in means]


def main() -> int:
    """Prints the shares of confirmations that claim something as JSON."""
    arguments = parser(__doc__, "python benchmarks/margins.py --simulations 20000")
    arguments.add_argument("--simulations", type=int, default=20_000, help="of each share (default: %(default)s)")
    arguments.add_argument("--gains", default="0,0.5,1,1.5,2", help="true, in points (default: %(default)s)")
    asked = arguments.parse_args()
    gains = [float(gain) for gain in asked.gains.split(",")]
    rows = []
    for candidates, spread, better in product((3, 5), SPREADS, ("one", "all")):
        for way in ways(candidates):
            found = shares(way, gains, candidates, spread, better, asked.simulations)
            claims = {f"{gain:g}": round(share, 3) for gain, share in zip(gains, found, strict=True)}
            setting = {"candidates": candidates, "spread": spread, "better": better}
            rows.append(setting | asdict(way) | {"trainings": way.trainings(candidates), "claims": claims})
            say(f"{candidates} candidates, spreads {spread}, {better} better, {way}: {claims}")
    show({"simulations": asked.simulations, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
