import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from quantising import card_of, in_int8, network_of, pixels, scores_of
from torch import nn

from nas.data.load import Split
from nas.errors import RunError
from nas.network.deployment.memory import plan
from nas.network.folds import parameters
from nas.network.layers import (
    Activation,
    BatchNorm,
    Conv,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    Sequence,
    SignLinear,
    Tied,
)
from nas.network.modules.module import to_module
from nas.results.export.c.arithmetic import table
from nas.results.export.c.compiled import SOURCES, STRICT, compiled, compiler, run
from nas.results.export.c.program import Program
from nas.results.export.c.sources import c_sources
from nas.results.export.c.text import floating, quoted
from nas.results.export.card import ModelCard
from nas.results.export.difference import MismatchError
from nas.results.export.int8.network import QuantisedNetwork, quantised_network
from nas.results.export.int8.operations import CannotQuantiseError
from nas.results.export.int8.quantise import Scale
from nas.results.export.measuring import Sample
from nas.space.files import shipped_spaces

needs_gcc = pytest.mark.skipif(compiler() is None, reason="THE C PROGRAM IS NOT TESTED: there is no gcc here")

SANITISED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def written(found: QuantisedNetwork, card: ModelCard, folder: Path) -> Path:
    """The program, compiled with all that gcc can find fault with."""
    for name, text in c_sources(found, card, 1).items():
        (folder / name).write_text(text, encoding="utf-8")
    sources = [str(folder / name) for name in SOURCES]
    program = folder / "program"
    done = subprocess.run(["gcc", *STRICT, *SANITISED, *sources, "-o", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def check_program(network: Layer, shape: tuple[int, ...], classes: int, folder: Path, seed: int) -> None:
    card = card_of(shape, classes)
    _, found = in_int8(network, shape, card, seed)
    images = pixels(shape)
    expected, scores = scores_of(found, images, card), run(written(found, card, folder), images)
    step = float(Program(found).scale(found.operations[-1].writes).step)
    assert (scores.argmax(1) == expected.argmax(1)).mean() >= 0.99
    assert np.abs(scores - expected).max() <= 1.01 * step
    assert len(np.unique(scores, axis=0)) > 5


SPACES = [
    *("every kind", "mixed", "mobile"),
    *(pytest.param(n, marks=pytest.mark.slow) for n in sorted(shipped_spaces())),
]


@needs_gcc
@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_the_c_program_computes_what_onnxruntime_does(name: str, seed: int, tmp_path: Path) -> None:
    check_program(*network_of(name, seed), tmp_path, seed)


def test_the_one_buffer_is_that_of_the_plan_and_values_that_live_together_lie_apart() -> None:
    for name in ("every kind", "mixed", "residual"):
        network, shape, classes = network_of(name)
        card = card_of(shape, classes)
        _, found = in_int8(network, shape, card)
        sources = c_sources(found, card, 1)
        assert f"#define MODEL_ARENA {plan(network, shape).size}\n" in sources["model.h"]
        assert sources["model.c"].count("static int8_t ") == 2  # the arena, and the function that rounds
        assert re.findall(r"^static (?!const)\w+ \w+\[", sources["model.c"], re.MULTILINE) == ["static int8_t arena["]


def test_blocks_that_share_weights_share_them_in_c_whatever_their_norms() -> None:
    block = Sequence((Conv(8, 8, 1), BatchNorm(8), Activation()))
    layers = (Conv(1, 8, 3), Tied(block, 3), GlobalPool(), Flatten(), Linear(8, 4))
    card = card_of((1, 6, 6), 4)
    module, found = in_int8(Sequence(layers), (1, 6, 6), card)
    norms = [inner.weight for inner in module.modules() if isinstance(inner, nn.BatchNorm2d)]
    assert len(norms) == 3
    assert any(bool((weight < 0).any()) for weight in norms)
    source = c_sources(found, card, parameters(found.network))["model.c"]
    assert [len(array.split(",")) - 1 for array in re.findall(r"_weight\[\] = \{(.*?)\};", source, re.DOTALL)] == [
        72,
        64,
        32,
    ]
    assert len(re.findall(r"_factor\[\]", source)) == 5


def test_signs_that_follow_from_a_formula_are_not_stored() -> None:
    network = Sequence((Conv(1, 16, 3), Flatten(), SignLinear(16 * 36, 5)))
    card = card_of((1, 6, 6), 5)
    _, found = in_int8(network, (1, 6, 6), card)
    source = c_sources(found, card, 1)["model.c"]
    assert "connect_signs(arena" in source
    assert len(source) < 10_000


@needs_gcc
def test_names_of_classes_are_printed_as_they_are_and_images_are_read_to_the_end(tmp_path: Path) -> None:
    names = ('say "cheese"', "back\\slash??/", "Bär", "50 %")
    card = card_of((1, 6, 6), 4, names)
    network = Sequence((Conv(1, 4, 3), Activation("silu"), GlobalPool("max"), Flatten(), Linear(4, 4)))
    _, found = in_int8(network, (1, 6, 6), card)
    program, images = written(found, card, tmp_path), pixels((1, 6, 6))
    done = subprocess.run([program], input=images.tobytes(), capture_output=True, check=True)
    told = [line.partition(" ") for line in done.stdout.decode().splitlines()[::2]]
    assert len(told) == len(images)
    assert all(names[int(number)] == name for number, _, name in told)
    assert len({number for number, _, _ in told}) > 1
    for content, ended in ((b"", 0), (images.tobytes()[:-1], 35)):
        refused = subprocess.run([program], input=content, capture_output=True, check=False)
        assert (refused.returncode, refused.stderr.decode()) == (
            2,
            f"an image is 36 bytes; stdin ended after {ended}\n",
        )


@needs_gcc
def test_a_program_that_computes_something_else_is_noticed(tmp_path: Path) -> None:
    card = card_of((1, 6, 6), 4)
    network = Sequence((Conv(1, 4, 3), GlobalPool(), Flatten(), Linear(4, 4)))
    _, found = in_int8(network, (1, 6, 6), card)
    images = pixels((1, 6, 6))
    written(found, card, tmp_path)
    right = scores_of(found, images, card)
    known = compiled(tmp_path, images, right)
    assert known.code > 0
    assert known.constants >= 4 * 9 + 4 * 4
    with pytest.raises(MismatchError, match="of 200 images other classes than onnxruntime"):
        compiled(tmp_path, images, right[:, [1, 2, 3, 0]])
    (tmp_path / "main.c").write_text("int main(void) { return unknown; }")
    with pytest.raises(RunError, match="gcc cannot compile the C program"):
        compiled(tmp_path, images, right)


def test_a_layer_whose_sums_do_not_fit_is_refused() -> None:
    network = Sequence((Flatten(), Linear(430 * 430, 2)))
    card = card_of((1, 430, 430), 2)
    module = to_module(network)
    for weight in module.parameters():
        weight.data.fill_(1.0)
    sample = Sample(pixels((1, 430, 430), 4), Split(pixels((1, 430, 430), 1)[:0], np.zeros(0, np.int64)))
    found = quantised_network(network, module.state_dict(), card.preprocessing, sample, 20)
    with pytest.raises(CannotQuantiseError, match="do not fit the 32 bits"):
        c_sources(found, card, 1)


def test_tables_hold_the_functions_also_of_values_far_out() -> None:
    far, near = Scale(np.float32(2.0), 0), Scale(np.float32(0.5), -128)
    assert table("silu", far, near)[[0, 128, 129, 255]].tolist() == [-128, -128, -124, 127]
    assert table("relu", far, near)[[0, 127, 128, 130]].tolist() == [-128, -128, -128, -120]
    assert table("hardsigmoid", far, Scale(np.float32(0.25), 0))[[0, 128, 129, 255]].tolist() == [0, 2, 3, 4]


def test_constants_are_written_exactly() -> None:
    assert [floating(value) for value in (0.1, 2, 1e-30, -0.5)] == ["0.100000001f", "2.0f", "1e-30f", "-0.5f"]
    assert quoted("a\nb") == '"a\\012b"'
