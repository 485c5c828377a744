import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from drawn import shipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from PIL import Image
from safetensors.torch import load_file
from searching import digits_searched
from torch import Tensor, nn

import nas.results.export.predict
from nas.cli.flags import read_options
from nas.cli.main import build_parser, main
from nas.data.arrays import centre_square
from nas.data.augment import DeviceData, normalised
from nas.data.load import Split, load_search_data
from nas.errors import BudgetError, RunError, UserError
from nas.network.folds import children, parameters
from nas.network.layers import (
    KINDS,
    Activation,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Pool,
    Product,
    QuadraticLinear,
    Residual,
    Scale,
    Sequence,
    Shape,
    Shift,
    SignLinear,
    Slice,
    SqueezeExcitation,
    Subsample,
    Tied,
)
from nas.network.modules.module import to_module
from nas.network.modules.source import torch_source
from nas.network.serial import fingerprint, from_json
from nas.results.export.card import Measured, ModelCard, Preprocessing, card_text
from nas.results.export.difference import MismatchError, difference
from nas.results.export.export import export_network
from nas.results.export.exportable import Exportable
from nas.results.export.formats import FORMATS, Contents, wanted
from nas.results.export.formats.demo import SCRIPT, WASM
from nas.results.export.formats.onnx import onnx_model
from nas.results.export.measuring import Sample
from nas.results.options import NO_MORE, FormatOptions
from nas.results.trainings import training_command
from nas.search.options import SearchOptions
from nas.search.search import Search, run_folder, weights_file
from nas.space.budget import Budget
from nas.space.draw import draw_within
from nas.space.files import shipped_spaces
from nas.space.named import Torchvision, to_stored
from nas.training.recipe import Recipe, changed, parse_changes, recipe_values
from nas.training.recipes import recipe_for
from nas.training.train import build, trained_weights
from nas.training.training import Training, read_metrics, read_weights, training_folder
from nas.training.worker import run_test, run_training

FILES = sorted(file for written in wanted(NO_MORE) for file in written.files)
"""What is always written."""

PLAIN = FormatOptions(numbers="fp32")
"""What can be written without images."""

PLAIN_FILES = sorted(file for written in wanted(PLAIN) for file in written.files)

SHAPES: tuple[tuple[Shape, int], ...] = (((1, 8, 8), 10), ((3, 12, 10), 5))

FITTED = Budget(8_000)
"""Small, so that networks are shallow."""

BLOCK = Residual(Sequence((Conv(8, 8, 3), BatchNorm(8), SqueezeExcitation(8, 3))))

GATED = Product(Scale(6), Sequence((Activation("silu"), SqueezeExcitation(6, 2))))
EVERY: Layer = Sequence(
    (
        Sequence((Conv(2, 8, 5, dilation=2, bias=True), BatchNorm(8), Activation("silu")), 'stem\nimport """nothing'),
        Pool("max", 3, 1, 1),
        Sequence((BLOCK, Activation("relu"), BLOCK, Activation("relu"), BLOCK, Activation("relu")), "stage 1"),
        *(3 * (BLOCK,)),
        Sequence(()),
        Residual(Conv(8, 12, 3, stride=2, groups=4), Subsample(8, 12, 2)),
        Residual(Identity(), Subsample(12, 12)),
        Subsample(12, 10),
        Conv(10, 6, 7, stride=3),
        Pool("average", 2, 1, 1),
        Activation("hardswish"),
        Tied(Sequence((Concat((Slice(6, 4), Slice(6, 2, 4))), Shift(6), GATED, Conv(6, 6, 1), BatchNorm(6))), 3),
        Concat((Identity(), Sequence((Slice(6, 3, 2), Conv(3, 2, 1))))),
        Residual(GlobalPool("max"), GlobalPool("average")),
        Flatten(),
        Dropout(0.2),
        Linear(8, 5, bias=False),
        QuadraticLinear(2, 7),
        SignLinear(7, 5),
        Linear(5, 4),
    )
)
"""A network for images 2 x 16 x 14 with every kind of layer, and blocks that repeat."""


def every_kind(layer: Layer) -> set[str]:
    return {type(layer).__name__}.union(*map(every_kind, children(layer)))


