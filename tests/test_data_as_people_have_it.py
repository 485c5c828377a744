"""Data as people have them: parts by any name, pictures as viewers show them, files that nobody reads, odd labels."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nas
from nas.cli.main import main
from nas.data.arrays import LARGEST_SIDE
from nas.data.inspection import describe, doubts
from nas.data.load import array_search_data, check_apart, data_name, load_search_data, load_test, placed
from nas.errors import DataError
from nas.results.export import predict

SIDE = 8
TRANSPARENT, RED, WHITE = (0, 0, 0, 0), (255, 0, 0), (255, 255, 255)


def picture(seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))


def part(folder: Path, images: int, first: int = 0) -> None:
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(images):
            picture(first + 1000 * label + number).save(folder / name / f"{number:03}.png")


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_search_data(str(path), seed=0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        ("Training", "Testing"), ("train", "test"), ("TRAIN", "VAL"), ("Train", "Valid"), ("training_set", "test_set"),
        ("train", "validation"), ("Trains", "Tests"), ("training", "dev"), ("Training-Set", "eval"),
        ("Train Set", "Evals"),
    ],
)  # fmt: skip
def test_the_parts_of_a_data_set_may_have_any_usual_name(tmp_path: Path, names: tuple[str, str]) -> None:
    part(tmp_path / names[0], 10)
    part(tmp_path / names[1], 4, first=500)
    data = load_search_data(str(tmp_path), seed=0)
    assert data.class_names == ("cat", "dog")
    assert len(data.train.labels) + len(data.validation.labels) == 20
    assert len(load_test(str(tmp_path))[0].labels) == 8


def test_a_test_part_is_taken_before_a_validation_part_whose_files_are_told(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "val", "test")):
        part(tmp_path / name, 6, first=100 * number)
    assert len(load_test(str(tmp_path))[0].labels) == 12
    told = doubts(load_search_data(str(tmp_path), seed=0), str(tmp_path))
    assert told[0].startswith(f"12 files of {tmp_path} are not read")
    assert "val/cat/000.png" in told[0]


def test_parts_that_are_there_twice_or_lack_the_other_are_refused(tmp_path: Path) -> None:
    part(tmp_path / "both" / "train", 4)
    part(tmp_path / "both" / "Training", 4)
    assert "has Training and train, which are the same part" in refusal(tmp_path / "both")
    part(tmp_path / "lone" / "Training", 4)
    assert "has a folder Training but neither test nor val" in refusal(tmp_path / "lone")
    part(tmp_path / "late" / "test", 4)
    part(tmp_path / "late" / "val", 4)
    assert "has a folder test and val but no train" in refusal(tmp_path / "late")


def test_classes_may_be_called_like_parts(tmp_path: Path) -> None:
    for name in ("train", "test", "bus"):
        (tmp_path / name).mkdir()
        for number in range(6):
            picture(hash((name, number)) % 10_000).save(tmp_path / name / f"{number}.png")
    assert load_search_data(str(tmp_path), seed=0).class_names == ("bus", "test", "train")


def shown(kind: str, file: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Writes a picture in some way and returns what viewers show: [height, width, 3]."""
    rgb = np.full((SIDE, SIDE, 3), WHITE, np.uint8)
    rgb[:4] = RED
    if kind == "transparent":
        rgba = np.full((SIDE, SIDE, 4), TRANSPARENT, np.uint8)
        rgba[:4] = (*RED, 255)
        Image.fromarray(rgba).save(file)
    elif kind == "palette":
        indexed = Image.fromarray(np.repeat([[1], [0]], 4, axis=0).repeat(SIDE, axis=1).astype(np.uint8), "P")
        indexed.putpalette([0, 0, 0, *RED])
        indexed.save(file, transparency=0)
    elif kind == "grey and transparent":
        grey = np.zeros((SIDE, SIDE, 2), np.uint8)
        grey[:4] = (100, 255)
        Image.fromarray(grey, "LA").save(file)
        rgb[:4] = 100
    elif kind == "turned":
        exif = Image.Exif()
        exif[274] = 6  # to be turned by 90 degrees clockwise
        Image.fromarray(np.rot90(rgb)).save(file, exif=exif)
    else:
        Image.fromarray(rgb).save(file)
    return rgb


@pytest.mark.parametrize("kind", ["plain", "transparent", "palette", "grey and transparent", "turned"])
def test_pictures_are_read_as_viewers_show_them_in_training_and_in_predict(tmp_path: Path, kind: str) -> None:
    expected: dict[bytes, str] = {}
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(5):
            expected[shown(kind, tmp_path / name / f"{number}.png").tobytes()] = name
    data = load_search_data(str(tmp_path), seed=0)
    assert {image.tobytes() for image in data.train.images} == set(expected)
    read = predict.read_picture(tmp_path / "cat" / "0.png", 3)
    assert read.pixels in expected
    assert (read.height, read.width) == (SIDE, SIDE)


