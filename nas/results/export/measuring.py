"""What a program of an exported folder costs to run, and how good it is: measured here."""

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from nas.data.augment import DeviceData
from nas.data.load import SearchData, Split
from nas.network.layers import Shape
from nas.results.export.card import Deployed, Preprocessing
from nas.training.steps.evaluate import resized

Floats = npt.NDArray[np.float32]

BATCH = 250
"""Images that are judged at once."""

SECONDS = 0.5
"""How long a program is timed for."""

RUNS = 200
"""How often it is at most."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Images of a data set, uint8 [N, height, width, channels]: some of the training split, and the validation split,
    which is empty where all images train; and the whole of which they are, for what trains on."""

    training: npt.NDArray[np.uint8]
    validation: Split
    whole: SearchData | None = None


CALIBRATION_IMAGES = 512
"""Training images whose values decide the scales of int8, unless there are fewer."""


def sample_of(data: SearchData) -> Sample:
    """Images of a data set by which its networks are quantised and judged, the same each time."""
    chosen = np.random.default_rng(0).permutation(len(data.train.labels))[:CALIBRATION_IMAGES]
    return Sample(data.train.images[chosen], data.validation, data)


def preprocessing_of(data: SearchData, input_size: int) -> Preprocessing:
    """How images of the data become a network's input, of that side if it is not 0."""
    found = DeviceData.of(data, torch.device("cpu"), ())
    return Preprocessing(*data.shape, tuple(found.mean.tolist()), tuple(found.deviation.tolist()), input_size)


def prepared(images: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> Floats:
    """uint8 [N, height, width, channels] as the network takes them, float32 [N, channels, height, width]."""
    pixels = torch.from_numpy(images).float()
    pixels = pixels.sub_(torch.tensor(preprocessing.mean)).div_(torch.tensor(preprocessing.deviation))
    return resized(pixels.permute(0, 3, 1, 2), preprocessing.input_size).contiguous().numpy()


def pictures(images: npt.NDArray[np.uint8], shape: Shape) -> npt.NDArray[np.uint8]:
    """uint8 [N, height, width, channels] of the side that the network takes, (channels, height, width)."""
    if images.shape[1:3] == shape[1:]:
        return images
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    scaled = torch.nn.functional.interpolate(pixels, size=shape[1:], mode="bilinear", antialias=True)
    return scaled.permute(0, 2, 3, 1).contiguous().numpy()


def session(model: bytes) -> Any:
    """onnxruntime's session of a model, with one thread; of its bytes, for it takes no path that is no UTF-8."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = 1
    return InferenceSession(model, options, providers=["CPUExecutionProvider"])


def accuracy(running: Any, split: Split, preprocessing: Preprocessing) -> float | None:
    """Share (0–1) of the split that a session gets right; None of an empty split."""
    correct = 0
    for start in range(0, len(split.labels), BATCH):
        images = prepared(split.images[start : start + BATCH], preprocessing)
        scores = running.run(None, {"images": images})[0]
        correct += int((scores.argmax(1) == split.labels[start : start + BATCH]).sum())
    return correct / len(split.labels) if len(split.labels) else None


def milliseconds(run: Callable[[], object]) -> float:
    """Median of the processor time that a call takes, whatever else runs beside it, after three that do not count."""
    for _ in range(3):
        run()
    taken: list[float] = []
    while len(taken) < RUNS and (sum(taken) < SECONDS or len(taken) < 3):
        begun = time.process_time()
        run()
        taken.append(time.process_time() - begun)
    return 1000 * statistics.median(taken)


def measured(
    file: Path, numbers: Literal["fp32", "int8"], preprocessing: Preprocessing, sample: Sample | None
) -> Deployed:
    """An ONNX model in its file: accuracy on the validation split where there is one, and time of an image."""
    running = session(file.read_bytes())
    image = np.zeros((1, *preprocessing.shape), np.float32)
    return Deployed(
        file.name,
        numbers,
        processor(),
        bytes=file.stat().st_size,
        accuracy=accuracy(running, sample.validation, preprocessing) if sample else None,
        images=len(sample.validation.labels) if sample else None,
        milliseconds=milliseconds(lambda: running.run(None, {"images": image})),
    )


def processor() -> str:
    """What this machine calls its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
