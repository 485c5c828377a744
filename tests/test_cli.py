import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from records import PLAN, SPACE, record

from nas.cli.commands import COMMANDS
from nas.cli.console import WIDE
from nas.cli.main import build_parser, main
from nas.cli.run_tables import front_plot
from nas.data.augmentations import AUGMENTATIONS
from nas.network.serial import from_json
from nas.search.result.front import write_front
from nas.search.search import run_folder
from nas.search.strategies import STRATEGIES
from nas.space.files import shipped_spaces
from nas.training.recipe import Recipe, changed, parse_changes
from nas.training.recipes import RECIPES


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of one command."""
    try:
        code = main(arguments)
    except SystemExit as ended:  # as argparse does
        code = int(ended.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def pareto(tmp_path: Path) -> Path:
    """A run folder that holds two networks, of 570 and of 3,000-odd parameters."""
    records = [
        record({"width": 4, "kernel": 3, "gate": False}, 0.5),
        record({"width": 8, "kernel": 5, "gate": True}, 0.75, number=1),
    ]
    write_front(run_folder(tmp_path), records, PLAN, SPACE)
    return tmp_path / "pareto.json"


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_ends_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run([command, "--help"], capsys)
    assert (code, err) == (0, "")
    *_, title, example = out.rstrip().splitlines()
    assert title == "example:"
    assert f"{example} ".startswith(f"  nas {command} ")
    assert build_parser().parse_args(shlex.split(example)[1:])


def test_the_help_of_nas_names_every_command_and_ends_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["--help"], capsys)
    assert code == 0
    listed = re.findall(r"^    (\w+) ", out, re.MULTILINE)
    assert listed == list(COMMANDS)
    assert out.rstrip().endswith("example:\n  nas search --budget 100000 --trials 200")


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["--version"], capsys)
    assert (code, out) == (0, f"nas {version('nas-under-budget')}\n")


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("search", "table") else [])
        for name, command in COMMANDS.items()
        if "runs" not in command.EXAMPLE and name != "worker"  # the others need a run, or a database
    ],
)
def test_the_example_of_a_command_works_when_pasted(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _, out, _ = run([command, "--help"], capsys)
    example = out.rstrip().splitlines()[-1].split()
    assert run(example[1:], capsys)[0] == 0


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    """As `nas count s4-resnet110 --json | head -1` does."""
    command = [sys.executable, "-m", "nas.cli", "count", "s4-resnet110", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_take_nothing_and_stop_nothing(closed: str) -> None:
    command = shlex.join([sys.executable, "-m", "nas.cli", "count", "s4-resnet110", "--json"])
    done = subprocess.run(f"{command} {closed}", shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (closed in ("<&-", "2>&-"))


def test_a_search_goes_on_when_nobody_reads_its_messages_any_more(tmp_path: Path) -> None:
    """As that of `nas search … |& head -1`, or of a terminal that was closed."""
    words = "search --dataset digits --budget 1K --trials 2 --epochs 1 --workers 1 --no-baselines --strategies random"
    command = [sys.executable, "-m", "nas.cli", *words.split(), "--out", str(tmp_path / "run")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "searching digits" in process.stderr.readline()
        process.stderr.close()
    assert process.returncode == 0
    assert json.loads((tmp_path / "run" / "pareto.json").read_text())["front"]


def test_a_log_on_a_full_disk_ends_no_work(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nas.cli", "data", "--dataset", "digits", "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True)
    assert (done.returncode, json.loads(done.stdout)["name"]) == (0, "digits")


@pytest.mark.parametrize("columns", ["0", "", "abc", "7"])
def test_a_width_that_cannot_be_meant_is_passed_over(columns: str) -> None:
    command = [sys.executable, "-m", "nas.cli", "recipes"]
    told = [
        subprocess.run(command, capture_output=True, env=os.environ | {"COLUMNS": width}).stderr
        for width in (columns, str(WIDE))
    ]
    assert told[0] == told[1] != b""


def test_in_a_folder_that_was_deleted_one_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    words = f"cd {tmp_path}/gone && rmdir ../gone && PYTHONPATH={Path.cwd()} {sys.executable} -m nas.cli list"
    done = subprocess.run(words, shell=True, capture_output=True, text=True)
    told = "nas: the current folder is gone; change to one that is there\n"
    assert (done.returncode, done.stderr) == (2, told)


def test_nas_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "nas.cli", "list", "/nowhere"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "nas: there is no folder '/nowhere'; run a search first or name another folder\n"


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            "space nowhere",
            f"no space is named 'nowhere'; shipped are {', '.join(shipped_spaces())}; or give a .py file",
        ),
        ("space nowhere.py", "there is no space file 'nowhere.py'"),
        ("space mixed --max memory=8", "memory: a size needs a unit, as 64KB (64,000 bytes), 64KiB (65,536) or 64000B"),
        (
            "space mixed --budget 1K --max parameters=2K",
            "--budget says 1,000 and --max parameters=2,000; leave one out",
        ),
        ("space mixed --dataset digits --classes 3", "give either --dataset or --shape and --classes"),
        ("space mixed --image-size 8", "--image-size needs --dataset; without one, give --shape"),
        ("space mixed --classes 1", "--classes must be at least 2 but got 1"),
        ("space mixed --dataset nowhere", "data set 'nowhere' is no known name and no such file or folder exists"),
        ("count mixed depth=3", "settings must be KNOB=VALUE with a knob of stem, halve, activation, shortcut, kind1"),
        ("count mixed width1", "settings must be KNOB=VALUE with a knob of stem"),
        ("count mixed kernel1=4", "knob 'kernel1' must be one of 3, 5, 7 but got '4'"),
        ("count nowhere", "no model or space is named 'nowhere': `nas models` lists the models; spaces are "),
        ("count s4-resnet20 blocks=3", "s4-resnet20 is a fixed model and has no knobs; leave out blocks=3"),
        ("count torchvision:resnet19", "torchvision has no classifier named 'resnet19'; it has resnet1"),
        ("count s0-10k --shape 1,4,4", "model 's0-10k' was made for images 3 × 32 × 32 and those of 1 × 4 × 4 are too"),
        ("recipes nothing", f"no recipe is named 'nothing'; shipped are {', '.join(RECIPES)}; or"),
        ("recipes nowhere.toml", "nowhere.toml cannot be read: No such file or directory"),
        ("count mixed --select 10K", "--select needs a pareto.json"),
        ("count nowhere.json", "there is no pareto.json at nowhere.json"),
        ("data --dataset=", "data set '' is no known name and no such file or folder exists"),
        ("data --dataset nowhere", "data set 'nowhere' is no known name and no such file or folder exists"),
        ("list nowhere", "there is no folder 'nowhere'; run a search first or name another folder"),
        ("show nowhere", "nowhere is no folder of a search: it has no settings.json"),
        ("search --budget 1K --dataset nowhere", "data set 'nowhere' is no known name"),
        ("search --budget 1K --dataset digits --space nowhere", "no space is named 'nowhere'"),
        (
            "search --budget 1K --dataset digits --strategies luck",
            f"strategies must be of {', '.join(STRATEGIES)} but got 'luck'",
        ),
        (
            "search --budget 1K --dataset digits --augment blur",
            f"augmentation must be of {', '.join(AUGMENTATIONS)} but got 'blur'",
        ),
        ("search --budget 1K --dataset digits --trials 0", "trials must be at least 1 but got 0"),
        ("search --budget 1K --dataset digits --epochs 0", "epochs must be at least 1 but got 0"),
        ("search --budget 1K --dataset digits --workers 0", "workers 0 is for a search with --storage"),
        ("search --budget 1K --dataset digits --below 2", "below must be at least 0 and at most 1 but got 2.0"),
        ("search --budget 1K --dataset digits --seed -1", "seed must be at least 0 but got -1"),
        ("search --budget 1K --dataset digits --validation-share 0.9", "--validation-share is 0.9; it must be above 0"),
        (
            "search --budget 10 --dataset digits",
            "no network of space 'mixed' has at most 10 parameters; its smallest has 98 parameters. "
            "Raise --budget or choose another --space.",
        ),
        ("search --budget 1K,10 --dataset digits", "no network of space 'mixed' has at most 10 parameters"),
        (
            "search --budget 1K --max-macs 10 --dataset digits",
            "1,000 parameters and 10 multiply-adds; its smallest has",
        ),
    ],
)
def test_wrong_use_is_told_in_one_line_with_exit_code_2(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(arguments.split(), capsys)
    assert (code, out) == (2, "")
    assert err.startswith("nas: ")
    assert err.count("\n") == 1
    assert words in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("fly", "invalid choice: 'fly'"),
        ("train", "the following arguments are required: MODEL"),
        ("train mixed --images 0", "a count must be a whole number of at least 1 but got '0'"),
        ("train mixed --epochs many", "argument --epochs: invalid int value: 'many'"),
        ("train mixed --set", "argument --set: expected at least one argument"),
        ("table mixed --seeds two", "argument --seeds: invalid int value: 'two'"),
        ("search", "a search needs a size: give --budget, or parameters or bytes in --max"),
        ("search --budget 1K --max flops=1M", "there is no cap 'flops'; what can be capped is bytes, macs, memory"),
        ("search --max memory=8KB", "a search needs a size: give --budget, or parameters or bytes in --max"),
        (
            "search --budget 10,000",
            "argument --budget: a comma stands between several counts, but got '10,000'; write 1",
        ),
        ("search --budget 12x", "argument --budget: a count must be a number like 100000, 100K or 1.5M but got '12x'"),
        ("search --budget 0", "argument --budget: a count must be a whole number of at least 1 but got '0'"),
        ("search --budget 1K --trials many", "argument --trials: invalid int value: 'many'"),
        ("search --budget 1K --time-limit soon", "a time must be like 90, 90s, 30m or 2h but got 'soon'"),
        ("search --budget 1K --time-limit 0s", "a time must be above 0 seconds but got '0s'"),
        ("search --budget 1K --time-limit nan", "a time must be above 0 seconds but got 'nan'"),
        ("search --budget 1K --color", "unrecognized arguments: --color"),
        ("space --shape 3x32", "a shape must be channels,height,width like 3,32,32 but got '3x32'"),
        ("space --shape 3,0,32", "a shape must be channels,height,width like 3,32,32 but got '3,0,32'"),
        ("space --shape a,b,c", "a shape must be channels,height,width like 3,32,32 but got 'a,b,c'"),
        ("space --budget 1.5", "a count must be a whole number of at least 1 but got '1.5'"),
        ("count", "the following arguments are required: MODEL"),
        ("show", "the following arguments are required: RUN"),
    ],
)
def test_flags_that_cannot_be_read_end_with_one_line_and_exit_code_2(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(arguments.split(), capsys)
    assert (code, out) == (2, "")
    assert err.startswith("nas")
    assert err.count("\n") == 1
    assert words in err


# nas space


PRINTING_SPACE = """
from dataclasses import dataclass

