from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.augment import DeviceData, DeviceSplit, normalised, training_batches
from nas.data import SearchData, Split

CPU = torch.device("cpu")


def data_of(images: np.ndarray, augmentation: tuple[str, ...] = ()) -> DeviceData:
    """The images [N, H, W, C] as training split, labelled by their number; the validation split is the first."""
    split = Split(images.astype(np.uint8), np.arange(len(images), dtype=np.int64))
    names = tuple(map(str, range(len(images))))
    search_data = SearchData("marked", split, Split(split.images[:1], split.labels[:1]), names, "", ())
    return DeviceData.of(search_data, CPU, augmentation)


def random_images(count: int, side: int = 16, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels))


def marked_images(count: int, side: int = 16) -> np.ndarray:
    """Every pixel its own value: row * side + column of a 16 x 16 image."""
    return np.broadcast_to(np.arange(side * side).reshape(side, side, 1), (count, side, side, 1))


def epoch(data: DeviceData, batch_size: int = 32, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    return list(training_batches(data, batch_size, torch.Generator().manual_seed(seed)))


def pixels(data: DeviceData, seed: int = 0) -> np.ndarray:
    """One epoch's images of one channel as whole 0-255 values again, [N, H, W]."""
    images = torch.cat([images for images, _ in epoch(data, seed=seed)])
    return (images * data.deviation + data.mean).round().long()[:, 0].numpy()


def test_training_images_have_mean_0_and_deviation_1_in_every_channel():
    images = random_images(200) // np.array([1, 2, 4]) + np.array([0, 50, 100])
    data = data_of(images)
    flat = normalised(data.train.images, data).double()
    torch.testing.assert_close(flat.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-4)
    torch.testing.assert_close(flat.std((0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-4)


def test_the_statistics_are_those_of_the_training_split_alone():
    images = random_images(4)
    data = data_of(images)
    torch.testing.assert_close(data.mean, torch.tensor(images.mean((0, 1, 2)), dtype=torch.float32))
    torch.testing.assert_close(data.deviation, torch.tensor(images.std((0, 1, 2)), dtype=torch.float32))


def test_a_channel_that_never_changes_is_not_divided_by_zero():
    data = data_of(np.full((4, 8, 8, 1), 200))
    assert normalised(data.train.images, data).abs().max().item() == 0
    assert data.deviation.tolist() == [1.0]


def test_normalised_images_are_channels_first_and_lie_channels_last_in_memory():
    data = data_of(random_images(4))
    images = normalised(data.train.images, data)
    assert images.shape == (4, 3, 16, 16)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_images_of_the_data_set_are_left_as_they_are():
    data = data_of(random_images(40), ("crop", "flip", "cutout"))
    before = data.train.images.clone()
    epoch(data)
    normalised(data.train.images, data)
    assert torch.equal(data.train.images, before)


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [
        (96, 32, [32, 32, 32]),
        (100, 32, [32, 32, 32]),  # the last 4 are less than half a batch
        (112, 32, [32, 32, 32, 16]),
        (10, 32, [10]),  # fewer than half a batch in all: still an epoch
        (33, 1, [1] * 33),
    ],
)
def test_an_epoch_has_every_image_once_but_for_a_last_batch_of_less_than_half(
    count: int, batch_size: int, sizes: list[int]
):
    batches = epoch(data_of(random_images(count, side=2)), batch_size)
    assert [len(labels) for _, labels in batches] == sizes
    assert [len(images) for images, _ in batches] == sizes
    seen = torch.cat([labels for _, labels in batches]).tolist()
    assert len(set(seen)) == len(seen) == sum(sizes)


def test_every_image_keeps_its_label():
    images = np.arange(200).reshape(200, 1, 1, 1) * np.ones((1, 8, 8, 1), dtype=np.int64)
    data = data_of(images, ("crop", "flip"))
    for batch, labels in epoch(data):
        values = (batch * data.deviation + data.mean).round().long()
        assert torch.equal(values, labels[:, None, None, None].expand_as(values))


def test_images_are_the_same_when_nothing_is_augmented():
    data = data_of(random_images(64))
    for images, labels in epoch(data):
        assert torch.equal(images, normalised(data.train.images[labels], data))


def test_the_same_seed_gives_the_same_batches_and_another_seed_gives_others():
    data = data_of(random_images(64), ("crop", "flip", "cutout"))
    first, again, other = epoch(data, seed=1), epoch(data, seed=1), epoch(data, seed=2)
    for (images, labels), (same_images, same_labels) in zip(first, again, strict=True):
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)
    assert not torch.equal(first[0][1], other[0][1])


def test_the_order_of_the_images_does_not_depend_on_the_augmentation():
    plain, augmented = data_of(random_images(64)), data_of(random_images(64), ("crop", "flip", "cutout"))
    for (_, labels), (_, others) in zip(epoch(plain), epoch(augmented), strict=True):
        assert torch.equal(labels, others)


def test_half_of_the_images_are_flipped_left_to_right():
    marked = marked_images(1)[0, :, :, 0]
    flipped = 0
    for image in pixels(data_of(marked_images(400), ("flip",))):
        assert np.array_equal(image, marked) or np.array_equal(image, marked[:, ::-1])
        flipped += np.array_equal(image, marked[:, ::-1])
    assert 160 < flipped < 240


def test_images_are_shifted_by_up_to_an_eighth_and_mirrored_at_the_borders():
    marked = marked_images(1)[0, :, :, 0]
    padded = np.pad(marked, 2, mode="reflect")
    shifts = []
    for image in pixels(data_of(marked_images(400), ("crop",))):
        row, column = divmod(int(image[8, 8]), 16)
        down, right = row - 8, column - 8
        assert np.array_equal(image, padded[2 + down : 18 + down, 2 + right : 18 + right])
        shifts.append((down, right))
    assert {down for down, _ in shifts} == {-2, -1, 0, 1, 2}
    assert {right for _, right in shifts} == {-2, -1, 0, 1, 2}
    assert len(set(shifts)) == 25


def test_images_below_eight_pixels_are_not_shifted():
    images = np.broadcast_to(np.arange(49).reshape(7, 7, 1), (50, 7, 7, 1))
    assert (pixels(data_of(images, ("crop",))) == images[:, :, :, 0]).all()


def test_a_square_of_a_quarter_of_the_side_is_cut_out_anywhere():
    data = data_of(marked_images(600), ("cutout",))
    whole = normalised(data.train.images[:1], data)[0, 0]
    assert (whole != 0).all()  # the mean of 0..255 is no pixel's value
    areas, touched = [], torch.zeros(16, 16, dtype=torch.bool)
    for images, _ in epoch(data):
        for image in images[:, 0]:
            hole = image == 0
            assert torch.equal(image[~hole], whole[~hole])
            rows, columns = hole.any(1).nonzero().flatten().tolist(), hole.any(0).nonzero().flatten().tolist()
            assert hole.sum() == len(rows) * len(columns)
            assert all(b == a + 1 for side in (rows, columns) for a, b in pairwise(side))
            areas.append((len(rows), len(columns)))
            touched |= hole
    assert max(areas) == (4, 4)
    assert areas.count((4, 4)) > len(areas) / 2
    assert min(min(area) for area in areas) == 2  # the centre lies in the image: at least half of the square does
    assert touched.all()


def test_a_square_is_cut_out_of_every_channel():
    data = data_of(np.broadcast_to(random_images(64, channels=1) // 2 * 2 + [0, 1, 0], (64, 16, 16, 3)), ("cutout",))
    images, _ = epoch(data)[0]
    holes = (images == 0).all(1)
    assert (holes.sum((1, 2)) >= 4).all()


def test_a_split_is_copied_to_the_device_as_it_is():
    images, labels = random_images(3).astype(np.uint8), np.array([2, 0, 1])
    split = DeviceSplit.of(Split(images, labels), CPU)
    assert split.images.dtype == torch.uint8
    assert split.images.tolist() == images.tolist()
    assert split.labels.tolist() == [2, 0, 1]