def ready(network: Layer, seed: int = 0) -> nn.Module:
    """The module in evaluation with statistics of batch norms that are not those of the beginning."""
    torch.manual_seed(seed)
    module = to_module(network)
    for inner in module.modules():
        if isinstance(inner, nn.BatchNorm2d):
            assert inner.running_mean is not None
            assert inner.running_var is not None
            inner.running_mean.normal_(std=0.1)
            inner.running_var.uniform_(0.5, 2)
    return module.eval()


def executed(source: str) -> dict[str, Any]:
    """The names that a model.py defines."""
    names: dict[str, Any] = {"__name__": "model", "__file__": "model.py"}
    exec(compile(source, "model.py", "exec"), names)
    return names


@torch.no_grad()
def check_source(network: Layer, shape: Shape) -> str:
    source = torch_source(network, shape)
    written, own = executed(source)["network"](), ready(network)
    assert sum(p.numel() for p in written.parameters()) == parameters(network)
    assert list(written.state_dict()) == list(own.state_dict())
    written.load_state_dict(own.state_dict())
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(written.eval()(images), own(images), rtol=1e-5, atol=1e-5)
    return source


@st.composite
def small_networks(draw_from: st.DrawFn) -> tuple[Layer, Shape]:
    shape, classes = draw_from(st.sampled_from(SHAPES))
    space = shipped(draw_from(st.sampled_from(sorted(shipped_spaces()))), shape, classes)
    rng = np.random.default_rng(draw_from(st.integers(0, 2**32 - 1)))
    return space.network(draw_within(space, FITTED, rng)), shape


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(small_networks())
def test_the_source_of_a_network_of_any_space_has_its_parameters_names_and_outputs(drawn: tuple[Layer, Shape]) -> None:
    check_source(*drawn)


def test_the_source_of_every_kind_of_layer_computes_what_the_tree_says() -> None:
    assert every_kind(EVERY) == set(KINDS)
    source = check_source(EVERY, (2, 16, 14))
    assert "for _ in range(3)" in source


def test_a_network_of_one_layer_has_a_source() -> None:
    assert "    return nn.Linear(3, 2)  # 2\n" in check_source(Linear(3, 2), (3,))


def test_a_helper_class_is_written_only_where_it_is_needed() -> None:
    assert re.findall(r"class (\w+)", torch_source(EVERY, (2, 16, 14))) == [
        "Residual",
        "Product",
        "Concat",
        "Slice",
        "Scale",
        "Shift",
        "SqueezeExcitation",
        "Subsample",
        "GlobalMaxPool",
        "Again",
        "Tied",
        "SignLinear",
        "QuadraticLinear",
    ]
    assert "class" not in torch_source(Linear(3, 2), (3,)).partition("import json")[2]


def test_sources_are_formatted_and_linted(tmp_path: Path) -> None:
    (tmp_path / "every.py").write_text(torch_source(EVERY, (2, 16, 14)))
    deep: Layer = Conv(100, 100, 3, groups=100)
    for _ in range(12):
        deep = Residual(deep)
    (tmp_path / "deep.py").write_text(torch_source(deep, (100, 64, 64)))
    for name in shipped_spaces():
        for seed in range(4):
            space = shipped(name, *SHAPES[seed % 2])
            network = space.network(draw_within(space, FITTED, np.random.default_rng(seed)))
            (tmp_path / f"{name}{seed}.py").write_text(torch_source(network, space.shape))
    style = ["--no-cache", "--isolated", "--line-length", "120", str(tmp_path)]
    for command in (["format", "--check"], ["check", "--select", "E,F,W,I,B,UP,D1", "--ignore", "D107"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, *style], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


ONNX_NETWORKS = ["every kind", "mbconv", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mixed", "mobile"))]


@pytest.mark.parametrize("name", ONNX_NETWORKS)
def test_onnx_computes_what_torch_does_for_batches_of_any_size(name: str) -> None:
    from onnxruntime import InferenceSession

    network: Layer = EVERY
    shape: Shape = (2, 16, 14)
    if name != "every kind":
        space = shipped(name, *SHAPES[1])
        network, shape = space.network(draw_within(space, FITTED, np.random.default_rng(0))), space.shape
    own = ready(network)
    module = executed(torch_source(network, shape))["network"]().eval()
    module.load_state_dict(own.state_dict())
    model = onnx_model(module, shape)
    assert [entry.version for entry in model.opset_import] == [20]
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 3, 16):
        images = torch.randn(batch, *shape)
        with torch.no_grad():
            scores = session.run(None, {"images": images.numpy()})[0]
            torch.testing.assert_close(torch.from_numpy(scores), own(images), rtol=1e-4, atol=1e-4)


def test_a_program_that_computes_something_else_is_noticed() -> None:
    network = ready(Linear(3, 2))
    assert difference(network, network, (3,), "model.py") == 0
    with pytest.raises(MismatchError, match="other scores"):
        difference(network, lambda images: network(images) * 1.001, (3,), "model.py")
    with pytest.raises(MismatchError, match="other scores"):
        difference(network, lambda images: network(images) * float("nan"), (3,), "model.py")


CARD = ModelCard(
    class_names=("cat", "dog"),
    preprocessing=Preprocessing(1, 4, 4, (100.0,), (50.0,)),
    dataset="pets",
    data_checksum="0123456789abcdef0123",
    measured=(Measured("validation", (0.5,), 100), Measured("test", (0.6, 0.7, 0.8), None)),
    recipe=recipe_values(Recipe()),
    commands=("nas search", "nas export"),
)

SMALL: Layer = Sequence((Flatten(), Linear(16, 2)))

NOISE = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), dtype=np.uint8)
SAMPLE = Sample(NOISE, Split(NOISE, np.arange(8) % 2))


