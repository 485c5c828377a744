"""The augmentations, by the names that recipes take: a function here that is marked `augmentation` is one, by its name.

Each is of a step, and the steps follow one another; within a step the functions do, in the order in which they stand
here. The names are read wherever recipes are described, therefore nothing here imports torch before it is needed.

places      (rows [N, H], columns [N, W]) and uniform to the same: from where the pixels of an image are taken
transforms  nothing to a torchvision transform of uint8 [N, C, H, W], whose draws are of torch's global generator
pixels      uint8 [N, H, W, C] and uniform to the same
images      normalised float32 [N, C, H, W] and uniform to nothing: changed in place

`uniform` [rows, N] are the random numbers that an augmentation has for each image.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Step = Literal["places", "transforms", "pixels", "images"]
Places = tuple["Tensor", "Tensor"]
C = TypeVar("C", bound=Callable[..., Any])

ROWS = (5, 12)
"""Random numbers that may be drawn for an image: as many as hold those of the augmentations asked for. Whoever adds
one that needs more appends a number here, so that what the others draw stays as it was."""


@dataclass(frozen=True)
class Augmentation:
    """A way to change images: what is done at which step, with which rows of an image's random numbers."""

    change: Callable[..., Any]
    step: Step
    rows: slice
    needs_colours: bool

    @property
    def meaning(self) -> str:
        """What it does, in a sentence."""
        return " ".join((self.change.__doc__ or "").partition("\n\n")[0].split())


AUGMENTATIONS: dict[str, Augmentation] = {}
"""The augmentations by name."""


def augmentation(step: Step, *, rows: slice = slice(0), needs_colours: bool = False) -> Callable[[C], C]:
    """Marks a function as an augmentation."""

    def mark(change: C) -> C:
        AUGMENTATIONS[change.__name__.replace("_", "-")] = Augmentation(change, step, rows, needs_colours)
        return change

    return mark


def rows_to_draw(names: tuple[str, ...]) -> int:
    """How many random numbers an image needs."""
    last = max((AUGMENTATIONS[name].rows.stop for name in names), default=0)
    return next(count for count in ROWS if count >= last)


@augmentation("places", rows=slice(0, 2))
def crop(places: Places, uniform: "Tensor") -> Places:
    """Shifts by up to an eighth of the side, mirrored at the borders."""
    rows, columns = (_shifted(index, row) for index, row in zip(places, uniform, strict=True))
    return rows, columns


@augmentation("places", rows=slice(2, 3))
def flip(places: Places, uniform: "Tensor") -> Places:
    """Mirrors half of the images left to right."""
    return places[0], places[1].flip(1).where(uniform[0, :, None] >= 0.5, places[1])


@augmentation("places", rows=slice(5, 6))
def vertical_flip(places: Places, uniform: "Tensor") -> Places:
    """Mirrors half of the images top to bottom."""
    return places[0].flip(1).where(uniform[0, :, None] >= 0.5, places[0]), places[1]


@augmentation("images", rows=slice(3, 5))
def cutout(images: "Tensor", uniform: "Tensor") -> None:
    """Sets a square of a quarter of the side to the mean; its centre lies anywhere (DeVries & Taylor 2017)."""
    import torch

    _, _, height, width = images.shape
    rows = torch.arange(height, device=images.device)[None, :]
    columns = torch.arange(width, device=images.device)[None, :]
    in_rows = (rows - (uniform[0] * height).long()[:, None] + height // 8) % (2 * height)
    in_columns = (columns - (uniform[1] * width).long()[:, None] + width // 8) % (2 * width)
    hole = (in_rows < height // 4)[:, None, :, None] & (in_columns < width // 4)[:, None, None, :]
    images.masked_fill_(hole, 0.0)


@augmentation("images", rows=slice(7, 12))
def erasing(images: "Tensor", uniform: "Tensor") -> None:
    """Sets a rectangle in half of the images to the mean (Zhong et al. 2017): 2–33 % of the area, 0.3–3.3 times as tall
    as wide (log-uniform), cut to the image's height and width, anywhere inside."""
    _, _, height, width = images.shape
    area = height * width * (0.02 + (0.33 - 0.02) * uniform[1])
    aspect = (math.log(0.3) + math.log(3.3 / 0.3) * uniform[2]).exp()
    in_rows = _span((area * aspect).sqrt(), height, uniform[3])
    in_columns = _span((area / aspect).sqrt(), width, uniform[4])
    erased = (uniform[0] < 0.5)[:, None, None] & in_rows[:, :, None] & in_columns[:, None, :]
    images.masked_fill_(erased[:, None], 0.0)


@augmentation("transforms", needs_colours=True)
def randaugment() -> Any:
    """Changes images twice, in shape or in colours, as torchvision's RandAugment draws it (Cubuk et al. 2020)."""
    from torchvision.transforms import v2  # takes a second to import: only for who asks for it

    return v2.RandAugment()


@augmentation("transforms", needs_colours=True)
def colour_jitter() -> Any:
    """Changes brightness, contrast and saturation by up to 40 %, the hue by a tenth of the circle."""
    from torchvision.transforms import v2  # as above

    return v2.ColorJitter(0.4, 0.4, 0.4, 0.1)


@augmentation("pixels", rows=slice(6, 7), needs_colours=True)
def grayscale(pixels: "Tensor", uniform: "Tensor") -> "Tensor":
    """Turns a tenth of the images to shades of gray (luma of ITU-R BT.601, as in torchvision)."""
    import torch

    red, green, blue = pixels.unbind(3)
    gray = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).to(torch.uint8)
    return torch.where(uniform[0, :, None, None, None] < 0.1, gray[..., None], pixels)


def _shifted(index: "Tensor", uniform: "Tensor") -> "Tensor":
    """Indices [N, side] shifted by up to an eighth of the side, mirrored at the borders."""
    side = index.shape[1]
    reach = side // 8
    index = (index + (uniform * (2 * reach + 1)).long()[:, None] - reach).abs()
    return (side - 1) - (side - 1 - index).abs()


def _span(length: "Tensor", side: int, uniform: "Tensor") -> "Tensor":
    """Whether each of 0..side-1 lies in a stretch of that length [N], rounded, that starts anywhere: bool [N, side]."""
    import torch

    length = length.round().clamp(1, side)
    start = (uniform * (side - length + 1)).floor()
    places = torch.arange(side, device=length.device)
    return (places >= start[:, None]) & (places < (start + length)[:, None])
