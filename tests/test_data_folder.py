import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.data.inspection import describe
from nas.data.load import load_search_data, load_test
from nas.data.own.parts import FOLDER_LAYOUTS
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
        f"the images of {tmp_path} have different sizes: {tmp_path}/cat/00.png 30x20, but 1 of 6 another, the first "
        f"{tmp_path}/dog/03.png 9x12. Add --image-size 20 (the median)."
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
    for name in (".ipynb_checkpoints", "__MACOSX/cat", "cat/.thumbnails", "dog/@eaDir/deeper"):
        picture(tmp_path / name / "00.png")
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


def test_a_test_class_unknown_to_training_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path / "train", 3)
    classes_of_pictures(tmp_path / "test", 3)
    picture(tmp_path / "test" / "eel" / "a.png")
    told = f"{tmp_path}/test has 1 classes that train has not: 'eel'. Give both the same classes."
    assert refusal(tmp_path) == told
    with pytest.raises(DataError, match=re.escape(told)):
        load_test(str(tmp_path))


def test_that_of_several_pages_or_frames_the_first_alone_is_read_is_told(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path, 5)
    pages = [Image.new("RGB", (8, 6), (0, 200, number)) for number in range(3)]
    pages[0].save(tmp_path / "cat" / "pages.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "cat" / "page.tif")
    pages[0].save(tmp_path / "dog" / "frames.webp", save_all=True, append_images=pages[1:], lossless=True)
    names = "cat/pages.tif, dog/frames.webp"
    told = f"of 2 files of {tmp_path} that hold several pictures, the first alone is read: {names}"
    assert told in doubts_about(tmp_path)


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert refusal(tmp_path).startswith(f"{tmp_path} has no folders of images. The layout is FOLDER/train/CLASS/*")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    assert refusal(tmp_path).startswith(f"{tmp_path} has no images to train with; put .png, .jpg")


def test_links_are_followed_but_no_folder_is_read_twice(tmp_path: Path) -> None:
    root = classes_of_pictures(tmp_path / "data", 5)
    for colour, name in enumerate(("more", "data/dog/.store")):
        for number in range(3):
            picture(tmp_path / name / f"{number}.png", (9, colour, number))
    for link, target in (("itself", "."), ("all", ".."), ("everything", "../../.."), ("cats", "../cat")):
        (root / "dog" / link).symlink_to(target)
    (root / "dog" / "x").symlink_to(tmp_path / "more")
    (root / "dog" / "y").symlink_to(tmp_path / "more")
    (root / "dog" / "z").symlink_to(".store")
    (root / "eel").symlink_to("nowhere")
    report = describe(str(root))
    assert (report.classes, report.training_images + report.test_images) == (2, 5 + 5 + 3 + 3)
    assert report.doubts[0] == (
        f"5 links of {root} are not followed, for they lead to what is read anyway: "
        "dog/all, dog/cats, dog/everything, dog/itself, dog/y"
    )
    assert report.doubts[1] == f"1 links of {root} lead nowhere: eel"


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path, 5)
    name, place = "n" * 250, os.open(tmp_path / "cat", os.O_RDONLY)
    for _ in range(20):  # deeper than a path may be long
        os.mkdir(name, dir_fd=place)
        inside = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inside
    os.close(place)
    told = refusal(tmp_path)
    assert told.startswith(f"{tmp_path}/cat/{name}/{name}/")
    assert told.endswith(f"/{name} cannot be read: File name too long. Make it readable or take it away.")


