"""`nas report`: a search, running or finished, as one HTML file that opens without a network."""

from pathlib import Path

from nas.errors import RunError
from nas.machine.folders import check_file, write_atomically

__all__ = ["write_report"]


def write_report(run: Path, file: Path | None = None) -> Path:
    """Writes the report of a run folder, or of a folder of runs that differ in their seed, and returns its path, by
    default report.html in the folder. Raises RunError where there is no run, or the file
    cannot be written, UserError where it can never be."""
    from nas.results.report.whole import (
        report_html,  # it needs torch: modules that need only a part of the report do not wait
    )

    if file is not None:
        check_file(file, "--out")
    text = report_html(run)
    file = run / "report.html" if file is None else file
    try:
        write_atomically(file, text)
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}; give --out another file") from error
    return file
