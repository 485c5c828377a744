"""Batches straight out of the uint8 data set: selection, crop, flip, cutout, normalisation as batched tensor code."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.data import SearchData, Split


@dataclass(frozen=True, eq=False)
class DeviceSplit:
    """One split on the device: images uint8 [N, H, W, C], labels int64 [N]."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, split: Split, device: torch.device) -> "DeviceSplit":
        """The split copied to the device."""
        return cls(torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device))


@dataclass(frozen=True, eq=False)
class DeviceData:
    """Training and validation split on the device, the channel statistics [C] (of 0–255 values) of the former, and
    the augmentations that make sense: of "crop", "flip", "cutout"."""

    train: DeviceSplit
    validation: DeviceSplit
    mean: Tensor
    deviation: Tensor
    augmentation: tuple[str, ...]

    @classmethod
    def of(cls, data: SearchData, device: torch.device, augmentation: tuple[str, ...]) -> "DeviceData":
        """The data set copied to the device, to be augmented in the given ways."""
        train = DeviceSplit.of(data.train, device)
        count = train.images[..., 0].numel()
        sums = [
            (part.double().sum((0, 1, 2)), part.double().square().sum((0, 1, 2)))
            for part in torch.split(train.images, 4096)
        ]
        mean = torch.stack([total for total, _ in sums]).sum(0) / count
        variance = torch.stack([squares for _, squares in sums]).sum(0) / count - mean.square()
        deviation = variance.clamp(min=1.0).sqrt()
        return cls(train, DeviceSplit.of(data.validation, device), mean.float(), deviation.float(), augmentation)


def normalised(images: Tensor, data: DeviceData) -> Tensor:
    """uint8 [N, H, W, C] to float32 [N, C, H, W] in channels_last layout, mean 0 and deviation 1 a channel."""
    return images.float().sub_(data.mean).div_(data.deviation).permute(0, 3, 1, 2)


def training_batches(data: DeviceData, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order: (images float32 [N, C, H, W], labels [N]); a last batch of less than half is left out.

    All random numbers are drawn on the CPU, so that they are the same on every device.
    """
    count, height, width, _ = data.train.images.shape
    device = data.train.images.device
    order = torch.randperm(count, generator=generator).to(device)
    uniform = torch.rand(5, count, generator=generator).to(device)
    for start in range(0, count, batch_size):
        chosen = order[start : start + batch_size]
        if start > 0 and len(chosen) < batch_size // 2:
            return
        rows, columns = _windows(uniform[:3, chosen], height, width, data.augmentation)
        pixels = data.train.images[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        images = normalised(pixels, data)
        if "cutout" in data.augmentation:
            _cut_out(images, uniform[3:, chosen])
        yield images, data.train.labels[chosen]


def _windows(uniform: Tensor, height: int, width: int, augmentation: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Row indices [N, H] and column indices [N, W] of each image's crop (by up to an eighth, mirrored at the borders)
    and flip."""
    rows = torch.arange(height, device=uniform.device).expand(uniform.shape[1], height)
    columns = torch.arange(width, device=uniform.device).expand(uniform.shape[1], width)
    if "crop" in augmentation:
        rows = _mirrored(rows + _shift(uniform[0], height), height)
        columns = _mirrored(columns + _shift(uniform[1], width), width)
    if "flip" in augmentation:
        columns = torch.where(uniform[2, :, None] < 0.5, columns, columns.flip(1))
    return rows, columns


def _shift(uniform: Tensor, side: int) -> Tensor:
    reach = side // 8
    return (uniform * (2 * reach + 1)).long()[:, None] - reach


def _mirrored(index: Tensor, side: int) -> Tensor:
    index = index.abs()
    return (side - 1) - (side - 1 - index).abs()


def _cut_out(images: Tensor, uniform: Tensor) -> None:
    """A square of a quarter of the side set to the mean, in place; its centre lies anywhere (DeVries & Taylor 2017)."""
    _, _, height, width = images.shape
    rows = torch.arange(height, device=images.device)[None, :]
    columns = torch.arange(width, device=images.device)[None, :]
    in_rows = (rows - (uniform[0] * height).long()[:, None] + height // 8) % (2 * height)
    in_columns = (columns - (uniform[1] * width).long()[:, None] + width // 8) % (2 * width)
    hole = (in_rows < height // 4)[:, None, :, None] & (in_columns < width // 4)[:, None, None, :]
    images.masked_fill_(hole, 0.0)
