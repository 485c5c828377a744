"""CUDA graphs: what a training step launches on a GPU, recorded once and launched anew as a whole."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

WARM_UP = 3
"""Steps on a stream of their own before the recording, as torch's notes on CUDA graphs ask for."""

Gradients = Callable[[Tensor, Tensor], Tensor]
"""(images, labels) to the loss; leaves its gradients in the parameters, in tensors of their own."""


@dataclass(frozen=True, eq=False)
class _Recording:
    """A graph, where it reads a batch, and where it leaves the loss and the gradients."""

    graph: torch.cuda.CUDAGraph
    images: Tensor
    labels: Tensor
    loss: Tensor
    gradients: list[Tensor | None]


class RecordedGradients:
    """`compute` of a module for batches of one size on a GPU, as one launch instead of some hundreds.

    Small networks leave a GPU waiting for the host, which launches one kernel after another: recorded, they train four
    times as fast (benchmarks/README.md). The first batches are computed as they are, then one is recorded, and all
    others, of the same shape and type, are copied to where that one lay and computed by replaying the recording.
    `compute` must do the same work for every batch of that size, without looking at values on the host. Batches of
    other sizes are computed as they are. The recording keeps the memory that a batch needs as long as it lives.
    """

    def __init__(self, compute: Gradients, module: nn.Module, batch_size: int) -> None:
        self._compute = compute
        self._parameters = list(module.parameters())
        self._batch_size = batch_size
        self._device = self._parameters[0].device
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._warm_up_left = WARM_UP
        self._recording: _Recording | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss, which the next call overwrites."""
        if len(images) != self._batch_size:
            return self._compute(images, labels)
        if self._warm_up_left:
            self._warm_up_left -= 1
            return self._compute_aside(images, labels)
        if self._recording is None:
            self._recording = self._record(images, labels)
        return self._replay(self._recording, images, labels)

    def _compute_aside(self, images: Tensor, labels: Tensor) -> Tensor:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            loss = self._compute(images, labels)
        current.wait_stream(self._stream)
        return loss

    def _record(self, images: Tensor, labels: Tensor) -> _Recording:
        """Recording computes nothing yet: the batch is replayed like those after it."""
        images, labels = torch.empty_like(images), torch.empty_like(labels)
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self._device)
        with (
            _no_collection(),
            torch.cuda.stream(current),  # comes back to it whatever happens: torch.cuda.graph does not if it fails
            torch.cuda.graph(graph, stream=self._stream),
        ):
            loss = self._compute(images, labels)
        return _Recording(graph, images, labels, loss, [parameter.grad for parameter in self._parameters])

    def _replay(self, recording: _Recording, images: Tensor, labels: Tensor) -> Tensor:
        recording.images.copy_(images)
        recording.labels.copy_(labels)
        recording.graph.replay()
        for parameter, gradient in zip(self._parameters, recording.gradients, strict=True):
            parameter.grad = gradient
        return recording.loss


@contextmanager
def _no_collection() -> Iterator[None]:
    """Garbage stays: a dead cycle that holds memory of the GPU cannot be freed while a stream is recorded."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
