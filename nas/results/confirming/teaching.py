"""Who teaches the networks of a confirmation."""

from pathlib import Path

from nas.errors import UserError
from nas.results.confirming.confirmed import Teaching, best_confirmed
from nas.results.confirming.content import read_confirmed
from nas.results.options import ConfirmOptions
from nas.search.search import Search
from nas.space.budget import parse_count


def teaching(asked: ConfirmOptions, search: Search) -> Teaching | None:
    """The teacher that is asked for; a count is a budget of the run, whose teacher stays the one of its first use.
    Raises UserError for a budget that is not searched or not confirmed yet."""
    if asked.teacher is None:
        return None
    try:
        budget = parse_count(str(asked.teacher))
    except UserError:
        return Teaching(Path(str(asked.teacher)))
    if budget not in search.budgets:
        known = ", ".join(f"{each:,}" for each in search.budgets)
        raise UserError(f"the teacher must be a folder or a budget of {asked.run}: {known}; {budget:,} is none of them")
    best = _best_of(Path(asked.run), budget)
    if best is None:
        raise UserError(
            f"the budget of the teacher, {budget:,}, is not confirmed; first do that: "
            f"nas confirm {asked.run} --budget {budget}"
        )
    return Teaching(Path(asked.run) / best, budget)


def _best_of(run: Path, budget: int) -> str | None:
    """The folder of the network of that budget with the lowest mean log-loss, of those that nobody taught."""
    stored = read_confirmed(run)
    if stored is None:
        return None
    if found := stored.get("teachers", {}).get(str(budget)):
        return str(found)
    own = (e for e in stored["networks"] if budget in e["budgets"] and not e.get("teacher"))
    best = best_confirmed(own)
    return str(best["best"]) if best else None
