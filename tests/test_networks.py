import json
import shutil
from pathlib import Path

import pytest
from records import PLAN, SPACE, record
from searching import digits_searched, write_space

from nas.errors import SpaceError, UserError
from nas.network.folds import cost
from nas.network.layers import Flatten, Layer, Linear, Sequence
from nas.network.serial import fingerprint
from nas.results import networks
from nas.results.networks import find_network, is_stored
from nas.search.records import read_run
from nas.search.result.front import read_front, write_front
from nas.search.search import run_folder
from nas.space.budget import Budget
from nas.space.designs import DESIGNS, scaled
from nas.space.files import shipped_spaces
from nas.space.named import Torchvision, from_stored, size, to_stored


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder that holds two networks, of 570 and of 3,000-odd parameters."""
    records = [
        record({"width": 4, "kernel": 3, "gate": False}, 0.5),
        record({"width": 8, "kernel": 5, "gate": True}, 0.75, number=1),
    ]
    write_front(run_folder(tmp_path), records, PLAN, SPACE)
    return tmp_path


def parameters(network: Layer | Torchvision, shape: tuple[int, int, int]) -> int:
    assert isinstance(network, Layer)
    return cost(network, shape).parameters


# What there is


def test_a_model_is_found_for_the_images_it_was_published_for() -> None:
    named = find_network("s4-resnet20")
    assert (named.label, named.shape, named.classes) == ("s4-resnet20", (3, 32, 32), 10)
    assert size(named.network, named.shape, named.classes) == (269_722, 40_551_040)


def test_a_model_is_found_for_other_images_and_classes() -> None:
    named = find_network("s4-resnet20", shape=(1, 8, 8), classes=7)
    assert (named.shape, named.classes) == ((1, 8, 8), 7)
    assert size(named.network, named.shape, named.classes)[0] == 269_722 - 2 * 9 * 16 - 3 * 65


def test_a_classifier_of_torchvision_is_found_by_its_name_there_or_as_a_model() -> None:
    named = find_network("torchvision:squeezenet1_1", shape=(1, 64, 64), classes=10)
    assert named.network == Torchvision("squeezenet1_1")
    assert size(named.network, named.shape, named.classes)[0] == 726_474
    assert find_network("torchvision:resnet18").shape == (3, 224, 224)
    assert find_network("s2-resnet101", pretrained=True).network == Torchvision("resnet101", pretrained=True)


@pytest.mark.parametrize("design", DESIGNS)
def test_a_design_is_scaled_to_parameters_images_and_classes(design: str) -> None:
    named = find_network(f"scaled:{design}@20K", shape=(1, 8, 8), classes=10)
    assert (named.label, named.shape, named.classes) == (f"scaled:{design}@20K", (1, 8, 8), 10)
    assert named.network == scaled(design, Budget(20_000), (1, 8, 8), 10)
    assert find_network(f"scaled:{design}@20K").classes == 100


def test_a_shipped_space_gives_its_default_network_or_that_of_its_knobs() -> None:
    named = find_network("cifar_resnet", ["blocks=1", "width=2"], shape=(1, 8, 8), classes=10)
    assert named.label == "cifar_resnet blocks=1 width=2"
    assert size(named.network, named.shape, named.classes) == (1_320, 12_752)
    assert (find_network("mixed").shape, find_network("mixed").classes) == ((3, 32, 32), 100)


def test_a_space_of_ones_own_gives_networks(tmp_path: Path) -> None:
    named = find_network(str(write_space(tmp_path)), ["width=3"], shape=(1, 8, 8), classes=4)
    assert named.label == "tiny width=3"
    assert parameters(named.network, (1, 8, 8)) == 9 * 3 + 2 * 3 + 4 * (3 + 1)


def test_a_stored_network_is_found_by_fingerprint_by_size_or_as_the_largest(run: Path) -> None:
    small, large = json.loads((run / "pareto.json").read_text())["front"]
    for name in (str(run), str(run / "pareto.json")):
        assert find_network(name).label == f"found {large['network']}"
        assert find_network(name, select="570").label == f"found {small['network']}"
        assert find_network(name, select=small["network"]).label == f"found {small['network']}"
    assert parameters(find_network(str(run), select="1K").network, (1, 8, 8)) == 570
    assert find_network(str(run), shape=(1, 8, 8), classes=10).classes == 10


def test_the_name_of_a_model_or_space_wins_over_a_folder_of_that_name(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "pareto.json").write_text((run / "pareto.json").read_text())
    assert find_network("mixed").label == "mixed"
    assert find_network("./mixed").label.startswith("found ")


def test_networks_are_stored_as_json_and_read_again() -> None:
    for network in (Torchvision("resnet18", True), Sequence((Flatten(), Linear(64, 10)))):
        assert from_stored(json.loads(json.dumps(to_stored(network)))) == network


# What there is not


@pytest.mark.parametrize(
    ("name", "knobs", "told"),
    [
        (
            "nowhere",
            [],
            "no model or space is named 'nowhere': `nas models` lists the models; spaces are "
            f"{', '.join(shipped_spaces())} or a .py file; torchvision:NAME is one of "
            "torchvision's, scaled:NAME@PARAMETERS a scaled design",
        ),
        ("nowhere.py", [], "there is no space file 'nowhere.py'"),
        ("mixed", ["width1"], "settings must be KNOB=VALUE with a knob of stem, halve, activation, shortcut, kind1"),
        ("mixed", ["stem=4", "stem=5"], "knob 'stem' is given twice; give it one value"),
        ("mixed", ["kernel1=4"], "knob 'kernel1' must be one of 3, 5, 7 but got '4'"),
        ("s4-resnet20", ["blocks=3"], "s4-resnet20 is a fixed model and has no knobs; leave out blocks=3"),
        ("scaled:resnet@50K", ["a=1"], "scaled:resnet@50K is a fixed model and has no knobs; leave out a=1"),
        (
            "scaled:resnet",
            [],
            "a scaled design is scaled:NAME@PARAMETERS, like scaled:resnet@50K, with a name of "
            f"{', '.join(DESIGNS)}, but got 'scaled:resnet'",
        ),
        ("scaled:lenet@1K", [], "a scaled design is scaled:NAME@PARAMETERS, like scaled:resnet@50K, with a name of"),
        (
            "scaled:vgg@200",
            [],
            "scaled:vgg@200 has no network: with every width at 1 it has more than 200 parameters, for images "
            "3 × 32 × 32 of 100 classes; ask for more",
        ),
        ("torchvision:resnet18", ["a=1"], "torchvision:resnet18 is a fixed model and has no knobs; leave out a=1"),
    ],
)
def test_unknown_names_and_knobs_are_refused(name: str, knobs: list[str], told: str) -> None:
    with pytest.raises(SpaceError if "fixed" not in told else UserError) as caught:
        find_network(name, knobs)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_a_torchvision_name_that_is_unknown_is_refused_when_it_is_counted() -> None:
    with pytest.raises(SpaceError) as caught:
        size(find_network("torchvision:resnet19").network, (3, 32, 32), 10)
    assert str(caught.value).startswith("torchvision has no classifier named 'resnet19'; it has resnet1")


def test_images_too_small_for_a_network_are_refused() -> None:
    with pytest.raises(SpaceError) as caught:
        find_network("s0-10k", shape=(1, 4, 4))
    assert str(caught.value) == (
        "model 's0-10k' was made for images 3 × 32 × 32 and those of 1 × 4 × 4 are too small for all of its layers. "
        "Enlarge them (--image-size) or choose another model."
    )
    with pytest.raises(SpaceError) as caught:
        size(Sequence((Flatten(), Linear(64, 10))), (1, 4, 4), 10)
    assert str(caught.value).startswith("the network does not fit images 1 × 4 × 4: ")


def test_pretrained_weights_are_for_coloured_images() -> None:
    with pytest.raises(SpaceError) as caught:
        find_network("torchvision:resnet18", shape=(1, 64, 64), pretrained=True)
    assert str(caught.value) == "pretrained weights need 3 channels but got 1"


def test_any_network_that_a_search_has_proposed_is_found_in_its_run(tmp_path: Path) -> None:
    run = digits_searched(tmp_path / "run", 2_000)
    file = run / "pareto.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"front": [], "best": {}}))  # as if others had been better
    proposed = {record.network for record in read_run(run_folder(run))[1]}
    assert len(proposed) == 2
    for network in proposed:
        for place in (run, file):
            found = find_network(str(place), select=network)
            assert isinstance(found.network, Layer)
            assert fingerprint(found.network, found.shape) == network
    with pytest.MonkeyPatch.context() as patch:  # of a network that is not on the front: digits, as a count has them
        patch.setattr(networks, "_proposed", lambda path, front, begin: {"1234567890abcdef": Sequence(())})
        assert find_network(str(run), select="123456").network == Sequence(())
    shutil.copy(file, tmp_path / "alone.json")
    with pytest.raises(UserError, match="has no network"):
        find_network(str(tmp_path / "alone.json"), select=network)


def test_what_does_not_go_with_a_stored_network_is_refused(run: Path) -> None:
    def told(name: str = str(run), *knobs: str, **options: object) -> str:
        with pytest.raises(UserError) as caught:
            find_network(name, knobs, **options)  # type: ignore[arg-type]
        return str(caught.value)

    assert told(str(run), "width=4") == "a network of a pareto.json has its own knobs; leave them out"
    sizes = ", ".join(f"{entry.parameters:,} ({entry.network[:6]})" for entry in read_front(run).networks)
    assert told(select="569") == f"{run} has no network 569; the parameters of its front are {sizes}"
    assert told(select="012345abcdef") == f"{run} has no network 012345abcdef; the parameters of its front are {sizes}"
    assert told(select="many").startswith("a count must be a number like 100000, 100K or 1.5M but got 'many'")
    assert told(classes=4) == f"the networks of {run} are for images (1, 8, 8) of 10 classes, not (1, 8, 8) of 4"
    assert told(shape=(3, 8, 8)) == f"the networks of {run} are for images (1, 8, 8) of 10 classes, not (3, 8, 8) of 10"
    assert told(pretrained=True) == f"there are pretrained weights for torchvision's models only; {run} is none"
    assert told("mixed", select="1K") == "--select needs a pareto.json"
    assert told("mixed", pretrained=True) == "there are pretrained weights for torchvision's models only; mixed is none"
    assert told("nowhere.json") == "there is no pareto.json at nowhere.json"
    (run / "other.json").write_text("{}")
    assert told(str(run / "other.json")).startswith(f"{run / 'other.json'} is no pareto.json of schema version ")


def test_a_name_that_is_too_long_for_a_file_is_a_name() -> None:
    assert not is_stored("mixed " + "width1=16 " * 40)
