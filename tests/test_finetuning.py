from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from quantising import card_of, in_int8, network_of, pixels, scores_of
from test_export import CARD, SAMPLE, SMALL, ready
from torch import Tensor

from nas.cli.main import main
from nas.data.load import Split
from nas.errors import UserError
from nas.network.modules.module import to_module
from nas.results.export.export import export_network
from nas.results.export.exportable import Exportable, exportables, told_command
from nas.results.export.int8.finetuning import finetuned, finetuned_network, rounded_scores, rounded_values
from nas.results.export.int8.network import QuantisedNetwork, quantised_network
from nas.results.export.int8.operations import CannotQuantiseError
from nas.results.export.measuring import accuracy, prepared, session
from nas.results.options import FormatOptions
from nas.training.recipe import Recipe, changed

COARSE = 100.0
"""By how much a weight that reads nothing is larger than the others of its output channel."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Exportable:
    """A network of the digits that rounds badly in int8."""
    to = tmp_path_factory.mktemp("training") / "plain"
    asked = ["plain", "width1=8", "--dataset", "digits", "--epochs", "3", "--device", "cpu"]
    assert main(["train", *asked, "--out", str(to)]) == 0
    found = exportables(to)[""]
    return replace(found, weights=coarse(found.weights))


def coarse(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the first norm's first channel always 0, and large weights in the convolution behind it that
    read this channel: in fp32 they do nothing, in int8 they leave the others of their output channel few levels."""
    weights = {name: value.clone() for name, value in weights.items()}
    norm = next(name for name in weights if name.endswith("running_mean")).removesuffix("running_mean")
    behind = weights[[name for name, value in weights.items() if value.ndim == 4][1]]
    weights[f"{norm}weight"][0] = weights[f"{norm}bias"][0] = 0
    behind[:, 0] = COARSE * behind.abs().amax((1, 2, 3))[:, None, None]
    return weights


def plain_of(trained: Exportable) -> QuantisedNetwork:
    return quantised_network(trained.network, trained.weights, trained.card.preprocessing, trained.sample, 20)


def tuned_of(trained: Exportable, epochs: int) -> QuantisedNetwork:
    return finetuned_network(trained.network, trained.weights, trained.card, trained.sample, 20, epochs)


def accuracy_of(found: QuantisedNetwork, trained: Exportable) -> float:
    assert trained.sample
    share = accuracy(session(found.model.SerializeToString()), trained.sample.validation, trained.card.preprocessing)
    assert share is not None
    return share


def numbers(model: onnx.ModelProto, ending: str) -> dict[str, list[int]]:
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor).ravel().tolist()
        for tensor in model.graph.initializer
        if tensor.name.endswith(ending)
    }


@pytest.mark.parametrize("name", ["mixed", "conv_fc"])
def test_the_rounded_module_says_what_the_int8_model_says(name: str) -> None:
    network, shape, classes = network_of(name)
    card = card_of(shape, classes)
    module, found = in_int8(network, shape, card)
    images = pixels(shape)
    with torch.no_grad(), rounded_values(module, network, shape):
        rounded = rounded_scores(module, torch.from_numpy(prepared(images, card.preprocessing))).numpy()
    with torch.no_grad():
        plain = module(torch.from_numpy(prepared(images, card.preprocessing))).numpy()
    assert np.abs(rounded - plain).max() > 0.001
    assert np.abs(rounded - scores_of(found, images, card)).mean() < 0.2 * plain.std()


def test_finetuning_wins_back_what_int8_lost_and_tells_it(trained: Exportable) -> None:
    assert trained.sample
    before, found = plain_of(trained), tuned_of(trained, 2)
    assert numbers(before.model, "weight_quantized") != numbers(found.model, "weight_quantized")
    lost, won = accuracy_of(before, trained), accuracy_of(found, trained)
    assert won > lost
    assert f"accuracy {lost:.4f} before and {won:.4f} after on 287 images" in found.note
    again = tuned_of(trained, 2)
    assert again.model.SerializeToString() == found.model.SerializeToString()
    assert again.note == found.note


def test_the_int8_model_of_finetuned_weights_says_what_was_trained(trained: Exportable) -> None:
    assert trained.sample
    assert trained.sample.whole
    recipe = changed(Recipe(), trained.card.recipe)
    weights = finetuned(trained.network, trained.weights, trained.sample.whole, recipe, 2)
    assert weights
    norms = [name for name in weights if "running" in name]
    assert all(torch.equal(weights[name], trained.weights[name]) for name in norms)
    module = to_module(trained.network)
    module.load_state_dict(weights)
    images = torch.from_numpy(prepared(trained.sample.validation.images, trained.card.preprocessing))
    with torch.no_grad(), rounded_values(module.eval(), trained.network, trained.card.preprocessing.shape):
        expected = rounded_scores(module, images).argmax(1).numpy()
    found = quantised_network(trained.network, weights, trained.card.preprocessing, trained.sample, 20)
    said = session(found.model.SerializeToString()).run(None, {"images": images.numpy()})[0].argmax(1)
    assert (said == expected).mean() >= 0.95


def test_weights_that_do_no_better_or_are_no_numbers_are_not_kept(
    trained: Exportable, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plain_of(trained).model.SerializeToString()
    zeros = {name: torch.zeros_like(weight) for name, weight in trained.weights.items()}
    for worse, told in ((zeros, "no better, so it has the weights of before"), (None, "values that are no numbers")):
        monkeypatch.setattr("nas.results.export.int8.finetuning.finetuned", lambda *_, worse=worse: worse)
        found = tuned_of(trained, 1)
        assert found.model.SerializeToString() == before
        assert told in found.note


def test_the_card_tells_it_and_files_in_fp32_hold_the_weights_of_the_training(
    trained: Exportable, tmp_path: Path
) -> None:
    for name, asked in (("plain", FormatOptions()), ("tuned", FormatOptions(finetune_epochs=1))):
        card = told_command(trained.card, asked)
        export_network(trained.network, trained.weights, card, tmp_path / name, asked, trained.sample)
    plain, tuned = tmp_path / "plain", tmp_path / "tuned"
    for file in ("model.onnx", "weights.safetensors", "model.py"):
        assert (plain / file).read_bytes() == (tuned / file).read_bytes()
    assert (plain / "model.int8.onnx").read_bytes() != (tuned / "model.int8.onnx").read_bytes()
    card_text = (tuned / "card.md").read_text()
    assert "model.int8.onnx was fine-tuned for 1 epoch in int8: accuracy 0." in card_text
    assert "--finetune-epochs 1 --to DIR" in card_text
    assert "fine-tuned" not in (plain / "card.md").read_text()


def test_finetuning_without_int8_its_data_or_a_validation_split_is_refused(trained: Exportable, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--finetune-epochs is for the network in int8 and --numbers fp32 leaves"):
        FormatOptions(numbers="fp32", finetune_epochs=1)
    with pytest.raises(UserError, match="finetune_epochs must be"):
        FormatOptions(finetune_epochs=0)
    asked = FormatOptions(finetune_epochs=1)
    for sample in (None, SAMPLE):
        with pytest.raises(CannotQuantiseError, match=r"needs .*the data set, which .* not at hand; give --dataset"):
            export_network(SMALL, ready(SMALL).state_dict(), CARD, tmp_path / "mine", asked, sample)
    assert trained.sample
    nothing = Split(trained.sample.validation.images[:0], trained.sample.validation.labels[:0])
    with pytest.raises(CannotQuantiseError, match="judged on the validation split, and all images trained"):
        tuned_of(replace(trained, sample=replace(trained.sample, validation=nothing)), 1)
