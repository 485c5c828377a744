"""The result of a search: the Pareto front of every strategy's trials, the best network of each budget, the counts."""

import json
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nas import __version__
from nas.errors import RunError
from nas.machine.folders import WorkFolder, write_atomically
from nas.network.folds import peak_activation
from nas.network.serial import to_json
from nas.search.compare import average_random, compare, courses
from nas.search.judging.audit import audit
from nas.search.records import Record
from nas.search.search import BASELINES, Search, weights_file
from nas.space.space import Space

SCHEMA_VERSION = 1
PACKAGES = ("torch", "optuna", "numpy")


@dataclass(frozen=True)
class Counts:
    """What became of the proposed networks. `over_budget` counts those above their budget: it must be 0."""

    proposed: int
    over_budget: int
    replayed: int
    trained: int
    stopped: int
    failed: int


def pareto_front(records: Iterable[Record]) -> list[Record]:
    """The trained networks that no other beats: none has at most as many parameters and at least the accuracy.

    Ascending in parameters and accuracy; of equals the one that was trained rather than replayed, then the first in the
    given order.
    """
    front: list[Record] = []
    for record in sorted(measured(records), key=lambda r: (r.parameters, -r.accuracy, r.state != "trained")):
        if not front or record.accuracy > front[-1].accuracy:
            front.append(record)
    return front


def measured(records: Iterable[Record]) -> list[Record]:
    """The records of searched networks, baselines aside, whose accuracy was measured to the last epoch."""
    return [r for r in records if r.strategy != BASELINES and r.is_measured]


def best_within(records: Iterable[Record], parameters: int) -> Record | None:
    """The most accurate trained network with at most that many parameters (the smallest of equals)."""
    within = [record for record in pareto_front(records) if record.parameters <= parameters]
    return within[-1] if within else None


def count(records: Sequence[Record], search: Search) -> Counts:
    """The counts of a run so far."""
    states = Counter(record.state for record in records)
    over = [r for r in records if r.parameters > r.budget or (search.max_macs is not None and r.macs > search.max_macs)]
    return Counts(len(records), len(over), states["replayed"], states["trained"], states["stopped"], states["failed"])


def result(records: Sequence[Record], search: Search, space: Space) -> dict[str, Any]:
    """The content of pareto.json (see pareto.schema.json). Neither the time nor where the run lies is in it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "settings": search.to_json(),
        "versions": {"nas": __version__, "python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
        "data": {"shape": list(space.shape), "classes": space.classes, "checksum": search.data_checksum},
        "counts": asdict(count(records, search)),
        "front": [_entry(record, records, space) for record in pareto_front(records)],
        "best": [_best(budget, records) for budget in search.budgets if best_within(records, budget)],
        "baselines": [_baseline(record) for record in records if record.strategy == BASELINES],
        "stopping": audit(search, records),
        "comparison": compare(courses(search, records), average_random(search, records), ("trials", "epochs")),
        "failures": dict(sorted(Counter(r.failure for r in records if r.state == "failed").items())),
    }


def _entry(record: Record, records: Sequence[Record], space: Space) -> dict[str, Any]:
    layers = space.network(record.knobs)
    return {
        "network": record.network,
        "parameters": record.parameters,
        "macs": record.macs,
        "peak_activation": peak_activation(layers, space.shape),
        "validation_accuracy": record.accuracy,
        "validation_loss": record.curve[-1][1],
        "knobs": dict(record.knobs),
        "found_by": [
            {"strategy": r.strategy, "budget": r.budget, "trial": r.number}
            for r in records
            if r.network == record.network and r.is_measured
        ],
        "curve": [
            {"epoch": number, "train_loss": train, "validation_loss": loss, "validation_accuracy": accuracy}
            for number, (train, loss, accuracy) in enumerate(record.curve, start=1)
        ],
        "layers": to_json(layers),
    }


def _best(budget: int, records: Sequence[Record]) -> dict[str, Any]:
    best = best_within(records, budget)
    assert best is not None
    return {
        "budget": budget,
        "network": best.network,
        "parameters": best.parameters,
        "macs": best.macs,
        "share_of_budget": best.parameters / budget,
        "validation_accuracy": best.accuracy,
    }


def _baseline(record: Record) -> dict[str, Any]:
    """A baseline trial; its accuracy is null until it is trained."""
    done = record.is_measured
    return {
        "baseline": record.knobs.get("network"),
        "budget": record.budget,
        "network": record.network,
        "parameters": record.parameters,
        "macs": record.macs,
        "share_of_budget": record.parameters / record.budget,
        "validation_accuracy": record.accuracy if done else None,
    }


def pareto_file(folder: WorkFolder[Search]) -> Path:
    """The result."""
    return folder / "pareto.json"


def write_result(folder: WorkFolder[Search], records: Sequence[Record], search: Search, space: Space) -> dict[str, Any]:
    """Rewrites pareto.json in one step and returns its content."""
    content = result(records, search, space)
    write_atomically(pareto_file(folder), json.dumps(content, indent=2, allow_nan=False) + "\n")
    return content


def read_result(path: Path) -> dict[str, Any]:
    """A pareto.json by its path or that of its run folder. Raises RunError where there is none."""
    file = path / "pareto.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise RunError(f"there is no pareto.json at {path}") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{file} is not JSON: {error}") from error
    if (
        not isinstance(content, dict)
        or not {"front", "data", "counts", "settings"} <= set(content)
        or not (isinstance(content["data"], dict) and {"shape", "classes"} <= set(content["data"]))
        or content.get("schema_version") != SCHEMA_VERSION
    ):
        raise RunError(f"{file} is no pareto.json of schema version {SCHEMA_VERSION}")
    return content


def sweep_weights(folder: WorkFolder[Search], records: Sequence[Record], *, all_stopped: bool = False) -> None:
    """Deletes the weights of finished networks that are not on the front: they can never join it. A stopped training
    may go on while the search does; `all_stopped` says that it is over."""
    unfinished = {"running", "waiting"} | (set() if all_stopped else {"stopped"})
    kept = {record.network for record in pareto_front(records)}
    kept |= {record.network for record in records if record.state in unfinished}
    for network in {record.network for record in records} - kept:
        weights_file(folder, network).unlink(missing_ok=True)
