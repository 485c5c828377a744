"""Batches straight out of the uint8 data set: selection, augmentation and normalisation as batched tensor code.

The order is: crop and flips, randaugment, colour-jitter, grayscale, normalisation, cutout, erasing, mixing.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.data.load import SearchData, Split
from nas.errors import UserError

CHUNK = 16
"""Images that share one draw of randaugment and colour-jitter: torchvision's transforms treat a batch alike, and a call
for every image would cost more than the training."""


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
    the augmentations that make sense: of "crop", "flip", "vertical-flip", "cutout", "erasing", "randaugment",
    "colour-jitter", "grayscale"."""

    train: DeviceSplit
    validation: DeviceSplit
    mean: Tensor
    deviation: Tensor
    classes: int
    augmentation: tuple[str, ...]

    @classmethod
    def of(cls, data: SearchData, device: torch.device, augmentation: tuple[str, ...]) -> "DeviceData":
        """The data set copied to the device, to be augmented in the given ways. UserError if one needs colours that
        the images do not have."""
        check_colours(augmentation, channels=data.train.images.shape[-1])
        train = DeviceSplit.of(data.train, device)
        count = train.images[..., 0].numel()
        sums = [
            (part.double().sum((0, 1, 2)), part.double().square().sum((0, 1, 2)))
            for part in torch.split(train.images, 4096)
        ]
        mean = torch.stack([total for total, _ in sums]).sum(0) / count
        variance = torch.stack([squares for _, squares in sums]).sum(0) / count - mean.square()
        deviation = variance.clamp(min=1.0).sqrt()
        return cls(
            train, DeviceSplit.of(data.validation, device), mean.float(), deviation.float(), data.classes, augmentation
        )


@dataclass(frozen=True)
class Mixing:
    """How the images of a batch are mixed in pairs, and their labels with the same weights.

    `mixup` (Zhang et al. 2018) and `cutmix` (Yun et al. 2019) are the alpha of the Beta distribution of the weight,
    0 for off. With both on, each batch is mixed in one of the two ways with equal chance.
    """

    classes: int
    mixup: float = 0.0
    cutmix: float = 0.0


def normalised(images: Tensor, data: DeviceData) -> Tensor:
    """uint8 [N, H, W, C] to float32 [N, C, H, W] in channels_last layout, mean 0 and deviation 1 a channel."""
    return images.float().sub_(data.mean).div_(data.deviation).permute(0, 3, 1, 2)


