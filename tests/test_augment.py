import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.data.augment import CHUNK, DeviceData, DeviceSplit, normalised, training_batches
from nas.data.augmentations import AUGMENTATIONS, ROWS
from nas.data.load import SearchData, Split
from nas.errors import UserError

CPU = torch.device("cpu")
EVERYTHING = tuple(AUGMENTATIONS)
COLOURED = tuple(name for name, about in AUGMENTATIONS.items() if about.needs_colours)
DRAWN_AT_ONCE = tuple(name for name, about in AUGMENTATIONS.items() if about.step == "transforms")


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


def epoch(
    data: DeviceData, batch_size: int = 32, seed: int = 0, noise: int = 0, mixup: float = 0.0, cutmix: float = 0.0
) -> list[tuple[Tensor, Tensor]]:
    """The batches of one epoch; `noise` seeds torch's global generator, which is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise)
        return list(training_batches(data, batch_size, torch.Generator().manual_seed(seed), mixup=mixup, cutmix=cutmix))


def pixels(data: DeviceData, seed: int = 0) -> np.ndarray:
    """One epoch's images of one channel as whole 0-255 values again, [N, H, W]."""
    images = torch.cat([images for images, _ in epoch(data, seed=seed)])
    return (images * data.deviation + data.mean).round().long()[:, 0].numpy()


def test_every_augmentation_says_its_meaning_and_draws_numbers_of_its_own() -> None:
    assert all(about.meaning.endswith(".") for about in AUGMENTATIONS.values())
    drawn = [row for about in AUGMENTATIONS.values() for row in range(ROWS[-1])[about.rows]]
    assert sorted(drawn) == list(range(ROWS[-1]))


def test_training_images_have_mean_0_and_deviation_1_in_every_channel() -> None:
    images = random_images(200) // np.array([1, 2, 4]) + np.array([0, 50, 100])
    data = data_of(images)
    flat = normalised(data.train.images, data).double()
    torch.testing.assert_close(flat.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-4)
    torch.testing.assert_close(flat.std((0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-4)


def test_the_statistics_are_those_of_the_training_split_alone() -> None:
    images = random_images(4)
    data = data_of(images)
    torch.testing.assert_close(data.mean, torch.tensor(images.mean((0, 1, 2)), dtype=torch.float32))
    torch.testing.assert_close(data.deviation, torch.tensor(images.std((0, 1, 2)), dtype=torch.float32))


def test_a_channel_that_never_changes_is_not_divided_by_zero() -> None:
    data = data_of(np.full((4, 8, 8, 1), 200))
    assert normalised(data.train.images, data).abs().max().item() == 0
    assert data.deviation.tolist() == [1.0]


def test_normalised_images_are_channels_first_and_lie_channels_last_in_memory() -> None:
    data = data_of(random_images(4))
    images = normalised(data.train.images, data)
    assert images.shape == (4, 3, 16, 16)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_images_of_the_data_set_are_left_as_they_are() -> None:
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
) -> None:
    batches = epoch(data_of(random_images(count, side=2)), batch_size)
    assert [len(labels) for _, labels in batches] == sizes
    assert [len(images) for images, _ in batches] == sizes
    seen = torch.cat([labels for _, labels in batches]).tolist()
    assert len(set(seen)) == len(seen) == sum(sizes)


def test_every_image_keeps_its_label() -> None:
    images = np.arange(200).reshape(200, 1, 1, 1) * np.ones((1, 8, 8, 1), dtype=np.int64)
    data = data_of(images, ("crop", "flip"))
    for batch, labels in epoch(data):
        values = (batch * data.deviation + data.mean).round().long()
        assert torch.equal(values, labels[:, None, None, None].expand_as(values))


def test_images_are_the_same_when_nothing_is_augmented() -> None:
    data = data_of(random_images(64))
    for images, labels in epoch(data):
        assert torch.equal(images, normalised(data.train.images[labels], data))


def test_the_same_seed_gives_the_same_batches_and_another_seed_gives_others() -> None:
    data = data_of(random_images(64), ("crop", "flip", "cutout"))
    first, again, other = epoch(data, seed=1), epoch(data, seed=1), epoch(data, seed=2)
    for (images, labels), (same_images, same_labels) in zip(first, again, strict=True):
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)
    assert not torch.equal(first[0][1], other[0][1])


