"""`nas report`: a search, running or finished, as one HTML file that opens without a network."""

from html import escape
from pathlib import Path

from nas.errors import RunError
from nas.machine.folders import check_file, write_atomically
from nas.results.pages.page import page
from nas.results.report.cards import cards
from nas.results.report.gather import Gathered, Trial, gather
from nas.results.report.trials import described
from nas.search.search import BASELINES


def write_report(run: Path, file: Path | None = None) -> Path:
    """Writes the report of a run folder, or of a folder of runs that differ in their seed, and returns its path, by
    default report.html in the folder. Raises RunError where there is no run, or the file cannot be written, UserError
    where it can never be."""
    if file is not None:
        check_file(file, "--out", ".html")
    text = report_html(run)
    file = file or run / "report.html"
    try:
        write_atomically(file, text)
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}; give --out another file") from error
    return file


def report_html(run: Path, stamp: str | None = None) -> str:
    """The report of a run folder, or of a folder of runs. With a `stamp` it watches its server (see `page`)."""
    gathered = gather(run)
    trials, left_out = described(gathered)
    title = f"{gathered.search.data_name}, {gathered.search.space_name} space"
    return page(title, _lead(gathered, left_out), cards(gathered), trials, stamp=stamp)


def _lead(gathered: Gathered, left_out: int) -> str:
    """How far the search is, the best network of each budget, and what the page had no room for."""
    finished = sum(trial.record.is_finished for trial in gathered.trials)
    total = sum(run.search.all_trials for run in gathered.runs)
    searches = f"{len(gathered.runs)} searches" if gathered.has_seeds else f"seed {gathered.search.seed}"
    state = f"{finished:,} of {total:,} trials finished"
    words = f"{state} · {searches} · {', '.join(gathered.strategies)} · {gathered.search.epochs} epochs a training"
    over = sum(trial.record.parameters > trial.record.budget for trial in gathered.trials)
    searched = sum(trial.record.strategy != BASELINES for trial in gathered.trials)
    tiles = [_tile(budget, gathered.best(budget)) for budget in gathered.search.budgets]
    tiles.append(f"<div class=tile><b>{over}</b><span>of {searched:,} proposed networks over budget</span></div>")
    trouble, notes = gathered.runs[0].trouble, ""
    if trouble:
        notes = f"<p class=empty>Layer tables are missing: {escape(trouble)}</p>"
    if left_out:
        notes += f"<p class=quiet>To keep the page small it lacks the layers of {left_out} less accurate networks.</p>"
    return f"<p class=lead>{escape(words)}</p><div class=tiles>{''.join(tiles)}</div>{notes}"


def _tile(budget: int, best: Trial | None) -> str:
    if best is None:
        return f"<div class=tile><b>–</b><span>no network within {budget:,} yet</span></div>"
    record = best.record
    return (
        f"<button class='tile open' data-trial={best.index}><b>{record.accuracy:.2%}</b>"
        f"<span>best within {budget:,}: {record.parameters:,} parameters ({record.parameters / budget:.1%})</span>"
        "</button>"
    )
