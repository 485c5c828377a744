"""The card with the checklist of best practices for research on architecture search, filled in as far as it can be.

Lindauer and Hutter, "Best Practices for Scientific Research on Neural Architecture Search", JMLR 21 (243), 2020.
"""

from dataclasses import dataclass
from html import escape
from typing import Literal

from nas.results.pages.theme import Card, View
from nas.results.report.gather import Gathered
from nas.search.compare import SIGNIFICANT
from nas.search.search import Search

PLACE = 130

Answer = Literal["yes", "partly", "no", "yours"]
"""Done; in part; not done; what only the people who publish can say."""

MARKS: dict[Answer, str] = {"yes": "✓", "partly": "◐", "no": "✗", "yours": "?"}


@dataclass(frozen=True)
class Item:
    """One question of the checklist, the answer, and what was and was not done."""

    question: str
    answer: Answer
    done: str


def card(gathered: Gathered) -> Card:
    """Best practices, done and not done."""
    sentence = (
        "The checklist of Lindauer and Hutter (Best Practices for Scientific Research on Neural Architecture Search, "
        "JMLR 2020), filled in with what this search did and did not do."
    )
    groups = (
        ("Releasing code", _releasing(gathered)),
        ("Comparing methods", _comparing(gathered)),
        ("Reporting details", _reporting(gathered)),
    )
    html = "".join(f"<h3>{name}</h3><ul class=checklist>{''.join(map(_line, items))}</ul>" for name, items in groups)
    return Card("checklist", "Best practices", sentence, (View(html=html),))


def _line(item: Item) -> str:
    mark = f"<span class=mark title={item.answer}>{MARKS[item.answer]}</span>"
    return f"<li class={item.answer}>{mark}<div><b>{escape(item.question)}</b><br>{escape(item.done)}</div></li>"


def _seeds(gathered: Gathered) -> str:
    return ", ".join(str(run.search.seed) for run in gathered.runs)


def _is_confirmed(gathered: Gathered) -> bool:
    return any(run.confirmed for run in gathered.runs)


def _releasing(gathered: Gathered) -> list[Item]:
    search, confirmed = gathered.search, _is_confirmed(gathered)
    tested = (
        "trained with the settings in confirmed.json" if confirmed else "nothing was trained in full yet (nas confirm)"
    )
    return [
        Item(
            "Code of the training that evaluates the final networks",
            "yes",
            f"nas train and nas confirm; {tested}.",
        ),
        Item(
            "Code of the search space",
            "yes",
            f"Space {search.space_class}, sha256 {search.space_checksum[:12]}…: {_space(search)}.",
        ),
        Item(
            "Hyperparameters of the final evaluation, and seeds",
            "yes" if confirmed else "no",
            f"{tested.capitalize()}.",
        ),
        Item("Code of the search method", "yes", "Strategies of nas are Optuna samplers in nas/search/strategies/."),
        Item(
            "Hyperparameters of the search method, and seeds",
            "yes",
            f"Below, under Settings; seeds {_seeds(gathered)}.",
        ),
    ]


def _comparing(gathered: Gathered) -> list[Item]:
    return [
        _same_for_all(gathered),
        Item(
            "Confounding factors under control (hardware, versions, run time)",
            "partly",
            "All strategies ran side by side in the same workers with the same versions; what else the machine did was "
            "not controlled.",
        ),
        Item("Ablation studies", "no", "A search makes none; benchmarks/ of nas has those of its parts."),
        Item(
            "Same evaluation protocol for all methods",
            "yes",
            "Measured validation accuracy at the last epoch; predictions never count as measured. Baselines are never "
            "stopped.",
        ),
        Item("Performance over time", "yes", "Best so far against trials, epochs and seconds."),
        Item("Comparison with random search", *_random(gathered)),
        _several_runs(gathered),
        Item("Tabular or surrogate benchmarks", "no", "Not here; benchmarks/ of nas replays tables."),
    ]


def _same_for_all(gathered: Gathered) -> Item:
    rule, several = gathered.search.stop, len(gathered.strategies) > 1
    stopping = "none was stopped early" if rule == "none" else f"rule {rule!r} stops trainings of each by its own"
    return Item(
        "Same data split, search space, training code and hyperparameters for all methods",
        "yes" if several else "partly",
        f"All strategies of a seed share the split, the space, the recipe and the training seed; {stopping}."
        if several
        else "One strategy was searched with; there is nothing that it was compared with.",
    )


def _several_runs(gathered: Gathered) -> Item:
    enough = 2 / 2 ** len(gathered.runs) <= SIGNIFICANT
    return Item(
        "Several runs, with their seeds",
        "yes" if enough else "partly" if gathered.has_seeds else "no",
        f"{len(gathered.runs)} (seeds {_seeds(gathered)})"
        + ("." if enough else "; at least 6 are needed to see a difference (--seeds 6)."),
    )


def _reporting(gathered: Gathered) -> list[Item]:
    return [
        Item(
            "How hyperparameters were tuned, and what that took",
            "yours",
            "The recipe came with nas and was not tuned here; what was tuned before is for you to report.",
        ),
        Item("Time of the whole method, not of the search alone", *_time(gathered, _is_confirmed(gathered))),
        Item(
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
