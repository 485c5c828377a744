"""What each kind of block, each resolution and each head is worth at an equal number of parameters.

    python studies/blocks/ablate.py cifar100.npz OUT --budget 10K --epochs 20 --seeds 1001,1002,1003 [--only NAME,…]

Each variant changes knobs of the space's default, is fitted to the budget (with `--max-macs` to so many multiply-adds
as well), and trained with recipe `final` on fresh seeds, each with a validation split of its own. The same command goes
on where it was interrupted. Prints JSON.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from nas.data.load import load_search_data
from nas.machine.process import default_workers
from nas.network.deployment.memory import peak_activation
from nas.network.folds import cost
from nas.network.serial import to_json
from nas.space.budget import Budget, parse_count
from nas.space.draw import fit
from nas.space.files import named_space
from nas.space.space import Space, Value, bind
from nas.training.recipe import changed, parse_changes
from nas.training.recipes import named_recipe
from nas.training.several import train_all
from nas.training.training import Training, accuracies, read_metrics, training_folder, validation_losses

Changes = dict[str, Value]


def both(**knobs: Value) -> Changes:
    """The knobs in stages 2 and 3."""
    return {f"{name}{s}": value for s in (2, 3) for name, value in knobs.items()}


VARIANTS: dict[str, Changes] = {
    "default": {},
    "mixer": both(kind="mixer", expansion=1.0),
    "mixer 7": both(kind="mixer", expansion=1.0, kernel=7),
    "mixer in stage 3": {"kind3": "mixer", "expansion3": 1.0},
    "dense": both(kind="dense", blocks=4),
    "dense in stage 3": {"kind3": "dense", "blocks3": 4},
    "shift": both(kind="shift", kernel=3),
    "shift in stage 3": {"kind3": "shift", "kernel3": 3},
    "inverted": both(kind="inverted", expansion=3.0),
    "shared": both(shared=True),
    "shared, 6 blocks": both(shared=True, blocks=6),
    "6 blocks": both(blocks=6),
    "expansion 1.5": both(expansion=1.5),
    "expansion 2.5": both(expansion=2.5),
    "expansion 3": both(expansion=3.0),
    "excitation 4": both(excitation=4),
    "excitation 8": both(excitation=8),
    "gates in 1 and 2": {"excitation1": 4, "excitation2": 8},
    "halved at 3 alone": {"halve": "3"},
    "halved at 2 alone": {"halve": "2"},
    "halved at 1 and 2": {"halve": "1 2"},
    "halved at the stem, 2 and 3": {"halve": "stem 2 3"},
    "four stages": {"blocks4": 2, "halve": "2 3 4"},
    "four stages, halved twice": {"blocks4": 2},
    "low rank 8": {"head": "low-rank", "rank": 8},
    "low rank 16": {"head": "low-rank", "rank": 16},
    "signs": {"head": "signs"},
    "low-rank signs 16": {"head": "low-rank signs", "rank": 16},
    "low-rank signs 32": {"head": "low-rank signs", "rank": 32},
    "bias-free": {"head": "bias-free"},
    "quadratic": {"head": "quadratic"},
    "blueprint": both(kind="blueprint"),
    "blueprint in stage 3": {"kind3": "blueprint"},
    "shallow": {**named_space("mixed").beginnings[2]},
    "tiny": {**named_space("mixed").beginnings[3]},
    "hardswish": {"activation": "hardswish"},
    "silu": {"activation": "silu"},
    "kernel 5": both(kernel=5),
    "kernel 3": both(kernel=3),
}
"""Knobs by name of the variant; several joined by "+" are tried together."""


def variant(space: Space, budget: Budget, name: str) -> dict[str, Value]:
    """The knobs of the variant, fitted. Raises SystemExit where what it is named after does not fit."""
    changes: Changes = {}
    for part in name.split("+"):
        changes |= VARIANTS[part.strip()]
    asked = space.settled(space.defaults | changes)  # what does nothing there cannot be lost
    fitted = fit(space, asked, budget, np.random.default_rng(0))
    kept = {knob for knob, value in changes.items() if asked[knob] == value and not is_fitted(knob)}
    if lost := [f"{knob}={asked[knob]}" for knob in sorted(kept) if fitted[knob] != asked[knob]]:
        raise SystemExit(f"{name} cannot be had within {budget}: {', '.join(lost)} would be lost")
    return fitted


def is_fitted(knob: str) -> bool:
    """Whether a variant may have another value of that knob than it is named after."""
    return knob in ("stem", "rank") or knob.startswith("width")


def main() -> None:
    """Trains, then prints what each variant costs and comes to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--budget", default="10K")
    parser.add_argument("--max-macs", type=parse_count, help="the multiply-adds that a variant is fitted to as well")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", default="1001,1002,1003")
    parser.add_argument("--only", help="variants with commas; those with + together")
    parser.add_argument("--set", nargs="*", default=[], help="changes of the recipe")
    parser.add_argument("--space", default="mixed")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    data = load_search_data(str(asked.data), seed=0)
    space = bind(named_space(asked.space), data.shape, data.classes)
    budget = Budget(parse_count(asked.budget), asked.max_macs)
    changes = {"epochs": asked.epochs, **parse_changes(asked.set)}
    recipe = changed(named_recipe("final", len(data.train.labels)), changes)
    names = asked.only.split(",") if asked.only else list(VARIANTS)
    knobs = {name: variant(space, budget, name) for name in names}
    setting = " ".join(["final", *(f"{key}={value}" for key, value in changes.items())])
    size = asked.budget if asked.max_macs is None else f"{asked.budget} {asked.max_macs} macs"
    folders = {}
    for seed in map(int, asked.seeds.split(",")):
        for name in names:
            folders[name, seed] = training_folder(asked.out / f"{size} {setting} {name} {seed}".replace(" ", "-"))
            folders[name, seed].enter(
                Training(
                    model=name,
                    network=to_json(space.network(knobs[name])),
                    dataset=str(asked.data.resolve()),
                    data_checksum=data.checksum,
                    image_size=None,
                    validation_share=None,
                    images=None,
                    recipe=replace(recipe, augmentation=recipe.augmentation or data.augmentation),
                    seed=seed,
                )
            )
    workers = asked.workers or default_workers(asked.device)
    failures = train_all(list(folders.values()), workers=workers, device=asked.device)
    found: dict[str, Any] = {}
    for name in names:
        network = space.network(knobs[name])
        done = [read_metrics(f) for (of, _), f in folders.items() if of == name and f.path not in failures]
        counted = cost(network, space.shape)
        found[name] = {
            "parameters": counted.parameters,
            "macs": counted.macs,
            "peak_activation": peak_activation(network, space.shape),
            "mean": fmean(accuracies(done)) if done else None,
            "accuracy": accuracies(done),
            "log_loss": validation_losses(done),
            "epoch_seconds": fmean(m.seconds / len(m.epochs) for m in done) if done else None,
            "knobs": {key: value for key, value in knobs[name].items() if value != space.defaults[key]},
        }
    asked_for = {"budget": budget.parameters, "max_macs": asked.max_macs, "recipe": setting}
    print(json.dumps(asked_for | {"variants": found}, indent=1))


if __name__ == "__main__":
    main()
