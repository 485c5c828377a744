import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from quantising import card_of, in_int8, network_of, pixels, scores_of
from test_export import CARD, SAMPLE, SMALL, ready, small_networks

from nas.cli.main import main
from nas.errors import UserError
from nas.network.deployment.memory import peak_activation
from nas.network.folds import children
from nas.network.layers import (
    Activation,
    BatchNorm,
    Conv,
    Flatten,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Residual,
    Sequence,
    Shape,
    Tied,
)
from nas.network.serial import from_json
from nas.results.export.card import deployed_in_words
from nas.results.export.export import Exported, export_network
from nas.results.export.int8.graph import float_graph
from nas.results.export.int8.operations import CannotQuantiseError, operations
from nas.results.export.measuring import Sample, prepared, session
from nas.results.options import NO_MORE, FormatOptions
from nas.space.files import shipped_spaces


def holds_tied(layer: Layer) -> bool:
    return isinstance(layer, Tied) or any(map(holds_tied, children(layer)))


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(small_networks())
def test_what_is_quantised_computes_what_torch_does(drawn: tuple[Layer, Shape]) -> None:
    network, shape = drawn
    module = ready(network)
    model = float_graph(*operations(network, shape, module.state_dict()), 20)
    images = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = module(images).numpy()
    found = session(model.SerializeToString()).run(None, {"images": images.numpy()})[0]
    # weights that blocks share are rounded to the grid of int8 before
    allowed = 0.05 if holds_tied(network) else 1e-4
    assert np.abs(found - expected).max() <= allowed * np.abs(expected).max()


@pytest.mark.parametrize("name", ["every kind", "mixed", "conv_fc"])
def test_weights_are_int8_a_channel_and_values_8_bits_for_batches_of_any_size(name: str) -> None:
    network, shape, classes = network_of(name)
    card = card_of(shape, classes)
    module, found = in_int8(network, shape, card)
    kinds = {tensor.name: tensor for tensor in found.model.graph.initializer}
    weights = [tensor for tensor in kinds.values() if tensor.name.endswith("weight_quantized")]
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.INT8}
    for tensor in weights:
        assert list(kinds[tensor.name.replace("quantized", "scale")].dims) == [tensor.dims[0]]
        assert not np.any(onnx.numpy_helper.to_array(kinds[tensor.name.replace("quantized", "zero_point")]))
    values = [node for node in found.model.graph.node if node.op_type == "QuantizeLinear"]
    assert {kinds[node.input[2]].data_type for node in values} == {onnx.TensorProto.UINT8}
    images = pixels(shape)
    one, all_at_once = (scores_of(found, images[:count], card) for count in (1, len(images)))
    np.testing.assert_array_equal(one, all_at_once[:1])
    with torch.no_grad():
        expected = module(torch.from_numpy(prepared(images, card.preprocessing))).numpy()
    apart = np.abs(all_at_once - expected).mean() / expected.std()
    assert apart < 0.3


def test_norms_and_factors_behind_a_convolution_are_folded_into_it_and_others_stand_alone() -> None:
    norms = Sequence(
        (BatchNorm(3), Conv(3, 3, 3), BatchNorm(3), Residual(Sequence((BatchNorm(3), Activation()))), GlobalPool())
    )
    found, _ = operations(norms, (3, 4, 4), ready(norms).state_dict())
    assert [type(operation.layer).__name__ for operation in found] == [
        *("BatchNorm", "Conv", "BatchNorm", "Activation", "Residual", "GlobalPool")
    ]
    assert [operation.reads for operation in found] == [(0,), (1,), (3,), (4,), (5, 3), (6,)]


def test_a_norm_whose_input_others_read_is_not_folded() -> None:
    shared = Sequence((Conv(1, 3, 3), Residual(BatchNorm(3), Identity())))
    found, _ = operations(shared, (1, 4, 4), ready(shared).state_dict())
    assert [type(operation.layer).__name__ for operation in found] == ["Conv", "BatchNorm", "Residual"]


def test_values_that_are_flattened_are_not_joined_with_others() -> None:
    joined = Sequence((Flatten(), Residual(Linear(16, 16)), Linear(16, 2)))
    with pytest.raises(CannotQuantiseError, match="joins values that are flattened with others"):
        operations(joined, (1, 4, 4), ready(joined).state_dict())
    with pytest.raises(CannotQuantiseError, match="computes nothing"):
        operations(Flatten(), (1, 4, 4), {})


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_networks_of_every_space_can_be_quantised(name: str) -> None:
    for seed in range(4):
        network, shape, classes = network_of(name, seed)
        card = card_of(shape, classes)
        _, found = in_int8(network, shape, card)
        assert np.isfinite(scores_of(found, pixels(shape, 5), card)).all()