def write_runtime(folder: Path) -> Path:
    """What stands for the npm package where nothing of it is run."""
    (folder / "dist").mkdir(parents=True)
    (folder / "dist" / SCRIPT).write_text("/*!\n * ONNX Runtime Web v9.8.7\n */")
    (folder / "dist" / WASM).write_bytes(b"\0asm")
    return folder


def test_the_formats_of_an_export_have_files_of_their_own() -> None:
    every = [file for written in FORMATS.values() for file in written.files]
    assert len(every) == len(set(every))
    assert set(FILES) >= {"architecture.json", "card.md", "model.onnx", "model.py", "predict.py", "weights.safetensors"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_writes_its_files_alone_and_equal_ones_again(name: str, tmp_path: Path) -> None:
    written, weights = FORMATS[name], ready(SMALL).state_dict()
    asked = FormatOptions(demo=True, ort_web=write_runtime(tmp_path / "runtime"), c=True)
    assert written.is_asked(asked)
    source = torch_source(SMALL, CARD.preprocessing.shape)
    contents = Contents(SMALL, weights, CARD, source, {"nas": "1"}, asked, SAMPLE)
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        apart = written.write(contents, folder)
        assert apart is None or 0 <= apart < 1e-4
    files = {file.name for file in (tmp_path / "one").iterdir()} - {"__pycache__"}
    assert files == set(written.files)
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_needs_is_installed_with_nas(name: str) -> None:
    declared = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["dependencies"]
    assert set(FORMATS[name].packages) <= {Requirement(each).name for each in declared}
    assert 0 < len(FORMATS[name].meaning) <= 100


def test_a_network_that_cannot_be_exported_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "mine"
    weights = ready(SMALL).state_dict()
    export_network(SMALL, weights, CARD, place)
    before = (place / "model.onnx").read_bytes()
    broken = {name: value * float("nan") for name, value in weights.items()}
    with pytest.raises(RunError, match="its weights are damaged"):
        export_network(SMALL, broken, CARD, place)
    assert (place / "model.onnx").read_bytes() == before
    assert os.listdir(tmp_path) == ["mine"]
    with pytest.raises(RunError, match="its weights are damaged"):
        export_network(SMALL, broken, CARD, tmp_path / "one" / "two" / "three")
    assert os.listdir(tmp_path) == ["mine"]


def test_the_version_of_onnx_operators_can_be_chosen_and_a_reader_may_leave(tmp_path: Path) -> None:
    export_network(SMALL, ready(SMALL).state_dict(), CARD, tmp_path / "mine", FormatOptions(opset=18))
    model = onnx.load_model(tmp_path / "mine" / "model.onnx")
    assert [entry.version for entry in model.opset_import] == [18]
    assert "opset 18" in (tmp_path / "mine" / "card.md").read_text()
    np.save(tmp_path / "image.npy", np.zeros((CARD.preprocessing.height, CARD.preprocessing.width), np.uint8))
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(tmp_path / "mine" / "predict.py"), str(tmp_path / "image.npy")]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    for output in (">/dev/full", ">&-"):
        done = subprocess.run(
            ["sh", "-c", f'"$@" {output}', "sh", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert re.fullmatch(r"nothing can be told: .*\n", done.stderr), done.stderr


def test_large_pictures_are_scaled_in_time_that_grows_with_them() -> None:
    begun = time.process_time()
    (row,) = nas.results.export.predict.window(40_000, 0, 40_000, 1)
    assert time.process_time() - begun < 2  # a sum for every weight takes longer
    assert sum(row) == pytest.approx(1)


def test_an_earlier_export_is_replaced_and_the_card_tells_the_spread(tmp_path: Path) -> None:
    place = tmp_path / "mine"
    place.mkdir()
    export_network(SMALL, ready(SMALL).state_dict(), CARD, place)
    (place / "notes").touch()
    with pytest.raises(UserError, match="holds more than an earlier export"):
        export_network(SMALL, ready(SMALL, seed=1).state_dict(), CARD, place)
    (place / "notes").rename(tmp_path / "mine.previous")
    export_network(SMALL, ready(SMALL, seed=1).state_dict(), CARD, place)
    assert sorted(os.listdir(place)) == PLAIN_FILES
    assert sorted(os.listdir(tmp_path)) == ["mine", "mine.previous"]
    card = (place / "card.md").read_text()
    assert "| validation | 0.5000 | 1 | standard error 0.0500, of 100 images; between seeds unknown |" in card
    assert "| test | 0.7000 | 3 | standard deviation 0.1000 |" in card
    assert "| weights | 136 B in fp32, 48 B in int8 |" in card


def test_the_card_says_which_numbers_are_no_parameters() -> None:
    assert "Not counted" not in card_text(SMALL, CARD, {})
    told = card_text(Sequence((Flatten(), SignLinear(16, 2))), CARD, {})
    assert "Not counted are 32 numbers of the classifier that follow from a formula, as fixed signs or as" in told
    told = card_text(Sequence((Flatten(), Linear(16, 14), QuadraticLinear(4, 2))), CARD, {})
    assert "Not counted are 20 numbers of the classifier that follow" in told


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search on the digits with two budgets."""
    return digits_searched(tmp_path_factory.mktemp("search") / "run", 2_000, 4_000)


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of the network within 4,000 parameters."""
    to = tmp_path_factory.mktemp("export")
    assert main(["export", str(run), "--budget", "4K", "--to", str(to)]) == 0
    assert os.listdir(to) == ["4000"]
    return to / "4000"


def closure(distribution: str, found: set[str]) -> set[str]:
    """The distribution and all that it requires and is installed."""
    name = re.sub(r"[-_.]+", "-", distribution).lower()
    try:
        requires = metadata.distribution(name).requires or []
    except metadata.PackageNotFoundError:
        return found
    if name not in found:
        found.add(name)
        for requirement in map(Requirement, requires):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                closure(requirement.name, found)
    return found


@pytest.fixture(scope="module")
def only(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two folders of packages: one with torch and what it requires, one with onnxruntime and what that requires."""
    folders = {}
    for distribution in ("torch", "onnxruntime"):
        folders[distribution] = tmp_path_factory.mktemp(distribution)
        for name in closure(distribution, set()):
            for top in {file.parts[0] for file in metadata.files(name) or []} - {"..", "__pycache__"}:
                link = folders[distribution] / top
                if not link.exists():
                    link.symlink_to(str(metadata.distribution(name).locate_file(top)))
    return folders


def run_in(packages: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Python that sees its own library and these packages only."""
    environment = {"PYTHONPATH": str(packages), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-S", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", timeout=120)


def predicted(text: str) -> list[tuple[str, float]]:
    """(class, probability in percent) of predict.py's lines."""
    found = [line.split("%") for line in text.splitlines()]
    return [(name.strip(), float(percent)) for percent, name in found]


def write_pgm(path: Path, pixels: npt.NDArray[np.uint8]) -> Path:
    height, width = pixels.shape[:2]
    path.write_bytes(f"P5\n# a comment\n{width} {height}\n255\n".encode() + pixels.tobytes())
    return path


@torch.no_grad()
def best_five(module: nn.Module, images: Tensor, class_names: tuple[str, ...]) -> list[tuple[str, float]]:
    percent, order = (100 * module.eval()(images)[0].softmax(0)).sort(descending=True)
    return [(class_names[i], p) for p, i in zip(percent.tolist()[:5], order.tolist(), strict=False)]


def assert_same(found: list[tuple[str, float]], expected: list[tuple[str, float]]) -> None:
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [p for _, p in found] == pytest.approx([p for _, p in expected], abs=0.02)


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_an_exported_network_predicts_the_same_without_nas_with_either_backend_alone(
    run: Path, exported: Path, only: dict[str, Path], backend: str, tmp_path: Path
) -> None:
    packages = only[backend]
    for absent in ("nas", "PIL", "safetensors", "onnx", *(["numpy"] if backend == "torch" else ["torch"])):
        assert "No module named" in run_in(packages, "-c", f"import {absent}").stderr
    entry = json.loads((run / "pareto.json").read_text())["front"][-1]
    module = to_module(from_json(entry["layers"]))
    module.load_state_dict(trained_weights(weights_file(run_folder(run), entry["network"])))
    split = load_search_data("digits", seed=0)
    data = DeviceData.of(split, torch.device("cpu"), ())
    image = write_pgm(tmp_path / "digit.pgm", split.validation.images[0])
    done = run_in(packages, exported / "predict.py", image)
    assert (done.returncode, done.stderr) == (0, "")
    expected = best_five(module, normalised(data.validation.images[:1], data), split.class_names)
    assert_same(predicted(done.stdout), expected)
    other = "torch" if backend == "onnxruntime" else "onnxruntime"
    refused = run_in(packages, exported / "predict.py", image, "--backend", other)
    assert (refused.returncode, refused.stderr) == (2, f"{other} is not installed: pip install {other}\n")
    needing = run_in(packages, exported / "predict.py", exported / "card.md")
    assert (needing.returncode, needing.stderr.count("\n")) == (2, 1)
    assert "needs Pillow" in needing.stderr


def test_an_exported_folder_holds_the_network_its_weights_and_where_they_come_from(run: Path, exported: Path) -> None:
    assert sorted(os.listdir(exported)) == FILES
    content = json.loads((run / "pareto.json").read_text())
    entry = content["front"][-1]
    architecture = json.loads((exported / "architecture.json").read_text())
    assert fingerprint(from_json(architecture["network"]), tuple(architecture["shape"])) == entry["network"]
    assert architecture["preprocessing"]["mean"] == pytest.approx([77.6], abs=0.1)
    weights = trained_weights(weights_file(run_folder(run), entry["network"]))
    stored = load_file(exported / "weights.safetensors")
    assert set(stored) == set(weights)
    assert all(torch.equal(stored[name], weights[name]) for name in weights)
    card = (exported / "card.md").read_text()
    assert f"| parameters | {entry['parameters']:,} |" in card
    assert f"| validation | {entry['validation_accuracy']:.4f} | 1 |" in card
    assert f"    {shlex.join(['nas', 'export', str(run), '--budget', '4000', '--to', 'DIR'])}\n" in card
    done = subprocess.run([sys.executable, exported / "model.py"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{entry['parameters']}\n"


def test_a_search_is_exported_at_each_of_its_budgets(run: Path, tmp_path: Path) -> None:
    assert main(["export", str(run / "pareto.json"), "--to", str(tmp_path / "out")]) == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["2000", "4000"]
    for budget in (2_000, 4_000):
        architecture = json.loads((tmp_path / "out" / str(budget) / "architecture.json").read_text())
        assert architecture["parameters"] <= budget


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which an export is refused."""
    capsys.readouterr()
    assert main(["export", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    return said.err


def test_what_cannot_be_exported_is_told_in_one_line(
    run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = ["--to", tmp_path / "out"]
    assert "there is no nothing;" in refusal(capsys, "nothing", *to)
    assert "there is no pareto.json at" in refusal(capsys, tmp_path, *to)
    alone = shutil.copy(run / "pareto.json", tmp_path / "front.json")
    assert f"{alone} lies alone, without the weights" in refusal(capsys, alone, *to)
    assert f"{run} holds a search; give --to another folder" in refusal(capsys, run, "--to", run)
    within = f"{run}/sub/models lies in the folder of a search; give --to another folder"
    assert within in refusal(capsys, run, "--to", run / "sub" / "models")
    (tmp_path / "settings.json").write_text('{"what": {"of": "others"}}')
    assert "lies in" not in refusal(capsys, "nothing", "--to", tmp_path / "sub" / "models")
    (tmp_path / "settings.json").unlink()
    assert "to must not be empty" in refusal(capsys, run, "--to", "")
    images, begun = tmp_path / "images", tmp_path / "begun"
    for folder in (images, begun):
        folder.mkdir()
    (begun / "settings.json").write_text(json.dumps({"what": "search", "dataset": str(images)}))
    assert f"lies in the data set {images}, as a class" in refusal(capsys, begun, "--to", images / "out")
    assert "no trained network with at most 10 parameters" in refusal(capsys, run, "--budget", "10", *to)
    assert "4000 is not empty and holds more than an earlier export" in refusal(
        capsys, run, "--budget", "4K", "--to", shutil.copytree(run / "weights", tmp_path / "full" / "4000").parent
    )
    file = tmp_path / "file"
    file.touch()
    mine = tmp_path / "mine" / "4000"
    mine.mkdir(parents=True)
    (mine / "architecture.json").write_text("{}")
    assert "holds more than an earlier export" in refusal(capsys, run, "--budget", "4K", "--to", mine.parent)
    before = sorted(os.listdir(exported))
    again = [run, "--budget", "4K", "--to", exported.parent]
    assert "give --ort-web the folder of the npm package" in refusal(capsys, *again, "--demo", "--ort-web", tmp_path)
    assert "add --demo" in refusal(capsys, *again, "--ort-web", tmp_path)
    assert sorted(os.listdir(exported)) == before
    assert f"{file} is a file; give --to a folder" in refusal(capsys, run, "--budget", "4K", "--to", file)
    bare = shutil.copytree(run, tmp_path / "bare")
    for weights in (bare / "weights").iterdir():
        weights.write_bytes(b"torn")
    assert "cannot be read" in refusal(capsys, bare, "--budget", "4K", *to)
    shutil.rmtree(bare / "weights")
    assert "are not in" in refusal(capsys, bare, "--budget", "4K", *to)
    assert not (tmp_path / "out").exists()


def digits_plan(network: Layer | Torchvision, recipe: Recipe, model: str = "mine") -> Training:
    checksum = load_search_data("digits", seed=0).checksum
    return Training(model, to_stored(network), "digits", checksum, None, None, 200, recipe, 0)


def test_a_training_with_dropout_and_an_input_size_is_exported_as_it_was_validated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, to = training_folder(tmp_path / "trained"), tmp_path / "out"
    space = shipped("plain", (1, 12, 12), 10)
    recipe = changed(recipe_for(200), {"dropout": 0.3, "input_size": 12, "epochs": 1})
    folder.enter(digits_plan(space.network(space.check({"width1": 8})), recipe, "plain width1=8"))
    run_training(folder, torch.device("cpu"))
    run_test(folder, torch.device("cpu"))
    assert "leave out --budget" in refusal(capsys, folder.path, "--budget", "1K", "--to", to)
    assert main(["export", str(folder.path), "--to", str(to)]) == 0
    assert sorted(os.listdir(to)) == FILES
    card = (to / "card.md").read_text()
    assert f"| test | {read_metrics(folder).test_accuracy:.4f} | 1 |" in card
    assert "The test split was read once." in card
    assert "nas train plain width1=8 --dataset digits --images 200 --seed 0 --recipe search --set epochs=1 " in card
    module = build(from_json(folder.read().network), dropout=0.3)
    module.load_state_dict(read_weights(folder))
    split = load_search_data("digits", seed=0, images=200)
    data = DeviceData.of(split, torch.device("cpu"), ())
    images = normalised(data.validation.images[:1], data)
    images = nn.functional.interpolate(images, size=(12, 12), mode="bilinear", antialias=True)
    Image.fromarray(split.validation.images[0, ..., 0]).save(tmp_path / "digit.png")
    command = [sys.executable, str(to / "predict.py"), str(tmp_path / "digit.png")]
    for backend in ("torch", "onnxruntime"):
        done = subprocess.run([*command, "--backend", backend], capture_output=True, text=True, check=True)
        assert_same(predicted(done.stdout), best_five(module, images, split.class_names))
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` that has seen enough
    told = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert told.stderr == ""


def test_a_model_of_torchvision_or_an_unfinished_training_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training_folder(tmp_path / "resnet").enter(digits_plan(Torchvision("resnet18"), Recipe()))
    training_folder(tmp_path / "begun").enter(digits_plan(SMALL, Recipe()))
    to = ["--to", tmp_path / "out"]
    assert "only networks of layers can be exported" in refusal(capsys, tmp_path / "resnet", *to)
    assert "has not finished" in refusal(capsys, tmp_path / "begun", *to)


def test_a_missing_package_is_told_in_one_line_with_the_command_that_installs_it(
    only: dict[str, Path], tmp_path: Path
) -> None:
    environment = shutil.copytree(only["torch"], tmp_path / "with_nas", symlinks=True)
    (environment / "nas").symlink_to(Path(nas.__file__).parent)
    done = run_in(environment, "-c", "import nas.results.export.export; nas.results.export.export.check_packages()")
    assert done.stderr.splitlines()[-1] == (
        "nas.errors.UserError: nas export needs packages that are not installed; install them: "
        "pip install onnx onnxruntime onnxscript safetensors"
    )


PLAN = Search(
    dataset="digits",
    data_checksum="",
    image_size=16,
    validation_share=0.3,
    augmentation=("crop", "flip"),
    space="mixed",
    space_class="Mixed",
    space_checksum="",
    budgets=(1_000, 20_000),
    max_macs=9_000_000,
    strategies=("tpe", "random"),
    baselines=(),
    trials=7,
    epochs=5,
    below=0.5,
    seed=3,
    recipe=Recipe(),
    stop="extrapolate",
    stop_threshold=0.1,
    audit=0.2,
)


def test_the_command_of_a_search_says_all_that_its_plan_does() -> None:
    for plan in (PLAN, replace(PLAN, augmentation=(), max_macs=None, image_size=None, baselines=("resnet",))):
        asked = read_options(SearchOptions, build_parser().parse_args(shlex.split(plan.command())[1:]))
        assert asked == plan.asked()
        flags = build_parser().parse_args(shlex.split(plan.command())[1:])
        assert (flags.budget, flags.trials, flags.epochs, flags.seed) == ((1_000, 20_000), 7, 5, 3)
        assert (flags.dataset, flags.image_size, flags.validation_share) == ("digits", plan.image_size, 0.3)
        assert flags.augmentation == plan.augmentation
        assert (flags.space, flags.max_macs, flags.strategies) == ("mixed", plan.max_macs, ("tpe", "random"))
        assert flags.baselines == bool(plan.baselines)
        assert (flags.stop, flags.stop_threshold, flags.audit, flags.below) == ("extrapolate", 0.1, 0.2, 0.5)
        assert flags.warm_start is None


def test_the_command_of_a_training_leads_to_its_recipe() -> None:
    recipe = Recipe(schedule="multi-step", milestones=(0.5, 0.75), augmentation=("crop",), mixup=0.2)
    for model, words in (
        ("s0-100k", ["s0-100k"]),
        ("plain width1=8", ["plain", "width1=8"]),
        ("found 0123456789abcdef", ["RUN", "--select", "0123456789abcdef"]),
        ("scaled:resnet@5K", ["scaled:resnet@5K"]),
        ("own width=3", ["NETWORK"]),
    ):
        command = shlex.split(training_command(digits_plan(SMALL, recipe, model), images=200))
        assert command[2 : 2 + len(words)] == words
        flags = build_parser().parse_args(command[1:])
        assert changed(recipe_for(200), parse_changes(flags.changes)) == recipe
        assert (flags.dataset, flags.images, flags.seed, flags.recipe) == ("digits", 200, 0, "search")


SIDES = [(8, 8), (8, 13), (30, 20), (7, 40), (64, 65), (3, 3)]


@pytest.mark.parametrize(("height", "width"), SIDES)
def test_images_are_scaled_and_cut_as_data_sets_are(height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    plain = {"height": 8, "width": 8, "mean": [0.0] * 3, "deviation": [1.0] * 3, "input_size": 0}
    channels_first = pixels.transpose(2, 0, 1).astype(np.float32)
    ours = nas.results.export.predict.prepare(channels_first, plain, lambda values: np.array(values, np.float32))
    theirs = np.asarray(centre_square(Image.fromarray(pixels), 8), np.float32).transpose(2, 0, 1)
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() < 0.02
    with_torch = nas.results.export.predict.prepare(torch.from_numpy(channels_first), plain, torch.tensor)
    assert np.abs(with_torch.numpy() - ours).max() <= 1


def test_the_same_pixels_are_read_from_every_format(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "a.ppm")
    content = (tmp_path / "a.ppm").read_bytes()
    expected = nas.results.export.predict.Picture(pixels.tobytes(), 5, 6, 3)
    for name in ("a.npy", "a.png", "a.ppm"):
        assert nas.results.export.predict.read_picture(tmp_path / name, 3) == expected
    assert nas.results.export.predict.read_netpbm(content, tmp_path / "a.ppm") == expected
    np.save(tmp_path / "gray.npy", pixels[..., 0])
    gray = nas.results.export.predict.read_picture(tmp_path / "gray.npy", 3)
    assert gray.pixels == np.repeat(pixels[..., :1], 3, axis=2).tobytes()


def test_an_image_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.zeros((5, 6, 3), np.uint8)
    np.save(tmp_path / "float.npy", pixels.astype(np.float32))
    np.save(tmp_path / "colour.npy", pixels)
    (tmp_path / "torn.npy").write_bytes((tmp_path / "colour.npy").read_bytes()[:-1])
    (tmp_path / "header.npy").write_bytes((tmp_path / "colour.npy").read_bytes()[:20])
    (tmp_path / "text.jpg").write_text("no image")
    for name, told in (
        ("absent.png", "No such file"),
        ("float.npy", "must hold uint8"),
        ("colour.npy", "has 3 channels but the network takes 1"),
        ("torn.npy", "holds 89 values"),
        ("header.npy", "no .npy file that can be read"),
        ("text.jpg", "cannot be read as an image"),
    ):
        with pytest.raises(SystemExit) as ended:
            nas.results.export.predict.read_picture(tmp_path / name, 1)
        said = capsys.readouterr().err
        assert ended.value.code == 2
        assert told in said
        assert said.count("\n") == 1


def test_every_space_has_networks_as_small_as_these_tests_draw() -> None:
    for name in shipped_spaces():
        for shape, classes in SHAPES:
            try:
                draw_within(shipped(name, shape, classes), FITTED, np.random.default_rng(0))
            except BudgetError as error:
                pytest.fail(str(error))


def test_what_an_export_that_was_killed_left_goes_with_the_next(tmp_path: Path, run: Path) -> None:
    left = tmp_path / "model" / "4000.partial" / "new"
    left.mkdir(parents=True)
    (left / "card.md").write_text("half a ca")
    assert main(["export", str(run), "--budget", "4K", "--to", str(tmp_path / "model")]) == 0
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["4000"]


def test_weights_of_another_network_or_without_sense_are_refused() -> None:
    network = Sequence((GlobalPool(), Flatten(), Linear(1, 2)))
    weights = to_module(network).state_dict()
    card: Any = None
    assert Exportable(network, weights, card, "weights of it").weights is weights
    other = to_module(Sequence((GlobalPool(), Flatten(), Linear(1, 3)))).state_dict()
    for wrong, words in (
        (other, "weights of it: they are of another network"),
        ({}, "weights of it: they are of another network"),
        ({name: value * torch.nan for name, value in weights.items()}, "weights of it: they hold values that are no"),
    ):
        with pytest.raises(RunError, match=words):
            Exportable(network, wrong, card, "weights of it")


def test_a_network_whose_scores_are_no_numbers_is_refused() -> None:
    with pytest.raises(RunError, match="its weights are damaged"):
        difference(lambda images: images / 0, lambda images: images / 0, (1, 2, 2), "model.onnx")
