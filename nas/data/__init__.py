"""Data sets, their splits, and batches on the device."""

from typing import Literal

Part = Literal["train", "test"]

MANY_IMAGES = 10_000
"""From here on: full steps and batches, more epochs, and a tenth of the images is enough to validate on."""

TEST_SHARE = 0.2
TEST_SEED = 0
"""The test split of data that brings none is the same for every search."""
