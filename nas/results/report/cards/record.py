"""Cards for the record: counts, failures, the checklist of best practices, settings and the command to repeat it."""

from collections.abc import Sequence
from dataclasses import astuple, fields, replace
from html import escape

from nas.results.pages.theme import Card, View
from nas.results.report.checklist import Answer, checklist
from nas.results.report.gather import Gathered, Trial
from nas.results.report.trials import title
from nas.results.words import duration
from nas.search.front import Counts, count
from nas.search.search import BASELINES

MARKS: dict[Answer, str] = {"yes": "✓", "partly": "◐", "no": "✗", "yours": "?"}
MOST_LISTED = 12


def counts_card(gathered: Gathered) -> Card:
    """What became of the proposed networks."""
    sentence = (
        "What became of every proposed network. Over budget must be 0: nothing larger is ever proposed, built or "
        "trained."
    )
    rows = []
    for strategy in (*gathered.strategies, BASELINES):
        for budget in gathered.search.budgets:
            own = [t.record for t in gathered.trials if (t.record.strategy, t.record.budget) == (strategy, budget)]
            if own:
                epochs = sum(len(record.accuracies) for record in own if record.state != "replayed")
                seconds = sum(record.seconds for record in own if record.state != "replayed")
                cells = [
                    escape(strategy),
                    f"{budget:,}",
                    *_cells(count(own, gathered.search)),
                    f"{epochs:,}",
                    duration(seconds),
                ]
                rows.append(_row(cells))
    every = [trial.record for trial in gathered.trials]
    if not every:
        return Card("counts", "Counts", sentence, empty="Nothing has been proposed yet.")
    epochs = sum(len(record.accuracies) for record in every if record.state != "replayed")
    seconds = sum(record.seconds for record in every if record.state != "replayed")
    total = _row(["all", "", *_cells(count(every, gathered.search)), f"{epochs:,}", duration(seconds)])
    names = [f.name.replace("_", " ") for f in fields(Counts)]
    head = "".join(
        f"<th class={'n' if i > 0 else 'w'}>{n}</th>"
        for i, n in enumerate(["strategy", "budget", *names, "epochs", "training"])
    )
    html = (
        f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
        f"<tfoot>{total}</tfoot></table></div>"
    )
    return Card("counts", "Counts", sentence, (View(html=html),))


def _cells(counts: Counts) -> list[str]:
    return [f"{value:,}" for value in astuple(counts)]


def _row(cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<td class={'n' if i > 0 else 'w'}>{cell}</td>" for i, cell in enumerate(cells)) + "</tr>"


def failures_card(gathered: Gathered) -> Card:
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
        shown = " ".join(
            f"<button class=open data-trial={trial.index}>{escape(title(trial, gathered))}</button>"
            for trial in own[:MOST_LISTED]
        )
        more = f" and {len(own) - MOST_LISTED} more" if len(own) > MOST_LISTED else ""
        words = f"<td class=words>{escape(reason)}</td><td class=words>{shown}{more}</td>"
        rows.append(f"<tr><td class=n>{len(own)}</td>{words}</tr>")
    html = (
        "<div class=wide><table><thead><tr><th class=n>trials</th><th>reason</th><th>which</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
    return Card("failures", "Failures", sentence, (View(html=html),))


def checklist_card(gathered: Gathered) -> Card:
    """Best practices, done and not done."""
    sentence = (
        "The checklist of Lindauer and Hutter (Best Practices for Scientific Research on Neural Architecture Search, "
        "JMLR 2020), filled in with what this search did and did not do."
    )
    items = checklist(gathered)
    groups = []
    for group in dict.fromkeys(item.group for item in items):
        lines = "".join(
            f"<li class={item.answer}><span class=mark title={item.answer}>{MARKS[item.answer]}</span>"
            f"<div><b>{escape(item.question)}</b><br>{escape(item.done)}</div></li>"
            for item in items
            if item.group == group
        )
        groups.append(f"<h3>{escape(group)}</h3><ul class=checklist>{lines}</ul>")
    return Card("checklist", "Best practices", sentence, (View(html="".join(groups)),))


def settings_card(gathered: Gathered) -> Card:
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
    pairs = [
        ("data set", search.dataset),
        ("data checksum", search.data_checksum),
        ("space", f"{search.space}, class {search.space_class}"),
        ("space checksum", search.space_checksum),
        ("budgets", ", ".join(f"{budget:,}" for budget in search.budgets)),
        ("seeds", ", ".join(str(each.search.seed) for each in gathered.runs)),
        ("epochs", str(search.epochs)),
        ("augmentation", ", ".join(search.augmentation) or "none"),
        *((name, str(value)) for name, value in search.to_json()["recipe"].items()),
        *((f"version of {name}", version) for name, version in run.versions.items()),
    ]
    rows = "".join(
        f"<tr><td>{escape(str(name))}</td><td class=words>{escape(value)}</td></tr>" for name, value in pairs
    )
    html = (
        f"<pre><code>{escape(command(gathered))}</code></pre>{notes}"
        f"<details><summary>{len(pairs)} settings</summary>"
        f"<div class=wide><table><tbody>{rows}</tbody></table></div></details>"
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
