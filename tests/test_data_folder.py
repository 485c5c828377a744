from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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


def picture(
    file: Path, colour: int | tuple[int, ...] = (10, 20, 30), size: tuple[int, int] = (8, 6), mode: str = "RGB"
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(file)


def classes_of_pictures(root: Path, count: int, **settings: Any) -> Path:
    for number, name in enumerate(("cat", "dog")):
        for index in range(count):
            picture(root / name / f"{index:02}.png", (number, index, 0), **settings)
    return root


def test_a_folder_with_train_and_test_is_a_data_set(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path / "train", 5)
    picture(tmp_path / "test" / "dog" / "a.png", (1, 2, 3))
    data = load_search_data(str(tmp_path), seed=0)
    test, class_names = load_test(str(tmp_path))
    assert (data.name, data.shape, data.class_names) == (tmp_path.name, (3, 6, 8), ("cat", "dog"))
    assert data.train.images[:, 0, 0, :].tolist()[0] == [0, 0, 0]
    assert (data.train.images[:, 0, 0, 0] == data.train.labels).all()
    assert test.images[0, 5, 7].tolist() == [1, 2, 3]
    assert (test.labels.tolist(), class_names) == ([1], ("cat", "dog"))


def test_val_serves_where_there_is_no_test(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path / "train", 3)
    classes_of_pictures(tmp_path / "val", 2)
    assert load_test(str(tmp_path))[0].labels.tolist() == [0, 0, 1, 1]


def test_a_fifth_of_a_folder_without_test_is_set_apart_whatever_the_seed(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path, 10)
    test = load_test(str(tmp_path))[0]
    assert test.labels.tolist() == [0, 0, 1, 1]
    apart = {tuple(image[0, 0]) for image in test.images}
    for seed in (0, 1):
        data = load_search_data(str(tmp_path), seed=seed)
        seen = {tuple(image[0, 0]) for split in (data.train, data.validation) for image in split.images}
        assert len(seen) == 16
        assert not seen & apart


def test_the_test_files_of_a_folder_are_not_opened_for_a_search(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path / "train", 5)
    (tmp_path / "test" / "cat").mkdir(parents=True)
    (tmp_path / "test" / "cat" / "a.png").write_bytes(b"no image")
    assert load_search_data(str(tmp_path), seed=0).classes == 2
    with pytest.raises(DataError, match=r"test/cat/a\.png cannot be read as an image"):
        load_test(str(tmp_path))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "plane"):
        for index in range(4):
            picture(tmp_path / name / f"{index}.png")
    assert load_search_data(str(tmp_path), seed=0).class_names == ("plane", "train")


def test_images_of_different_sizes_need_an_image_size(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path, 4, size=(30, 20))
    picture(tmp_path / "dog" / "03.png", size=(9, 12))
    told = refusal(tmp_path)
    assert told == (
        f"the images of {tmp_path} have different sizes: {tmp_path}/cat/00.png 30x20, {tmp_path}/dog/03.png 9x12. "
        "Add --image-size 20 (the median)."
    )
    assert load_search_data(str(tmp_path), seed=0, image_size=16).shape == (3, 16, 16)


def test_large_images_need_an_image_size(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path, 3, size=(1025, 4))
    assert refusal(tmp_path) == f"the images of {tmp_path} are 1025x4. Add --image-size, for example 32."


def test_test_images_must_have_the_size_of_the_training_images(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path / "train", 3, size=(8, 8))
    classes_of_pictures(tmp_path / "test", 2, size=(9, 9))
    assert load_search_data(str(tmp_path), seed=0).shape == (3, 8, 8)
    with pytest.raises(DataError, match=r"train/cat/00\.png 8x8, .*test/cat/00\.png 9x9\. Add --image-size 9"):
        load_test(str(tmp_path))


def test_the_centre_square_of_an_image_is_used(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for index in range(3):
            picture(tmp_path / name / f"{index}.png", size=(24, 8))
            with Image.open(tmp_path / name / f"{index}.png") as wide:
                wide.paste((255, 255, 255), (8, 0, 16, 8))
                wide.save(tmp_path / name / f"{index}.png")
    square = load_search_data(str(tmp_path), seed=0, image_size=4).train.images
    assert square.shape == (2, 4, 4, 3)
    assert (square[:, :, 1:3] == 255).all()
    assert (square[:, :, (0, 3)] < 255).all()


def test_grey_palette_and_transparent_images_become_rgb_on_white(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path / "train", 2)
    picture(tmp_path / "test" / "cat" / "a.png", 77, mode="L")
    picture(tmp_path / "test" / "cat" / "b.png", (1, 2, 3, 4), mode="RGBA")
    palette = Image.new("P", (8, 6), 0)
    palette.putpalette([5, 6, 7] * 4)
    palette.save(tmp_path / "test" / "cat" / "c.png", transparency=bytes([0, 255, 255, 255]))
    test = load_test(str(tmp_path))[0]
    assert test.images[:, 0, 0].tolist() == [[77, 77, 77], [251, 251, 251], [255, 255, 255]]


def test_an_image_of_16_bits_is_refused(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path, 3)
    Image.new("I;16", (8, 6), 40_000).save(tmp_path / "cat" / "03.png")
    told = refusal(tmp_path)
    assert told == f"{tmp_path}/cat/03.png has pixels of mode I;16, more than 8 bits; convert it to 8 bits."


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
@pytest.mark.parametrize("image_size", [None, 4])
def test_a_damaged_image_is_named(tmp_path: Path, suffix: str, image_size: int | None) -> None:
    root = classes_of_pictures(tmp_path, 3, size=(64, 64))
    damaged = root / "dog" / f"zz.{suffix}"
    Image.fromarray(images(1, 64, 64, 3)[0]).save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:-600])
    assert refusal(root, image_size=image_size).startswith(f"{damaged} cannot be read as an image: ")


def test_hidden_files_and_folders_and_other_files_are_ignored(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path, 5)
    (tmp_path / "cat" / "._00.png").write_bytes(b"a resource fork")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "README.md").touch()
    (tmp_path / "dog" / "notes.txt").touch()
    report = describe(str(tmp_path))
    assert (report.class_names, report.training_images, report.test_images) == (("cat", "dog"), 8, 2)


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path, 5)
    (tmp_path / "eel").mkdir()
    assert "1 of 3 classes have fewer than 2 training images, test images aside: 'eel' (0)." in refusal(tmp_path)


def test_a_class_of_two_images_keeps_one_for_training_which_is_too_few(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path, 2)
    assert "2 of 2 classes have fewer than 2 training images, test images aside: 'cat' (1)" in refusal(tmp_path)


def test_a_train_folder_without_a_test_folder_is_refused(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path / "train", 3)
    assert refusal(tmp_path).startswith(f"{tmp_path} has a folder train but neither test nor val. The layout is FOLDER")


def test_a_test_class_unknown_to_training_is_refused(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path / "train", 3)
    classes_of_pictures(tmp_path / "test", 3)
    picture(tmp_path / "test" / "eel" / "a.png")
    with pytest.raises(DataError, match=r"test has 1 classes that train has not: 'eel'\. Give both the same classes\."):
        load_test(str(tmp_path))


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert refusal(tmp_path).startswith(f"{tmp_path} has no folders of images. The layout is FOLDER/train/CLASS/*")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    assert refusal(tmp_path).startswith(f"{tmp_path} has no images to train with; put .png, .jpg")
