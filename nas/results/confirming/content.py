"""What confirmed.json holds, as types: it is read as these say, and as nothing else."""

from pathlib import Path
from typing import Any, NotRequired, TypedDict

from nas.errors import RunError, UserError, in_one_line
from nas.network.serial import from_json
from nas.results.export.int8.judging import Int8
from nas.stored import Count, Loss, Positive, Share, StoredError, parsed, stored

SCHEMA_VERSION = 2


class Summary(TypedDict):
    """Accuracies of several trainings: mean, standard deviation, 95 % interval of the mean, n and the values."""

    mean: Share
    deviation: Share | None
    low: Share | None
    high: Share | None
    n: Positive
    values: list[Share]


class AllImages(TypedDict):
    """What the trainings on all images came to, and the folder of the first."""

    test: Summary | None
    best: str


class ConfirmedNetwork(TypedDict):
    """A network that was raced, and what became of it."""

    label: str
    kind: str
    budget: Positive
    budgets: list[Positive]
    default_of: list[Positive]
    parameters: Count
    macs: Count
    searched: Share | None
    network: str
    layers: dict[str, Any]
    race: Summary | None
    race_loss: Loss | None
    validation: Summary | None
    validation_loss: Loss | None
    test: Summary | None
    gap: float | None
    epochs: Positive
    dropped: str | None
    failures: list[str]
    best: str | None
    all_images: NotRequired[AllImages | None]
    int8: NotRequired[Int8 | None]
    teacher: NotRequired[str | None]


class StoredMargin(TypedDict):
    """`nas.results.confirming.margin.Margin`."""

    difference: float
    low: float | None
    high: float | None
    n: Positive


class Verdict(TypedDict):
    """What is said of one budget."""

    budget: Positive
    winner: str | None
    default: str
    margin: StoredMargin | None
    words: str


class Confirmed(TypedDict):
    """The whole file."""

    schema_version: int
    dataset: str
    recipe: dict[str, Any]
    commands: list[str]
    seeds: Positive
    test_reads: Count
    teachers: NotRequired[dict[str, str]]
    verdicts: list[Verdict]
    networks: list[ConfirmedNetwork]


def read_confirmed(run: Path) -> dict[str, Any] | None:
    """What confirmed.json of a run holds, None where there is none. Raises RunError if it cannot be read, or names a
    folder outside the run."""
    file = run / "confirmed.json"
    try:
        content = parsed(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(
            f"{file} cannot be read: {in_one_line(error):.100}; restore it, or delete it and confirm again: what was "
            "trained is kept"
        ) from error
    advice = f"move it and {file.parent / 'confirmed'} away and confirm again"
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        raise RunError(f"{file} is no confirmed.json of schema version {SCHEMA_VERSION}; {advice}")
    try:
        confirmed: dict[str, Any] = stored(content, Confirmed, "confirmed.json")
        for entry in confirmed["networks"]:
            _check_entry(run, entry)
    except (UserError, ValueError) as error:
        raise RunError(f"{file} is damaged: {in_one_line(error):.200}; {advice}") from error
    return confirmed


def _check_entry(run: Path, entry: dict[str, Any]) -> None:
    from_json(entry["layers"])
    all_images = entry.get("all_images") or {"best": None}
    for folder in (entry["best"], all_images["best"]):
        if folder is not None and not (run / folder).resolve().is_relative_to(run.resolve()):
            raise StoredError(f"{folder!r:.80} lies outside of the run")
    if not entry["budgets"]:
        raise StoredError(f"{entry['label']!r:.80} has no budget")
    if entry["best"] is not None and (entry["validation"] is None or entry["validation_loss"] is None):
        raise StoredError(f"{entry['label']!r:.80} has a best training and no accuracy")
