"""Tables of trainings: real processes on tiny data."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import searching
from pages import data_of

from nas.cli.main import main
from nas.cli.network_tables import training_line
from nas.results.entries import entries
from nas.results.pages.table import table_page
from nas.results.table import Line, line_cells, line_values
from nas.results.trainings import Clock
from nas.training.epoch import Epoch
from nas.training.recipe import Recipe
from nas.training.training import Metrics, training_folder

MODEL = "cifar_resnet blocks=1 width=2"


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of one command."""
    try:
        code = main(arguments)
    except SystemExit as ended:  # as argparse does
        code = int(ended.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def command(folder: Path, *arguments: str) -> list[str]:
    """A table of one-epoch trainings on 40 tiny images."""
    data = folder / "data.npz"
    if not data.exists():
        searching.write_data(folder)
    settings = ["--dataset", str(data), "--images", "40", "--epochs", "1", "--device", "cpu"]
    settings += [] if "--workers" in arguments else ["--workers", "2"]
    recipe = [] if "--ladder" in arguments else ["--recipe", "search"]
    return ["table", *arguments, *settings, *recipe, "--out", str(folder / "out")]


def metrics(folder: Path, name: str) -> Any:
    return json.loads((folder / "out" / name / "metrics.json").read_text())


# A sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep over two options, with all that can be written of it."""
    folder = tmp_path_factory.mktemp("sweep")
    vary = ["--vary", "dropout=0,0.5", "--vary", "augmentation=none,crop+flip"]
    written = ["--markdown", str(folder / "table.md"), "--html", str(folder / "table.html")]
    assert main([*command(folder, MODEL, *vary), *written]) == 0
    return folder


SWEPT = [
    "cifar-resnet-blocks=1-width=2-dropout=0-augmentation=none-seed0",
    "cifar-resnet-blocks=1-width=2-dropout=0-augmentation=crop-flip-seed0",
    "cifar-resnet-blocks=1-width=2-dropout=0.5-augmentation=none-seed0",
    "cifar-resnet-blocks=1-width=2-dropout=0.5-augmentation=crop-flip-seed0",
]


def test_a_sweep_trains_every_combination_of_its_values(sweep: Path) -> None:
    assert sorted(path.name for path in (sweep / "out").iterdir()) == sorted(SWEPT)
    recipes = [training_folder(sweep / "out" / name).read().recipe for name in SWEPT]
    assert [(recipe.dropout, recipe.augmentation) for recipe in recipes] == [
        (0.0, ()),
        (0.0, ("crop", "flip")),
        (0.5, ()),
        (0.5, ("crop", "flip")),
    ]
    assert {(recipe.epochs, recipe.batch_size) for recipe in recipes} == {(1, 64)}


def test_the_same_table_again_trains_nothing_and_goes_to_stdout_as_json(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (sweep / "out").rglob("*")}
    vary = ["--vary", "dropout=0,0.5", "--vary", "augmentation=none,crop+flip"]
    code, out, err = run([*command(sweep, MODEL, *vary), "--json"], capsys)
    assert code == 0
    assert "epoch 1/1" not in err
    assert {path: path.stat().st_mtime_ns for path in (sweep / "out").rglob("*")} == before
    lines = json.loads(out)
    assert [line["label"] for line in lines] == [
        f"{MODEL} dropout=0 augmentation=none",
        f"{MODEL} dropout=0 augmentation=crop+flip",
        f"{MODEL} dropout=0.5 augmentation=none",
        f"{MODEL} dropout=0.5 augmentation=crop+flip",
    ]
    assert [(line["dropout"], line["augmentation"]) for line in lines][2] == ("0.5", "none")
    for line, name in zip(lines, SWEPT, strict=True):
        found = metrics(sweep, name)
        assert line | {"label": "", "dropout": "", "augmentation": ""} == {
            "label": "",
            "model": MODEL,
            "dropout": "",
            "augmentation": "",
            "n": 1,
            "parameters": 1_266,
            "megabytes": 0.0051,
            "macs": 12_704,
            "epochs": [1],
            "lowest_loss": found["epochs"][0]["train_loss"],
            "lowest_loss_deviation": None,
            "last_loss": found["epochs"][0]["train_loss"],
            "last_loss_deviation": None,
            "accuracy": found["accuracy"],
            "accuracy_deviation": None,
            "test_accuracy": None,
            "test_accuracy_deviation": None,
            "seconds": found["epochs"][0]["seconds"],
            "seconds_deviation": None,
            "teacher": None,
            "published_accuracy": None,
            "failures": [],
        }


def test_a_table_is_written_as_markdown(sweep: Path) -> None:
    head, rule, *rows = (sweep / "table.md").read_text().splitlines()
    assert head == (
        "| model | n | parameters | MB | multiply-adds | epochs | lowest loss | last loss | validation | test "
        "| published | time |"
    )
    assert rule == "| --- |" + " --: |" * 11
    found = metrics(sweep, SWEPT[1])
    loss = f"{found['epochs'][0]['train_loss']:.3f}"
    cells = [cell.strip() for cell in rows[1].strip("|").split("|")]
    assert cells[:6] == [f"{MODEL} dropout=0 augmentation=crop+flip", "1", "1,266", "0.0051", "12,704", "1"]
    assert cells[6:11] == [loss, loss, f"{100 * found['accuracy']:.2f}", "", ""]
    assert len(rows) == 4


def test_a_table_is_written_as_a_page_that_loads_nothing_from_a_network(sweep: Path) -> None:
    page = (sweep / "table.html").read_text()
    assert len(page) > 1_000_000, "the page must bring plotly along"
    assert re.search(r'<(script|link|img|iframe)[^>]*(src|href)\s*=\s*["\']?(https?:)?//', page) is None
    assert 'src="http' not in page
    for text in ("training loss", "validation accuracy", "final validation accuracy against dropout"):
        assert text in page + data_of(page)
    assert f"{MODEL} dropout=0.5 augmentation=none (n = 1)" in data_of(page)
    assert f"{MODEL} augmentation=crop+flip" in data_of(page)  # a line of the sweep
    found = metrics(sweep, SWEPT[1])
    assert f"<td class=n>{100 * found['accuracy']:.2f}</td>" in page


def test_the_curves_of_many_trainings_can_be_told_apart() -> None:
    page = table_page([line(f"model {number}", "digits") for number in range(15)] + [line("<b>&", "digits")])
    drawn = set(re.findall(r'"line":\{"color":"([^"]*)","dash":"([^"]*)"\}', data_of(page)))
    assert len(drawn) == 16
    assert "<td>&lt;b&gt;&amp;</td>" in page


def test_folders_of_trainings_are_loaded_beside_what_is_still_to_train(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(["table", str(sweep / "out"), "--json"], capsys)
    assert code == 0
    assert "epoch" not in err.replace("epochs", "")
    assert sorted(line["label"] for line in json.loads(out)) == sorted(name.removesuffix("-seed0") for name in SWEPT)
    one = str(sweep / "out" / SWEPT[0])
    code, out, err = run([*command(tmp_path, one, "cifar_resnet blocks=1 width=3"), "--json"], capsys)
    assert code == 0, err
    assert [(line["label"], line["n"]) for line in json.loads(out)] == [
        (SWEPT[0].removesuffix("-seed0"), 1),
        ("cifar_resnet blocks=1 width=3", 1),
    ]
    assert "cifar_resnet blocks=1 width=3: epoch 1/1: training loss" in err


def test_a_training_is_not_counted_twice(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = sweep / "out" / SWEPT[0]
    code, out, err = run(["table", str(sweep / "out"), str(one)], capsys)
    assert (code, out, err) == (2, "", f"nas: {one} is asked for twice; leave one out\n")


def test_two_folders_with_one_training_are_not_two_seeds(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, copied = sweep / "out" / SWEPT[0], sweep / "copied"
    shutil.copytree(one, copied)
    code, out, err = run(["table", str(one), str(copied)], capsys)
    assert (code, out) == (2, "")
    assert err == f"nas: {one} and {copied} hold the same training with the same seed; leave one out\n"


def test_flags_that_would_change_nothing_are_refused(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = str(sweep / "out" / SWEPT[0])
    code, out, err = run(["table", one, "--test", "--recipe", "nonsense", "--seeds", "9"], capsys)
    assert (code, out) == (2, "")
    assert err == (
        "nas: --recipe, --test, --seeds: finished trainings are only shown; name a model to train as well, or leave it "
        "out\n"
    )
    assert run(["table", one, "--json"], capsys)[0] == 0


def test_a_plus_sign_in_a_number_is_no_comma() -> None:
    (found,) = entries(["s0-2k"], Recipe(), ["weight_decay=1e+0"])
    assert found.recipe.weight_decay == 1.0


def line(model: str, dataset: str) -> Line:
    epoch = Epoch(1, 2.0, 2.1, 0.5, 3.0)
    return Line(model, (Metrics(model, 269_722, 40_551_040, (epoch,), True, 0.5, 2.1),), dataset=dataset)


def test_what_was_published_stands_beside_a_training_on_the_same_data_set_only() -> None:
    assert line_cells(line("s4-resnet20", "cifar10")) == [
        "s4-resnet20", "1", "269,722", "1.08", "40,551,040", "1", "2.000", "2.000", "50.00", "", "91.25", "3 s",
    ]  # fmt: skip
    assert line_values(line("s4-resnet20", "/data/cifar10.npz"))["published_accuracy"] == 0.9125
    assert line_values(line("s4-resnet20", "digits"))["published_accuracy"] is None
    assert line_values(line("mixed", "cifar10"))["published_accuracy"] is None


def test_a_model_is_read_as_a_shell_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run([*command(tmp_path, "mixed halve='1 2' width1=4"), "--json"], capsys)
    assert code == 0, err
    assert json.loads(out)[0]["n"] == 1
    code, _, err = run(command(tmp_path, "mixed halve='1 2"), capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert "No closing quotation" in err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--epochs", "2", "--set", "epochs=1"], "--epochs says 2 and --set epochs=1"),
        (["--ladder", "ladder.toml", "--recipe", "s4"], "leave out --recipe s4"),
    ],
)
def test_flags_that_would_be_overruled_are_refused(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searching.write_data(tmp_path)
    models = [] if "--ladder" in flags else ["plain"]
    code, _, err = run(["table", *models, "--dataset", str(tmp_path / "data.npz"), *flags], capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err


# Seeds and failures


def test_a_line_that_fails_stays_in_the_table_and_the_others_are_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = f"{MODEL} norm=False"
    rate = ["--set", "optimiser=sgd", "warmup_steps=0", "batch_size=8"]
    both = command(tmp_path, model, "--vary", "learning_rate=0.01,1e6", "--seeds", "2", "--workers", "1")
    code, out, err = run([*both, *rate, "--markdown", str(tmp_path / "table.md"), "--json"], capsys)
    assert code == 0, err
    trained, failed = json.loads(out)
    assert (failed["n"], failed["parameters"], failed["accuracy"]) == (0, None, None)
    assert [reason.startswith("the loss became ") for reason in failed["failures"]] == [True, True]
    assert (trained["n"], trained["failures"], trained["epochs"]) == (2, [], [1, 1])
    name = "cifar-resnet-blocks=1-width=2-norm=False-learning-rate=0.01-seed"
    first, second = (metrics(tmp_path, f"{name}{seed}") for seed in (0, 1))
    for measure, one, other in (
        ("accuracy", first["accuracy"], second["accuracy"]),
        ("last_loss", first["epochs"][0]["train_loss"], second["epochs"][0]["train_loss"]),
        ("seconds", first["epochs"][0]["seconds"], second["epochs"][0]["seconds"]),
    ):
        assert trained[measure] == pytest.approx((one + other) / 2)
        assert trained[f"{measure}_deviation"] == pytest.approx(abs(one - other) / 2**0.5)
    assert first["epochs"][0]["train_loss"] != second["epochs"][0]["train_loss"]
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    mean, deviation = trained["last_loss"], trained["last_loss_deviation"]
    assert f"| {mean:.3f} ± {deviation:.3f} |" in rows[0]
    assert rows[1].startswith(f"| {model} learning_rate=1e6 |  |  |")
    assert "failed: the loss became" in rows[1]
    assert f"\n{model} learning_rate=1e6 failed: the loss became " in err

    diverged = tmp_path / "out" / "cifar-resnet-blocks=1-width=2-norm=False-learning-rate=1e6-seed0"
    code, out, _ = run(["table", str(diverged), "--json"], capsys)
    assert code == 1
    assert json.loads(out)[0]["failures"] == [f"{diverged} has not finished"]


# A ladder


LADDER = """
model = "cifar_resnet blocks=1 width=2"
recipe = "s2"
[[step]]
label = "as it was"
[[step]]
label = "stochastic [gradient] descent"
changes = { optimiser = "sgd", learning_rate = 0.1 }
[[step]]
label = "wider, with dropout"
model = "cifar_resnet blocks=1 width=3"
changes = { dropout = 0.5 }
"""


def test_the_steps_of_a_ladder_keep_the_changes_of_those_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ladder.toml").write_text(LADDER)
    arguments = [*command(tmp_path, "--ladder", str(tmp_path / "ladder.toml")), "--set", "batch_size=16", "--test"]
    code, out, err = run([*arguments, "--json"], capsys)
    assert code == 0, err
    lines = json.loads(out)
    assert [line["label"] for line in lines] == ["as it was", "stochastic [gradient] descent", "wider, with dropout"]
    assert [line["model"][-1] for line in lines] == ["2", "2", "3"]
    assert "stochastic [gradient] descent: epoch 1/1" in err
    assert all(0 <= line["test_accuracy"] <= 1 for line in lines)
    names = ["as-it-was", "stochastic-gradient-descent", "wider-with-dropout"]
    searches = [training_folder(tmp_path / "out" / f"{name}-seed0").read() for name in names]
    found = [(r.optimiser, r.learning_rate, r.dropout, r.batch_size, r.epochs) for r in (p.recipe for p in searches)]
    assert found == [("adam", 0.001, 0.0, 16, 1), ("sgd", 0.1, 0.0, 16, 1), ("sgd", 0.1, 0.5, 16, 1)]
    assert [metrics(tmp_path, f"{name}-seed0")["test_reads"] for name in names] == [1, 1, 1]
    code, again, _ = run([*arguments, "--json"], capsys)
    assert (code, json.loads(again)) == (0, lines)
    assert [metrics(tmp_path, f"{name}-seed0")["test_reads"] for name in names] == [1, 1, 1]


STEP = 'model = "mixed"\nrecipe = "s2"\n[[step]]\nlabel = "a b"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model = ", " is no TOML file: Invalid value (at end of document)"),
        ('model = "mixed"', " needs recipe, step"),
        ('model = "mixed"\nrecipe = "s2"\nstep = []', " needs at least one [[step]]"),
        ('model = "mixed"\nrecipe = "s2"\nstep = [1]', ", step 1 needs label"),
        ("seed = 1\n{STEP}", ": unknown seed; known are model, recipe, step"),
        ("{STEP}change = 3", ", step 1: unknown change; known are changes, label, model"),
        ("{STEP}changes = 3", ', step 1: changes must be a table like {{ optimiser = "sgd" }} but is 3'),
        ("{STEP}changes = {{ rate = 3 }}", ", step 1: a recipe has no 'rate'; it has epochs, "),
        (
            '{STEP}[[step]]\nlabel = "b"\nchanges = {{ schedule = "plateau" }}',
            ", step 2: conflicting options: patience (1 or more) goes with schedule plateau; got 0 with plateau",
        ),
    ],
)
def test_a_file_that_is_no_ladder_is_refused_in_one_line(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ladder = tmp_path / "ladder.toml"
    ladder.write_text(text.format(STEP=STEP))
    code, out, err = run(["table", "--ladder", str(ladder), "--dataset", "digits", "--out", str(tmp_path)], capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"nas: {ladder}{told.format()}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (STEP + '[[step]]\nlabel = "a b"', "'a b' is asked for twice; leave one out"),
        (STEP + '[[step]]\nlabel = "a-b"', "'a b' and 'a-b' would share the folder a-b; change a label"),
        (STEP.replace("s2", "s9"), "no recipe is named 's9'; shipped are search, "),
        (STEP.replace("mixed", "nowhere"), "no model or space is named 'nowhere': "),
        (STEP.replace("mixed", " "), "a model must have a name but got ''; `nas models` lists the models"),
    ],
)
def test_steps_that_cannot_be_trained_are_refused_in_one_line(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ladder.toml").write_text(text)
    arguments = ["--ladder", str(tmp_path / "ladder.toml"), "--dataset", "digits", "--out", str(tmp_path / "out")]
    code, out, err = run(["table", *arguments], capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"nas: {told}")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "name at least one model, training folder, or --ladder FILE; `nas models` lists the models"),
        ("mixed mixed", "'mixed' is asked for twice; leave one out"),
        ("mixed --vary dropout", "--vary must be NAME=VALUE,VALUE but got 'dropout'"),
        ("mixed --vary dropout=", "--vary must be NAME=VALUE,VALUE but got 'dropout='"),
        ("mixed --vary dropout=0,", "--vary must be NAME=VALUE,VALUE but got 'dropout=0,'"),
        ("mixed --vary dropout=0,0", "'mixed dropout=0' is asked for twice; leave one out"),
        ("mixed --vary dropout=0 --vary dropout=0.1", "dropout is changed twice; give it one value"),
        ("mixed --vary rate=1,2", "a recipe has no 'rate'; it has epochs, "),
        ("mixed --vary dropout=0,2", "dropout must be at least 0 and below 1 but got 2.0"),
        ("mixed --ladder ladder.toml", "--ladder names its models and changes itself; leave out models and --vary"),
        ("--ladder l.toml --vary dropout=0", "--ladder names its models and changes itself; leave out models and --v"),
        ("--ladder nowhere.toml", "nowhere.toml cannot be read: No such file or directory"),
        ("mixed nowhere", "no model or space is named 'nowhere': `nas models` lists the models; spaces are "),
        ("mixed --recipe s3", "augmentation 'randaugment' needs images of 3 channels but these have 1; leave it out"),
        ("mixed --seeds 0", "seeds must be at least 1 but got 0"),
        ("mixed --workers 0", "--workers 0 leaves nobody to train"),
        ("mixed --html nowhere/a.html", "nowhere/a.html cannot be written: there is no folder nowhere; give --html an"),
        ("mixed --html .", ". cannot be written: it is a folder; give --html another file"),
        (
            "mixed --markdown nowhere/a.md",
            "nowhere/a.md cannot be written: there is no folder nowhere; give --markdown",
        ),
        (".", ". holds no training; name a folder of `nas train` or `nas table`"),
    ],
)
def test_wrong_use_is_told_in_one_line_and_leaves_nothing_behind(
    arguments: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(["table", *arguments.split(), "--dataset", "digits"], capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"nas: {told}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_time_left_is_that_of_all_trainings_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = line("mixed", "digits").trainings
    now = 0.0
    monkeypatch.setattr("nas.results.trainings.time.monotonic", lambda: now)
    one, other = (training_folder(tmp_path / name) for name in ("one", "other"))
    clock = Clock({one.path: 4, other.path: 2})
    now = 30.0
    assert clock.left(one, shown) == "about 2 min 30 s left"
    now = 60.0
    assert clock.left(one, replace(shown, epochs=shown.epochs * 4)) == "about 30 s left"
    assert clock.left(other, replace(shown, epochs=shown.epochs * 2)) == ""
    assert "left" not in training_line(shown, 4, alone=False)


def test_what_is_there_and_something_else_is_not_written_into(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "settings.json").write_text('{"what": "search"}')
    notes, asked = tmp_path / "notes.txt", ["table", "mixed", "--dataset", "digits"]
    notes.touch()
    for words, told in (
        (["--out", tmp_path], f"{tmp_path} holds a search; give --out another folder"),
        (["--out", ""], "out must not be empty"),
        (
            ["--html", notes],
            f"{notes} cannot be written: it is there and no .html file, and would be lost; give --html",
        ),
    ):
        code, _, err = run([*asked, *map(str, words)], capsys)
        assert code == 2
        assert err.startswith(f"nas: {told}")
    assert {file.name for file in tmp_path.iterdir()} == {"settings.json", "notes.txt"}
    assert notes.read_text() == ""
    assert run(["table", "", "--dataset", "digits"], capsys)[2] == "nas: models must not be empty\n"


def test_a_loss_that_has_exploded_is_told_by_its_order() -> None:
    (shown,) = line("mixed", "digits").trainings
    told = "training loss 2.000, validation loss 2.100, accuracy 50.00 %, 3s"
    assert training_line(shown, 4) == f"epoch 1/4: {told}, about 10 s left"
    assert training_line(shown, 1) == f"epoch 1/1: {told}"
    exploded = replace(shown, epochs=(replace(shown.epochs[0], validation_loss=2.2e20),))
    assert "validation loss 2e+20, accuracy" in training_line(exploded, 4)
