"""Data sets, their splits, and batches on the device."""

MANY_IMAGES = 10_000
"""From here on: full steps and batches, more epochs, and a tenth of the images is enough to validate on."""
