"""The commands about networks and spaces that train nothing: count, models, recipes, space."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from nas.cli.console import terminal_console
from nas.errors import EXIT_DONE, EXIT_NO_ANSWER, UserError

if TYPE_CHECKING:
    from nas.space.named import Named


def _shape_and_classes(flags: argparse.Namespace) -> "tuple[tuple[int, ...] | None, int | None]":
    """What the flags ask for; None where they do not say."""
    shape, classes = flags.shape, flags.classes
    if flags.dataset:
        if shape or classes:
            raise UserError("give either --dataset or --shape and --classes")
        from nas.data.load import load_search_data

        data = load_search_data(flags.dataset, seed=0, image_size=flags.image_size)
        shape, classes = data.shape, data.classes
    elif flags.image_size:
        raise UserError("--image-size needs --dataset; without one, give --shape")
    if classes is not None and classes < 2:
        raise UserError(f"--classes must be at least 2 but got {classes}")
    return shape, classes


def _space(flags: argparse.Namespace) -> int:
    from nas.space.budget import Budget
    from nas.space.named import SMALL_IMAGES
    from nas.space.space import bind, load_architecture, space_file
    from nas.space.survey import survey, survey_json, survey_table

    shape, classes = _shape_and_classes(flags)
    space = bind(load_architecture(space_file(flags.space)), shape or SMALL_IMAGES, classes or 100)
    if flags.max_macs and not flags.budget:
        raise UserError("--max-macs needs --budget")
    found = survey(space, Budget(flags.budget, flags.max_macs) if flags.budget else None)
    if flags.json:
        print(json.dumps(survey_json(found), indent=2))
    else:
        terminal_console().print(survey_table(found))
    return EXIT_DONE if found.satisfiable is not False else EXIT_NO_ANSWER


def _count(flags: argparse.Namespace) -> int:
    from nas.results.networks import find_network
    from nas.space.named import Torchvision

    shape, classes = _shape_and_classes(flags)
    named = find_network(flags.network, flags.knobs, select=flags.select, shape=shape, classes=classes)
    return _count_torchvision(named, flags) if isinstance(named.network, Torchvision) else _count_layers(named, flags)


def _count_layers(named: "Named", flags: argparse.Namespace) -> int:
    from dataclasses import asdict

    from nas.cli.terminal_networks import layer_table
    from nas.network.folds import peak_activation, rows
    from nas.network.layers import Layer
    from nas.network.serial import to_json

    network, shape = named.network, named.shape
    assert isinstance(network, Layer)
    listed = list(rows(network, shape))
    peak = peak_activation(network, shape)
    if flags.json:
        content = {
            "parameters": sum(row.parameters for row in listed),
            "macs": sum(row.macs for row in listed),
            "peak_activation": peak,
            "rows": [asdict(row) | {"layer": to_json(row.layer)} for row in listed],
        }
        print(json.dumps(content, indent=2))
        return EXIT_DONE
    console = terminal_console()
    console.print(f"images {'×'.join(map(str, shape))}, {named.classes} classes", highlight=False)
    console.print(layer_table(listed))
    console.print(f"peak activation: {peak:,} values ({4 * peak / 1024:,.0f} KiB in fp32) an image", highlight=False)
    return EXIT_DONE


def _count_torchvision(named: "Named", flags: argparse.Namespace) -> int:
    from dataclasses import asdict

    from nas.cli.terminal_networks import module_table
    from nas.network.vision import count_module, torchvision_model
    from nas.space.named import Torchvision

    assert isinstance(named.network, Torchvision)
    name, shape, classes = named.network.name, named.shape, named.classes
    found = count_module(lambda: torchvision_model(name, classes, channels=shape[0]), shape)
    if flags.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        terminal_console().print(module_table(found))
    return EXIT_DONE


def _models(flags: argparse.Namespace) -> int:
    from nas.results.networks import find_network
    from nas.space.designs import DESIGNS
    from nas.space.models import MODELS
    from nas.space.named import size

    listed: list[dict[str, Any]] = []
    for name, model in MODELS.items():
        named = find_network(name)
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
        print(json.dumps(listed, indent=2))
        return EXIT_DONE
    from nas.cli.terminal_networks import model_table

    console = terminal_console()
    console.print(model_table(listed))
    console.print("and torchvision:NAME for any classifier of torchvision", highlight=False)
    console.print(
        f"and scaled:NAME@PARAMETERS for {', '.join(DESIGNS)} made to fit, as scaled:resnet@50K", highlight=False
    )
    return EXIT_DONE


def _recipes(flags: argparse.Namespace) -> int:
    from nas.data import MANY_IMAGES
    from nas.training.recipe import recipe_values
    from nas.training.recipes import RECIPES, named_recipe

    recipes = {flags.recipe: named_recipe(flags.recipe, MANY_IMAGES)} if flags.recipe else dict(RECIPES)
    if flags.json:
        print(json.dumps({name: recipe_values(recipe) for name, recipe in recipes.items()}, indent=2))
        return EXIT_DONE
    from nas.cli.terminal_networks import recipe_table, recipes_table

    shown = recipe_table(recipes[flags.recipe]) if flags.recipe else recipes_table(recipes)
    console = terminal_console()
    console.print(shown, highlight=False)
    for name, recipe in recipes.items():
        few = recipe_values(named_recipe(name, MANY_IMAGES - 1))
        changes = [f"{key}={few[key]}" for key, value in recipe_values(recipe).items() if few[key] != value]
        if changes:
            line = f"{name} below {MANY_IMAGES:,} training images: {' '.join(changes)}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    return EXIT_DONE


COMMANDS = {
    "count": _count,
    "models": _models,
    "recipes": _recipes,
    "space": _space,
}
