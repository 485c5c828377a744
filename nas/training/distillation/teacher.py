"""Who teaches, as plain data that a training keeps."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Teacher:
    """The network of a finished training in `folder`, told by the `checksum` (sha256) of its weights. `macs` are those
    of one image: each step of its pupil takes as many more, for every image. `knows` says whether it was trained on
    another split, and so on images that its pupil is judged by: their accuracy is then flattered."""

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