@pytest.mark.parametrize(
    ("training", "test"),
    [
        ("seg_train", "seg_test"), ("train_images", "test_images"), ("trainData", "testData"), ("1. train", "2. test"),
        ("train1", "test1"), ("trainval", "test"), ("train", "holdout"), ("Trainingsdaten", "Testdaten"),
        ("entrenamiento", "prueba"), ("entraînement", "validation"), ("train/train", "test/test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
    ],
)  # fmt: skip
def test_parts_are_known_by_what_their_names_say(tmp_path: Path, training: str, test: str) -> None:
    classes_of_pictures(tmp_path / training, 5)
    classes_of_pictures(tmp_path / test, 2)
    assert len(load_test(str(tmp_path))[0].labels) == 4
    assert load_search_data(str(tmp_path), seed=0).class_names == ("cat", "dog")


def test_folders_that_can_only_be_parts_are_no_classes(tmp_path: Path) -> None:
    layout = f"The layout is {FOLDER_LAYOUTS}."
    flat, half, other = tmp_path / "flat", tmp_path / "half", tmp_path / "other"
    for name in ("flat/train1", "flat/test1", "half/test"):
        picture(tmp_path / name / "0.png")
    assert refusal(flat) == f"test1, train1 of {flat} have no folders of classes. {layout}"
    classes_of_pictures(half / "train", 3)
    assert refusal(half) == f"{half} has a folder train but no folders of classes in test. {layout}"
    classes_of_pictures(other / "seg_train", 3)
    picture(other / "seg_test" / "cat" / "0.png")
    assert refusal(other) == (
        f"seg_test, seg_train of {other} are parts of a data set but do not hold the same folders of classes. {layout}"
    )


def folders_of_pictures(root: Path, *names: str, count: int = 6) -> None:
    for number, name in enumerate(names):
        for other in range(count):
            picture(root / name / f"{other}.png", (number, other, 200))


def doubts_about(root: Path) -> tuple[str, ...]:
    return describe(str(root), image_size=8).doubts


def test_classes_that_look_like_parts_are_told(tmp_path: Path) -> None:
    for name in ("train station", "test tube", "bus"):
        for number in range(6):
            picture(tmp_path / "names" / name / f"{number}.png", (len(name), number, 200))
    assert doubts_about(tmp_path / "names") == (
        f"test tube, train station of {tmp_path}/names are read as classes: if they are parts of the data, call them "
        "train and test and give each the folders of the classes",
    )
    folders_of_pictures(tmp_path / "years", "2019/cat", "2019/dog", "2020/cat", "2020/dog")
    assert doubts_about(tmp_path / "years") == (
        f"every class of {tmp_path}/years (2019, 2020) has the same folders, cat, dog, which are read as one: are "
        "those the classes, or parts?",
    )
    folders_of_pictures(tmp_path / "nested", "animals/cat", "animals/dog", "things/car", "things")
    assert doubts_about(tmp_path / "nested") == (
        f"the images of 2 of 2 classes of {tmp_path}/nested lie in several folders, which are read as one: animals "
        "(cat, dog), things (., car); are those the classes?",
    )


def test_classes_without_a_test_image_or_of_nearly_one_name_are_told(tmp_path: Path) -> None:
    folders_of_pictures(tmp_path, "train/Cat", "train/cat", "train/dog", "test/cat", "test/Cat", count=4)
    assert doubts_about(tmp_path) == (
        f"classes of {tmp_path}/train whose names differ in case only: Cat and cat",
        f"1 of 3 classes have no image in {tmp_path}/test: dog",
    )
    (tmp_path / "test" / "Cat").rename(tmp_path / "test" / "Dog")
    with pytest.raises(DataError, match=r"1 classes that train has not: 'Dog' \(train: 'dog'\)\. Give both"):
        load_test(str(tmp_path))


def test_classes_that_lie_one_folder_deeper_are_found_for_an_error(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path / "download" / "pets", 4)
    assert refusal(tmp_path) == (
        f"{tmp_path} has 1 class, download, but {tmp_path}/download/pets has 2 folders: give --dataset "
        f"{tmp_path}/download/pets."
    )
    assert load_search_data(f"{tmp_path}/download/pets", seed=0).classes == 2


def test_a_class_of_files_that_are_not_read_is_named_with_them(tmp_path: Path) -> None:
    classes_of_pictures(tmp_path, 5)
    for name in ("a.gif", "b.GIF", "c.txt"):
        (tmp_path / "eel").mkdir(exist_ok=True)
        (tmp_path / "eel" / name).write_text("x")
    assert refusal(tmp_path).startswith(
        f"eel of {tmp_path} has no image that can be read but other files (2 .gif, 1 .txt). Convert them to .png"
    )


def test_names_of_several_lines_are_told_in_one(tmp_path: Path) -> None:
    root = classes_of_pictures(tmp_path / "a\nb", 5)
    (root / "dog" / "c\x1b\n.txt").touch()
    assert doubts_about(root)[0] == (
        rf"1 files of {tmp_path}/a\nb are not read, for they are no images of a class: dog/c\x1b\n.txt"
    )
    (root / "dog" / "02.png").write_text("damaged")
    assert refusal(root).startswith(rf"{tmp_path}/a\nb/dog/02.png cannot be read as an image: ")
