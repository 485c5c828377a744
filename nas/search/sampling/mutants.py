"""Mutants: networks near a known one, by a few knobs changed."""

import numpy as np

from nas.space.space import Knob, Knobs, Value

MOST_CHANGES = 3
"""Knobs that a mutant differs by, at most, before it is fitted."""

SPREAD = 1.0
"""Standard deviation of a width's change, in powers of two."""


def mutated(knobs: tuple[Knob, ...], parent: Knobs, rng: np.random.Generator, changes: int = 0) -> dict[str, Value]:
    """The parent's knobs with one to `MOST_CHANGES` of them, or as many as `changes` says, at another option. All
    options of a knob but its own are equally likely, but a width is scaled, for most of its options are far away."""
    movable = [knob for knob in knobs if len(knob.options) > 1]
    changes = changes or int(rng.integers(1, MOST_CHANGES + 1))
    mutant = dict(parent)
    for i in rng.permutation(len(movable))[:changes]:
        mutant[movable[i].name] = _another(movable[i], parent[movable[i].name], rng)
    return mutant


def _another(knob: Knob, option: Value, rng: np.random.Generator) -> Value:
    own = knob.options.index(option)
    if knob.role == "width":
        scaled = knob.nearest(float(option) * 2 ** (SPREAD * float(rng.normal())))
        return knob.options[scaled if scaled != own else own + 1 if own + 1 < len(knob.options) else own - 1]
    other = int(rng.integers(len(knob.options) - 1))
    return knob.options[other + (other >= own)]
