"""The plots of a report as PNG files, drawn by Kaleido with the Chrome or Chromium of this machine, offline."""

from pathlib import Path
from typing import Any

from nas.errors import RunError, UserError
from nas.results.pages.theme import BASE, LIGHT, Figure, coloured, merged
from nas.results.report.cards import cards
from nas.results.report.gather import gather

WIDTH = 1_000
SCALE = 2
"""Pixels a dot: sharp on paper and on fine screens."""


def write_pictures(run: Path, folder: Path) -> list[Path]:
    """Writes a PNG for each plot of the report, in light colours, and returns their paths. Raises UserError where
    Kaleido or a browser is missing, RunError where the folder cannot be written."""
    try:
        import kaleido
    except ImportError as error:
        raise UserError("--png needs Kaleido, which is not installed; pip install kaleido") from error
    figures = [figure for card in cards(gather(run)) for view in card.views for figure in view.figures]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror}; give --png another folder") from error
    jobs: list[dict[str, Any]] = [
        {"fig": drawing(figure), "path": folder / f"{figure.name}.png", "opts": {"format": "png", "scale": SCALE}}
        for figure in figures
    ]
    try:
        kaleido.write_fig_from_object_sync(jobs, kopts={"mathjax": False})
    except Exception as error:  # its errors have no common base; a missing browser is the usual one
        reason = (str(error).strip() or "it did not say why").splitlines()[0]
        raise UserError(f"Kaleido cannot draw: {reason}. --png needs Chrome or Chromium on this machine.") from error
    return [job["path"] for job in jobs]


def drawing(figure: Figure) -> dict[str, Any]:
    """The figure as Plotly takes it, in light colours on white, of a fixed size."""
    layout = merged(coloured(BASE, LIGHT), coloured(figure.layout, LIGHT))
    layout |= {"width": WIDTH, "height": figure.height, "paper_bgcolor": LIGHT["paper"]}
    return {"data": coloured(figure.data, LIGHT), "layout": layout}
