"""What we write on Optuna's trials, typed: each note is a user attribute of the trial, named after its field."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nas.errors import RunError
from nas.stopping.curves import Prediction
from nas.stored import Count, Duration, Loss, StoredError, stored

Rows = Sequence[Sequence[Loss]]
"""A training so far, an epoch a row: train loss, validation loss, validation accuracy."""

ROW = 3


class Predicted(NamedTuple):
    """What was predicted after an epoch: the distribution of the last epoch's accuracy (see
    `nas.stopping.curves.Prediction`), and the chance by which the training was judged."""

    epoch: int
    mean: float
    scale: float
    chance: float
    power: float = 1.0

    @property
    def prediction(self) -> Prediction:
        """The distribution."""
        return Prediction(self.mean, self.scale, self.power)


class Audited(NamedTuple):
    """A training that went on although it was stopped for good after this epoch, and the accuracy it had to beat."""

    epoch: int
    to_beat: float


@dataclass(frozen=True, kw_only=True)
class Notes:
    """The notes on one trial, or some of them. Each has its default where it has not been written.

    They are written in the order of the fields: a trial whose network is noted has its parameters too.
    """

    worker: int | None = None
    """Slot of the worker that has the trial."""
    deaths: Sequence[str] = ()
    """Where its workers died, see `nas.machine.pulse`."""
    exhausted: bool = False
    """Nothing new was found to propose."""
    parameters: Count = 0
    macs: Count = 0
    counted: Mapping[str, Count] | None = None
    """What else can be capped of it (`nas.space.caps`), by name, in the search's format of numbers."""
    depth: Count = 0
    """Weighted layers."""
    network: str = ""
    """Fingerprint."""
    waits_for: str | None = None
    """Key of the trial that trains the same network; empty where that came to nothing and it trains itself."""
    replayed: str = ""
    """Key of the trial whose value it was told."""
    failure: str = ""
    """The reason, in one line."""
    curve: Rows = ()
    seconds: Sequence[Duration] = ()
    """One for each epoch."""
    epochs_before: Count | None = None
    """Epochs for which another trial had trained the network."""
    continues: Count | None = None
    """Number of the stopped trial that it goes on with."""
    least_chance: float | None = None
    """The chance below which another training makes better use of the next epoch."""
    stopped: Count | None = None
    """The epoch after which it was stopped: its value is a prediction. 0 where it was to be stopped and was not."""
    predicted_loss: float | None = None
    """Validation loss at the last epoch, of a stopped training."""
    predictions: tuple[Predicted, ...] = ()
    """Ascending in epochs. Each is an attribute of its own, "prediction EPOCH"."""
    audited: Audited | None = None
    cut: bool | None = None
    """Whether its network had come to the last epoch, where a search was given more and an earlier trial is told
    anew in this."""

    @property
    def is_original(self) -> bool:
        """Whether its network is trained in the trial itself, not in another that it waits for or replays."""
        return not self.waits_for and not self.replayed


_PREDICTION = "prediction "
_AS_THEY_ARE = [field.name for field in fields(Notes) if field.name != "predictions"]


def read_notes(trial: Trial | FrozenTrial, last_epoch: int = 0) -> Notes:
    """The notes on a trial. What others have written on it is left aside. One that came to its end before the last
    epoch was told by a worker of the search when that had fewer, and was cut off. Raises RunError for what nobody
    notes."""
    noted = trial.user_attrs
    own = {name: noted[name] for name in _AS_THEY_ARE if name in noted}
    try:
        predicted = [
            [int(name.removeprefix(_PREDICTION)), *stored(noted[name], list[float], name)]
            for name in noted
            if name.startswith(_PREDICTION)
        ]
        notes: Notes = stored({**own, "predictions": sorted(predicted)}, Notes, f"trial {trial.number}")
        if any(len(row) != ROW for row in notes.curve):
            raise StoredError(f"trial {trial.number}.curve must have rows of {ROW}")
        if len(notes.seconds) > len(notes.curve):
            raise StoredError(f"trial {trial.number} has seconds of more epochs than its curve")
    except ValueError as error:
        raise RunError(f"the journal of the run is damaged: {error}") from error
    has_ended = isinstance(trial, FrozenTrial) and trial.state == TrialState.COMPLETE and not notes.stopped
    is_cut = has_ended and 0 < len(notes.curve) < last_epoch
    return replace(notes, stopped=len(notes.curve), predictions=(), cut=True) if is_cut else notes


def write_notes(trial: Trial, notes: Notes) -> None:
    """Adds to a running trial the notes that differ from their defaults; the others stay as they are."""
    for name, value in _attributes(notes).items():
        trial.set_user_attr(name, value)


def noted_trial(notes: Notes, **content: Any) -> FrozenTrial:
    """A trial to be added to a study, with notes on it; for its content see `optuna.trial.create_trial`."""
    return create_trial(user_attrs=_attributes(notes), **content)


def _attributes(notes: Notes) -> dict[str, Any]:
    differing = {f.name: value for f in fields(notes) if (value := getattr(notes, f.name)) != f.default}
    predictions = {f"{_PREDICTION}{epoch}": values for epoch, *values in differing.pop("predictions", ())}
    return differing | predictions


def first_of(trial: Trial | FrozenTrial) -> int:
    """Number of the trial in which the network of this one was proposed."""
    number: int = trial.user_attrs.get("continues", trial.number)
    return number


def foreign_note(trial: FrozenTrial, name: str) -> Any:
    """What somebody else has noted on a trial under that name, None where there is nothing."""
    return trial.user_attrs.get(name)


def leave_aside(study: Study, numbers: Iterable[int]) -> None:
    """From now on the trials of those numbers count for nothing: their networks are no longer those of their knobs."""
    study.set_user_attr("left aside", sorted({*left_aside(study), *numbers}))


def left_aside(study: Study) -> set[int]:
    """Numbers of the trials that count for nothing."""
    return set(study.user_attrs.get("left aside", ()))


def note_death_before(study: Study, number: int, place: str) -> None:
    """Notes that a worker died at that place over the trial of that number, which is not there yet."""
    study.set_user_attr(f"deaths {number}", [*deaths_before(study, number), place])


def deaths_before(study: Study, number: int) -> Sequence[str]:
    """Where workers died over the trial of that number before it was there."""
    name = f"deaths {number}"
    deaths: list[str] = stored(study.user_attrs.get(name, []), list[str], name)
    return deaths
