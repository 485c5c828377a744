"""The command `nas recipes`."""

import argparse

from nas.cli.console import print_json, say, terminal_console
from nas.cli.flags import add_json
from nas.errors import EXIT_DONE

SUMMARY = "list the recipes that networks are trained with"
EXAMPLE = "nas recipes final"


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help="one recipe, shipped or a .toml file (default: all)"
    )
    add_json(parser)


def run(flags: argparse.Namespace) -> int:
    from nas.data import MANY_IMAGES
    from nas.training.recipe import recipe_values
    from nas.training.recipes import RECIPES, named_recipe

    recipes = {name: named_recipe(name, MANY_IMAGES) for name in ([flags.recipe] if flags.recipe else RECIPES)}
    if flags.json:
        print_json({name: recipe_values(recipe) for name, recipe in recipes.items()})
        return EXIT_DONE
    from nas.cli.network_tables import recipe_table, recipes_table

    console = terminal_console()
    shown = recipe_table(recipes[flags.recipe]) if flags.recipe else recipes_table(recipes)
    console.print(shown, highlight=False)
    for name, recipe in recipes.items():
        few = recipe_values(named_recipe(name, MANY_IMAGES - 1))
        changes = [f"{key}={few[key]}" for key, value in recipe_values(recipe).items() if few[key] != value]
        if changes:
            say(console, f"{name} below {MANY_IMAGES:,} training images: {' '.join(changes)}")
    return EXIT_DONE
