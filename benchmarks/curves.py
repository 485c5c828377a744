"""Policies that stop trainings early, replayed on recorded curves; and the predictions behind ours, judged.

The file has a row a network and a column an epoch (`--epochs-prefix epoch`: epoch1, epoch2, …), accuracies as
fractions or percent, and optionally a column of parameters and a training loss after each epoch (`--losses-prefix
loss`: loss1, loss2, …), which the predictions then weigh. Each seed draws `--networks` of them, in a random order.
Regret is the best final value of those drawn less that of the network that a policy delivers, in accuracy points (the
final value is the mean of the last `--final-epochs`, and that is what is predicted); share is of the epochs that
training all of them in full takes.

Predictions are judged at every epoch on random halves of the networks drawn: learnt on one, judged on the other.
"""

import math
import os
import re
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from curve_policies import Outcome, Race, every_policy
from machine import Figures, mean_and_error, one_thread, parser, say, show
from scipy import stats
from tables import TableError, number, read_rows

from nas.errors import EXIT_WRONG_USE
from nas.stopping.extrapolator import Extrapolator

Array = npt.NDArray[np.float64]

LEVELS = (50, 80, 95)
LEAST_NETWORKS = 4


@dataclass(frozen=True)
class Judged:
    """Predictions of half the networks at one epoch: how many there are, how many each interval covers, and the rank
    correlations with the final values of the prediction and of the last value."""

    epoch: int
    predictions: int
    covered: dict[int, int]
    ours: float
    last: float


@dataclass(frozen=True)
class Replay:
    """One seed."""

    outcomes: list[tuple[Outcome, float]]
    judged: list[Judged]
    seconds: list[float]


def read_curves(path: Path, prefix: str, parameters: str, final_epochs: int, losses: str = "loss") -> Race:
    """Every network of the file. Raises TableError for files without such columns and cells that are no numbers."""
    header, rows = read_rows(path)
    columns, lost = _numbered(header, prefix), _numbered(header, losses)
    if len(columns) <= final_epochs:
        least = f"{prefix}1 to {prefix}{final_epochs + 1}"
        raise TableError(f"{path} needs at least the columns {least}; it has {', '.join(header)}")
    if len(rows) < LEAST_NETWORKS:
        raise TableError(f"{path} holds {len(rows)} networks; at least {LEAST_NETWORKS} are needed")
    values = np.array([[number(path, i, c, row[c]) for c in columns] for i, row in enumerate(rows, 2)])
    if lost and len(lost) != len(columns):
        raise TableError(f"{path} has {len(columns)} epochs {prefix}1, … but {len(lost)} of {losses}1, …")
    known = [[number(path, i, c, row[c]) for c in lost] for i, row in enumerate(rows, 2)]
    values /= 100 if np.median(values) > 1 else 1
    sized = rows if parameters in header else []
    sizes = [number(path, i, parameters, row[parameters]) for i, row in enumerate(sized, 2)]
    if min(sizes, default=1) <= 0:
        raise TableError(f"{path}: column {parameters!r} must be above 0")
    networks = tuple((math.log(size),) for size in sizes) or ((),) * len(rows)
    return Race(values, networks, final_epochs, np.array(known) if lost else None)


def _numbered(header: list[str], prefix: str) -> list[str]:
    """The columns of that name and a number, in the order of the numbers."""
    numbered = {int(m[1]): name for name in header if (m := re.fullmatch(re.escape(prefix) + r"([0-9]+)", name))}
    return [name for _, name in sorted(numbered.items())]


def replay(race: Race, networks: int, seed: int) -> Replay:
    """Every policy, and every prediction, on the networks that this seed draws."""
    drawn = np.random.default_rng(seed).permutation(len(race.values))[:networks]
    race = race.pick(drawn)
    outcomes = [(o, 100 * float(race.finals.max() - race.finals[o.chosen])) for o in every_policy(race, seed)]
    half = len(race.values) // 2
    judged, seconds = [], []
    for epoch in range(1, race.epochs):
        taught = race.extrapolator([race.curve(i, race.epochs) for i in range(half)])
        started = time.perf_counter()
        taught.predict(race.curve(half, epoch))
        seconds.append(time.perf_counter() - started)
        judged.append(judge(race, taught, range(half, len(race.values)), epoch))
    return Replay(outcomes, judged, seconds)


