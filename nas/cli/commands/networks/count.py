"""The command `nas count`."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from nas.cli.console import print_json, terminal_console
from nas.cli.flags import add_json, add_options, read_options
from nas.cli.shapes import add_shape_flags, shape_and_classes
from nas.errors import EXIT_DONE
from nas.results.options import NetworkOptions

if TYPE_CHECKING:
    from nas.network.layers import Layer
    from nas.space.named import Named, Torchvision

SUMMARY = "print the layer table of a network"
EXAMPLE = "nas count mixed kind2=depthwise width2=32 --classes 10"


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_options(parser, NetworkOptions)
    add_shape_flags(parser)
    add_json(parser)


def run(flags: argparse.Namespace) -> int:
    from nas.results.networks import find_network
    from nas.space.named import Torchvision

    shape, classes = shape_and_classes(flags)
    asked = read_options(NetworkOptions, flags)
    named = find_network(asked.model, asked.knobs, select=asked.select, shape=shape, classes=classes)
    if isinstance(named.network, Torchvision):
        return _count_module(named, named.network, json=flags.json)
    return _count_layers(named, named.network, json=flags.json)


def _count_layers(named: "Named", network: "Layer", *, json: bool) -> int:
    from nas.cli.network_tables import layer_table
    from nas.network.deployment.memory import peak_activation
    from nas.network.deployment.numbers import BYTES
    from nas.network.deployment.weights import generated
    from nas.network.folds import cost, rows
    from nas.network.serial import to_json
    from nas.space.budget import counted
    from nas.space.caps import CAPS

    listed = list(rows(network, named.shape))
    taken = cost(network, named.shape)
    peak, not_counted = peak_activation(network, named.shape), generated(network)
    deployed = {name: {n: counted(taken, name, n) for n in BYTES} for name, cap in CAPS.items() if cap.is_deployed}
    if json:
        print_json(
            {
                "parameters": sum(row.parameters for row in listed),
                "macs": sum(row.macs for row in listed),
                "peak_activation": peak,
                **deployed,
                "generated": not_counted,
                "rows": [asdict(row) | {"layer": to_json(row.layer)} for row in listed],
            }
        )
        return EXIT_DONE
    console = terminal_console()
    console.print(f"images {'×'.join(map(str, named.shape))}, {named.classes} classes", highlight=False)
    console.print(layer_table(listed))
    for name, each in deployed.items():
        found = " and ".join(CAPS[name].words(has, numbers) for numbers, has in each.items())
        console.print(f"deployed: {found}", highlight=False)
    if not_counted:
        console.print(f"not counted: {not_counted:,} numbers that follow from a formula", highlight=False)
    return EXIT_DONE


def _count_module(named: "Named", network: "Torchvision", *, json: bool) -> int:
    from nas.cli.network_tables import module_table
    from nas.network.modules.vision import count_module, torchvision_model

    channels = named.shape[0]
    found = count_module(lambda: torchvision_model(network.name, named.classes, channels=channels), named.shape)
    if json:
        print_json(asdict(found))
    else:
        terminal_console().print(module_table(found))
    return EXIT_DONE
