"""What a confirmation came to: RUN/confirmed.json."""

import json
import math
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scipy import stats

from nas.errors import RunError
from nas.machine.folders import WorkFolder, slug, write_atomically
from nas.machine.options import words
from nas.network.serial import to_json
from nas.results.confirming.racing import Candidate, Entrant
from nas.results.options import ConfirmOptions
from nas.results.trainings import recipe_changes
from nas.search.search import Search
from nas.training.recipe import Recipe, recipe_values
from nas.training.recipes import named_recipe
from nas.training.training import Training, training_folder

SCHEMA_VERSION = 1
CONFIDENCE = 0.95
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class Confirmation:
    """What is confirmed of a run, and how: what is asked, the search, and the recipe for its images."""

    asked: ConfirmOptions
    search: Search
    recipe: Recipe

    @property
    def run(self) -> Path:
        """The run folder."""
        return Path(self.asked.run)

    @property
    def result(self) -> Path:
        """The file confirmed.json."""
        return self.run / "confirmed.json"

    def command(self, images: int) -> str:
        """The command that does this, of a search with that many training images."""
        changes = recipe_changes(named_recipe("final", images), self.recipe)
        asked = replace(self.asked, recipe="final", epochs=None, changes=changes, budget=self.asked.budget or None)
        without = ("recipe", "top" if asked.front else "")
        return shlex.join(["nas", "confirm", *words(asked, without)])

    def folder(self, candidate: Candidate, seed: int) -> WorkFolder[Training]:
        """The folder of one training."""
        return training_folder(self.run / "confirmed" / f"{slug(candidate.label)}-seed{seed}")


def read_confirmed(run: Path) -> dict[str, Any] | None:
    """What confirmed.json of a run holds, None where there is none. Raises RunError if it cannot be read."""
    file = run / "confirmed.json"
    try:
        content: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        raise RunError(f"{file} is no confirmed.json of schema version {SCHEMA_VERSION}")
    return content


def write_confirmed(
    confirmation: Confirmation, entrants: Sequence[Entrant], command: str, reads: int | None = None
) -> dict[str, Any]:
    """What an earlier call confirmed besides stays."""
    earlier = read_confirmed(confirmation.run) or {"commands": [], "networks": [], "seeds": 0}
    ours = {entrant.candidate.fingerprint for entrant in entrants}
    content = {
        "schema_version": SCHEMA_VERSION,
        "dataset": confirmation.search.dataset,
        "recipe": recipe_values(confirmation.recipe),
        "commands": list(dict.fromkeys([*earlier["commands"], command])),
        "seeds": max(confirmation.asked.seeds, earlier["seeds"]),
        "test_reads": reads_of_test(confirmation) if reads is None else reads,
        "networks": [
            *(_entry(confirmation, entrant) for entrant in entrants),
            *(entry for entry in earlier["networks"] if entry["network"] not in ours),
        ],
    }
    write_atomically(confirmation.result, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return content


def reads_of_test(confirmation: Confirmation) -> int:
    """How often the run has read the test split so far."""
    stored = read_confirmed(confirmation.run)
    return int(stored["test_reads"]) if stored else 0


def _entry(confirmation: Confirmation, entrant: Entrant) -> dict[str, Any]:
    candidate = entrant.candidate
    tests = [metrics.test_accuracy for metrics in entrant.trainings.values() if metrics.test_accuracy is not None]
    best = max(entrant.trainings, key=lambda seed: entrant.trainings[seed].accuracy, default=None)
    return {
        "label": candidate.label,
        "kind": candidate.kind,
        "budget": candidate.budgets[0],
        "budgets": list(candidate.budgets),
        "parameters": candidate.parameters,
        "macs": candidate.macs,
        "searched": candidate.searched,
        "network": candidate.fingerprint,
        "layers": to_json(candidate.network),
        "validation": _summary(entrant.validation),
        "test": _summary(tests),
        "gap": statistics.mean(entrant.validation) - statistics.mean(tests) if tests else None,
        "epochs": confirmation.recipe.all_epochs,
        "dropped": entrant.dropped or None,
        "failures": list(entrant.failures),
        "best": None if best is None else str(confirmation.folder(candidate, best).path.relative_to(confirmation.run)),
    }


def _summary(values: Sequence[float]) -> dict[str, Any] | None:
    """Mean, standard deviation, 95 % interval of the mean, n and the values; None for no value."""
    if not values:
        return None
    low_high = interval(values)
    return {
        "mean": statistics.mean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
        "low": low_high[0] if low_high else None,
        "high": low_high[1] if low_high else None,
        "n": len(values),
        "values": list(values),
    }


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean accuracy by Student's t over the seeds, within 0 to 1; None where they are fewer than
    three (of two it spans half of all accuracies) or equal to the last image."""
    if len(values) < FEWEST_SEEDS or len(set(values)) == 1:
        return None
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.mean(values)
    return max(0.0, float(mean - reach)), min(1.0, float(mean + reach))
