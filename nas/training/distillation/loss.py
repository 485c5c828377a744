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
    is_label = torch.nn.functional.one_hot(labels, scores.shape[1]).bool()
    parts = TARGET * _divergence(_of_label(ours, is_label), _of_label(theirs, is_label))
    parts = parts + OTHERS * _divergence(_among_others(ours, is_label), _among_others(theirs, is_label))
    return parts * temperature**2


def _divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    return kl_div(ours, theirs, reduction="batchmean", log_target=True)


def _of_label(logarithms: Tensor, is_label: Tensor) -> Tensor:
    """Logarithms of the probabilities of the label and of all others together [N, 2]."""
    others = torch.logsumexp(logarithms.masked_fill(is_label, -torch.inf), 1)
    return torch.stack([logarithms[is_label], others], 1)


def _among_others(logarithms: Tensor, is_label: Tensor) -> Tensor:
    """Logarithms of the probabilities of the other classes, were it none but those [N, classes - 1]."""
    others = logarithms[~is_label].view(len(logarithms), -1)
    return log_softmax(others, 1)
