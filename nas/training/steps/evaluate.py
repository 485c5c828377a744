"""Networks judged on a split: in which precision, how many images at once, and how good they are."""

import math
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from nas.data.augment import DeviceData, DeviceSplit, normalised
from nas.machine.process import instructions

Precision = Literal["fp32", "bf16"]

JUDGED_PIXELS = 2**19
"""Pixels of the images that are judged together, 512 of 32 x 32: nothing is kept of them for a backward pass."""


def best_precision(device: torch.device) -> Precision:
    """bf16 where the hardware multiplies it natively (else it is emulated, and many times slower), fp32 elsewhere."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if instructions() & {"avx512_bf16", "amx_bf16"} else "fp32"


@torch.no_grad()
def evaluate(module: nn.Module, data: DeviceData, split: DeviceSplit, input_size: int = 0) -> tuple[float, float]:
    """(cross-entropy in nats, accuracy) of the module on a split, its images normalised as those it was trained on."""
    module.eval()
    device = data.mean.device
    loss = torch.zeros((), dtype=torch.float64, device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    size = _judged_together(split)
    batches = zip(torch.split(split.images, size), torch.split(split.labels, size), strict=True)
    for images, labels in batches:
        with autocast(device):
            scores = module(resized(normalised(images, data), input_size))
        loss += nn.functional.cross_entropy(scores.float(), labels, reduction="sum").double()
        correct += (scores.argmax(1) == labels).sum()
    return loss.item() / len(split.labels), correct.item() / len(split.labels)


def _judged_together(split: DeviceSplit) -> int:
    return max(64, min(1024, JUDGED_PIXELS // math.prod(split.images.shape[1:3])))


def first_batch(split: DeviceSplit) -> DeviceSplit:
    """As many images of the split as are judged together."""
    size = _judged_together(split)
    return replace(split, images=split.images[:size], labels=split.labels[:size])


def resized(images: Tensor, side: int) -> Tensor:
    """The images [N, C, H, W] scaled bilinearly to that side; at 0 as they are."""
    if side == 0 or images.shape[-2:] == (side, side):
        return images
    return nn.functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bf16 where `best_precision` says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=best_precision(device) == "bf16")
