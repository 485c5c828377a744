"""The command `nas table`."""

import argparse
from dataclasses import replace
from pathlib import Path

from nas.cli.console import default_dataset, print_json, saying_epochs, terminal_console
from nas.cli.flags import add_json, add_options, read_options
from nas.errors import EXIT_DONE, EXIT_NO_ANSWER, UserError
from nas.results.options import TableOptions

SUMMARY = "train several networks, or one in several ways, and compare them"
EXAMPLE = "nas table s4-resnet20 --dataset digits --images 500 --epochs 2 --vary dropout=0,0.15"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_options(parser, TableOptions)
    parser.add_argument("--markdown", metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--html", metavar="FILE", help="write the curves as a page that opens without a network")
    add_json(parser)


def run(flags: argparse.Namespace) -> int:
    from nas.cli.network_tables import contest_table, failure_lines
    from nas.machine.folders import check_file
    from nas.results.table import check_asked, line_values, markdown, table, to_train
    from nas.results.trainings import with_data

    asked, console = read_options(TableOptions, flags), terminal_console()
    for flag, ending in (("markdown", ".md"), ("html", ".html")):
        if file := getattr(flags, flag):
            check_file(Path(file), f"--{flag}", ending)
    models = to_train(asked)
    if models or asked.ladder or not asked.models:
        check_asked(asked, models)
        asked = with_data(asked, models)
        if asked.on is None:  # else those of the run
            asked = replace(asked, dataset=default_dataset(asked.dataset, console))
    lines = table(asked, saying_epochs(console, several=True))
    console.print(contest_table(lines))
    for line in failure_lines(lines):
        console.print(line, soft_wrap=True)
    if flags.json:
        print_json([line_values(line) for line in lines])
    if flags.markdown:
        _write(Path(flags.markdown), markdown(lines), "--markdown")
    if flags.html:
        from nas.results.pages.table import table_page

        _write(Path(flags.html), table_page(lines), "--html")
    return EXIT_DONE if any(line.trainings for line in lines) else EXIT_NO_ANSWER


def _write(file: Path, text: str, flag: str) -> None:
    try:
        file.write_text(text)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}; give {flag} another file") from error
