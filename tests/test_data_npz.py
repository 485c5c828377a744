import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.data.inspection import describe
from nas.data.load import load_search_data, load_test
from nas.errors import DataError


def images(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def refusal(dataset: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_search_data(str(dataset), **{"seed": 0, **settings})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def npz(folder: Path, **changes: Any) -> Path:
    arrays = {
        "x_train": images(20, 6, 8, 3),
        "y_train": np.arange(20) % 2,
        "x_test": images(6, 6, 8, 3, seed=1),
        "y_test": np.arange(6) % 2,
        **changes,
    }
    np.savez(folder / "pets.npz", **{name: array for name, array in arrays.items() if array is not None})
    return folder / "pets.npz"


def test_an_npz_file_is_a_data_set(tmp_path: Path) -> None:
    file = npz(tmp_path, class_names=["cat", "dog"])
    data = load_search_data(str(file), seed=0)
    test, class_names = load_test(str(file))
    assert (data.name, data.shape, data.class_names) == ("pets", (3, 6, 8), ("cat", "dog"))
    assert (len(data.train.labels), len(data.validation.labels)) == (16, 4)
    assert (test.images == images(6, 6, 8, 3, seed=1)).all()
    assert test.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert class_names == ("cat", "dog")


def test_the_test_arrays_of_an_npz_are_not_read_for_a_search(tmp_path: Path) -> None:
    file = npz(tmp_path, x_test=np.array([{"pickled": "never loaded"}], object), y_test=np.array(["no label"]))
    assert load_search_data(str(file), seed=0).classes == 2
    with pytest.raises(
        DataError, match=r"^x_test of .*pets\.npz cannot be read: ValueError: Object arrays cannot be loaded"
    ):
        load_test(str(file))


def test_damaged_test_arrays_do_not_keep_an_npz_from_being_searched(tmp_path: Path) -> None:
    file = npz(tmp_path)
    with zipfile.ZipFile(file) as archive:
        start = archive.getinfo("x_test.npy").header_offset
    damaged = bytearray(file.read_bytes())
    damaged[start + 200 : start + 400] = bytes(200)
    file.write_bytes(damaged)
    assert load_search_data(str(file), seed=0).classes == 2
    with pytest.raises(DataError, match=r"^x_test of .*pets\.npz cannot be read: "):
        load_test(str(file))


def test_an_npz_can_be_resized(tmp_path: Path) -> None:
    file = npz(tmp_path)
    assert load_search_data(str(file), seed=0, image_size=4).shape == (3, 4, 4)
    assert load_test(str(file), image_size=4)[0].images.shape == (6, 4, 4, 3)


def test_arrays_missing_from_an_npz_are_named(tmp_path: Path) -> None:
    assert refusal(npz(tmp_path, x_test=None, y_test=None, extra=np.ones(1))) == (
        f"{tmp_path}/pets.npz has no x_test, y_test; it holds x_train, y_train, extra. "
        "Save it with x_train, y_train, x_test, y_test."
    )


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "pets.npz"
    file.write_bytes(content)
    told = refusal(file)
    assert told.startswith(f"{file} cannot be read as .npz: ")
    assert told.endswith(" Write it with numpy.savez.")


def test_a_single_array_called_npz_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pets.npz"
    with file.open("wb") as stream:
        np.save(stream, np.ones(3))
    assert refusal(file) == f"{file} holds one array, not a .npz archive. Write it with numpy.savez."


def test_a_zip_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    file = npz(tmp_path, x_train=None)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("x_train", b"text")
    assert refusal(file) == f"x_train of {file} is not an array. Save plain arrays with numpy.savez."


def test_no_byte_of_an_npz_can_break_loading_other_than_with_a_data_error(tmp_path: Path) -> None:
    file = npz(tmp_path, x_train=images(6, 4, 4), y_train=np.arange(6) % 2)
    whole = file.read_bytes()
    broken = 0
    directory = range(len(whole) - 400, len(whole))
    for place in (*range(0, len(whole), 13), *directory):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            load_search_data(str(file), seed=0)
        except DataError:
            broken += 1
    assert broken > 50


@pytest.mark.parametrize(
    "class_names", [np.array([1, 2]), np.array("cat"), np.array([["cat"], ["dog"]]), np.array([b"cat", b"dog"])]
)
def test_class_names_must_be_a_list_of_texts(tmp_path: Path, class_names: np.ndarray) -> None:
    assert "; give one text a class." in refusal(npz(tmp_path, class_names=class_names))


def test_test_images_of_another_shape_are_refused(tmp_path: Path) -> None:
    file = npz(tmp_path, x_test=images(6, 8, 8, 3))
    with pytest.raises(
        DataError, match=r"x_test has images of shape \(8, 8, 3\) but x_train of \(6, 8, 3\); give both"
    ):
        load_test(str(file))


def test_test_labels_beyond_those_of_training_are_refused(tmp_path: Path) -> None:
    file = npz(tmp_path, y_test=np.array([0, 1, 2, 0, 1, 2]))
    with pytest.raises(DataError, match=r"^y_test of .*pets\.npz holds the label 2 but there are 2 classes"):
        load_test(str(file))


def test_an_error_about_an_array_names_it_and_its_file(tmp_path: Path) -> None:
    assert refusal(npz(tmp_path, x_train=images(20, 3, 8, 8))) == (
        f"x_train of {tmp_path}/pets.npz has shape (20, 3, 8, 8): channels come first; "
        "give x_train.transpose(0, 2, 3, 1)."
    )


def test_class_names_that_are_empty_or_there_twice_are_refused(tmp_path: Path) -> None:
    assert refusal(npz(tmp_path, class_names=["cat", " "])) == (
        f"class_names of {tmp_path}/pets.npz holds an empty name; give each class one."
    )
    assert refusal(npz(tmp_path, class_names=["cat", "cat"])) == (
        f"class_names of {tmp_path}/pets.npz holds cat several times; give each class a name of its own."
    )


def test_class_names_that_are_no_text_are_written_out(tmp_path: Path) -> None:
    file = npz(tmp_path, class_names=["caf\udce9", "half \ud83d"])
    assert load_search_data(str(file), seed=0).class_names == (r"caf\xe9", r"half \ud83d")


def test_labels_that_start_at_1_are_told_as_that(tmp_path: Path) -> None:
    told = f"y_train of {tmp_path}/pets.npz starts at 1 and goes up to 2; labels start at 0: subtract 1."
    assert refusal(npz(tmp_path, y_train=np.arange(20) % 2 + 1)) == told
    assert refusal(npz(tmp_path, y_train=np.arange(20) % 2 + 1, class_names=["cat", "dog"])) == told


def test_arrays_that_nobody_reads_are_named(tmp_path: Path) -> None:
    file = npz(tmp_path, x_val=images(4, 6, 8, 3), y_val=np.arange(4) % 2, classes=["cat", "dog"])
    assert describe(str(file)).doubts == (
        f"x_val, y_val, classes of {file} are not read, only x_train, y_train, x_test, y_test and class_names",
    )


@pytest.mark.parametrize(
    ("highest", "kind", "told"), [(3, np.uint8, 3), (16, np.float64, 16), (2, np.float32, 2), (1, np.int64, 1)]
)
def test_values_that_use_next_to_nothing_of_their_range_are_told(
    tmp_path: Path, highest: int, kind: type, told: int
) -> None:
    x: np.ndarray = np.random.default_rng(0).integers(0, highest + 1, (20, 6, 8, 3)).astype(kind)
    assert describe(str(npz(tmp_path, x_train=x))).doubts == (
        f"images hold values 0 to {told} of 0 to 255; they look scaled or binary: multiply them",
    )


def test_classes_without_a_test_image_are_named(tmp_path: Path) -> None:
    file = npz(tmp_path, y_test=np.zeros(6, int), class_names=["cat", "dog"])
    assert describe(str(file)).doubts == ("1 of 2 classes have no test image: dog",)