@pytest.mark.parametrize(
    ("ending", "mode"),
    [("jpg", "RGB"), ("jpg", "L"), ("jpg", "CMYK"), ("png", "RGB"), ("webp", "RGB"), ("tif", "CMYK")],
)
def test_scaled_pictures_are_those_of_predict(tmp_path: Path, ending: str, mode: str) -> None:
    part(tmp_path / "train", 2)
    (tmp_path / "test" / "cat").mkdir(parents=True)
    file = tmp_path / "test" / "cat" / f"a.{ending}"
    picture(9, (200, 150)).convert(mode).save(file)
    (trained,) = load_test(str(tmp_path), image_size=32)[0].images
    read = predict.read_picture(file, 3)
    pixels = np.frombuffer(read.pixels, np.uint8).reshape(read.height, read.width, 3).transpose(2, 0, 1)
    plain = {"height": 32, "width": 32, "mean": [0, 0, 0], "deviation": [1, 1, 1], "input_size": 0}
    shown = predict.prepare(pixels.astype(np.float32), plain, lambda values: np.array(values, np.float32))
    assert np.abs(trained - shown.transpose(1, 2, 0)).max() <= 1  # Pillow scales in whole numbers, predict.py in floats


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_a_turned_picture_has_the_size_of_its_pixels_in_every_format(tmp_path: Path, ending: str) -> None:
    exif = Image.Exif()
    exif[274] = 6
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(4):
            picture(number, (12, 8)).save(tmp_path / name / f"{number}.{ending}", exif=exif)
    assert load_search_data(str(tmp_path), seed=0).shape == (3, 12, 8)


