"""The card on the best so far against what it took."""

from collections import defaultdict
from html import escape
from typing import Any

from nas.results.pages.comparison import course_figures
from nas.results.pages.theme import Card, View
from nas.results.report.gather import Gathered
from nas.search.result.compare import compare_runs, courses

PLACE = 30


def card(gathered: Gathered) -> Card:
    """Best accuracy so far against trials, epochs and seconds."""
    name, heading = "best", "Best so far"
    every = [course for run in gathered.runs for course in courses(run.search, run.records)]
    seeds = "This is one search: without other seeds there is no band, and chance cannot be told from skill."
    if gathered.has_seeds:
        seeds = f"Lines are means over {len(gathered.runs)} seeds, bands reach from the worst to the best."
    sentence = (
        f"The best measured accuracy that each strategy had found for what it had cost by then. {seeds} Dotted lines "
        "are the scaled baselines; poor ones lie below the range shown. A network that several strategies propose is "
        "charged to each."
    )
    if not every:
        return Card(name, heading, sentence, empty="No strategy has finished a trial yet.")
    compared = {at["budget"]: at for at in compare_runs([(run.search, run.records) for run in gathered.runs])}
    views = []
    records = [trial.record for trial in gathered.trials]
    for budget in sorted({course.budget for course in every}):
        figures = course_figures(gathered.strategies, every, records, budget)
        views.append(View(figures, _verdicts(compared[budget]), f"{budget:,}"))
    return Card(name, heading, sentence, tuple(views))


def _verdicts(at: dict[str, Any]) -> str:
    said = defaultdict[tuple[str, str], list[str]](list)
    for pair in at["pairs"]:
        said[f"{pair['first']} and {pair['second']}", pair["verdict"]].append(f"{pair['limit']:,.0f} {pair['cost']}")
    items = [
        f"<li><b>{escape(pair)}</b>, after {escape(' or '.join(costs))}: {escape(verdict)}</li>"
        for (pair, verdict), costs in said.items()
    ]
    return f"<ul class=verdicts>{''.join(items)}</ul>" if items else ""
