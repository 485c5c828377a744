"""What a confirmation came to: RUN/confirmed.json."""

import json
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nas.machine.folders import WorkFolder, slug, write_atomically
from nas.machine.options import words
from nas.network.serial import to_json
from nas.results.confirming.candidates import Candidate
from nas.results.confirming.content import SCHEMA_VERSION, read_confirmed
from nas.results.confirming.margin import in_words, margin, reach_of
from nas.results.confirming.racing import Entrant, winner
from nas.results.export.int8.judging import read_int8
from nas.results.options import ConfirmOptions
from nas.results.trainings import recipe_changes
from nas.search.search import Search
from nas.training.distillation.teacher import teachers_in_words
from nas.training.recipe import Recipe, recipe_values
from nas.training.recipes import named_recipe
from nas.training.training import (
    Metrics,
    Training,
    metrics_file,
    read_metrics,
    test_accuracies,
    training_folder,
    validation_losses,
)

Stage = Literal["race", "seed", "all"]
"""A training of the race, by which the winner is chosen, one after it, or one on all training images."""


@dataclass(frozen=True)
class Teaching:
    """The folder of the training that teaches, and the budget of the run that it is the best of, if it was asked for
    so: that budget is then not taught."""

    folder: Path
    budget: int | None = None


@dataclass(frozen=True)
class Confirmation:
    """What is confirmed of a run, and how: what is asked, the search, the recipe for its images, and who teaches."""

    asked: ConfirmOptions
    search: Search
    recipe: Recipe
    teacher: Teaching | None = None

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

    def folder(self, candidate: Candidate, seed: int, stage: Stage = "seed") -> WorkFolder[Training]:
        """The folder of one training, in the race or after it."""
        taught = "-taught" if self.teacher else ""
        return training_folder(self.run / "confirmed" / f"{slug(candidate.label)}{taught}-{stage}{seed}")


