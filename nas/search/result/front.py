"""The result of a search: the Pareto front of every strategy's trials, the best network of each budget, the counts."""

import json
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, TypeVar

from nas import __version__
from nas.errors import RunError, UserError, in_one_line
from nas.machine.folders import WorkFolder, write_atomically
from nas.network.deployment.numbers import BYTES, Numbers
from nas.network.folds import cost
from nas.network.layers import Layer, Shape
from nas.network.serial import from_json, to_json
from nas.search.judging.audit import audit
from nas.search.records import Record
from nas.search.result.compare import average_random, compare, courses
from nas.search.search import BASELINES, Search
from nas.search.sharing.weights import Weights
from nas.space.budget import beside
from nas.space.caps import CAPS
from nas.space.space import Knobs, Space, Value
from nas.stored import Count, Duration, Positive, Share, StoredError, parsed, stored

SCHEMA_VERSION = 1
PACKAGES = ("torch", "optuna", "numpy")

Sized = TypeVar("Sized", Record, "FrontNetwork")


@dataclass(frozen=True)
class Counts:
    """What became of the proposed networks. `over_budget` counts those above their budget: it must be 0."""

    proposed: Count
    over_budget: Count
    replayed: Count
    trained: Count
    stopped: Count
    failed: Count


def pareto_front(records: Iterable[Record], size: str = "parameters") -> list[Record]:
    """The trained networks that no other beats: none has at most as many parameters (or as much of another of
    `nas.space.caps.CAPS`) and at least the accuracy.

    Ascending in size and accuracy; of equals the one that was trained rather than replayed, then the first in the given
    order.
    """
    front: list[Record] = []
    for record in sorted(measured(records), key=lambda r: (r.has(size) or 0, -r.accuracy, r.state != "trained")):
        if not front or record.accuracy > front[-1].accuracy:
            front.append(record)
    return front


def measured(records: Iterable[Record]) -> list[Record]:
    """The records of searched networks, baselines aside, whose accuracy was measured to the last epoch."""
    return [r for r in records if r.strategy != BASELINES and r.is_measured]


def best_within(front: Sequence[Sized], parameters: int) -> Sized | None:
    """The most accurate network of a front (see `pareto_front`) with at most that many parameters, None if none is."""
    within = [network for network in front if network.parameters <= parameters]
    return max(within, key=lambda network: network.parameters, default=None)


def count(records: Sequence[Record], search: Search) -> Counts:
    """The counts of a run so far."""
    states = Counter(record.state for record in records)
    caps = {budget: search.budget(budget).caps for budget in search.budgets}
    over = [r for r in records if any((r.has(name) or 0) > most for name, most in caps[r.budget])]
    return Counts(len(records), len(over), states["replayed"], states["trained"], states["stopped"], states["failed"])


@dataclass(frozen=True)
class Found:
    """The trial of a strategy at a budget that has found a network."""

    strategy: str
    budget: Positive
    trial: Count


@dataclass(frozen=True)
class CurvePoint:
    """What an epoch of a training showed: losses in nats, accuracy 0–1."""

    epoch: Positive
    train_loss: float
    validation_loss: float
    validation_accuracy: Share


@dataclass(frozen=True)
class FrontNetwork:
    """A network of the front, measured at the last epoch. `network` is its fingerprint; the peak activation is in
    values an image. `counted` is what else can be capped of it, by name; empty in files of earlier versions."""

    network: str
    parameters: Count
    macs: Count
    peak_activation: Count
    validation_accuracy: Share
    validation_loss: float
    knobs: Knobs
    found_by: tuple[Found, ...]
    curve: tuple[CurvePoint, ...]
    layers: Layer
    counted: Mapping[str, Count]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The network written by `to_json`. Raises StoredError or LayerJSONError for anything else."""
        counted = {name: content[name] for name in CAPS if name in content and not CAPS[name].is_quick}
        own = {name: value for name, value in content.items() if name not in counted} | {"counted": counted}
        found: Self = stored(own, cls, "a network of the front", {Layer: from_json})
        if not found.curve:
            raise StoredError(f"network {found.network!r:.40} of the front has no curve")
        return found

    def to_json(self) -> dict[str, Any]:
        """The network as JSON values."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "counted"}
        lists = {"found_by": list(map(asdict, self.found_by)), "curve": list(map(asdict, self.curve))}
        return values | dict(self.counted) | lists | {"knobs": dict(self.knobs), "layers": to_json(self.layers)}


@dataclass(frozen=True)
class Baseline:
    """A scaled design trained beside the search within a budget; its accuracy is None until it is measured."""

    baseline: Value | None
    budget: Positive
    network: str
    parameters: Count
    macs: Count
    share_of_budget: Duration
    validation_accuracy: Share | None