def test_the_order_of_the_images_does_not_depend_on_the_augmentation() -> None:
    plain, augmented = data_of(random_images(64)), data_of(random_images(64), ("crop", "flip", "cutout"))
    for (_, labels), (_, others) in zip(epoch(plain), epoch(augmented), strict=True):
        assert torch.equal(labels, others)


def test_half_of_the_images_are_flipped_left_to_right() -> None:
    marked = marked_images(1)[0, :, :, 0]
    flipped = 0
    for image in pixels(data_of(marked_images(400), ("flip",))):
        assert np.array_equal(image, marked) or np.array_equal(image, marked[:, ::-1])
        flipped += np.array_equal(image, marked[:, ::-1])
    assert 160 < flipped < 240


def test_images_are_shifted_by_up_to_an_eighth_and_mirrored_at_the_borders() -> None:
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


def test_images_below_eight_pixels_are_not_shifted() -> None:
    images = np.broadcast_to(np.arange(49).reshape(7, 7, 1), (50, 7, 7, 1))
    assert (pixels(data_of(images, ("crop",))) == images[:, :, :, 0]).all()


def test_a_square_of_a_quarter_of_the_side_is_cut_out_anywhere() -> None:
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


def test_a_square_is_cut_out_of_every_channel() -> None:
    data = data_of(np.broadcast_to(random_images(64, channels=1) // 2 * 2 + [0, 1, 0], (64, 16, 16, 3)), ("cutout",))
    images, _ = epoch(data)[0]
    holes = (images == 0).all(1)
    assert (holes.sum((1, 2)) >= 4).all()


def test_crop_flip_and_cutout_are_drawn_as_they_always_were() -> None:
    images, side = random_images(50), 16
    data = data_of(images, ("crop", "flip", "cutout"))
    generator = torch.Generator().manual_seed(7)
    order, uniform = torch.randperm(50, generator=generator).tolist(), torch.rand(5, 50, generator=generator)
    drawn = torch.Generator().manual_seed(7)
    batches = list(training_batches(data, 32, drawn))
    assert torch.equal(drawn.get_state(), generator.get_state())
    assert torch.cat([labels for _, labels in batches]).tolist() == order
    for number, image in zip(order, torch.cat([images for images, _ in batches]), strict=True):
        down, right = (int(u * 5) for u in uniform[:2, number])
        padded = np.pad(images[number], ((2, 2), (2, 2), (0, 0)), mode="reflect")
        cut = padded[down : down + side, right : right + side]
        turned = cut if uniform[2, number] < 0.5 else cut[:, ::-1]
        expected = normalised(torch.from_numpy(turned.astype(np.uint8))[None], data)[0]
        row, column = (int(u * side) for u in uniform[3:, number])
        expected[:, max(row - 2, 0) : row + 2, max(column - 2, 0) : column + 2] = 0
        assert torch.equal(image, expected)


def test_half_of_the_images_are_flipped_upside_down() -> None:
    marked = marked_images(1)[0, :, :, 0]
    flipped = 0
    for image in pixels(data_of(marked_images(400), ("vertical-flip",))):
        assert np.array_equal(image, marked) or np.array_equal(image, marked[::-1])
        flipped += np.array_equal(image, marked[::-1])
    assert 160 < flipped < 240


def test_an_image_is_flipped_upside_down_whether_or_not_it_is_flipped_left_to_right() -> None:
    marked = marked_images(1)[0, :, :, 0]
    images = pixels(data_of(marked_images(400), ("flip", "vertical-flip")))
    turned = [marked, marked[::-1], marked[:, ::-1], marked[::-1, ::-1]]
    counts = [sum(np.array_equal(image, other) for image in images) for other in turned]
    assert sum(counts) == len(images)
    assert min(counts) > len(images) / 6


def erased_rectangles(data: DeviceData, whole: Tensor) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of every image's erased rectangle, all zeros where there is none."""
    found = []
    for images, _ in epoch(data):
        for image in images[:, 0]:
            hole = image == 0
            assert torch.equal(image[~hole], whole[~hole])
            rows, columns = hole.any(1).nonzero().flatten().tolist(), hole.any(0).nonzero().flatten().tolist()
            assert hole.sum() == len(rows) * len(columns)
            assert all(b == a + 1 for side in (rows, columns) for a, b in pairwise(side))
            found.append((rows[0], columns[0], len(rows), len(columns)) if rows else (0, 0, 0, 0))
    return found


def test_a_rectangle_of_2_to_33_percent_of_the_area_is_erased_in_half_of_the_images() -> None:
    side = 64
    images = np.broadcast_to(np.arange(side * side).reshape(side, side, 1) % 256, (800, side, side, 1))
    data = data_of(images, ("erasing",))
    whole = normalised(data.train.images[:1], data)[0, 0]
    rectangles = [place for place in erased_rectangles(data, whole) if place[2]]
    assert 350 < len(rectangles) < 450
    assert len(set(rectangles)) > 0.99 * len(rectangles)
    areas = sorted(height * width / side**2 for _, _, height, width in rectangles)
    assert 0.018 < areas[0] < 0.03  # uniform in 0.02 to 0.33 but for whole pixels
    assert 0.15 < areas[len(areas) // 2] < 0.20
    assert 0.32 < areas[-1] < 0.34
    aspects = sorted(height / width for _, _, height, width in rectangles)
    assert 0.27 < aspects[0] < 0.33
    assert 0.85 < aspects[len(aspects) // 2] < 1.15  # log-uniform: as often tall as wide
    assert 3.0 < aspects[-1] < 3.7
    assert min(top for top, _, _, _ in rectangles) == min(left for _, left, _, _ in rectangles) == 0
    assert max(top + height for top, _, height, _ in rectangles if height < side) == side
    assert max(left + width for _, left, _, width in rectangles if width < side) == side


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 64), (64, 2), (8, 8)])
def test_what_is_erased_lies_inside_the_image_however_small_or_long_it_is(height: int, width: int) -> None:
    images = 2 * np.arange(height * width).reshape(1, height, width, 1) + 1 - np.arange(200).reshape(200, 1, 1, 1) % 2
    data = data_of(images, ("erasing",))
    erased = 0
    for batch, labels in epoch(data):
        plain = normalised(data.train.images[labels], data)
        holes = (batch == 0) & (plain != 0)
        assert torch.equal(torch.where(holes, plain, batch), plain)
        erased += int(holes.any((1, 2, 3)).sum())
    assert 70 < erased < 130


def test_a_rectangle_is_erased_from_every_channel() -> None:
    data = data_of(np.broadcast_to(random_images(64, channels=1) // 2 * 2 + [0, 1, 0], (64, 16, 16, 3)), ("erasing",))
    for images, _ in epoch(data):
        assert ((images == 0).all(1) == (images == 0).any(1)).all()


def test_a_tenth_of_the_images_turn_gray_and_the_others_stay_as_they_are() -> None:
    images = random_images(600, side=4)
    data = data_of(images, ("grayscale",))
    gray = 0
    for batch, labels in epoch(data):
        values = (batch.permute(0, 2, 3, 1) * data.deviation + data.mean).round().long().numpy()
        for value, number in zip(values, labels.tolist(), strict=True):
            if (value == value[:, :, :1]).all():
                luma = (images[number] * [0.2989, 0.587, 0.114]).sum(2)
                assert (np.abs(value[:, :, 0] - luma) <= 1).all()
                gray += 1
            else:
                assert np.array_equal(value, images[number])
    assert 30 < gray < 90


@pytest.mark.parametrize("name", DRAWN_AT_ONCE)
def test_chunks_of_a_batch_are_transformed_each_with_its_own_draw(name: str) -> None:
    images = np.repeat(random_images(1), 4 * CHUNK, axis=0)
    data = data_of(images, (name,))
    [(batch, _)] = epoch(data, batch_size=4 * CHUNK)
    chunks = torch.split(batch, CHUNK)
    assert all(torch.equal(chunk, chunk[:1].expand_as(chunk)) for chunk in chunks)
    assert len({chunk[0].numpy().tobytes() for chunk in chunks}) == 4


def test_jittered_colours_differ_while_light_and_dark_stay_where_they_were() -> None:
    images = np.where(np.arange(16) % 2, 180, 60).reshape(1, 16, 1, 1) * np.ones((64, 1, 8, 3), dtype=np.int64)
    data = data_of(images + np.array([10, 0, -10]), ("colour-jitter",))
    for batch, _ in epoch(data):
        values = (batch.permute(0, 2, 3, 1) * data.deviation + data.mean).round()
        assert (values >= 0).all()
        assert (values <= 255).all()
        assert (values[:, 1::2].mean((1, 2, 3)) > values[:, ::2].mean((1, 2, 3))).all()
        assert values.mean((1, 2, 3)).std() > 5


def test_randaugment_changes_images_in_shape_or_colour_and_leaves_them_uint8_values() -> None:
    data = data_of(random_images(512), ("randaugment",))
    changed = 0
    for batch, labels in epoch(data):
        values = batch.permute(0, 2, 3, 1) * data.deviation + data.mean
        torch.testing.assert_close(values, values.round().clamp(0, 255), rtol=0, atol=1e-3)
        changed += int((values.round() != data.train.images[labels]).any((1, 2, 3)).sum())
    assert changed > 300


@pytest.mark.parametrize("name", COLOURED)
@pytest.mark.parametrize("channels", [1, 4])
def test_an_augmentation_of_colours_is_refused_for_images_without(name: str, channels: int) -> None:
    message = f"augmentation '{name}' needs images of 3 channels but these have {channels}; leave it out"
    with pytest.raises(UserError, match=f"^{message}$"):
        data_of(random_images(4, channels=channels), ("crop", name))


def test_the_other_augmentations_take_images_of_one_channel() -> None:
    data = data_of(random_images(32, channels=1), tuple(name for name in EVERYTHING if name not in COLOURED))
    [(images, _)] = epoch(data)
    assert images.shape == (32, 1, 16, 16)


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_augmentation_changes_images_but_neither_their_order_nor_the_data_set(name: str) -> None:
    images = random_images(128)
    data, plain = data_of(images, (name,)), data_of(images)
    changed = 0
    for (augmented, labels), (whole, same_labels) in zip(epoch(data), epoch(plain), strict=True):
        assert torch.equal(labels, same_labels)
        assert (augmented.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert augmented.is_contiguous(memory_format=torch.channels_last)
        changed += int((augmented != whole).any(1).any(1).any(1).sum())
    assert changed > 0
    assert torch.equal(data.train.images, torch.from_numpy(images.astype(np.uint8)))


@pytest.mark.parametrize("name", [name for name in EVERYTHING if name not in DRAWN_AT_ONCE])
def test_images_of_a_batch_are_augmented_each_in_its_own_way(name: str) -> None:
    data = data_of(np.repeat(random_images(1), 64, axis=0), (name,))
    [(images, _)] = epoch(data, batch_size=64)
    assert len({image.numpy().tobytes() for image in images}) > 1


def test_vertical_flip_erasing_and_grayscale_leave_the_draws_of_crop_and_flip_as_they_were() -> None:
    images = random_images(64)
    few, more = data_of(images, ("crop", "flip")), data_of(images, ("crop", "flip", "erasing", "grayscale"))
    untouched = 0
    for (augmented, labels), (expected, same_labels) in zip(epoch(more), epoch(few), strict=True):
        assert torch.equal(labels, same_labels)
        untouched += int((augmented == expected).all(1).all(1).all(1).sum())
    assert 15 < untouched < 45


MIXINGS = [(0.5, 0.0), (0.0, 1.0), (0.5, 1.0)]
"""Alphas of mixup and cutmix."""


def ten_classes(images: np.ndarray, augmentation: tuple[str, ...] = ()) -> DeviceData:
    """The images, labelled by the last digit of their number."""
    data = data_of(images, augmentation)
    return replace(data, train=replace(data.train, labels=data.train.labels % 10), classes=10)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.0, 0.0), *MIXINGS])
def test_equal_seeds_give_equal_batches_and_others_do_not(mixup: float, cutmix: float) -> None:
    data = ten_classes(random_images(64), EVERYTHING)
    first, again, others = (epoch(data, seed=seed, noise=seed, mixup=mixup, cutmix=cutmix) for seed in (1, 1, 2))
    for (images, labels), (same_images, same_labels), (other_images, _) in zip(first, again, others, strict=True):
        assert torch.equal(images, same_images)
        assert torch.equal(labels, same_labels)
        assert not torch.equal(images, other_images)


def test_the_draws_of_torchvision_come_from_the_global_generator() -> None:
    data = data_of(random_images(64), ("randaugment", "colour-jitter"))
    (images, labels), (others, same_labels) = epoch(data, noise=1)[0], epoch(data, noise=2)[0]
    assert torch.equal(labels, same_labels)
    assert not torch.equal(images, others)


@pytest.mark.parametrize(("mixup", "cutmix"), MIXINGS)
def test_mixed_batches_are_floats_in_channels_last_and_their_labels_sum_to_1(mixup: float, cutmix: float) -> None:
    for images, labels in epoch(ten_classes(random_images(96), EVERYTHING), mixup=mixup, cutmix=cutmix):
        assert (images.dtype, labels.dtype) == (torch.float32, torch.float32)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.shape == (32, 10)
        torch.testing.assert_close(labels.sum(1), torch.ones(32))


def test_mixup_adds_two_images_with_the_weights_of_their_labels() -> None:
    data = data_of(random_images(64))
    whole = normalised(data.train.images, data)
    weights = set()
    for images, labels in epoch(data, batch_size=8, mixup=1.0):
        assert ((labels > 0).sum(1) == 2).all()
        torch.testing.assert_close(images, torch.einsum("nk,kchw->nchw", labels, whole))
        weights.add(round(labels[0].max().item(), 4))
    assert len(weights) == 8  # a new weight for each batch


def test_cutmix_takes_of_each_image_the_share_of_pixels_that_its_label_has() -> None:
    data = data_of(random_images(64))
    whole = normalised(data.train.images, data)
    for images, labels in epoch(data, batch_size=8, cutmix=1.0):
        for image, label in zip(images, labels, strict=True):
            of = (image[None] == whole).all(1)  # [64, H, W]: whose pixel it is
            assert (of.sum(0) == 1).all()
            torch.testing.assert_close(of.float().mean((1, 2)), label)


def test_with_both_on_about_half_of_the_batches_are_mixed_by_mixup_and_the_others_by_cutmix() -> None:
    data = data_of(random_images(400, side=4))
    whole = normalised(data.train.images, data)
    batches = epoch(data, batch_size=4, mixup=1.0, cutmix=1.0)
    cut = sum(bool((images[:1] == whole).all(1).any(0).all()) for images, _ in batches)
    assert 30 < cut < 70


def test_nothing_is_mixed_unless_asked_for() -> None:
    data = data_of(random_images(64))
    for images, labels in epoch(data):
        assert labels.dtype == torch.int64
        assert torch.equal(images, normalised(data.train.images[labels], data))


def test_crop_flip_and_cutout_do_not_wait_for_torchvision() -> None:
    code = """
import sys
import numpy, torch
from nas.data.augment import DeviceData, training_batches
from nas.data.load import SearchData, Split
split = Split(numpy.zeros((4, 16, 16, 3), numpy.uint8), numpy.zeros(4, numpy.int64))
data = SearchData("", split, split, ("a", "b"), "", ())
device_data = DeviceData.of(data, torch.device("cpu"), ("crop", "flip", "cutout"))
print(len(list(training_batches(device_data, 4, torch.Generator()))), "torchvision" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1 False\n"


def test_a_split_is_copied_to_the_device_as_it_is() -> None:
    images, labels = random_images(3).astype(np.uint8), np.array([2, 0, 1])
    split = DeviceSplit.of(Split(images, labels), CPU)
    assert split.images.dtype == torch.uint8
    assert split.images.tolist() == images.tolist()
    assert split.labels.tolist() == [2, 0, 1]
