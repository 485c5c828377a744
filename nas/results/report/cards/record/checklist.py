"""The card with the checklist of best practices for research on architecture search, filled in as far as it can be.

Lindauer and Hutter, "Best Practices for Scientific Research on Neural Architecture Search", JMLR 21 (243), 2020.
"""

from html import escape
from typing import Literal

from nas.results.pages.theme import Card, View
from nas.results.report.gather import Gathered
from nas.search.result.compare import SIGNIFICANT
from nas.space.files import shipped_spaces

PLACE = 130

Answer = Literal["yes", "partly", "no", "yours"]
"""Done; in part; not done; what only the people who publish can say."""

MARKS: dict[Answer, str] = {"yes": "✓", "partly": "◐", "no": "✗", "yours": "?"}

Item = tuple[str, Answer, str]
"""One question of the checklist, the answer, and what was and was not done."""


def card(gathered: Gathered) -> Card:
    """Best practices, done and not done."""
    sentence = (
        "The checklist of Lindauer and Hutter (Best Practices for Scientific Research on Neural Architecture Search, "
        "JMLR 2020), filled in with what this search did and did not do."
    )
    groups = {
        "Releasing code": _releasing(gathered),
        "Comparing methods": _comparing(gathered),
        "Reporting details": _reporting(gathered),
    }
    html = "".join(
        f"<h3>{name}</h3><ul class=checklist>{''.join(_line(*item) for item in items)}</ul>"
        for name, items in groups.items()
    )
    return Card("checklist", "Best practices", sentence, (View(html=html),))


def _line(question: str, answer: Answer, done: str) -> str:
    mark = f"<span class=mark title={answer}>{MARKS[answer]}</span>"
    return f"<li class={answer}>{mark}<div><b>{escape(question)}</b><br>{escape(done)}</div></li>"


def _seeds(gathered: Gathered) -> str:
    return ", ".join(str(run.search.seed) for run in gathered.runs)


def _is_confirmed(gathered: Gathered) -> bool:
    return any(run.confirmed for run in gathered.runs)


def _releasing(gathered: Gathered) -> list[Item]:
    search, confirmed = gathered.search, _is_confirmed(gathered)
    tested = "trained with the settings in confirmed.json"
    if not confirmed:
        tested = "nothing was trained in full yet (nas confirm)"
    owner = "it comes with nas" if search.space in shipped_spaces() else "your own file"
    space = f"Space {search.space_class}, sha256 {search.space_checksum[:12]}…: {owner}."
    final: Answer = "yes" if confirmed else "no"
    return [
        ("Code of the training that evaluates the final networks", "yes", f"nas train and nas confirm; {tested}."),
        ("Code of the search space", "yes", space),
        ("Hyperparameters of the final evaluation, and seeds", final, f"{tested.capitalize()}."),
        ("Code of the search method", "yes", "Strategies of nas are Optuna samplers in nas/search/strategies/."),
        (
            "Hyperparameters of the search method, and seeds",
            "yes",
            f"Below, under Settings; seeds {_seeds(gathered)}.",
        ),
    ]


def _comparing(gathered: Gathered) -> list[Item]:
    controlled = (
        "All strategies ran side by side in the same workers with the same versions; what else the machine did was not "
        "controlled."
    )
    protocol = (
        "Measured validation accuracy at the last epoch; predictions never count as measured. Baselines are never "
        "stopped."
    )
    return [
        _same_for_all(gathered),
        ("Confounding factors under control (hardware, versions, run time)", "partly", controlled),
        ("Ablation studies", "no", "A search makes none; benchmarks/ of nas has those of its parts."),
        ("Same evaluation protocol for all methods", "yes", protocol),
        ("Performance over time", "yes", "Best so far against trials, epochs and seconds."),
        ("Comparison with random search", *_random(gathered)),
        _several_runs(gathered),
        ("Tabular or surrogate benchmarks", "no", "Not here; benchmarks/ of nas replays tables."),
    ]


def _same_for_all(gathered: Gathered) -> Item:
    question = "Same data split, search space, training code and hyperparameters for all methods"
    if len(gathered.strategies) == 1:
        return question, "partly", "One strategy was searched with; there is nothing that it was compared with."
    rule = gathered.search.stop
    stopping = "none was stopped early" if rule == "none" else f"rule {rule!r} stops trainings of each by its own"
    shared = "All strategies of a seed share the split, the space, the recipe and the training seed"
    return question, "yes", f"{shared}; {stopping}."


def _several_runs(gathered: Gathered) -> Item:
    enough = 2 / 2 ** len(gathered.runs) <= SIGNIFICANT
    answer: Answer = "yes" if enough else "partly" if gathered.has_seeds else "no"
    advice = "" if enough else "; at least 6 are needed to see a difference (--seeds 6)"
    return "Several runs, with their seeds", answer, f"{len(gathered.runs)} (seeds {_seeds(gathered)}){advice}."


def _random(gathered: Gathered) -> tuple[Answer, str]:
    if "random" in gathered.strategies:
        return "yes", "Strategy random had the same trials, the same budget and the same stopping."
    if "mutants" in gathered.strategies:
        return "partly", "Only with mutants of the default, without learning; add random to --strategies."
    return "no", "Add random to --strategies."


def _reporting(gathered: Gathered) -> list[Item]:
    seconds = max((span.end for run in gathered.runs for span in run.spans), default=0.0)
    took = f"The search took {seconds / 3600:.2f} hours{' each' if gathered.has_seeds else ''} at most"
    timed: tuple[Answer, str] = ("partly", f"{took}; training the winner in full is not in it.")
    if _is_confirmed(gathered):
        timed = ("yes", f"{took}; trainings in full are timed in confirmed/.")
    tuned = "The recipe came with nas and was not tuned here; what was tuned before is for you to report."
    setup = "Settings, versions and checksums are below; the hardware is not recorded."
    return [
        ("How hyperparameters were tuned, and what that took", "yours", tuned),
        ("Time of the whole method, not of the search alone", *timed),
        ("All details of the setup", "partly", setup),
    ]
