"""Image files: their size and their pixels as viewers show them."""

import contextlib
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nas.data.arrays import centre_square
from nas.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, struct.error)
SIDEWAYS = (5, 6, 7, 8)
"""Orientations of cameras that exchange width and height (EXIF 2.3, tag 274)."""


def size_of(file: str) -> tuple[int, int]:
    """(width, height) as a viewer shows it. What lies sideways is decoded for it: some formats tell the size turned."""
    from PIL import ImageOps
    from PIL.ExifTags import Base

    with _picture(file) as picture:
        is_turned = picture.getexif().get(Base.Orientation) in SIDEWAYS
        return ImageOps.exif_transpose(picture).size if is_turned else picture.size


def pixels_of(file: str, image_size: int | None) -> npt.NDArray[np.uint8]:
    """[height, width, 3] of one file, decoded in full: predict.py has no other pixels."""
    with _picture(file) as picture:
        if picture.mode.startswith(("I", "F")):
            raise DataError(f"{file} has pixels of mode {picture.mode}, more than 8 bits; convert it to 8 bits.")
        rgb = as_shown(picture)
        return np.asarray(rgb if image_size is None else centre_square(rgb, image_size))


def holds_several(file: str) -> bool:
    """Whether a TIFF or WebP file holds several pages or frames. False where it cannot be read, which whoever reads it
    tells."""
    if not file.lower().endswith((".tif", ".tiff", ".webp")):
        return False
    try:
        with _picture(file) as picture:
            return int(getattr(picture, "n_frames", 1)) > 1
    except DataError:
        return False


def as_shown(picture: "Picture") -> "Picture":
    """The picture in RGB as viewers show it: turned as the camera says, what is transparent on white."""
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if "transparency" not in picture.info and "A" not in picture.getbands() and "a" not in picture.getbands():
        return picture.convert("RGB")
    layered = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


@contextlib.contextmanager
def _picture(file: str) -> Iterator["Picture"]:
    """The opened image. What Pillow raises for a damaged file, depending on its format, becomes a DataError."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # a large photograph in one's own data is no attack
    try:
        with Image.open(file) as picture:
            yield picture
    except UNREADABLE as error:
        raise DataError(f"{file} cannot be read as an image: {error}. Replace or remove it.") from error
