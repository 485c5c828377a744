"""The checklist of best practices for research on architecture search, as far as it can be filled in from a search.

Lindauer and Hutter, "Best Practices for Scientific Research on Neural Architecture Search", JMLR 21 (243), 2020.
"""

from dataclasses import dataclass
from typing import Literal

from nas.results.report.gather import Gathered
from nas.search.compare import SIGNIFICANT
from nas.search.search import Search

Answer = Literal["yes", "partly", "no", "yours"]
"""Done; in part; not done; what only the people who publish can say."""


@dataclass(frozen=True)
class Item:
    """One question of the checklist, the answer, and what was and was not done."""

    group: str
    question: str
    answer: Answer
    done: str


RELEASING, COMPARING, REPORTING = "Releasing code", "Comparing methods", "Reporting details"


def checklist(gathered: Gathered) -> list[Item]:
    """Every item, in the order of the paper."""
    search = gathered.search
    seeds = ", ".join(str(run.search.seed) for run in gathered.runs)
    enough = 2 / 2 ** len(gathered.runs) <= SIGNIFICANT
    confirmed = any(run.confirmed for run in gathered.runs)
    tested = (
        "trained with the settings in confirmed.json" if confirmed else "nothing was trained in full yet (nas confirm)"
    )
    stopping = (
        "none was stopped early"
        if search.stop == "none"
        else f"rule {search.stop!r} stops trainings of each by its own"
    )
    several = len(gathered.strategies) > 1
    return [
        Item(
            RELEASING,
            "Code of the training that evaluates the final networks",
            "yes",
            f"nas train and nas confirm; {tested}.",
        ),
        Item(
            RELEASING,
            "Code of the search space",
            "yes",
            f"Space {search.space_class}, sha256 {search.space_checksum[:12]}…: {_space(search)}.",
        ),
        Item(
            RELEASING,
            "Hyperparameters of the final evaluation, and seeds",
            "yes" if confirmed else "no",
            f"{tested.capitalize()}.",
        ),
        Item(
            RELEASING,
            "Code of the search method",
            "yes",
            "Strategies of nas are Optuna samplers in nas/search/strategies/.",
        ),
        Item(
            RELEASING,
            "Hyperparameters of the search method, and seeds",
            "yes",
            f"Below, under Settings; seeds {seeds}.",
        ),
        Item(
            COMPARING,
            "Same data split, search space, training code and hyperparameters for all methods",
            "yes" if several else "partly",
            f"All strategies of a seed share the split, the space, the recipe and the training seed; {stopping}."
            if several
            else "One strategy was searched with; there is nothing that it was compared with.",
        ),
        Item(
            COMPARING,
            "Confounding factors under control (hardware, versions, run time)",
            "partly",
            "All strategies ran side by side in the same workers with the same versions; what else the machine did was "
            "not controlled.",
        ),
        Item(COMPARING, "Ablation studies", "no", "A search makes none; benchmarks/ of nas has those of its parts."),
        Item(
            COMPARING,
            "Same evaluation protocol for all methods",
            "yes",
            "Measured validation accuracy at the last epoch; predictions never count as measured. Baselines are never "
            "stopped.",
        ),
        Item(COMPARING, "Performance over time", "yes", "Best so far against trials, epochs and seconds."),
        Item(COMPARING, "Comparison with random search", *_random(gathered)),
        Item(
            COMPARING,
            "Several runs, with their seeds",
            "yes" if enough else "partly" if gathered.has_seeds else "no",
            f"{len(gathered.runs)} (seeds {seeds})"
            + ("." if enough else "; at least 6 are needed to see a difference (--seeds 6)."),
        ),
        Item(COMPARING, "Tabular or surrogate benchmarks", "no", "Not here; benchmarks/ of nas replays tables."),
        Item(
            REPORTING,
            "How hyperparameters were tuned, and what that took",
            "yours",
            "The recipe came with nas and was not tuned here; what was tuned before is for you to report.",
        ),
        Item(REPORTING, "Time of the whole method, not of the search alone", *_time(gathered, confirmed)),
        Item(
            REPORTING,
            "All details of the setup",
            "partly",
            "Settings, versions and checksums are below; the hardware is not recorded.",
        ),
    ]


def _space(search: Search) -> str:
    return "your own file" if search.space.endswith(".py") else "it comes with nas"


def _random(gathered: Gathered) -> tuple[Answer, str]:
    if "random" in gathered.strategies:
        return "yes", "Strategy random had the same trials, the same budget and the same stopping."
    if "tpe" in gathered.strategies:
        return "partly", "Only with the average of the uniform draws that tpe begins with; add random to --strategies."
    return "no", "Add random to --strategies."


def _time(gathered: Gathered, confirmed: bool) -> tuple[Answer, str]:
    seconds = max((span.end for run in gathered.runs for span in run.spans), default=0.0)
    told = f"The search took {seconds / 3600:.2f} hours" + (" each" if gathered.has_seeds else "") + " at most"
    return ("yes" if confirmed else "partly"), told + (
        "; trainings in full are timed in confirmed/." if confirmed else "; training the winner in full is not in it."
    )
