"""The small digits that come with scikit-learn, for first steps and tests: there without a network."""

from pathlib import Path

import numpy as np

from nas.data import TEST_SEED, TEST_SHARE, Part
from nas.data.arrays import LabelledImages, divide, labelled_images
from nas.data.sets import NamedData


def _read(part: Part, directory: Path, progress: bool) -> LabelledImages:
    from sklearn.datasets import load_digits

    digits = load_digits()
    training, test = divide(digits.target, TEST_SHARE, TEST_SEED)
    chosen = training if part == "train" else test
    images = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    names = tuple(str(digit) for digit in range(10))
    return labelled_images(images, digits.target[chosen], names, x_name="the digits", y_name="their labels")


DATA = NamedData(meaning="1,797 handwritten digits, 8 x 8, embedded", augmentation=(), read=_read)