import nas

print("imported")

@dataclass(frozen=True)
class Printing(nas.Architecture):
    width: int = nas.width_knob(4, 8)

    def network(self, shape, classes):
        print("made")
        return nas.Sequence((nas.Flatten(), nas.Linear(shape[0] * shape[1] * shape[2], classes)))
"""


def test_what_the_code_of_a_space_prints_is_not_among_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "printing.py").write_text(PRINTING_SPACE)
    code, out, err = run(["space", str(tmp_path / "printing.py"), "--json"], capsys)
    assert (code, json.loads(out)["space"], set(err.split())) == (0, "printing", {"imported", "made"})


def test_a_space_as_json_goes_to_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(
        ["space", "residual", "--budget", "20K", "--shape", "1x8x8", "--classes", "10", "--json"], capsys
    )
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert (content["space"], content["shape"], content["classes"]) == ("residual", [1, 8, 8], 10)
    assert content["knobs"][0] == {
        "name": "halve",
        "options": ["2 3", "2", "3", "1 2", "1 3", "1 2 3"],
        "role": "choice",
        "start": 0,
    }
    assert content["smallest"]["parameters"] < content["median"]["parameters"] < content["largest"]["parameters"]
    assert 0 < content["share_feasible"] < 0.2
    assert content["satisfiable"] is True


def test_a_space_for_people_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(["space", "plain", "--budget", "20K", "--shape", "1,8,8", "--classes", "10"], capsys)
    assert (code, out) == (0, "")
    assert "images 1×8×8, 10 classes" in err
    assert "the budget can be met" in " ".join(err.split())


def test_a_budget_that_a_space_cannot_meet_is_an_answer_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(["space", "plain", "--budget", "10"], capsys)
    assert code == 1
    assert "the budget cannot be met" in " ".join(err.split())


def test_a_space_of_ones_own_is_described_by_its_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    code, out, _ = run(["space", str(file), "--classes", "10", "--json"], capsys)
    assert code == 0
    assert json.loads(out)["distinct_networks"] == 2
    least = {"parameters": 66, "macs": 52, "memory": 4 * (3 * 32 * 32 + 3), "bytes": 4 * 66}
    assert json.loads(out)["smallest"] == least


MINE = """
from dataclasses import dataclass