def best_confirmed(entries: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The entry of confirmed.json with the lowest mean validation log-loss, baselines and dropped networks aside."""
    able = [entry for entry in entries if entry["kind"] != "baseline" and entry["best"] and not entry["dropped"]]
    return min(able, key=lambda entry: entry["validation_loss"], default=None)


def write_confirmed(
    confirmation: Confirmation, entrants: Sequence[Entrant], command: str, reads: int | None = None
) -> dict[str, Any]:
    """What an earlier call confirmed besides stays."""
    earlier = read_confirmed(confirmation.run) or {"commands": [], "networks": [], "verdicts": [], "seeds": 0}
    teacher, teachers = confirmation.teacher, dict(earlier.get("teachers", {}))
    if teacher and teacher.budget:
        teachers[str(teacher.budget)] = str(teacher.folder.relative_to(confirmation.run))
    ours = {entrant.candidate.fingerprint for entrant in entrants}
    verdicts = {each["budget"]: each for each in earlier["verdicts"]}
    verdicts |= {budget: found for budget in confirmation.search.budgets if (found := verdict(budget, entrants))}
    content = {
        "schema_version": SCHEMA_VERSION,
        "dataset": confirmation.search.dataset,
        "recipe": recipe_values(confirmation.recipe),
        "commands": list(dict.fromkeys([*earlier["commands"], command])),
        "seeds": max(confirmation.asked.seeds, earlier["seeds"]),
        "test_reads": reads_of_test(confirmation) if reads is None else reads,
        "teachers": teachers,
        "verdicts": [verdicts[budget] for budget in sorted(verdicts)],
        "networks": [
            *(_entry(confirmation, entrant) for entrant in _in_order(entrants)),
            *(
                entry
                for entry in earlier["networks"]
                if entry["network"] not in ours or bool(entry.get("teacher")) != bool(teacher)
            ),
        ],
    }
    write_atomically(confirmation.result, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return content


def _taught_by(entrant: Entrant) -> str | None:
    """Who taught the network, in words."""
    every = (*entrant.race.values(), *entrant.trainings.values(), *entrant.whole.values())
    return teachers_in_words(metrics.teacher for metrics in every) or None


def _in_order(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Who was dropped comes last."""
    return sorted(entrants, key=lambda entrant: bool(entrant.dropped))


def reads_of_test(confirmation: Confirmation) -> int:
    """How often the run has read the test split so far. Where confirmed.json is gone: at least as often as one of its
    trainings was tested."""
    if stored := read_confirmed(confirmation.run):
        return int(stored["test_reads"])
    trainings = map(training_folder, sorted((confirmation.run / "confirmed").glob("*")))
    known = [read_metrics(folder).test_reads for folder in trainings if metrics_file(folder).exists()]
    return max(known, default=0)


def best_folder(confirmation: Confirmation, entrant: Entrant) -> WorkFolder[Training] | None:
    """The training with the best validation accuracy."""
    accuracies = _accuracies(entrant)
    best = max(accuracies, key=accuracies.__getitem__, default=None)
    return None if best is None else confirmation.folder(entrant.candidate, best)


def exported_folder(confirmation: Confirmation, entrant: Entrant) -> WorkFolder[Training] | None:
    """The training whose weights are exported: the first of those on all images, where nothing is there to choose by,
    or the best."""
    if entrant.whole:
        return confirmation.folder(entrant.candidate, min(entrant.whole), "all")
    return best_folder(confirmation, entrant)


def _entry(confirmation: Confirmation, entrant: Entrant) -> dict[str, Any]:
    candidate = entrant.candidate
    tests = test_accuracies(entrant.trainings.values())
    best, exported = best_folder(confirmation, entrant), exported_folder(confirmation, entrant)
    return {
        "label": candidate.label,
        "kind": candidate.kind,
        "budget": candidate.budgets[0],
        "budgets": list(candidate.budgets),
        "default_of": list(candidate.default_of),
        "parameters": candidate.parameters,
        "macs": candidate.macs,
        "searched": candidate.searched,
        "network": candidate.fingerprint,
        "layers": to_json(candidate.network),
        "race": _summary(entrant.raced),
        "race_loss": _mean_loss(entrant.race),
        "validation": _summary(entrant.validation),
        "validation_loss": _mean_loss(entrant.trainings),
        "test": _summary(tests),
        "gap": statistics.mean(entrant.validation) - statistics.mean(tests) if tests else None,
        "epochs": confirmation.recipe.all_epochs,
        "dropped": entrant.dropped or None,
        "failures": list(entrant.failures),
        "best": None if best is None else str(best.path.relative_to(confirmation.run)),
        "all_images": _of_all_images(confirmation, entrant),
        "int8": read_int8(exported) if exported else None,
        "teacher": _taught_by(entrant),
    }


def _of_all_images(confirmation: Confirmation, entrant: Entrant) -> dict[str, Any] | None:
    """What the trainings on all images came to, and the folder of the first."""
    first = exported_folder(confirmation, entrant)
    if not entrant.whole or not first:
        return None
    tests = test_accuracies(entrant.whole.values())
    return {"test": _summary(tests), "best": str(first.path.relative_to(confirmation.run))}


def _mean_loss(trainings: Mapping[int, Metrics]) -> float | None:
    """Mean validation log-loss; None where nothing was trained."""
    return statistics.mean(validation_losses(trainings.values())) if trainings else None


def verdict(budget: int, entrants: Sequence[Entrant]) -> dict[str, Any] | None:
    """What confirmed.json says of one budget: the winner of the race, the default, the margin of the one over the other
    by the trainings after the race, and all that in words. None of a budget that is not the entrants', and before the
    winner is trained."""
    default = next((e for e in entrants if budget in e.candidate.default_of), None)
    if default is None:
        return None
    first = winner(entrants, budget)
    if first and not first.trainings and not first.failures:
        return None
    found = margin(_accuracies(first), _accuracies(default)) if first else None
    return {
        "budget": budget,
        "winner": first.candidate.fingerprint if first else None,
        "default": default.candidate.fingerprint,
        "margin": asdict(found) if found else None,
        "words": in_words(found) if first else "no network of the search is left beside the default",
    }


def _accuracies(entrant: Entrant) -> dict[int, float]:
    return {seed: m.accuracy for seed, m in entrant.trainings.items() if m.accuracy is not None}


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
    three or equal to the last image."""
    reach = reach_of(values)
    if reach is None:
        return None
    mean = statistics.mean(values)
    return max(0.0, mean - reach), min(1.0, mean + reach)
