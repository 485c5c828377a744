"""The page that runs an exported network in a browser."""

import base64
import json
import os
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from browser import Browser, opened
from PIL import Image, ImageCms
from test_export import CARD, EVERY, SMALL, ready, write_runtime

from nas.errors import UserError
from nas.network.layers import Activation, BatchNorm, Conv, Flatten, Layer, Linear, Sequence
from nas.results.export.card import ModelCard, Preprocessing
from nas.results.export.export import export_network
from nas.results.export.formats import demo
from nas.results.export.formats.demo import PACKAGE, SCRIPT, VERSION, runtime
from nas.results.options import FormatOptions

HOSTILE = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'
NAMES = ('cat "tabby"', "dog's", HOSTILE, "<b>cow</b>", "größer & 漢字", "six", "seven", "eight")

GREY = Preprocessing(1, 9, 9, (90.0,), (60.0,), input_size=12)
COLOURED = Preprocessing(3, 16, 14, (120.0, 110.0, 100.0), (60.0, 61.0, 62.0))

SIDEWAYS, MIRRORED, UPSIDE_DOWN = 6, 5, 3


@pytest.fixture(scope="module")
def with_npm() -> FormatOptions:
    """Asks for the demo; skipped where npm cannot fetch what it needs."""
    asked = FormatOptions(demo=True)
    try:
        runtime(asked)
    except UserError as error:
        pytest.skip(str(error))
    return asked


def card_of(preprocessing: Preprocessing) -> ModelCard:
    return ModelCard(NAMES, preprocessing, "/home/me/pets & <i>co", "0" * 20, (), {}, ())