def test_a_turned_picture_has_the_size_that_viewers_show(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 8
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(4):
            picture(number, (12, 8)).save(tmp_path / name / f"a{number}.png")
            picture(number, (8, 12)).save(tmp_path / name / f"b{number}.png", exif=exif)
    assert load_search_data(str(tmp_path), seed=0).shape == (3, 8, 12)


def test_files_that_nobody_reads_are_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part(tmp_path, 6)
    picture(1).save(tmp_path / "cat" / "moving.gif")
    for name in ("cat/notes.txt", "readme.md", "dog/x.heic", "dog/.DS_Store", "Thumbs.db"):
        (tmp_path / name).write_text("x")
    assert main(["data", "--dataset", str(tmp_path), "--json"]) == 0
    captured = capsys.readouterr()
    told = f"4 files of {tmp_path} are not read, for they are no images of a class: "
    (doubt,) = json.loads(captured.out)["doubts"]
    assert doubt == told + "cat/moving.gif, cat/notes.txt, dog/x.heic, readme.md"
    assert f"warning: {told}" in captured.err


def test_unreadable_images_are_all_counted(tmp_path: Path) -> None:
    part(tmp_path, 6)
    for number in (1, 3, 4):
        (tmp_path / "cat" / f"{number:03}.png").write_bytes(b"damaged")
    assert "3 files cannot be read as images: 001.png, 003.png, 004.png; the first: " in refusal(tmp_path)


def test_very_large_pictures_are_scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number, ending in enumerate(("png", "jpg", "webp", "bmp")):
            picture(number, (LARGEST_SIDE + 200, LARGEST_SIDE + 300)).save(tmp_path / name / f"{number}.{ending}")
    assert load_search_data(str(tmp_path), seed=0, image_size=8).shape == (3, 8, 8)


def blobs(images: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(images) % classes
    x = rng.integers(0, 150, (images, 8, 8), np.uint8)
    for image, label in zip(x, labels, strict=True):
        image[2 * label : 2 * label + 2] += np.uint8(60)
    return x, labels


def test_good_data_raise_no_doubts() -> None:
    assert doubts(array_search_data(*blobs(1_200), seed=0)) == []
    assert doubts(load_search_data("digits", seed=0)) == []
    assert describe("digits").doubts == ()


def test_labels_that_have_nothing_to_do_with_the_images_are_told() -> None:
    x, y = blobs(4_000)
    (told,) = doubts(array_search_data(x, np.random.default_rng(1).permutation(y), seed=0))
    assert told.startswith("labels look shuffled: the nearest mean image of a class is right for 2")


@pytest.mark.parametrize("odd", [lambda x: x // 255, lambda x: 255 - x // 4, lambda x: x // 8])
def test_test_images_on_another_scale_are_told(odd: Callable[[np.ndarray], np.ndarray], tmp_path: Path) -> None:
    (x, y), file = blobs(1_200), str(tmp_path / "data.npz")
    np.savez(file, x_train=x[:1_000], y_train=y[:1_000], x_test=x[1_000:], y_test=y[1_000:])
    assert describe(file).doubts == ()
    np.savez(file, x_train=x[:1_000], y_train=y[:1_000], x_test=odd(x[1_000:]), y_test=y[1_000:])
    assert any(doubt.endswith(": scale them alike") for doubt in describe(file).doubts)


def test_signs_that_steer_terminals_are_written_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part(tmp_path, 6)
    for name in ("\x1b[31mred", "\x9b31mred", "two\nlines"):
        (tmp_path / "cat").rename(tmp_path / name)
        assert main(["data", "--dataset", str(tmp_path)]) == 0
        (tmp_path / name).rename(tmp_path / "cat")
        said = capsys.readouterr().err
        assert name not in said
        assert repr(name)[1:-1] in said


def test_a_folder_that_is_there_twice_is_told(tmp_path: Path) -> None:
    part(tmp_path, 6)
    (tmp_path / "Cat copy").mkdir()
    for file in (tmp_path / "cat").iterdir():
        (tmp_path / "Cat copy" / file.name).write_bytes(file.read_bytes())
    told = doubts(load_search_data(str(tmp_path), seed=0), str(tmp_path))
    assert any("images are there with several labels, the first as 'Cat copy' and 'cat'" in line for line in told)


def test_a_folder_named_as_a_data_set_of_nas_is_told_and_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part(tmp_path / "digits", 6)
    monkeypatch.chdir(tmp_path)
    assert placed("digits") == "digits"
    assert placed("./digits") == str(tmp_path / "digits")
    told = doubts(load_search_data("digits", seed=0), "digits")
    assert "digits is a data set of nas; what lies here by that name is not read: ./digits would be" in told


def test_work_among_the_images_of_a_data_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part(tmp_path, 6)
    (tmp_path / "cat" / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    for begin in (
        lambda: nas.search(dataset=".", budget=2_000, trials=1, workers=1),
        lambda: nas.search(dataset=str(tmp_path), budget=2_000, trials=1, workers=1, out="cat/run"),
        lambda: nas.train("plain", dataset="."),
        lambda: nas.table(["plain"], dataset=".", out="table"),
    ):
        with pytest.raises(nas.UserError, match=rf"lies in the data set {tmp_path}, as a class of its own; give --out"):
            begin()
    assert {file.name for file in tmp_path.iterdir()} == {"cat", "dog"}


def test_work_beside_the_parts_of_a_data_set_is_none_of_its_classes(tmp_path: Path) -> None:
    part(tmp_path / "train", 6)
    part(tmp_path / "test", 2)
    check_apart(tmp_path / "runs" / "one", str(tmp_path), "--out")
    for name in ("train", "test"):
        with pytest.raises(nas.UserError, match="as a class of its own"):
            check_apart(tmp_path / name / "runs", str(tmp_path), "--out")


def test_data_that_cannot_be_looked_at_are_called_by_their_path() -> None:
    assert data_name(f"{'x' * 300}.npz") == "x" * 300


def test_a_path_that_cannot_be_noted_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    data = tmp_path / os.fsdecode(b"caf\xe9")
    part(data, 6)
    with pytest.raises(DataError, match=r"caf\\xe9 has a path that is no UTF-8; rename it"):
        nas.search(dataset=str(data), budget=2_000, trials=1, workers=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_in_both_splits_and_one_class_that_is_nearly_all_are_told() -> None:
    x, y = blobs(400)
    repeated = np.concatenate([x, x[:200]]), np.concatenate([y, y[:200]])
    assert any(
        "validation images are training images too" in line for line in doubts(array_search_data(*repeated, seed=0))
    )
    x, y = blobs(1_000)
    y = np.where(np.arange(1_000) < 980, 0, y)
    assert any("of the training images are of class '0'" in line for line in doubts(array_search_data(x, y, seed=0)))


def test_names_that_are_no_utf8_or_hold_any_sign_come_through_to_the_export(tmp_path: Path) -> None:
    raw = [b"bad\xff\xfe", b'a "b" <i>[bold]c[_]</i>'.replace(b"/", b"_"), "l'\u00e9t\u00e9".encode(), b"{{x}}`|\\n"]
    root = os.fsencode(tmp_path / "data")
    rng = np.random.default_rng(0)
    for name in raw:
        os.makedirs(os.path.join(root, name))
        for number in range(6):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(
                os.fsdecode(os.path.join(root, name, b"%d.png" % number))
            )
    data = load_search_data(os.fsdecode(root), seed=0)
    expected = sorted([r"bad\xff\xfe", *(name.decode() for name in raw[1:])])
    assert sorted(data.class_names) == expected
    run, to = (tmp_path / os.fsdecode(name) for name in (b"run \xe9", b"to \xff"))
    searched = nas.search(
        dataset=os.fsdecode(root), budget=500, trials=1, epochs=1, strategies="random", stop="none", out=run,
        workers=1, device="cpu",
    )  # fmt: skip
    assert searched.ending == "complete"
    assert main(["report", str(run)]) == 0
    assert main(["export", str(run), "--to", str(to)]) == 0
    card, architecture = (to / "500" / name for name in ("card.md", "architecture.json"))
    told = json.loads(architecture.read_text(encoding="utf-8"))
    assert sorted(told["class_names"]) == expected
    assert r"run \xe9" in told["commands"][-1]
    assert r"run \xe9" in card.read_text(encoding="utf-8")
    image = next(Path(os.fsdecode(root)).rglob("*.png"))
    for backend in predict.BACKENDS:  # on a terminal that shows hardly anything
        command = [sys.executable, str(to / "500" / "predict.py"), str(image), "--backend", backend]
        done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
        assert rb"l'\xe9t\xe9" in done.stdout
