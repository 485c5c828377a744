"""The command `nas train`."""

import argparse
from dataclasses import asdict, replace

from nas.cli.console import default_dataset, print_json, say, terminal_console
from nas.cli.flags import add_json, add_options, read_options
from nas.errors import EXIT_DONE, EXIT_NO_ANSWER
from nas.results.options import TrainOptions

SUMMARY = "train one network with a recipe; repeated, the command goes on"
EXAMPLE = "nas train cifar_resnet blocks=1 --dataset digits --recipe final --epochs 5"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_options(parser, TrainOptions)
    add_json(parser)


def run(flags: argparse.Namespace) -> int:
    from rich.markup import escape

    from nas.cli.network_tables import training_line, training_summary
    from nas.results.trainings import train, with_data
    from nas.training.training import training_folder, weights_file

    asked, console = read_options(TrainOptions, flags), terminal_console()
    asked = with_data(asked, [asked.model])
    asked = replace(asked, dataset=default_dataset(asked.dataset, console))
    trained = train(asked, lambda _, metrics, epochs: say(console, training_line(metrics, epochs)))
    if trained.metrics is None:
        console.print(
            f"[bold red]the training failed:[/] {escape(str(trained.failure))}", highlight=False, soft_wrap=True
        )
        return EXIT_NO_ANSWER
    if flags.json:
        print_json(asdict(trained.metrics))
    say(console, training_summary(trained.metrics))
    say(console, f"weights: {weights_file(training_folder(trained.folder))}")
    return EXIT_DONE
