"""How far scores are from a teacher's."""

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from nas.training.recipe import Distillation

TARGET, OTHERS = 1.0, 8.0
"""Weights of the two parts of "dkd" (alpha and beta for CIFAR-100 in Zhao et al. 2022)."""


def distillation_loss(
    scores: Tensor, told: Tensor, labels: Tensor, *, distillation: Distillation, temperature: float
) -> Tensor:
    """Mean over the batch of the divergence of scores [N, classes] from those of the teacher, in nats times the squared
    temperature, by which both are divided.

    "kd" (Hinton et al. 2015) is that of all classes. "dkd" (Zhao et al. 2022, "Decoupled Knowledge Distillation") adds
    that of the label [N] against all others, and `OTHERS` times that among the others.
    """
    ours, theirs = log_softmax(scores / temperature, 1), log_softmax(told / temperature, 1)
    if distillation == "kd":
        return _divergence(ours, theirs) * temperature**2
    parts = TARGET * _divergence(_of_label(ours, labels), _of_label(theirs, labels))
    parts = parts + OTHERS * _divergence(_among_others(ours, labels), _among_others(theirs, labels))
    return parts * temperature**2


def _divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    return kl_div(ours, theirs, reduction="batchmean", log_target=True)


def _of_label(logarithms: Tensor, labels: Tensor) -> Tensor:
    """Logarithms of the probabilities of the label and of all others together [N, 2]."""
    label = logarithms.gather(1, labels[:, None])
    return torch.cat([label, torch.logsumexp(_others(logarithms, labels), 1, keepdim=True)], 1)


def _among_others(logarithms: Tensor, labels: Tensor) -> Tensor:
    """Logarithms of the probabilities of the other classes, were there none but those [N, classes - 1]."""
    return log_softmax(_others(logarithms, labels), 1)


def _others(logarithms: Tensor, labels: Tensor) -> Tensor:
    """The columns of the other classes [N, classes - 1]; by numbers, since a mask would be looked at on the host."""
    columns = torch.arange(logarithms.shape[1] - 1, device=logarithms.device)[None]
    return logarithms.gather(1, columns + (columns >= labels[:, None]))
