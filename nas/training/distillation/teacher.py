"""Who teaches, as plain data that a training keeps."""

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Teacher:
    """The network of a finished training in `folder`, told by the `checksum` (sha256) of its weights. `macs` are those
    of one image: each step of its pupil takes as many more, for every image. `knows` says whether it, or who
    taught it, was trained on another split, and so on images that its pupil is judged by: validation accuracies are
    then flattered."""

    folder: str
    model: str
    parameters: int
    macs: int
    checksum: str
    knows: bool

    @property
    def in_words(self) -> str:
        """What a reader of an accuracy must know of it."""
        told = f"Taught by {self.model} ({self.parameters:,} parameters, {self.macs:,} multiply-adds an image)"
        split = ", which has seen images of the validation split: validation accuracies are flattered, tests are not."
        return told + (split if self.knows else ".")


def teachers_in_words(teachers: Iterable[Teacher | None]) -> str:
    """Who taught several trainings, in words; empty where nobody did. One teacher that knows the images that judge one
    of its pupils counts as one that knows."""
    found: dict[str, Teacher] = {}
    for teacher in teachers:
        if teacher:
            known = found.setdefault(teacher.checksum, teacher)
            found[teacher.checksum] = replace(known, knows=known.knows or teacher.knows)
    return " ".join(teacher.in_words for teacher in found.values())
