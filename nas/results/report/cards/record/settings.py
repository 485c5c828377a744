"""The card on what repeats the search."""

from dataclasses import replace
from html import escape

from nas.machine.options import text
from nas.results.pages.markup import table
from nas.results.pages.theme import Card, View
from nas.results.report.gather import Gathered

PLACE = 140


def card(gathered: Gathered) -> Card:
    """What repeats the search."""
    search, run = gathered.search, gathered.runs[0]
    sentence = (
        "The command that repeats the search, and all that decides what it finds. With one worker on a CPU the result "
        "is the same to the byte; the run folder and the number of workers are yours to choose."
    )
    notes = ""
    if any(search.starts):
        notes = "<p class=quiet>It began with networks of another search (<code>--warm-start</code>).</p>"
    if (run.path / "data.npz").exists():
        notes += "<p class=quiet>The data were arrays given in Python; they are in data.npz of the run folder.</p>"
    decided = search.to_json() | {"seed": [each.search.seed for each in gathered.runs]}
    recipe, _, _ = decided.pop("recipe"), decided.pop("starts"), decided.pop("beginnings")
    versions = {f"version of {name}": version for name, version in run.versions.items()}
    pairs = [(name.replace("_", " "), text(value)) for name, value in (decided | recipe | versions).items()]
    html = (
        f"<pre><code>{escape(command(gathered))}</code></pre>{notes}"
        f"<details><summary>{len(pairs)} settings</summary>"
        f"{table([('', ''), ('', 'words')], pairs)}</details>"
        "<p class=quiet>The storage is Optuna's: <code>optuna-dashboard RUN/journal.log</code> opens it.</p>"
    )
    return Card("settings", "Settings", sentence, (View(html=html),))


def command(gathered: Gathered) -> str:
    """The `nas search` that repeats the searches, a line each where their seeds have gaps."""
    seeds = sorted(run.search.seed for run in gathered.runs)
    search = replace(gathered.search, strategies=gathered.strategies)
    if seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        return replace(search, seed=seeds[0]).command(seeds=len(seeds))
    return "\n".join(replace(search, seed=seed).command() for seed in seeds)
