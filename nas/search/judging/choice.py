"""Which rule of stopping a search follows where none is asked for."""

from nas.search.options import SearchOptions
from nas.space.designs import default_within
from nas.space.space import Space
from nas.stopping.rules import DEFAULT_RULE, default_rule

PASSES = 3
"""Multiply-adds of training on an image, in those of the network: forward, and twice that backward."""


def chosen_rule(asked: SearchOptions, space: Space, images: int) -> str:
    """The rule of a search whose trainings see so many images, over all their epochs: that which is asked for; the one
    that predicts, if something is asked of it; else by the work of training the space's default at the largest budget.

    Raises BudgetError if the space has no network within it.
    """
    if asked.stop is not None:
        return asked.stop
    if asked.stop_threshold is not None or asked.audit is not None:
        return DEFAULT_RULE
    cost = space.cost(default_within(space, asked.within(max(asked.budgets))))
    assert cost is not None, "what was fitted has a cost"
    return default_rule(PASSES * cost.macs * images)
