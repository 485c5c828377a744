"""Says what an image shows.

    python predict.py IMAGE [--backend torch|onnxruntime]

`nas export` copies this file into every folder that it writes. It needs nothing of nas, but torch or onnxruntime, and
Pillow for image files other than .npy (uint8) and binary .ppm and .pgm.
"""

import argparse
import ast
import importlib.util
import io
import json
import math
import os
import re
import runpy
import struct
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
PILLOW_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Picture:
    """8-bit pixels, row by row, the channels of a pixel beside each other."""

    pixels: bytes
    height: int
    width: int
    channels: int


def fail(message: str) -> NoReturn:
    """Ends with one line for the person at the terminal."""
    print(message, file=sys.stderr)
    sys.exit(2)


def read_picture(path: Path, channels: int) -> Picture:
    """The image file with that many channels."""
    try:
        content = path.read_bytes()
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}")
    if content.startswith(b"\x93NUMPY"):
        picture = read_npy(content, path)
    elif importlib.util.find_spec("PIL"):
        picture = read_with_pillow(path, channels)
    elif re.match(rb"P[56]\s", content):
        picture = read_netpbm(content, path)
    else:
        fail(f"{path} needs Pillow to be read: pip install pillow (without it: .npy, and binary .ppm and .pgm)")
    if picture.channels == 1 < channels == 3:
        return Picture(bytes(v for v in picture.pixels for _ in range(3)), picture.height, picture.width, 3)
    if picture.channels != channels:
        fail(f"{path} has {picture.channels} channels but the network takes {channels}")
    return picture


def read_with_pillow(path: Path, channels: int) -> Picture:
    """Whatever Pillow reads, converted."""
    from PIL import Image, ImageOps

    try:
        Image.MAX_IMAGE_PIXELS = None  # a large photograph is no attack on whoever asks for its class
        with Image.open(path) as opened:
            if opened.mode.startswith(("I", "F")):
                fail(f"{path} has pixels of mode {opened.mode}, more than 8 bits; convert it to 8 bits")
            picture = ImageOps.exif_transpose(opened)  # as viewers show it: turned as the camera says, clear on white
            if channels in (1, 3) and ("transparency" in picture.info or {"A", "a"} & set(picture.getbands())):
                layered = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
            picture = picture.convert(PILLOW_MODES[channels])
    except (OSError, EOFError, ValueError, SyntaxError, TypeError, IndexError, struct.error) as error:
        fail(f"{path} cannot be read as an image: {error}")
    return Picture(picture.tobytes(), picture.height, picture.width, channels)


def read_npy(content: bytes, path: Path) -> Picture:
    """An array uint8 [height, width] or [height, width, channels] as numpy saves it."""
    size, form = (2, "<H") if content[6:7] == b"\x01" else (4, "<I")
    try:
        begin = 8 + size + struct.unpack_from(form, content, 8)[0]
        header = ast.literal_eval(content[8 + size : begin].decode("latin-1").strip())
        kind, transposed, shape = header["descr"], header["fortran_order"], header["shape"]
    except (struct.error, SyntaxError, ValueError, KeyError, TypeError):
        fail(f"{path} is no .npy file that can be read")
    if kind != "|u1" or transposed or len(shape) not in (2, 3):
        fail(f"{path} must hold uint8 [height, width] or [height, width, channels] in C order")
    return checked(Picture(content[begin:], *(*shape, 1)[:3]), path)


def read_netpbm(content: bytes, path: Path) -> Picture:
    """A binary .pgm (P5) or .ppm (P6) file of 8 bits a value."""
    header = re.match(rb"P([56])" + rb"(?:\s|#[^\n]*\n)+(\d+)" * 3 + rb"\s", content)
    if not header or int(header[4]) != 255:
        fail(f"{path} is no binary .ppm or .pgm file of 8 bits a value")
    channels = 3 if header[1] == b"6" else 1
    return checked(Picture(content[header.end() :], int(header[3]), int(header[2]), channels), path)


def checked(picture: Picture, path: Path) -> Picture:
    """The picture if none of its pixels is missing."""
    if not len(picture.pixels) == picture.height * picture.width * picture.channels > 0:
        fail(f"{path} holds {len(picture.pixels):,} values where its header says {picture.height} x {picture.width}")
    return picture


