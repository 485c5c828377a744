from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data.arrays import divide, resized
from nas.data.load import array_search_data
from nas.errors import DataError


def images(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def labels(count: int, classes: int) -> np.ndarray:
    return np.arange(count) % classes


def refusal(x: object, y: object = (0, 0, 1, 1), **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        array_search_data(np.asarray(x), np.asarray(y), **{"seed": 0, **settings})
    return str(caught.value)


@given(st.lists(st.integers(2, 30), min_size=1, max_size=8), st.floats(0.001, 0.5), st.integers(0, 2**32), st.data())
def test_a_division_is_a_partition_that_leaves_every_class_on_both_sides(
    counts: list[int], share: float, seed: int, data: st.DataObject
) -> None:
    grouped = np.repeat(np.arange(len(counts)), counts)
    shuffled = np.array(data.draw(st.permutations(list(grouped))))
    kept, taken = divide(shuffled, share, seed)
    assert sorted([*kept, *taken]) == list(range(len(grouped)))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(taken) > 0).all()
    for label, count in enumerate(counts):
        expected = min(max(round(count * share), 1), count - 1)
        assert np.count_nonzero(shuffled[taken] == label) == expected


@pytest.mark.parametrize(
    ("x", "pixels"),
    [
        (np.array([0.0, 0.1, 0.5, 1.0], np.float32), [0, 26, 128, 255]),
        (np.array([0.0, 1.4, 99.6, 255.0], np.float64), [0, 1, 100, 255]),
        (np.array([0.0, 0.1, 0.5, 1.0], np.float16), [0, 25, 128, 255]),
        (np.array([0, 1, 128, 255], np.int64), [0, 1, 128, 255]),
        (np.array([0, 1, 0, 1], np.uint8), [0, 1, 0, 1]),
        (np.array([0, 1, 1, 0], np.int16), [0, 1, 1, 0]),
    ],
)
def test_floats_and_integers_become_bytes(x: np.ndarray, pixels: list[int]) -> None:
    data = array_search_data(np.tile(x, (4, 4, 1)), labels(4, 2), seed=0)
    assert data.train.images[0, 0, :, 0].tolist() == pixels


def test_more_floats_than_are_converted_at_a_time_are_all_converted() -> None:
    x = np.linspace(0, 1, 2_500, dtype=np.float32).reshape(2_500, 1, 1).repeat(4, 1).repeat(4, 2)
    data = array_search_data(x, labels(2_500, 2), seed=0)
    seen = np.concatenate([data.train.images, data.validation.images])[:, 0, 0, 0]
    assert sorted(seen) == sorted(np.rint(x[:, 0, 0] * np.float32(255)).astype(int))


def test_labels_in_one_column_are_flattened() -> None:
    data = array_search_data(images(6, 4, 4), labels(6, 3).reshape(6, 1).astype(np.uint8), seed=0)
    assert data.train.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (images(4, 3, 32, 32), "x has shape (4, 3, 32, 32): channels come first; give x.transpose(0, 2, 3, 1)."),
        (
            images(4, 3072),
            "x has shape (4, 3072); give [N, height, width] or [N, height, width, channels of 1 to 4].",
        ),
        (
            images(4, 8, 8, 5),
            "x has shape (4, 8, 8, 5); give [N, height, width] or [N, height, width, channels of 1 to 4].",
        ),
        (images(4, 3, 8), "x has images of 3x8; at least 4x4 is needed."),
        (images(0, 8, 8), "x has 0 images but y has 4 labels; give each image a label."),
        (images(5, 8, 8), "x has 5 images but y has 4 labels; give each image a label."),
        (
            np.full((4, 8, 8), -1.5),
            "x holds values from -1.5 to -1.5, not within 0..1 or 0..255; rescale or clip them.",
        ),
        (
            np.linspace(0, 1.02, 256).reshape(4, 8, 8),
            "x holds values from 0 to 1.02, not within 0..1 or 0..255; rescale or clip them.",
        ),
        (np.full((4, 8, 8), 256), "x holds values from 256 to 256, not within 0..255; rescale or clip them."),
        (
            np.full((4, 8, 8), np.nan),
            "x holds NaN or infinite values; clean them, for example with numpy.nan_to_num.",
        ),
        (
            np.full((4, 8, 8), np.inf),
            "x holds NaN or infinite values; clean them, for example with numpy.nan_to_num.",
        ),
        (np.zeros((4, 8, 8), bool), "x holds bool values; give uint8 (0..255) or floats (0..1)."),
    ],
)
def test_images_that_are_not_accepted_are_refused(x: np.ndarray, told: str) -> None:
    assert refusal(x) == told


@pytest.mark.parametrize(
    ("y", "told"),
    [
        ([0, 0, 1, -1], "y holds the label -1; labels go from 0 to classes - 1."),
        ([0.0, 0.0, 1.0, 1.0], "y holds float64 values; give integers from 0 to classes - 1."),
        ([True, True, False, False], "y holds bool values; give integers from 0 to classes - 1."),
        (np.eye(4), "y has shape (4, 4); give one integer an image, [N] (one-hot: use argmax(axis=1))."),
        ([0, 0, 1, 10**12], "y goes up to 1000000000000 with 4 images; number the classes from 0 without gaps."),
        (
            np.array([0, 0, 1, 2**64 - 1], np.uint64),
            "y holds the label 18446744073709551615; labels go from 0 to classes - 1.",
        ),
        ([0, 0, 0, 0], "arrays has 1 class; a classifier needs at least 2."),
        (
            [0, 0, 0, 2],
            "arrays: 2 of 3 classes have fewer than 2 training images, test images aside: '1' (0), '2' (1). "
            "Add images, or remove these classes and number the rest from 0.",
        ),
    ],
)
def test_labels_that_are_not_accepted_are_refused(y: object, told: str) -> None:
    assert refusal(images(4, 8, 8), y) == told


def test_no_images_at_all_are_refused() -> None:
    assert refusal(images(0, 8, 8), np.zeros(0, int)) == "x has no images."


def test_a_label_beyond_the_class_names_is_refused() -> None:
    told = "y holds the label 2 but there are 2 classes; labels go from 0 to 1."
    assert refusal(images(6, 4, 4), labels(6, 3), class_names=("a", "b")) == told


def test_of_many_empty_classes_five_are_named_and_the_rest_counted() -> None:
    told = refusal(images(4, 4, 4), (0, 0, 1, 1), class_names=[f"c{number}" for number in range(12)])
    assert "10 of 12 classes have fewer than 2 training images" in told
    assert "'c2' (0), 'c3' (0), 'c4' (0), 'c5' (0), 'c6' (0) and 5 more." in told


def test_resizing_keeps_the_centre_square() -> None:
    wide = np.zeros((1, 4, 12, 1), np.uint8)
    wide[:, :, 4:8] = 200
    square = resized(wide, 8)[0, :, :, 0]
    assert square.shape == (8, 8)
    assert (square[:, 1:-1] == 200).all()
    assert (square[:, 0] < 200).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_are_resized_independently(channels: int) -> None:
    x = np.zeros((2, 16, 16, channels), np.uint8)
    x[..., -1] = 90
    small = resized(x, 4)
    assert small.shape == (2, 4, 4, channels)
    assert (small[..., -1] == 90).all()
    assert not small[..., :-1].any()