UNQUANTISABLE = Sequence((Flatten(), Residual(Linear(16, 16)), Linear(16, 2)))
"""Its sum joins a value that is flattened with one that is not."""


def exported_to(place: Path, network: Layer, asked: FormatOptions, sample: Sample | None = SAMPLE) -> Exported:
    return export_network(network, ready(network).state_dict(), CARD, place, asked, sample)


def test_what_cannot_be_quantised_is_left_out_and_told_or_an_error_where_it_was_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "mine"
    done = exported_to(place, SMALL, NO_MORE)
    assert done.left_out == ()
    before = (place / "model.int8.onnx").read_bytes()
    with pytest.raises(CannotQuantiseError, match="it stays fp32"):
        exported_to(place, UNQUANTISABLE, FormatOptions(numbers="int8"))
    with pytest.raises(CannotQuantiseError, match="int8 needs images of the data set"):
        exported_to(place, SMALL, FormatOptions(c=True), sample=None)
    assert (place / "model.int8.onnx").read_bytes() == before
    assert os.listdir(tmp_path) == ["mine"]
    (told,) = exported_to(place, UNQUANTISABLE, NO_MORE).left_out
    assert told == "the network joins values that are flattened with others; it stays fp32"
    assert not (place / "model.int8.onnx").exists()
    assert "model.int8.onnx" not in (place / "card.md").read_text()
    (told,) = exported_to(place, SMALL, NO_MORE, sample=None).left_out
    assert told.startswith("int8 needs images of the data set, which are not at hand")


def test_where_there_is_no_gcc_the_sources_are_written_and_a_line_says_that_nobody_compiled_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = exported_to(tmp_path / "mine", SMALL, FormatOptions(c=True))
    assert {"model.c", "model.h", "main.c"} <= set(os.listdir(tmp_path / "mine"))
    (program,) = [each for each in done.deployed if each.file == "model.c"]
    assert (program.memory, program.bytes, program.milliseconds) == (18, None, None)
    assert deployed_in_words(program) == (
        "model.c: 18 bytes of values; model.c was not compiled, nor compared: there is no gcc here"
    )
    assert "there is no gcc here" in (tmp_path / "mine" / "card.md").read_text()


def test_c_without_int8_is_refused() -> None:
    with pytest.raises(UserError, match="--c writes the network in int8 and --numbers fp32 leaves that out"):
        FormatOptions(numbers="fp32", c=True)
    with pytest.raises(UserError, match="numbers must be of fp32, int8 but got 'int4'"):
        FormatOptions(numbers="int4")


def test_the_card_and_the_command_tell_what_each_program_takes_and_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = tmp_path / "trained"
    asked = ["plain", "width1=4", "--dataset", "digits", "--epochs", "1", "--device", "cpu"]
    assert main(["train", *asked, "--out", str(trained)]) == 0
    assert main(["export", str(trained), "--c", "--to", str(tmp_path / "mine")]) == 0
    said = capsys.readouterr().err
    card = (tmp_path / "mine" / "card.md").read_text()
    architecture = json.loads((tmp_path / "mine" / "architecture.json").read_text())
    programs = {each["file"]: each for each in architecture["deployed"]}
    assert list(programs) == ["model.c", "model.int8.onnx", "model.onnx"]
    for file in ("model.int8.onnx", "model.onnx"):
        size = (tmp_path / "mine" / file).stat().st_size
        assert programs[file]["bytes"] == size
        assert programs[file]["milliseconds"] > 0
        share = f"{programs[file]['accuracy']:.4f} of 287 images"
        assert f"| `{file}` | {programs[file]['numbers']} | {size:,} | {share} |" in card
        assert f"  {file}: {size:,} bytes" in said
    metrics = json.loads((trained / "metrics.json").read_text())
    assert programs["model.onnx"]["accuracy"] == pytest.approx(metrics["accuracy"])
    assert abs(programs["model.int8.onnx"]["accuracy"] - metrics["accuracy"]) < 0.1
    plan = peak_activation(from_json(architecture["network"]), tuple(architecture["shape"]))
    assert programs["model.c"]["memory"] == plan
    assert "--c --to DIR" in card