@dataclass(frozen=True)
class Front:
    """What pareto.json holds (see docs/reference/pareto.schema.json). Neither the time nor where the run lies is in it.

    `networks` ascend in parameters and accuracy. `stopping` is what `nas.search.judging.audit.audit` gives,
    `comparison` what `nas.search.result.compare.compare` gives, `failures` the number of failed trials by their reason.
    """

    search: Search
    versions: Mapping[str, str]
    shape: Shape
    classes: int
    counts: Counts
    networks: tuple[FrontNetwork, ...]
    baselines: tuple[Baseline, ...]
    stopping: Mapping[str, Any]
    comparison: Sequence[Mapping[str, Any]]
    failures: Mapping[str, int]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The front written by `to_json`. Raises ValueError, KeyError, TypeError or UserError for anything else."""
        if content["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {content['schema_version']}")
        data = content["data"]
        return cls(
            search=Search.from_json(content["settings"]),
            versions=stored(content["versions"], Mapping[str, str], "versions"),
            shape=stored(data["shape"], tuple[Positive, Positive, Positive], "data.shape"),
            classes=stored(data["classes"], Positive, "data.classes"),
            counts=stored(content["counts"], Counts, "counts"),
            networks=tuple(map(FrontNetwork.from_json, stored(content["front"], list[dict[str, Any]], "front"))),
            baselines=stored(content["baselines"], tuple[Baseline, ...], "baselines"),
            stopping=stored(content["stopping"], Mapping[str, Any], "stopping"),
            comparison=stored(content["comparison"], list[Mapping[str, Any]], "comparison"),
            failures=stored(content["failures"], Mapping[str, Count], "failures"),
        )

    def best(self, budget: int | None = None) -> FrontNetwork | None:
        """The most accurate network with at most `budget` parameters, or of all; None where there is none."""
        return best_within(self.networks, sys.maxsize if budget is None else budget)

    def to_json(self) -> dict[str, Any]:
        """The content of pareto.json."""
        best = {budget: network for budget in self.search.budgets if (network := self.best(budget))}
        return {
            "schema_version": SCHEMA_VERSION,
            "settings": self.search.to_json(),
            "versions": self.versions,
            "data": {"shape": list(self.shape), "classes": self.classes, "checksum": self.search.data_checksum},
            "counts": asdict(self.counts),
            "front": [network.to_json() for network in self.networks],
            "best": [
                {
                    "budget": budget,
                    "network": network.network,
                    "parameters": network.parameters,
                    "macs": network.macs,
                    "share_of_budget": network.parameters / budget,
                    "validation_accuracy": network.validation_accuracy,
                }
                for budget, network in best.items()
            ],
            "baselines": list(map(asdict, self.baselines)),
            "stopping": self.stopping,
            "comparison": self.comparison,
            "failures": self.failures,
        }


def front_of(records: Sequence[Record], search: Search, space: Space) -> Front:
    """The result of a search so far."""
    ours = {"nas": __version__, "python": platform.python_version()}
    found: dict[str, list[Found]] = {}
    for record in records:
        if record.is_measured:
            found.setdefault(record.network, []).append(Found(record.strategy, record.budget, record.number))
    return Front(
        search=search,
        versions=ours | {package: version(package) for package in PACKAGES},
        shape=space.shape,
        classes=space.classes,
        counts=count(records, search),
        networks=tuple(_network(r, found[r.network], space, search.numbers) for r in pareto_front(records)),
        baselines=tuple(_baseline(record) for record in records if record.strategy == BASELINES),
        stopping=audit(search, records),
        comparison=compare(courses(search, records), average_random(search, records), ("trials", "epochs")),
        failures=dict(sorted(Counter(r.failure for r in records if r.state == "failed").items())),
    )


def _network(record: Record, found_by: Sequence[Found], space: Space, numbers: Numbers) -> FrontNetwork:
    layers = space.network(record.knobs)
    counted = record.counted or beside(cost(layers, space.shape), numbers)
    return FrontNetwork(
        network=record.network,
        parameters=record.parameters,
        macs=record.macs,
        peak_activation=counted["memory"] // BYTES[numbers],
        validation_accuracy=record.accuracy,
        validation_loss=record.curve[-1][1],
        knobs=record.knobs,
        found_by=tuple(found_by),
        curve=tuple(CurvePoint(number, *row) for number, row in enumerate(record.curve, start=1)),
        layers=layers,
        counted=counted,
    )


def _baseline(record: Record) -> Baseline:
    return Baseline(
        baseline=record.knobs.get("network"),
        budget=record.budget,
        network=record.network,
        parameters=record.parameters,
        macs=record.macs,
        share_of_budget=record.parameters / record.budget,
        validation_accuracy=record.accuracy if record.is_measured else None,
    )


def write_front(folder: WorkFolder[Search], records: Sequence[Record], search: Search, space: Space) -> Front:
    """Rewrites pareto.json in one step and returns its content."""
    front = front_of(records, search, space)
    write_atomically(folder / "pareto.json", json.dumps(front.to_json(), indent=2, allow_nan=False) + "\n")
    return front


def read_front(path: Path) -> Front:
    """A pareto.json by its path or that of its run folder. Raises RunError where there is none, or of another
    version."""
    file = path / "pareto.json" if path.is_dir() else path
    try:
        content = parsed(file.read_text())
    except FileNotFoundError as error:
        raise RunError(f"there is no pareto.json at {path}") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{file} is not JSON: {error}") from error
    try:
        return Front.from_json(content)
    except (ValueError, KeyError, TypeError, AttributeError, UserError) as error:
        raise RunError(
            f"{file} is no pareto.json of schema version {SCHEMA_VERSION}: {in_one_line(error):.200}"
        ) from error


def sweep_weights(weights: Weights, records: Sequence[Record], *, all_stopped: bool = False) -> None:
    """Deletes the weights of finished networks that are not on the front: they can never join it. A stopped training
    may go on while the search does; `all_stopped` says that it is over."""
    unfinished = {"running", "waiting"} | (set() if all_stopped else {"stopped"})
    kept = {record.network for record in pareto_front(records)}
    kept |= {record.network for record in records if record.state in unfinished}
    for network in {record.network for record in records} - kept:
        weights.drop(network)