def small(shape: tuple[int, int, int]) -> Layer:
    channels, height, width = shape
    values = 6 * ((height + 1) // 2) * ((width + 1) // 2)
    body = (Conv(channels, 6, 3, stride=2), BatchNorm(6), Activation("relu"), Flatten())
    return Sequence((*body, Linear(values, len(NAMES))))


@pytest.fixture(scope="module", params=[GREY, COLOURED], ids=["grey", "coloured"])
def exported(request: pytest.FixtureRequest, with_npm: FormatOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that tells random pictures apart, exported with the demo."""
    network = small(request.param.shape)
    weights = ready(network).state_dict()
    weights = {name: value * 4 if value.shape[:1] == (len(NAMES),) else value for name, value in weights.items()}
    to = tmp_path_factory.mktemp("exported") / "it"
    return export_network(network, weights, card_of(request.param), to, with_npm).path


def pixels(rng: np.random.Generator, height: int, width: int, channels: int) -> npt.NDArray[np.uint8]:
    """Smooth patches in random colours, as photographs have them."""
    coarse = rng.integers(0, 256, (4, 5, channels), dtype=np.uint8)
    planes = [
        Image.fromarray(coarse[..., c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def write_pictures(folder: Path) -> list[Path]:
    """Twenty picture files of all modes that browsers read, of many sizes."""
    rng = np.random.default_rng(0)

    def drawn(height: int, width: int, mode: str) -> Image.Image:
        values = pixels(rng, height, width, len(Image.Image.getbands(Image.new(mode, (1, 1)))))
        return Image.fromarray(values.squeeze(-1) if values.shape[-1] == 1 else values, mode)

    def write(name: str, picture: Image.Image, **how: Any) -> None:
        picture.save(folder / name, **how)

    def turned(how: int) -> Image.Exif:
        exif = Image.Exif()
        exif[0x0112] = how
        return exif

    write("colours.png", drawn(40, 50, "RGB"))
    write("as large as the network's.png", drawn(16, 14, "RGB"))
    write("tiny.png", drawn(3, 2, "RGB"))
    write("tall.png", drawn(300, 31, "RGB"))
    write("wide.png", drawn(20, 333, "RGB"))
    write("large.jpg", drawn(900, 1201, "RGB"), quality=95)
    write("see-through.png", drawn(60, 47, "RGBA"))
    write("grey.png", drawn(33, 44, "L"))
    write("grey and see-through.png", drawn(33, 44, "LA"))
    write("black and white.png", drawn(64, 64, "L").convert("1"))
    write("palette.png", drawn(64, 50, "RGB").quantize(32))
    write("palette, one colour clear.png", drawn(64, 50, "RGB").quantize(8), transparency=3)
    write("palette, one colour clear.gif", drawn(64, 50, "RGB").quantize(8), transparency=3)
    write("photograph.jpg", drawn(64, 50, "RGB"), quality=95, subsampling=0)
    write("grey photograph.jpg", drawn(64, 50, "L"), quality=95)
    write("sideways.jpg", drawn(80, 50, "RGB"), quality=95, exif=turned(SIDEWAYS))
    write("mirrored.jpg", drawn(50, 80, "RGB"), quality=95, exif=turned(MIRRORED))
    write("upside down, see-through.webp", drawn(40, 61, "RGBA"), lossless=True, exact=True, exif=turned(UPSIDE_DOWN))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    write("with the profile of a camera.png", drawn(41, 40, "RGB"), icc_profile=profile)
    write("plain.bmp", drawn(41, 40, "RGB"))
    return sorted(folder.iterdir())


def predicted(folder: Path, picture: Path) -> list[tuple[str, float]]:
    """What the folder's predict.py makes of a picture: all classes with their probabilities, the likeliest first."""
    script = runpy.run_path(str(folder / "predict.py"))
    architecture = json.loads((folder / "architecture.json").read_text(encoding="utf-8"))
    preprocessing = architecture["preprocessing"]
    scores = script["scores_of_onnxruntime"](script["read_picture"](picture, preprocessing["channels"]), preprocessing)
    found = zip(architecture["class_names"], script["probabilities"](scores), strict=True)
    return sorted(found, key=lambda pair: -pair[1])


def shown(browser: Browser) -> list[tuple[str, float]]:
    """The classes on the page with their probabilities."""
    lines = browser.run(
        "return [...document.querySelectorAll('#classes li')]"
        ".map((line) => [line.querySelector('span').textContent, Number(line.dataset.probability)])"
    )
    return [(name, share) for name, share in lines]


def load(browser: Browser, folder: Path) -> None:
    browser.open(folder / "demo.html")
    browser.until("return document.documentElement.dataset.ready")


def said_of(browser: Browser, picture: Path) -> str:
    """What the page says when it is through with a picture."""
    script = "const said = document.getElementById('state').textContent; return said.startsWith(arguments[0]) && said"
    return str(browser.until(script, picture.name))


def test_the_page_shows_the_classes_of_predict_for_twenty_pictures_without_a_network(
    exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    pictures = write_pictures(tmp_path / "pictures")
    assert len(pictures) == 20
    likeliest = set()
    with opened(tmp_path / "profile", 1200) as browser:
        load(browser, exported)
        for picture in pictures:
            browser.choose("#file", picture)
            said_of(browser, picture)
            found, expected = shown(browser), predicted(exported, picture)[:5]
            assert [name for name, _ in found] == [name for name, _ in expected], picture.name
            assert [share for _, share in found] == pytest.approx([share for _, share in expected], abs=0.01)
            likeliest.add(found[0][0])
        assert len(likeliest) >= 4
        assert browser.run("return document.title") == "pets & <i>co in " + title_of(exported)
        assert "ms an image, mean of" in browser.run("return document.getElementById('time').textContent")
        assert browser.run("return window.hacked") is None
        assert (browser.said, browser.requested) == ([], [])


def title_of(folder: Path) -> str:
    return f"{json.loads((folder / 'architecture.json').read_text())['parameters']:,} parameters"


def draw(browser: Browser) -> None:
    """A stroke with the mouse, down the middle and to the right."""
    x, y, width, height = browser.run(
        "const box = document.getElementById('board').getBoundingClientRect();"
        "return [box.x, box.y, box.width, box.height]"
    )
    browser.mouse("mousePressed", x + width / 2, y + height / 5)
    for step in range(10):
        browser.mouse("mouseMoved", x + width * (0.5 + 0.03 * step), y + height * (0.2 + 0.06 * step))
    browser.mouse("mouseReleased", x + width * 0.8, y + height * 0.8)


@pytest.mark.parametrize("exported", [GREY], indirect=True)
def test_pictures_can_be_dropped_drawn_and_cleared_on_a_narrow_dark_screen(exported: Path, tmp_path: Path) -> None:
    picture = tmp_path / "dropped.png"
    Image.fromarray(pixels(np.random.default_rng(1), 50, 40, 3)).save(picture)
    with opened(tmp_path / "profile", 400, dark=True) as browser:
        load(browser, exported)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        browser.drop(picture, 20, 20)
        assert said_of(browser, picture) == "dropped.png, 40 × 50"
        assert [name for name, _ in shown(browser)] == [name for name, _ in predicted(exported, picture)[:5]]
        draw(browser)
        drawing = tmp_path / "drawing.png"
        board = browser.run("return document.getElementById('board').toDataURL().split(',')[1]")
        drawing.write_bytes(base64.b64decode(board))
        expected = predicted(exported, drawing)[:5]
        same = "return Math.abs(document.querySelector('#classes li')?.dataset.probability - arguments[0]) < 0.005"
        browser.until(same, expected[0][1])  # once it is through with the last piece of the stroke
        assert [name for name, _ in shown(browser)] == [name for name, _ in expected]
        browser.run("document.getElementById('clear').click()")
        assert shown(browser) == []
        before = browser.run("return getComputedStyle(document.body).backgroundColor")
        browser.run("document.getElementById('theme').click()")
        assert browser.run("return getComputedStyle(document.body).backgroundColor") != before
        for name, told in (
            ("words.txt", "this browser cannot read it as an image; try PNG or JPEG"),
            ("deep.png", "it has more than 8 bits a pixel; convert it to 8 bits"),
        ):
            (tmp_path / "words.txt").write_text("no picture")
            Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "deep.png")
            browser.drop(tmp_path / name, 20, 20)
            assert said_of(browser, tmp_path / name) == f"{name}: {told}"
            assert shown(browser) == []
        assert (browser.said, browser.requested) == ([], [])


@pytest.mark.slow
def test_every_kind_of_layer_runs_in_the_browser(with_npm: FormatOptions, tmp_path: Path) -> None:
    network = Sequence((Conv(3, 2, 1), EVERY))
    card = replace(card_of(COLOURED), class_names=NAMES[:4])
    to = export_network(network, ready(network).state_dict(), card, tmp_path / "it", with_npm).path
    picture = tmp_path / "picture.png"
    Image.fromarray(pixels(np.random.default_rng(1), 50, 40, 3)).save(picture)
    with opened(tmp_path / "profile", 1200) as browser:
        load(browser, to)
        browser.choose("#file", picture)
        said_of(browser, picture)
        found, expected = shown(browser), predicted(to, picture)
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [share for _, share in found] == pytest.approx([share for _, share in expected], abs=1e-3)


# ---- where its runtime comes from


def asks(path: Path, code: str) -> None:
    """A program of this name."""
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)


def test_the_runtime_may_lie_in_a_folder_and_the_card_tells_its_version(tmp_path: Path) -> None:
    package = write_runtime(tmp_path / "package")
    for folder in (package, package / "dist"):
        asked = FormatOptions(demo=True, ort_web=folder)
        to = export_network(SMALL, ready(SMALL).state_dict(), CARD, tmp_path / "it", asked).path
        assert "onnxruntime-web 9.8.7" in (to / "card.md").read_text()
        assert "ONNX Runtime Web 9.8.7" in (to / "demo.html").read_text()
    export_network(SMALL, ready(SMALL).state_dict(), CARD, tmp_path / "it")  # replaced by one without the page
    assert not (tmp_path / "it" / "demo.html").exists()


def test_where_the_runtime_is_not_at_hand_one_line_says_so_and_an_earlier_export_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, weights = tmp_path / "mine", ready(SMALL).state_dict()
    export_network(SMALL, weights, CARD, place)
    before = {file.name: file.stat().st_mtime_ns for file in place.iterdir()}

    def refusal(**asked: Any) -> str:
        with pytest.raises(UserError) as refused:
            export_network(SMALL, weights, CARD, place, FormatOptions(demo=True, **asked))
        assert {file.name: file.stat().st_mtime_ns for file in place.iterdir()} == before
        assert os.listdir(tmp_path) == ["mine"]
        return str(refused.value)

    assert refusal(ort_web=place) == (
        f"{place / SCRIPT} cannot be read: No such file or directory; give --ort-web the folder of the npm package "
        f"{PACKAGE} (npm pack {PACKAGE}@{VERSION}, unpacked)"
    )
    demo._fetched.cache_clear()
    programs = tmp_path.parent / f"{tmp_path.name}-programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    assert refusal() == f"--demo needs npm to fetch {PACKAGE}, and there is none; install it, or give --ort-web DIR"
    asks(programs / "npm", 'echo "npm error code ENOTFOUND" >&2; echo "npm error no such host" >&2; exit 1')
    assert refusal() == (
        f"npm could not fetch {PACKAGE}@{VERSION}; give --ort-web DIR. npm says: npm error code ENOTFOUND npm error no "
        "such host"
    )


def test_a_runtime_without_the_demo_is_refused() -> None:
    with pytest.raises(UserError, match="add --demo"):
        FormatOptions(ort_web="somewhere")
