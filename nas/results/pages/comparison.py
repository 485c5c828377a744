"""The comparison of strategies as one HTML page that opens without a network: best so far against what it took."""

from collections.abc import Sequence
from pathlib import Path

from nas.errors import RunError
from nas.results.pages.courses import course_figures
from nas.results.pages.page import page
from nas.results.pages.theme import Card, View
from nas.search.compare import Course, courses
from nas.search.records import read_run
from nas.search.search import BASELINES, run_folder

SENTENCE = (
    "Lines are means over the searches, bands reach from the worst to the best. Dotted lines are the means of the "
    "scaled baselines; poor ones lie below the range shown."
)


def comparison_page(courses: Sequence[Course], baselines: dict[int, dict[str, list[float]]], title: str) -> str:
    """A card a budget with a plot for each effort. `baselines` are accuracies by budget and name."""
    strategies = tuple(dict.fromkeys(course.strategy for course in courses))
    cards = []
    for budget in sorted({course.budget for course in courses}):
        figures = course_figures(strategies, courses, baselines.get(budget, {}), budget)
        cards.append(Card(f"budget-{budget}", f"{budget:,} parameters", SENTENCE, (View(figures),)))
    return page(title, "", cards)


def write_comparison_page(runs: Sequence[Path], file: Path) -> None:
    """Best-so-far curves of the runs as one HTML file. Raises RunError if it cannot be written."""
    found, baselines = [], dict[int, dict[str, list[float]]]()
    for folder in map(run_folder, runs):
        search, records = read_run(folder)
        found += courses(search, records)
        for record in records:
            if record.strategy == BASELINES and record.is_measured:
                own = baselines.setdefault(record.budget, {}).setdefault(str(record.knobs["network"]), [])
                own.append(record.accuracy)
    if not found:
        raise RunError("the runs have not finished a trial yet; there is nothing to draw")
    title = f"Best validation accuracy so far, {Path(search.dataset).stem}, {Path(search.space).stem} space"
    try:
        file.write_text(comparison_page(found, baselines, title))
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}; give --html another file") from error
