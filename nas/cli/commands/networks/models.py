"""The command `nas models`."""

import argparse
from typing import Any

from nas.cli.console import print_json, terminal_console
from nas.cli.flags import add_json
from nas.errors import EXIT_DONE

SUMMARY = "list the fixed models with their sizes and published accuracies"
EXAMPLE = "nas models"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


def run(flags: argparse.Namespace) -> int:
    from nas.space.designs import DESIGNS
    from nas.space.models import MODELS
    from nas.space.named import known_network, size

    listed: list[dict[str, Any]] = []
    for name, model in MODELS.items():
        named = known_network(name)
        parameters, macs = size(named.network, named.shape, named.classes)
        listed.append(
            {
                "name": name,
                "system": model.system,
                "dataset": model.dataset,
                "shape": list(model.shape),
                "classes": model.classes,
                "parameters": parameters,
                "macs": macs,
                "published_accuracy": model.published_accuracy,
            }
        )
    if flags.json:
        print_json(listed)
        return EXIT_DONE
    from nas.cli.network_tables import model_table

    console = terminal_console()
    console.print(model_table(listed))
    console.print("and torchvision:NAME for any classifier of torchvision", highlight=False)
    designs = ", ".join(DESIGNS)
    console.print(f"and scaled:NAME@PARAMETERS for {designs} made to fit, as scaled:resnet@50K", highlight=False)
    return EXIT_DONE
