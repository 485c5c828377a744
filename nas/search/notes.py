"""What we note on Optuna's trials."""

from optuna.trial import FrozenTrial


def first_of(trial: FrozenTrial) -> int:
    """Number of the trial in which the network of this one was proposed."""
    number: int = trial.user_attrs.get("thaws", trial.number)
    return number