def judge(race: Race, taught: Extrapolator, others: range, epoch: int) -> Judged:
    """The predictions of networks that nothing was learnt from."""
    predictions = taught.predict_all([race.curve(i, epoch) for i in others])
    finals = race.finals[list(others)]
    covered = {}
    for level in LEVELS:
        bounds = [prediction.interval(level / 100) for prediction in predictions]
        covered[level] = sum(low <= final <= high for (low, high), final in zip(bounds, finals, strict=True))
    ours = _rank_correlation([prediction.mean for prediction in predictions], finals)
    last = _rank_correlation(race.values[list(others), epoch - 1], finals)
    return Judged(epoch, len(predictions), covered, ours, last)


def _rank_correlation(values: Any, finals: Array) -> float:
    """Spearman's; 0 where either does not vary."""
    if np.ptp(values) == 0 or np.ptp(finals) == 0:
        return 0.0
    return float(stats.spearmanr(values, finals).statistic)


_race: Race | None = None


def _prepare(race: Race) -> None:
    """Hands the curves to a process of the pool."""
    global _race
    _race = race
    one_thread()
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def run_task(task: tuple[int, int]) -> Replay:
    """One seed in a process of the pool."""
    assert _race is not None
    networks, seed = task
    found = replay(_race, networks, seed)
    say(f"seed {seed}: done")
    return found


def summary(race: Race, networks: int, replays: list[Replay]) -> Figures:
    """Means over the seeds, with standard errors."""
    settings: dict[tuple[str, str], list[tuple[float, float]]] = {}
    total = min(networks, len(race.values)) * race.epochs
    for found in replays:
        for outcome, regret in found.outcomes:
            settings.setdefault((outcome.policy, outcome.setting), []).append((regret, outcome.spent / total))
    judged = [each for found in replays for each in found.judged]
    predictions = sum(each.predictions for each in judged)
    return {
        "policies": [
            {
                "name": name,
                "setting": setting,
                "regret": mean_and_error([regret for regret, _ in found]),
                "share": round(statistics.fmean(share for _, share in found), 4),
            }
            for (name, setting), found in settings.items()
        ],
        "coverage": {
            str(level): round(sum(each.covered[level] for each in judged) / predictions, 4) for level in LEVELS
        },
        "rank_correlation": {
            str(epoch): {
                "ours": round(statistics.fmean(each.ours for each in judged if each.epoch == epoch), 4),
                "last": round(statistics.fmean(each.last for each in judged if each.epoch == epoch), 4),
            }
            for epoch in range(1, race.epochs)
        },
        "seconds_per_prediction": round(statistics.median(s for found in replays for s in found.seconds), 5),
    }


def main() -> int:
    """Prints the comparison as JSON."""
    arguments = parser(__doc__, "python benchmarks/curves.py CURVES.csv.gz --epochs-prefix epoch --seeds 4")
    arguments.add_argument("curves", type=Path, help="CSV file, or .csv.gz, with a row for each network")
    arguments.add_argument("--epochs-prefix", default="epoch", help="columns of epochs (default: %(default)s1, …)")
    arguments.add_argument(
        "--losses-prefix", default="loss", help="columns of training losses (default: %(default)s1, …, if any)"
    )
    arguments.add_argument("--parameters", default="params", help="column of parameters (default: %(default)s, if any)")
    arguments.add_argument("--networks", type=int, default=200, help="drawn by a seed (default: %(default)s)")
    arguments.add_argument("--seeds", type=int, default=40, help="(default: %(default)s)")
    arguments.add_argument(
        "--final-epochs", type=int, default=3, help="of which the mean is final (default: %(default)s)"
    )
    arguments.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one a core")
    asked: Any = arguments.parse_args()
    if asked.networks < LEAST_NETWORKS or min(asked.seeds, asked.processes, asked.final_epochs) < 1:
        arguments.error(
            f"--networks must be at least {LEAST_NETWORKS}, --seeds, --final-epochs and --processes at least 1"
        )
    try:
        race = read_curves(asked.curves, asked.epochs_prefix, asked.parameters, asked.final_epochs, asked.losses_prefix)
    except TableError as error:
        print(error, file=sys.stderr)
        return EXIT_WRONG_USE
    with ProcessPoolExecutor(asked.processes, initializer=_prepare, initargs=(race,)) as pool:
        replays = list(pool.map(run_task, [(asked.networks, seed) for seed in range(asked.seeds)]))
    drawn = min(asked.networks, len(race.values))
    about = {"curves": asked.curves.name, "epochs": race.epochs, "networks": drawn, "seeds": asked.seeds}
    about["losses"] = race.losses is not None
    show(about | summary(race, asked.networks, replays))
    return 0


if __name__ == "__main__":
    sys.exit(main())