def training_batches(
    data: DeviceData, batch_size: int, generator: torch.Generator, mixing: Mixing | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order: (images float32 [N, C, H, W] in channels_last layout, labels); a last batch of less
    than half is left out.

    The labels are int64 [N], or float32 [N, classes] that sum to 1 where images are mixed. All random numbers are drawn
    on the CPU, so that they are the same on every device. Those of randaugment, colour-jitter and mixing are
    torchvision's, out of torch's global generator: whoever wants them again calls torch.manual_seed before, as
    nas/training/train.py does every epoch. All others come from `generator`.
    """
    count, height, width, _ = data.train.images.shape
    device = data.train.images.device
    order = torch.randperm(count, generator=generator).to(device)
    uniform = _uniform(count, data.augmentation, generator).to(device)
    transform, mix = _transform(data.augmentation), _mixer(mixing)
    for start in range(0, count, batch_size):
        chosen = order[start : start + batch_size]
        if start > 0 and len(chosen) < batch_size // 2:
            return
        draws = uniform[:, chosen]
        rows, columns = _windows(draws, height, width, data.augmentation)
        pixels = data.train.images[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        if transform:
            pixels = _transformed(pixels, transform)
        if "grayscale" in data.augmentation:
            pixels = _grayed(pixels, draws[6])
        images, labels = normalised(pixels, data), data.train.labels[chosen]
        if "cutout" in data.augmentation:
            _cut_out(images, draws[3:5])
        if "erasing" in data.augmentation:
            _erase(images, draws[7:])
        if mix:
            images, labels = mix(images, labels)
        yield images.contiguous(memory_format=torch.channels_last), labels


def batches_per_epoch(images: int, batch_size: int) -> int:
    """How many batches `training_batches` yields.

    >>> batches_per_epoch(50_000, 128)
    391
    """
    full, rest = divmod(images, batch_size)
    return max(1, full + (0 < rest >= batch_size // 2))


def check_colours(augmentation: tuple[str, ...], *, channels: int) -> None:
    """Raises UserError if one of the augmentations needs colours that the images do not have."""
    for name in ("randaugment", "colour-jitter", "grayscale"):
        if name in augmentation and channels != 3:
            raise UserError(f"augmentation '{name}' needs images of 3 channels but these have {channels}; leave it out")


def _uniform(count: int, augmentation: tuple[str, ...], generator: torch.Generator) -> Tensor:
    """What each image's fate hangs on, [5 or 12, N]: rows 0–1 crop, 2 flip, 3–4 cutout, and, drawn only if one of them
    is asked for, 5 vertical flip, 6 grayscale, 7–11 erasing."""
    uniform = torch.rand(5, count, generator=generator)
    if not {"vertical-flip", "grayscale", "erasing"} & set(augmentation):
        return uniform
    return torch.cat([uniform, torch.rand(7, count, generator=generator)])


def _transform(augmentation: tuple[str, ...]) -> Callable[[Tensor], Tensor] | None:
    """torchvision's transform of uint8 [N, C, H, W] that is asked for, or None."""
    if not {"randaugment", "colour-jitter"} & set(augmentation):
        return None
    from torchvision.transforms import v2  # takes a second to import: only for who asks for it

    steps = {"randaugment": v2.RandAugment(), "colour-jitter": v2.ColorJitter(0.4, 0.4, 0.4, 0.1)}
    transform: Callable[[Tensor], Tensor] = v2.Compose([step for name, step in steps.items() if name in augmentation])
    return transform


def _mixer(mixing: Mixing | None) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """torchvision's mixing of (images, labels) that is asked for, or None."""
    if mixing is None or not (mixing.mixup or mixing.cutmix):
        return None
    from torchvision.transforms import v2  # takes a second to import: only for who asks for it

    ways = [(v2.MixUp, mixing.mixup), (v2.CutMix, mixing.cutmix)]
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = v2.RandomChoice(
        [way(alpha=alpha, num_classes=mixing.classes) for way, alpha in ways if alpha]
    )
    return mix


def _transformed(pixels: Tensor, transform: Callable[[Tensor], Tensor]) -> Tensor:
    """uint8 [N, H, W, C] transformed chunk by chunk."""
    chunks = torch.split(pixels.permute(0, 3, 1, 2), CHUNK)
    return torch.cat([transform(chunk) for chunk in chunks]).permute(0, 2, 3, 1)


def _grayed(pixels: Tensor, uniform: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] with a tenth of the images in shades of gray (luma of ITU-R BT.601, as in torchvision)."""
    red, green, blue = pixels.unbind(3)
    gray = red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).to(torch.uint8)
    return torch.where(uniform[:, None, None, None] < 0.1, gray[..., None], pixels)


def _windows(uniform: Tensor, height: int, width: int, augmentation: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Row indices [N, H] and column indices [N, W] of each image's crop (by up to an eighth, mirrored at the borders)
    and flips."""
    rows = torch.arange(height, device=uniform.device).expand(uniform.shape[1], height)
    columns = torch.arange(width, device=uniform.device).expand(uniform.shape[1], width)
    if "crop" in augmentation:
        rows = _mirrored(rows + _shift(uniform[0], height), height)
        columns = _mirrored(columns + _shift(uniform[1], width), width)
    if "flip" in augmentation:
        columns = torch.where(uniform[2, :, None] < 0.5, columns, columns.flip(1))
    if "vertical-flip" in augmentation:
        rows = torch.where(uniform[5, :, None] < 0.5, rows, rows.flip(1))
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


def _erase(images: Tensor, uniform: Tensor) -> None:
    """In half of the images a rectangle set to the mean, in place (Zhong et al. 2017): 2–33 % of the area, 0.3–3.3
    times as tall as wide (log-uniform), cut to the image's height and width, anywhere inside."""
    _, _, height, width = images.shape
    area = height * width * (0.02 + (0.33 - 0.02) * uniform[1])
    aspect = torch.exp(math.log(0.3) + math.log(3.3 / 0.3) * uniform[2])
    in_rows = _span((area * aspect).sqrt(), height, uniform[3])
    in_columns = _span((area / aspect).sqrt(), width, uniform[4])
    erased = (uniform[0] < 0.5)[:, None, None] & in_rows[:, :, None] & in_columns[:, None, :]
    images.masked_fill_(erased[:, None], 0.0)


def _span(length: Tensor, side: int, uniform: Tensor) -> Tensor:
    """Whether each of 0..side-1 lies in a stretch of that length [N], rounded, that starts anywhere: bool [N, side]."""
    length = length.round().clamp(1, side)
    start = (uniform * (side - length + 1)).floor()
    places = torch.arange(side, device=length.device)
    return (places >= start[:, None]) & (places < (start + length)[:, None])
