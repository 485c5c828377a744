"""What it is worth to begin a search with the best networks of a smaller budget, rescaled.

On a made-up accuracy surface: a search at --from, then one at --budget, with and without a warm start from the first.
The second search's best true accuracy after so many trials, in points, mean and standard error over the seeds.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import optuna
from machine import mean_and_error, one_thread, parser, say, show
from surfaces import Surface, read_surface, shipped_surface

from nas.results.scaling import BEST
from nas.search.sampling.proposals import suggest
from nas.search.strategies import STRATEGIES
from nas.seeds import derive_seed
from nas.space.budget import Budget, parse_count
from nas.space.space import Knobs

CHECKPOINTS = (4, 10, 20, 50, 100)


@dataclass(frozen=True)
class Race:
    """Two searches of one strategy and seed at the larger budget, and the one before them."""

    surface: str
    widths: tuple[str, ...]
    strategy: str
    smaller: int
    larger: int
    trials: int
    before: int
    seed: int


def surface_of(race: Race) -> Surface:
    """A .py file or a shipped space."""
    return (
        read_surface(Path(race.surface), race.widths) if race.surface.endswith(".py") else shipped_surface(race.surface)
    )


def searched(race: Race, budget: int, trials: int, starts: list[Knobs], name: str) -> list[tuple[float, float, Any]]:
    """(observed, true accuracy, settings) of every trial."""
    surface = surface_of(race)
    seed = derive_seed(race.seed, name)
    sampler = STRATEGIES[race.strategy](surface, Budget(budget), seed=seed, below=0.0, starts=starts)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    noise, found = Random(derive_seed(seed, "noise")), []
    for _ in range(trials):
        trial = study.ask()
        settings = {knob.name: suggest(trial, knob) for knob in surface.knobs}
        true = surface.accuracy(settings, _Silence())
        observed = surface.accuracy(settings, noise)
        study.tell(trial, observed)
        found.append((observed, true, settings))
    return found


class _Silence(Random):
    """No noise."""

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        """The mean."""
        return mu


def run_race(race: Race) -> dict[str, dict[int, float]]:
    """True accuracy, in points, of the network that looks best after each checkpoint, cold and warm."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    before = searched(race, race.smaller, race.before, [], "before")
    best = [settings for *_, settings in sorted(before, key=lambda one: -one[0])[:BEST]]
    found = {}
    for way, starts in (("cold", []), ("warm", best)):
        trials = searched(race, race.larger, race.trials, starts, "after")
        found[way] = {n: 100 * max(trials[:n], key=lambda one: one[0])[1] for n in CHECKPOINTS if n <= race.trials}
    say(f"{race.strategy} seed {race.seed}: {found}")
    return found


def main() -> int:
    """Prints the comparison as JSON."""
    arguments = parser(__doc__, "python benchmarks/warm_start.py residual --strategies tpe --seeds 4 --trials 20")
    arguments.add_argument("surface", help="a shipped space, or a .py file with an accuracy")
    arguments.add_argument("--widths", default="", help="width knobs of the file")
    arguments.add_argument("--from", dest="smaller", type=parse_count, default=10_000, help="default: 10K")
    arguments.add_argument("--budget", type=parse_count, default=100_000, help="default: 100K")
    arguments.add_argument("--before", type=int, default=100, help="trials at --from (default: %(default)s)")
    arguments.add_argument("--trials", type=int, default=100, help="at the larger one (default: %(default)s)")
    arguments.add_argument("--strategies", default="tpe,greedy,random", help="default: %(default)s")
    arguments.add_argument("--seeds", type=int, default=20, help="default: %(default)s")
    arguments.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one a core")
    asked = arguments.parse_args()
    widths = tuple(name for name in asked.widths.split(",") if name)
    strategies = asked.strategies.split(",")
    if unknown := [name for name in strategies if name not in STRATEGIES]:
        arguments.error(f"--strategies must be of {', '.join(STRATEGIES)} but got {', '.join(unknown)}")
    races = [
        Race(asked.surface, widths, name, asked.smaller, asked.budget, asked.trials, asked.before, seed)
        for name in strategies
        for seed in range(asked.seeds)
    ]
    with ProcessPoolExecutor(asked.processes, initializer=one_thread) as pool:
        found = dict(zip(races, pool.map(run_race, races), strict=True))
    show(
        {
            "accuracy_in_points": {
                name: {
                    way: {
                        str(n): mean_and_error([found[race][way][n] for race in races if race.strategy == name])
                        for n in CHECKPOINTS
                        if n <= asked.trials
                    }
                    for way in ("cold", "warm")
                }
                for name in strategies
            },
            "gain_in_points": {
                name: {
                    str(n): mean_and_error(
                        [found[race]["warm"][n] - found[race]["cold"][n] for race in races if race.strategy == name]
                    )
                    for n in CHECKPOINTS
                    if n <= asked.trials
                }
                for name in strategies
            },
        }
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
