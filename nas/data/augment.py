"""Batches straight out of the uint8 data set: selection, augmentation and normalisation as batched tensor code.

The order is: augmentations of places, transforms, pixels; normalisation; augmentations of images; mixing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from nas.data.augmentations import AUGMENTATIONS, Augmentation, Places, Step, rows_to_draw
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
    """Training and validation split (empty where all images train) on the device, the channel statistics [C] (of 0–255
    values) of the former, and the names of the augmentations to use, of `AUGMENTATIONS`."""

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
            for part in torch.split(train.images, 256)  # few at once: what they take as doubles is never given back
        ]
        mean = torch.stack([total for total, _ in sums]).sum(0) / count
        variance = torch.stack([squares for _, squares in sums]).sum(0) / count - mean.square()
        deviation = variance.clamp(min=1.0).sqrt()
        return cls(
            train, DeviceSplit.of(data.validation, device), mean.float(), deviation.float(), data.classes, augmentation
        )


def normalised(images: Tensor, data: DeviceData) -> Tensor:
    """uint8 [N, H, W, C] to float32 [N, C, H, W] in channels_last layout, mean 0 and deviation 1 a channel."""
    return images.float().sub_(data.mean).div_(data.deviation).permute(0, 3, 1, 2)


def training_batches(
    data: DeviceData, batch_size: int, generator: torch.Generator, *, mixup: float = 0.0, cutmix: float = 0.0
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in random order: (images float32 [N, C, H, W] in channels_last layout, labels); a last batch of less
    than half is left out.

    `mixup` (Zhang et al. 2018) and `cutmix` (Yun et al. 2019) mix the images of a batch in pairs, and their labels with
    the same weights: they are the alpha of the Beta distribution of the weight, 0 for off. With both on, each batch is
    mixed in one of the two ways with equal chance. The labels are int64 [N], or float32 [N, classes] that sum to 1
    where images are mixed.

    All random numbers are drawn on the CPU, so that they are the same on every device. Those of transforms and mixing
    are torchvision's, out of torch's global generator: whoever wants them again calls torch.manual_seed before, as
    nas/training/train.py does every epoch. All others come from `generator`.
    """
    count, height, width, _ = data.train.images.shape
    device = data.train.images.device
    order = torch.randperm(count, generator=generator).to(device)
    uniform = torch.rand(rows_to_draw(data.augmentation), count, generator=generator).to(device)
    of_places, of_pixels, of_images = (_of_step(step, data.augmentation) for step in ("places", "pixels", "images"))
    transforms = [about.change() for about in _of_step("transforms", data.augmentation)]
    mix = _mixer(data.classes, mixup, cutmix)
    for start in range(0, count, batch_size):
        chosen = order[start : start + batch_size]
        if start > 0 and len(chosen) < batch_size // 2:
            return
        draws = uniform[:, chosen]
        rows, columns = _places(draws, height, width, of_places)
        pixels = data.train.images[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
        pixels = _transformed(pixels, transforms)
        for about in of_pixels:
            pixels = about.change(pixels, draws[about.rows])
        images, labels = normalised(pixels, data), data.train.labels[chosen]
        for about in of_images:
            about.change(images, draws[about.rows])
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
    for name, about in AUGMENTATIONS.items():
        if name in augmentation and about.needs_colours and channels != 3:
            raise UserError(f"augmentation '{name}' needs images of 3 channels but these have {channels}; leave it out")


def _of_step(step: Step, augmentation: tuple[str, ...]) -> list[Augmentation]:
    """The augmentations of the step that are asked for, in the order of their application."""
    return [about for name, about in AUGMENTATIONS.items() if about.step == step and name in augmentation]


def _mixer(classes: int, mixup: float, cutmix: float) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """torchvision's mixing of (images, labels) that is asked for, or None."""
    if not (mixup or cutmix):
        return None
    from torchvision.transforms import v2  # takes a second to import: only for who asks for it

    ways = [way(alpha=a, num_classes=classes) for way, a in ((v2.MixUp, mixup), (v2.CutMix, cutmix)) if a]
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = v2.RandomChoice(ways)
    return mix


def _transformed(pixels: Tensor, transforms: list[Callable[[Tensor], Tensor]]) -> Tensor:
    """uint8 [N, H, W, C] transformed chunk by chunk by torchvision's transforms of uint8 [N, C, H, W]."""
    if not transforms:
        return pixels
    chunks = torch.split(pixels.permute(0, 3, 1, 2), CHUNK)
    changed = [reduce(lambda images, change: change(images), transforms, chunk) for chunk in chunks]
    return torch.cat(changed).permute(0, 2, 3, 1)


def _places(uniform: Tensor, height: int, width: int, changes: list[Augmentation]) -> Places:
    """Row indices [N, H] and column indices [N, W] of the pixels of each image."""
    rows = torch.arange(height, device=uniform.device).expand(uniform.shape[1], height)
    columns = torch.arange(width, device=uniform.device).expand(uniform.shape[1], width)
    for about in changes:
        rows, columns = about.change((rows, columns), uniform[about.rows])
    return rows, columns
