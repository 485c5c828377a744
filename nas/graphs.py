"""CUDA graphs: what a training step launches on a GPU, recorded once and launched anew as a whole."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

WARM_UP = 3
"""Steps on a stream of their own before the recording, as torch's notes on CUDA graphs ask for."""

Gradients = Callable[[Tensor, Tensor], Tensor]
"""(images, labels) to the loss; leaves its gradients in the parameters, in tensors of their own."""


class RecordedGradients:
    """`compute` of a module for batches of one size on a GPU, as one launch instead of some hundreds.

    Small networks leave a GPU waiting for the host, which launches one kernel after another: recorded, they train four
    times as fast (benchmarks/README.md). The first batches are computed as they are, then one is recorded, and all
    others are copied to where that one lay and computed by replaying the recording. `compute` must do the same work for
    every batch of that size, without looking at values on the host. Batches of other sizes are computed as they are.
    """

    def __init__(self, compute: Gradients, module: nn.Module, batch_size: int) -> None:
        self._compute = compute
        self._parameters = list(module.parameters())
        self._batch_size = batch_size
        self._device = self._parameters[0].device
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._warm_up_left = WARM_UP
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss, which the next call overwrites."""
        if len(images) != self._batch_size:
            return self._compute(images, labels)
        if self._warm_up_left:
            self._warm_up_left -= 1
            return self._compute_aside(images, labels)
        if self._graph is None:
            self._graph = self._record(images, labels)
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._loss

    def _compute_aside(self, images: Tensor, labels: Tensor) -> Tensor:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            loss = self._compute(images, labels)
        current.wait_stream(self._stream)
        return loss

    def _record(self, images: Tensor, labels: Tensor) -> torch.cuda.CUDAGraph:
        """Recording computes nothing yet: the batch is replayed like those after it."""
        self._images, self._labels = torch.empty_like(images), torch.empty_like(labels)
        graph = torch.cuda.CUDAGraph()
        with _no_collection(), torch.cuda.device(self._device), torch.cuda.graph(graph, stream=self._stream):
            self._loss = self._compute(self._images, self._labels)
        self._gradients = [parameter.grad for parameter in self._parameters]
        return graph


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
