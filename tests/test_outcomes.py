"""What strategies learn from: log-loss where it is known, accuracy else."""

import math

import pytest

from nas.search.sampling.outcomes import Outcome, worths


def test_worth_is_the_log_loss_with_its_sign_changed_where_it_is_known() -> None:
    values, doubts = worths([Outcome(0.1, 3.0), Outcome(0.3, 2.0)])
    assert values == [-3.0, -2.0]
    assert doubts == [0.0, 0.0]


def test_a_network_that_diverged_is_worth_as_little_as_the_worst() -> None:
    known = [Outcome(0.1 + 0.01 * i, 3.0 - 0.1 * i) for i in range(9)]
    values, _ = worths([*known, Outcome(0.01, math.inf)])
    assert values[-1] == min(values[:-1])


def test_accuracy_is_the_worth_where_losses_are_not_known() -> None:
    assert worths([Outcome(0.1), Outcome(0.3, 2.0)]) == ([0.1, 0.3], [0.0, 0.0])


def test_the_doubt_of_a_prediction_is_told_in_the_units_of_the_worth() -> None:
    """Accuracies spread by .1, losses by 1: a doubt of .02 is one of .2 nats."""
    _, doubts = worths([Outcome(0.1, 3.0), Outcome(0.3, 1.0, measured=False, doubt=0.02)])
    assert doubts == pytest.approx([0.0, 0.2])