def window(size: int, begin: float, end: float, result: int) -> list[list[float]]:
    """Weights [result, size] that scale begin..end of `size` pixels bilinearly to `result`, as Pillow does: each pixel
    of the result is a mean under a triangle as wide as two of its own or of the given pixels, whichever are wider."""
    scale = (end - begin) / result
    reach = max(scale, 1.0)
    rows = []
    for i in range(result):
        centre = begin + (i + 0.5) * scale
        row = [max(0.0, 1 - abs(x + 0.5 - centre) / reach) for x in range(size)]
        total = sum(row)
        rows.append([weight / total for weight in row])
    return rows


def middle(size: int, wanted: float) -> tuple[float, float]:
    """Where the middle `wanted` of `size` pixels begins and ends."""
    return (size - wanted) / 2, (size + wanted) / 2


def prepare(pixels: Any, preprocessing: dict[str, Any], matrix: Callable[[Any], Any]) -> Any:
    """The network's input [C, H, W] of float32 pixels [C, height, width] in 0..255: torch's or numpy's, as `matrix` is.

    The image is scaled to cover height x width, its middle cut out and rounded to 8 bits, each channel brought to mean
    0 and deviation 1; and scaled to `input_size`, if the network was trained on images that were.
    """
    _, height, width = pixels.shape
    wanted_height, wanted_width = preprocessing["height"], preprocessing["width"]
    factor = min(height / wanted_height, width / wanted_width)
    rows = matrix(window(height, *middle(height, factor * wanted_height), wanted_height))
    columns = matrix(window(width, *middle(width, factor * wanted_width), wanted_width))
    pixels = (pixels @ columns.T + 0.5) // 1
    pixels = (rows @ pixels + 0.5) // 1
    mean, deviation = (matrix([[[v]] for v in preprocessing[name]]) for name in ("mean", "deviation"))
    image = (pixels - mean) / deviation
    side = preprocessing["input_size"]
    if not side:
        return image
    rows = matrix(window(wanted_height, 0, wanted_height, side))
    columns = matrix(window(wanted_width, 0, wanted_width, side))
    return rows @ image @ columns.T


def scores_of_torch(picture: Picture, preprocessing: dict[str, Any]) -> list[float]:
    """The network's output, by model.py."""
    warnings.filterwarnings("ignore", "Failed to initialize NumPy")  # torch's, where there is no numpy: none is needed
    import torch

    network = runpy.run_path(str(HERE / "model.py"))["load"]()
    values = torch.frombuffer(bytearray(picture.pixels), dtype=torch.uint8)
    pixels = values.reshape(picture.height, picture.width, picture.channels).permute(2, 0, 1).float()
    with torch.inference_mode():
        scores: list[float] = network(prepare(pixels, preprocessing, torch.tensor)[None])[0].tolist()
    return scores


def scores_of_onnxruntime(picture: Picture, preprocessing: dict[str, Any]) -> list[float]:
    """The network's output, by model.onnx."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession((HERE / "model.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    values = np.frombuffer(picture.pixels, np.uint8).reshape(picture.height, picture.width, picture.channels)
    pixels = values.transpose(2, 0, 1).astype(np.float32)
    image = prepare(pixels, preprocessing, lambda values: np.array(values, np.float32))
    scores: list[float] = session.run(None, {"images": image[None]})[0][0].tolist()
    return scores


BACKENDS = {"torch": scores_of_torch, "onnxruntime": scores_of_onnxruntime}


def probabilities(scores: list[float]) -> list[float]:
    """Softmax."""
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def chosen_backend(asked: str | None) -> str:
    """The backend asked for, or the first that is installed."""
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    if asked and asked not in installed:
        fail(f"{asked} is not installed: pip install {asked}")
    if not installed:
        fail("neither torch nor onnxruntime is installed: pip install onnxruntime")
    return asked or installed[0]


def main() -> None:
    """Prints the five likeliest classes and their probabilities."""
    for stream in (sys.stdout, sys.stderr):  # None where it is closed
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of classes may hold what a terminal cannot show
    parser = argparse.ArgumentParser(description="Says what an image shows.")
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("--backend", choices=BACKENDS, help="default: the first that is installed")
    flags = parser.parse_args()
    architecture = json.loads((HERE / "architecture.json").read_text(encoding="utf-8"))
    backend = BACKENDS[chosen_backend(flags.backend)]
    preprocessing = architecture["preprocessing"]
    picture = read_picture(flags.image, preprocessing["channels"])
    found = zip(probabilities(backend(picture, preprocessing)), architecture["class_names"], strict=True)
    for probability, name in sorted(found, key=lambda pair: -pair[0])[:5]:
        print(f"{probability:7.2%}  {name}")


if __name__ == "__main__":
    if sys.stdout is None:
        fail("nothing can be told: standard output is closed")
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush, of the interpreter
        fail(f"nothing can be told: {error}")
