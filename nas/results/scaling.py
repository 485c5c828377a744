"""How the shape of the best networks moves with their parameters, and where the next search should begin."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import RunError
from nas.network.folds import depth, rows
from nas.network.layers import Conv, GlobalPool, Layer, Shape
from nas.search.records import Record, read_run
from nas.search.result.front import measured, read_front
from nas.search.search import run_folder
from nas.search.studies import rebuilt, space_of
from nas.space.space import Space, Value

BEST = 3
"""Networks of each budget that are looked at, and from which the next search begins."""

BEST_USE = 0.5
"""Share of the parameters of the best at a budget below which another network has the shape of a smaller budget."""

CONFIDENCE = 0.95

MEASURES = ("depth", "width_ratio", "kernel", "halvings", "drop_position")
LOGARITHMIC = ("depth", "width_ratio")
"""Measures that are fitted as powers of the parameters; the others, as lines over their logarithm."""


@dataclass(frozen=True)
class Form:
    """The shape of a network in numbers.

    `depth`: convolutions and linear layers on the longest way. `width_ratio`: channels of the last convolution of the
    main path to those of the first. `kernel`: mean side of its kernels larger than 1. `halvings`: how often the
    resolution is halved. `drop_position`: where, as a mean over the halvings, from 0 (the first convolution) to 1.
    """

    depth: float
    width_ratio: float
    kernel: float
    halvings: float
    drop_position: float


def form(network: Layer, shape: Shape) -> Form:
    """The shape of a network for images of `shape`; without a convolution, a width ratio of 1 and a kernel of 0."""
    main = [row for row in rows(network, shape) if "shortcut" not in row.path and len(row.output) == 3]
    convolutions = [row.layer for row in main if isinstance(row.layer, Conv)]
    kernels = [conv.kernel for conv in convolutions if conv.kernel > 1]
    passed, drops, weights = 0, 0.0, 0.0
    for row in main:
        if not isinstance(row.layer, GlobalPool) and row.output[1] < row.input[1]:
            halved = math.log2(row.input[1] / row.output[1])
            weights += halved
            drops += halved * min(1.0, passed / max(1, len(convolutions) - 1))
        passed += isinstance(row.layer, Conv)
    return Form(
        depth=depth(network),
        width_ratio=convolutions[-1].outputs / convolutions[0].outputs if convolutions else 1.0,
        kernel=sum(kernels) / len(kernels) if kernels else 0.0,
        halvings=weights,
        drop_position=drops / weights if weights else 0.0,
    )


@dataclass(frozen=True)
class Law:
    """How a measure moves with the parameters N: as N^slope (`is_power`), or by `slope` whenever N grows tenfold.

    `low` and `high` are the 95 % interval of the slope (Student's t over n networks, which of one budget are not
    independent: it is rather too narrow), nan where there are fewer than three networks or all have one size.
    """

    measure: str
    is_power: bool
    slope: float
    low: float
    high: float
    n: int

    @property
    def verdict(self) -> str:
        """The law in words."""
        if math.isnan(self.low):
            return f"too few networks to say (n = {self.n})"
        if self.low <= 0 <= self.high:
            return f"no trend seen, n = {self.n}"
        if self.is_power:
            return f"{'grows' if self.slope > 0 else 'shrinks'} as N^{self.slope:.2f}, n = {self.n}"
        return f"{self.slope:+.2f} whenever N grows tenfold, n = {self.n}"


def best_of_budgets(records: Sequence[Record], most: int = BEST) -> dict[int, list[Record]]:
    """The most accurate measured networks of each budget that any strategy found there, best first, each once, of those
    with at least BEST_USE of the parameters of the first."""
    found: dict[int, list[Record]] = {}
    for record in sorted(measured(records), key=lambda r: (-r.accuracy, r.parameters, r.network)):
        own = found.setdefault(record.budget, [])
        uses = not own or record.parameters >= BEST_USE * own[0].parameters
        if uses and len(own) < most and record.network not in {other.network for other in own}:
            own.append(record)
    return dict(sorted(found.items()))


def laws(best: Mapping[int, Sequence[Record]], space: Space) -> list[Law]:
    """A law for each measure over the best networks of several budgets. Raises RunError for fewer than two budgets."""
    if len(best) < 2:
        raise RunError(
            f"scaling laws need measured networks of at least 2 budgets but there are {len(best)}; search several: "
            "--budget 10K,30K,100K"
        )
    networks = [record for own in best.values() for record in own]
    forms = [form(rebuilt(record, space), space.shape) for record in networks]
    sizes = [math.log10(record.parameters) for record in networks]
    return [_law(name, sizes, [getattr(one, name) for one in forms]) for name in MEASURES]


def _law(name: str, sizes: list[float], values: list[float]) -> Law:
    is_power = name in LOGARITHMIC and min(values) > 0
    if len(set(sizes)) < 2:
        return Law(name, is_power, math.nan, math.nan, math.nan, len(values))
    if len(set(values)) == 1 and len(values) > 2:
        return Law(name, is_power, 0.0, 0.0, 0.0, len(values))
    from scipy import stats

    fitted = stats.linregress(sizes, [math.log10(value) for value in values] if is_power else values)
    slope = float(fitted.slope)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 2) * fitted.stderr)  # nan for two values
    return Law(name, is_power, slope, slope - reach, slope + reach, len(values))


def scaling(records: Sequence[Record], space: Space, most: int = BEST) -> dict[str, Any]:
    """The laws, and the networks behind them, as JSON values."""
    best = best_of_budgets(records, most)
    found = [vars(law) | {"verdict": law.verdict} for law in laws(best, space)]
    return {
        "laws": [{name: None if value != value else value for name, value in law.items()} for law in found],
        "networks": [
            {"budget": budget, "parameters": record.parameters, "accuracy": record.accuracy}
            | vars(form(rebuilt(record, space), space.shape))
            for budget, own in best.items()
            for record in own
        ],
    }


def warm_starts(records: Sequence[Record], budgets: Sequence[int], space: Space) -> tuple[list[dict[str, Value]], ...]:
    """For each budget the settings of the best networks of the nearest budget searched before that is not larger, or of
    the smallest. Raises RunError where nothing was measured, or in another space."""
    best = best_of_budgets(records)
    if not best:
        raise RunError("there is no measured network to begin from; wait for the search to finish some")
    names = {knob.name for knob in space.knobs}
    if any(set(record.knobs) != names for own in best.values() for record in own):
        raise RunError(f"the networks to begin from are of another space than {space.name!r}; search in the same one")
    nearest = [max((other for other in best if other <= budget), default=min(best)) for budget in budgets]
    return tuple([dict(record.knobs) for record in best[budget]] for budget in nearest)


def scaling_laws(run: Path, most: int) -> dict[str, Any]:
    """How the shape of the best networks of a run, `most` a budget, moves with the budget (see `scaling`). Raises
    RunError for a run of one budget."""
    folder = run_folder(run)
    search, records = read_run(folder)
    front = read_front(run)
    return scaling(records, space_of(search, folder, front.shape, front.classes), most)
