"""The card on the trials that failed."""

from nas.results.pages.markup import Html, table
from nas.results.pages.theme import Card, View
from nas.results.report.gather import Gathered, Trial
from nas.results.report.trials import opener, title

PLACE = 120

MOST_LISTED = 12


def card(gathered: Gathered) -> Card:
    """Trials that failed, by reason."""
    sentence = "Trials that failed, by reason, the most frequent first. A click shows the network."
    reasons: dict[str, list[Trial]] = {}
    for trial in gathered.trials:
        if trial.record.state == "failed":
            reasons.setdefault(trial.record.failure or "no reason was noted", []).append(trial)
    if not reasons:
        return Card("failures", "Failures", sentence, empty="No trial failed.")
    rows = []
    for reason, own in sorted(reasons.items(), key=lambda item: -len(item[1])):
        shown = " ".join(opener(trial, title(trial, gathered)) for trial in own[:MOST_LISTED])
        more = f" and {len(own) - MOST_LISTED} more" if len(own) > MOST_LISTED else ""
        rows.append([len(own), reason, Html(shown + more)])
    html = table([("trials", "n"), ("reason", "words"), ("which", "words")], rows)
    return Card("failures", "Failures", sentence, (View(html=html),))