from nas import Architecture, Flatten, GlobalPool, Linear, Sequence, width_knob


@dataclass(frozen=True)
class Mine(Architecture):
    hidden: int = width_knob(4, 8)

    def network(self, shape, classes):
        return Sequence((GlobalPool(), Flatten(), Linear(shape[0], self.hidden), Linear(self.hidden, classes)))
"""


# nas count


def test_the_layer_table_of_a_network_ends_with_its_totals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    code, out, err = run(["count", str(file), "hidden=8", "--classes", "10"], capsys)
    assert (code, out) == (0, "")
    lines = [line.split() for line in err.splitlines()]
    assert err.splitlines()[0] == "images 3×32×32, 10 classes"
    assert lines[1] == ["part", "layer", "output", "parameters", "multiply-adds"]
    assert lines[4] == ["Linear", "3→8", "bias", "8", "32", "24"]
    assert lines[5] == ["Linear", "8→10", "bias", "10", "90", "80"]
    assert ["total", "122", "104"] in lines
    assert err.splitlines()[-2:] == [
        "deployed: 488 bytes of weights in fp32 and 248 bytes of weights in int8",
        "deployed: 12,300 bytes of memory in fp32 and 3,075 bytes of memory in int8",
    ]


def test_a_network_as_json_goes_to_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(["count", "mixed", "kind2=depthwise", "width2=32", "--classes", "10", "--json"], capsys)
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert set(content) == {"parameters", "macs", "peak_activation", "memory", "bytes", "generated", "rows"}
    assert content["parameters"] == sum(row["parameters"] for row in content["rows"])
    assert content["macs"] == sum(row["macs"] for row in content["rows"])
    assert content["rows"][0]["layer"] == {
        "layer": "Conv",
        "inputs": 3,
        "outputs": 16,
        "kernel": 3,
        "stride": 1,
        "padding": 1,
        "dilation": 1,
        "groups": 1,
        "bias": False,
    }
    assert content["rows"][0]["path"] == ["stem"]
    assert {from_json(row["layer"]) for row in content["rows"]}


def counted(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    code, out, _ = run([*arguments, "--json"], capsys)
    assert code == 0
    return json.loads(out)["parameters"]


def test_digits_that_begin_a_fingerprint_select_its_network(pareto: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(pareto.read_text())
    content["front"][0]["network"] = "795742" + content["front"][0]["network"][6:]
    pareto.write_text(json.dumps(content))
    code, out, _ = run(["count", str(pareto), "--select", "795742", "--json"], capsys)
    assert (code, json.loads(out)["parameters"]) == (0, 570)


def test_a_stored_network_is_selected_by_fingerprint_or_by_most_parameters(
    pareto: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    front = json.loads(pareto.read_text())["front"]
    small, large = (entry["parameters"] for entry in front)
    assert counted(["count", str(pareto)], capsys) == large
    assert counted(["count", str(pareto.parent)], capsys) == large
    assert counted(["count", str(pareto), "--select", "570"], capsys) == small == 570
    assert counted(["count", str(pareto), "--select", str(large - 1)], capsys) == small
    assert counted(["count", str(pareto), "--select", front[0]["network"]], capsys) == small


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--select", "569"], "has no network 569; the parameters of its front are 570 ("),
        (["--select", "0123456789abcdef"], "has no network 0123456789abcdef; the parameters of its front are 570 ("),
        (["width=4"], "a network of a pareto.json has its own knobs; leave them out"),
        (["--classes", "4"], "are for images (1, 8, 8) of 10 classes, not (1, 8, 8) of 4"),
    ],
)
def test_a_network_that_is_not_stored_is_refused(
    pareto: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(["count", str(pareto), *arguments], capsys)
    assert (code, out) == (2, "")
    assert err.startswith("nas: ")
    assert words in err
    assert err.count("\n") == 1


def test_a_classifier_of_torchvision_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        ["count", "torchvision:squeezenet1_1", "--shape", "1,64,64", "--classes", "10", "--json"], capsys
    )
    assert (code, json.loads(out)["parameters"]) == (0, 726_474)
    code, out, err = run(["count", "torchvision:squeezenet1_1", "--shape", "1,64,64", "--classes", "10"], capsys)
    assert (code, out) == (0, "")
    assert "726,474" in err


# nas models, nas recipes


def test_the_models_are_listed_with_sizes_and_published_accuracies(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(["models", "--json"], capsys)
    assert (code, err) == (0, "")
    listed = json.loads(out)
    assert len(listed) == 25
    assert listed[0] == {
        "name": "s0-2k",
        "system": "S0",
        "dataset": "cifar100",
        "shape": [3, 32, 32],
        "classes": 100,
        "parameters": 2_250,
        "macs": 10_640,
        "published_accuracy": 0.1167,
    }
    code, out, err = run(["models"], capsys)  # which is its example, too
    assert (code, out) == (0, "")
    assert all(model["name"] in err and f"{model['parameters']:,}" in err for model in listed)


def test_the_recipes_are_listed_as_set_takes_them(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(["recipes"], capsys)
    assert (code, out) == (0, "")
    options: dict[str, list[str]] = {}
    table, few, _ = err.partition("search below 10,000 training images: ")
    assert few
    for word in table.split()[2:]:  # after the head
        if "=" in word:
            options[list(options)[-1]].append(word)
        else:
            options[word] = []
    listed = {name: changed(Recipe(), parse_changes(words)) for name, words in options.items()}
    assert listed == {name: named.recipe for name, named in RECIPES.items()}


def test_a_recipe_is_shown_with_the_meaning_of_its_options_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text('extends = "s4"\nepochs = 2\n')
    for name, recipe in (
        ("s4", RECIPES["s4"].recipe),
        (str(tmp_path / "mine.toml"), replace(RECIPES["s4"].recipe, epochs=2)),
    ):
        code, out, err = run(["recipes", name, "--json"], capsys)
        assert (code, err) == (0, "")
        assert {key: changed(Recipe(), values) for key, values in json.loads(out).items()} == {name: recipe}
    code, out, err = run(["recipes", "s4"], capsys)
    assert (code, out) == (0, "")
    lines = {line.split()[0]: line.split()[1:] for line in err.splitlines() if line[0] != " "}
    assert lines["milestones"][:2] == ["0.5,0.75", "multi-step:"]
    assert lines["epochs"] == ["164", "passes", "over", "the", "training", "split"]


# nas data, nas list


def test_a_data_set_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(["data", "--dataset", "digits", "--json"], capsys)
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert (content["name"], content["shape"], content["classes"]) == ("digits", [1, 8, 8], 10)
    assert content["training_images"] + content["test_images"] == 1_797
    code, out, err = run(["data", "--dataset", "digits"], capsys)
    assert (code, out) == (0, "")
    assert "1×8×8" in err or "(1, 8, 8)" in err


def test_a_folder_without_runs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", str(tmp_path)], capsys) == (2, "", f"nas: {tmp_path} holds no runs\n")


def test_a_front_whose_sizes_cannot_be_told_apart_is_drawn() -> None:
    found = [replace(record({}, accuracy, number=n), network=str(n)) for n, accuracy in enumerate((0.1, 0.5))]
    for sizes in ((10, 1_000), (10**300, 10**300 + 1)):
        drawn = front_plot([replace(one, parameters=size) for one, size in zip(found, sizes, strict=True)])
        assert drawn.count("●") == 2


def test_an_interrupt_that_came_through_an_exec_ends_with_code_130_and_not_by_the_signal(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(
        "import sys\n"
        "from nas.cli import main\n"
        "main.build_parser = lambda: exec('raise KeyboardInterrupt')\n"
        "sys.exit(main.main([]))\n"
    )
    done = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")
