import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.data.inspection import DataReport, describe, shared_images
from nas.data.load import Split, array_search_data, choose_default, load_search_data, load_test
from nas.data.sets import DATA_SETS
from nas.errors import DataError


def images(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def labels(count: int, classes: int) -> np.ndarray:
    return np.arange(count) % classes


def refusal(x: object, y: object = (0, 0, 1, 1), **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        array_search_data(np.asarray(x), np.asarray(y), **{"seed": 0, **settings})
    return str(caught.value)


def test_importing_it_imports_no_heavy_library() -> None:
    code = "import sys, nas.data.load; print({'torch', 'torchvision', 'sklearn', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# The validation split


def test_the_validation_split_is_stratified_even_when_rows_are_grouped_by_class() -> None:
    data = array_search_data(images(100, 8, 8), np.repeat([0, 1], [70, 30]), seed=0)
    assert np.bincount(data.validation.labels).tolist() == [14, 6]
    assert np.bincount(data.train.labels).tolist() == [56, 24]


def test_train_and_validation_together_are_the_given_images_with_their_labels() -> None:
    x = np.repeat(np.arange(100, dtype=np.uint8), 16).reshape(100, 4, 4)
    data = array_search_data(x, labels(100, 4), seed=5)
    for split in (data.train, data.validation):
        assert (split.images[:, 0, 0, 0] % 4 == split.labels).all()
    together = np.concatenate([data.train.images, data.validation.images])
    assert sorted(together[:, 0, 0, 0]) == list(range(100))


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    x, y = images(60, 8, 8), labels(60, 3)
    first, again, other = (array_search_data(x, y, seed=seed) for seed in (7, 7, 8))
    assert (first.train.images == again.train.images).all()
    assert (first.validation.images == again.validation.images).all()
    assert (first.validation.images != other.validation.images).any()


def test_a_fifth_is_validated_on_and_a_tenth_from_ten_thousand_images_on() -> None:
    assert len(array_search_data(images(9_998, 4, 4), labels(9_998, 2), seed=0).validation.labels) == 2_000
    assert len(array_search_data(images(10_000, 4, 4), labels(10_000, 2), seed=0).validation.labels) == 1_000


def test_the_validation_share_can_be_chosen() -> None:
    data = array_search_data(images(40, 4, 4), labels(40, 2), seed=0, validation_share=0.5)
    assert len(data.validation.labels) == 20


@pytest.mark.parametrize("share", [0, -0.1, 0.51, float("nan")])
def test_a_validation_share_outside_0_to_a_half_is_refused(share: float) -> None:
    told = refusal(images(4, 4, 4), validation_share=share)
    assert told == f"--validation-share is {share}; it must be above 0 and at most 0.5."


def test_a_negative_seed_is_refused() -> None:
    assert refusal(images(4, 4, 4), seed=-1) == "--seed is -1; it must be 0 or more."


def test_fewer_images_are_drawn_by_class_and_the_validation_split_stays_whole() -> None:
    whole = load_search_data("digits", seed=0)
    few = load_search_data("digits", seed=0, images=100)
    assert len(few.train.labels) == pytest.approx(100, abs=5)
    counts = np.bincount(whole.train.labels) * 100 / len(whole.train.labels)
    assert np.abs(np.bincount(few.train.labels) - counts).max() <= 0.5
    assert (few.validation.images == whole.validation.images).all()
    assert (few.checksum, few.class_names, few.shape) == (whole.checksum, whole.class_names, whole.shape)
    known = {image.tobytes(): label for image, label in zip(whole.train.images, whole.train.labels, strict=True)}
    assert all(known[image.tobytes()] == label for image, label in zip(few.train.images, few.train.labels, strict=True))


def test_the_images_drawn_depend_on_the_seed_alone() -> None:
    first, again, other = (load_search_data("digits", seed=seed, images=50).train for seed in (1, 1, 2))
    assert (first.images == again.images).all()
    assert first.images.shape != other.images.shape or (first.images != other.images).any()


@pytest.mark.parametrize("images", [None, 1_151])
def test_all_images_may_be_asked_for(images: int | None) -> None:
    assert len(load_search_data("digits", seed=0, images=images).train.labels) == 1_151


@pytest.mark.parametrize("images", [0, 9, 1_152])
def test_too_few_or_too_many_images_are_refused(images: int) -> None:
    with pytest.raises(DataError) as caught:
        load_search_data("digits", seed=0, images=images)
    assert str(caught.value) == (
        f"--images is {images:,}; it must be from 10, one a class, to 1,151, the size of the training split."
    )


# What a search is given


def test_arrays_become_search_data() -> None:
    data = array_search_data(images(20, 6, 8, 3), labels(20, 2), seed=0, class_names=["cat", "dog"], name="pets")
    assert (data.name, data.shape, data.classes, data.class_names) == ("pets", (3, 6, 8), 2, ("cat", "dog"))
    assert data.train.images.dtype == np.uint8
    assert data.train.labels.dtype == np.int64
    assert dataclasses.is_dataclass(data)


def test_classes_without_names_are_numbered() -> None:
    assert array_search_data(images(6, 4, 4), labels(6, 3), seed=0).class_names == ("0", "1", "2")


def test_the_checksum_is_that_of_shape_class_names_images_and_labels() -> None:
    x, y = np.zeros((4, 4, 4), np.uint8), np.array([0, 0, 1, 1])
    expected = hashlib.sha256(
        b'{"shape": [4, 4, 4, 1], "class_names": ["0", "1"]}\n' + bytes(64) + y.astype("<i8").tobytes()
    ).hexdigest()
    assert array_search_data(x, y, seed=0).checksum == expected


def test_the_checksum_does_not_depend_on_the_seed_but_on_every_datum() -> None:
    x, y = images(20, 4, 4), labels(20, 2)
    changed = x.copy()
    changed[3, 2, 1] ^= 1
    checksum = array_search_data(x, y, seed=0).checksum
    assert array_search_data(x, y, seed=1, validation_share=0.4).checksum == checksum
    others = [
        array_search_data(changed, y, seed=0).checksum,
        array_search_data(x, y[::-1], seed=0).checksum,
        array_search_data(x, y, seed=0, class_names=["a", "b"]).checksum,
    ]
    assert len({checksum, *others}) == 4


def test_the_checksum_tells_wide_images_from_tall_ones() -> None:
    wide, tall = (np.zeros((4, *shape), np.uint8) for shape in ((4, 8), (8, 4)))
    y = labels(4, 2)
    assert array_search_data(wide, y, seed=0).checksum != array_search_data(tall, y, seed=0).checksum


@pytest.mark.parametrize(
    ("shape", "augmentation"),
    [
        ((20, 20, 3), ("crop", "flip")),
        ((19, 40, 3), ()),
        ((28, 28, 1), ("crop",)),
        ((28, 28), ("crop",)),
        ((32, 32, 4), ("crop",)),
        ((8, 8, 1), ()),
    ],
)
def test_augmentation_follows_the_shape_of_the_images(shape: tuple[int, ...], augmentation: tuple[str, ...]) -> None:
    assert array_search_data(images(4, *shape), labels(4, 2), seed=0, name="digits").augmentation == augmentation


# The digits, the default and the report


@pytest.mark.parametrize("size", [3, 1025])
def test_an_image_size_outside_4_to_1024_is_refused(size: int) -> None:
    with pytest.raises(DataError, match=rf"^--image-size is {size}; it must be 4 to 1024 pixels\.$"):
        load_search_data("digits", seed=0, image_size=size)


def test_the_digits_are_embedded() -> None:
    data = load_search_data("digits", seed=3)
    test, class_names = load_test("digits")
    assert (data.name, data.shape, data.classes, data.augmentation) == ("digits", (1, 8, 8), 10, ())
    assert class_names == data.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert (len(data.train.labels), len(data.validation.labels), len(test.labels)) == (1151, 287, 359)
    assert set(np.unique(test.images[:, :, :, 0])) == {round(value * 255 / 16) for value in range(17)}


def test_the_digits_can_be_enlarged() -> None:
    assert load_search_data("digits", seed=0, image_size=16).shape == (1, 16, 16)


def test_the_default_is_cifar100_when_it_can_be_downloaded(tmp_path: Path) -> None:
    assert choose_default(tmp_path, reachable=lambda: True) == ("cifar100", None)


def test_the_default_is_cifar100_when_it_is_on_disk_without_asking_the_network(tmp_path: Path) -> None:
    (tmp_path / "cifar-100-python").mkdir()
    for name in ("train", "test", "meta"):
        (tmp_path / "cifar-100-python" / name).touch()
    assert choose_default(tmp_path, reachable=lambda: pytest.fail("asked the network")) == ("cifar100", None)


def test_the_default_is_cifar100_when_its_whole_archive_is_on_disk(tmp_path: Path) -> None:
    archive = tmp_path / "cifar-100-python.tar.gz"
    archive.touch()
    assert choose_default(tmp_path, reachable=lambda: False)[0] == "digits"
    with archive.open("wb") as stream:
        stream.truncate(169_001_437)
    assert choose_default(tmp_path, reachable=lambda: False) == ("cifar100", None)


def test_without_cifar100_the_default_is_the_digits_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    assert choose_default(reachable=lambda: False) == (
        "digits",
        f"CIFAR-100 is neither in {tmp_path} nor downloadable, so the small embedded digits (1,797 images of 8x8) are "
        f"used instead. For the real thing go online or put cifar-100-python.tar.gz in {tmp_path}.",
    )


def test_shared_images_are_counted_in_the_second_split() -> None:
    a, b = images(6, 4, 4, 1), images(5, 4, 4, 1, seed=1)
    b[0] = b[3] = a[2]
    y = np.zeros(6, np.int64)
    assert shared_images(Split(a, y), Split(b, y[:5])) == 2
    assert shared_images(Split(a, y), Split(a.reshape(6, 2, 8, 1), y)) == 0


def test_a_report_counts_both_splits(tmp_path: Path) -> None:
    x = images(8, 5, 6, 3)
    file = tmp_path / "pets.npz"
    np.savez(file, x_train=x[:6], y_train=[0, 0, 0, 0, 1, 1], x_test=x[4:], y_test=[0, 1, 0, 1], class_names=["a", "b"])
    assert describe(str(file)) == DataReport(
        name="pets",
        shape=(3, 5, 6),
        classes=2,
        class_names=("a", "b"),
        training_images=6,
        test_images=4,
        smallest_class=2,
        largest_class=4,
        shared_images=2,
        doubts=("2 of 4 test images are training images too",),
    )


@pytest.mark.parametrize("dataset", ["cifar", "", "no/such/folder", "missing.npz"])
def test_an_unknown_data_set_is_refused_with_what_is_accepted(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        load_search_data(dataset, seed=0)
    assert str(caught.value) == (
        f"data set '{dataset}' is no known name and no such file or folder exists. Give one of "
        f"{', '.join(DATA_SETS)}, a .npz file with x_train, y_train, x_test and y_test, or an image folder "
        "(FOLDER/train/CLASS/* with FOLDER/test/CLASS/* (or val), or FOLDER/CLASS/*)."
    )


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.touch()
    with pytest.raises(DataError, match=r"data\.csv' is a file but not a \.npz\. Give one of "):
        load_search_data(str(file), seed=0)
