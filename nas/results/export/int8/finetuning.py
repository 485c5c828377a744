"""Quantisation-aware fine-tuning (Jacob et al. 2018, "Quantization and training of neural networks"): the network goes
on training with weights and values rounded as int8 rounds them, and is then quantised as any other.

The rounding of values is torch.ao's own FakeQuantize, which is not deprecated in torch 2.14. `prepare_qat`, which puts
it into modules, is, for torchao: one more package, and it too would have to be told which values the int8 graph rounds,
which is most of what is below.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization import FusedMovingAvgObsFakeQuantize, MovingAverageMinMaxObserver

from nas.data.augment import DeviceData, batches_per_epoch, training_batches
from nas.data.load import SearchData
from nas.network import layers
from nas.network.layers import Layer, Shape
from nas.network.modules.module import to_module
from nas.results.export.card import ModelCard
from nas.results.export.int8.network import QuantisedNetwork, quantised_network
from nas.results.export.int8.operations import LEVELS, CannotQuantiseError, operations, unfolded
from nas.results.export.measuring import Sample, accuracy, session
from nas.seeds import derive_seed
from nas.training.recipe import Recipe, changed
from nas.training.steps.evaluate import resized
from nas.training.training import augmentation_of

RATE = 0.001
"""Learning rate at first; it falls to 0 along a cosine. Of 0.001, 0.003 and 0.01 it did best in
benchmarks/finetuning.py."""

MOMENTUM = 0.9
"""That of SGD."""

STEEPEST = 1.0
"""Norm to which longer gradients are cut: rounding makes some of them long."""


def finetuned_network(
    network: Layer, weights: Mapping[str, Tensor], card: ModelCard, sample: Sample | None, opset: int, epochs: int
) -> QuantisedNetwork:
    """The network in int8, of fine-tuned weights or of those given: whichever are better on the sample's validation
    split, those given where neither is. Its note tells both accuracies.

    `weights` is a state_dict of `nas.network.modules.module.to_module(network)`. Raises CannotQuantiseError where the
    network has no such form, or the images to train or to judge it are not at hand.
    """
    preprocessing = card.preprocessing
    plain = quantised_network(network, weights, preprocessing, sample, opset)
    if sample is None or sample.whole is None:
        raise CannotQuantiseError("--finetune-epochs needs the data set, which is not at hand; give --dataset")
    if not len(sample.validation.labels):
        raise CannotQuantiseError(
            "--finetune-epochs is judged on the validation split, and all images trained this network; leave it out"
        )
    recipe = changed(Recipe(), card.recipe)
    learned = finetuned(network, weights, sample.whole, recipe, epochs)
    done = f"model.int8.onnx was fine-tuned for {epochs} epoch{'s' if epochs > 1 else ''} in int8"
    if learned is None or not all(torch.isfinite(value).all() for value in learned.values()):
        return replace(plain, note=f"{done}, which came to values that are no numbers; it has the weights of before.")
    tuned = quantised_network(network, learned, preprocessing, sample, opset)
    before, after = (
        accuracy(session(each.model.SerializeToString()), sample.validation, preprocessing) for each in (plain, tuned)
    )
    assert before is not None
    assert after is not None
    told = f"{done}: accuracy {before:.4f} before and {after:.4f} after on {len(sample.validation.labels):,} images"
    if after <= before:
        return replace(plain, note=f"{told} of the validation split; no better, so it has the weights of before.")
    return replace(
        tuned, note=f"{told} of the validation split, which chose between the two; files in fp32 hold those of before."
    )


def finetuned(
    network: Layer, weights: Mapping[str, Tensor], data: SearchData, recipe: Recipe, epochs: int
) -> dict[str, Tensor] | None:
    """The weights after so many epochs on the training split, on the CPU, the same each time.

    Batches, augmentation and smoothing of labels are the recipe's; norms keep their statistics. None where the
    loss was no number.
    """
    module = to_module(network)
    module.load_state_dict(dict(weights))
    module.eval()
    on_device = DeviceData.of(data, torch.device("cpu"), augmentation_of(recipe, data))
    optimiser = torch.optim.SGD(module.parameters(), lr=RATE, momentum=MOMENTUM, nesterov=True)
    steps = epochs * batches_per_epoch(len(data.train.labels), recipe.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    channels, height, width = data.shape
    shape = channels, recipe.input_size or height, recipe.input_size or width
    with torch.random.fork_rng(devices=[]), rounded_values(module, network, shape):
        for epoch in range(epochs):
            torch.manual_seed(derive_seed(0, "finetuning noise", epoch))
            generator = torch.Generator().manual_seed(derive_seed(0, "finetuning batches", epoch))
            mixing = {"mixup": recipe.mixup, "cutmix": recipe.cutmix}
            for images, labels in training_batches(on_device, recipe.batch_size, generator, **mixing):
                scores = rounded_scores(module, resized(images, recipe.input_size))
                loss = nn.functional.cross_entropy(scores, labels, label_smoothing=recipe.label_smoothing)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(module.parameters(), STEEPEST)
                optimiser.step()
                schedule.step()
                if not torch.isfinite(loss):
                    return None
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def rounded_scores(module: nn.Module, images: Tensor) -> Tensor:
    """What the module makes of images with its convolutions' and linear layers' weights as int8 has them: symmetric,
    with a scale an output channel, which a norm folded into them does not change. Gradients pass straight through."""
    rounded = {name: _rounded(value) for name, value in module.named_parameters() if value.ndim > 1}
    scores: Tensor = torch.func.functional_call(module, rounded, (images,))
    return scores


def _rounded(weight: Tensor) -> Tensor:
    steps = weight.detach().flatten(1).abs().amax(1).clamp(min=1e-12) / LEVELS
    zeros = torch.zeros(len(steps), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, steps, zeros, 0, -LEVELS, LEVELS)


@contextmanager
def rounded_values(module: nn.Module, network: Layer, shape: Shape) -> Iterator[None]:
    """Within it the module's values are rounded where the int8 graph rounds them, to 8 bits between the smallest and
    the largest, which follow the batches as moving averages; those inside gates and SiLUs stay as they are."""
    places = rounded_places(network, shape, module.state_dict())
    hooks = [module.register_forward_pre_hook(_Rounding().of_images)]
    try:
        hooks += [module.get_submodule(place).register_forward_hook(_Rounding().of_result) for place in places]
        yield
    finally:
        for hook in hooks:
            hook.remove()


def rounded_places(network: Layer, shape: Shape, weights: Mapping[str, Tensor]) -> list[str]:
    """Names of the modules whose results are rounded: of every operation, as it is folded, but those that a ReLU alone
    reads, which onnxruntime's tools make one with it, and those that pass values on as they are."""
    folded, _ = operations(network, shape, weights)
    writers = {operation.writes: operation for operation in unfolded(network, shape)[0]}
    places = []
    for operation in folded:
        readers = [other.layer for other in folded if operation.writes in other.reads]
        passes_on = isinstance(operation.layer, layers.Slice) or getattr(operation.layer, "statistic", "") == "max"
        if readers != [layers.Activation("relu")] and not passes_on:
            places.append(writers[operation.writes].place)
    return places


class _Rounding:
    """Rounds values as uint8 has them, as hooks of modules do."""

    def __init__(self) -> None:
        self.round: Any = FusedMovingAvgObsFakeQuantize(
            MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8
        )

    def of_images(self, module: nn.Module, given: tuple[Tensor]) -> Tensor:
        rounded: Tensor = self.round(*given)
        return rounded

    def of_result(self, module: nn.Module, given: tuple[Tensor], result: Tensor) -> Tensor:
        rounded: Tensor = self.round(result)
        return rounded
