"""The report of a search: what is in the page, that it works in a browser without a network, that it can be watched."""

import json
import math
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import plotly.graph_objects as go
import pytest
import searching
from browser import CHROMIUM, Browser, opened
from optuna.trial import TrialState, create_trial
from pages import data_of

from nas.cli.main import main
from nas.errors import RunError
from nas.network.folds import depth
from nas.network.layers import Flatten
from nas.network.serial import to_json
from nas.results.pages.markup import Html, plotly_text, table
from nas.results.pages.theme import DARK, LIGHT
from nas.results.report.cards import CARDS, cards
from nas.results.report.cards.record.settings import command
from nas.results.report.gather import gather, importances, wilson
from nas.results.report.published import NETWORKS, REPORT, published
from nas.results.report.watch import server
from nas.results.report.whole import report_html, write_report
from nas.search.journal import open_storage
from nas.search.notes import Audited, Notes, Predicted, noted_trial
from nas.search.records import read_records, run_folders
from nas.search.result.front import pareto_front, write_front
from nas.search.sampling.proposals import distribution
from nas.search.search import BASELINES, Search, run_folder
from nas.search.studies import open_studies, space_of, studied
from nas.space.draw import draw_within
from nas.space.files import find_space, space_checksum
from nas.space.models import MODELS, Model
from nas.training.recipes import recipe_for

HOSTILE = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'
EPOCHS = 12
MB = 1_000_000


def plan_of(trials: int, seed: int = 0, **changes: Any) -> Search:
    """Trials of each of two strategies at each of two budgets, and baselines."""
    search = Search(
        dataset="cifar100",
        data_checksum="0" * 64,
        image_size=None,
        validation_share=None,
        augmentation=("crop", "flip"),
        space="mixed",
        space_class="Mixed",
        space_checksum=space_checksum(find_space("mixed")[0]),
        budgets=(10_000, 100_000),
        max_macs=None,
        strategies=("tpe", "greedy"),
        baselines=("resnet", "vgg"),
        trials=trials,
        epochs=EPOCHS,
        below=0.25,
        seed=seed,
        recipe=replace(recipe_for(45_000), epochs=EPOCHS, augmentation=("crop", "flip")),
        stop="extrapolate",
        audit=0.05,
        validation_images=5_000,
    )
    return replace(search, **changes)


def write_run(
    path: Path, search: Search, failure: str = "RuntimeError: loss is not finite", *, begun: bool = True
) -> Path:
    """A run folder as a search leaves it, of made-up trainings: measured, stopped, audited and failed ones; or as it
    is before anything has begun."""
    folder = run_folder(path)
    folder.enter(search)
    space = space_of(search, folder, (3, 32, 32), 100)
    studies = open_studies(search, folder, space, open_storage(folder))
    rng = np.random.default_rng(search.seed)
    for (strategy, budget), study in studies.items():
        own = studied(search, space, strategy, budget)
        for number in range(search.trials_of(strategy) if begun else 0):
            if strategy == BASELINES:
                knobs: Any = {"network": search.baselines[number]}
            else:
                knobs = draw_within(space, search.budget(budget), rng) if number else space.defaults
                if number == 0 and (cost := space.cost(knobs)) and cost.parameters > budget:
                    knobs = draw_within(space, search.budget(budget), rng)
            study.add_trial(_trial(own, knobs, number, rng, strategy != BASELINES, failure))
    write_front(folder, read_records(search, studies), search, space)
    return path


def _trial(space: Any, knobs: Any, number: int, rng: np.random.Generator, searched: bool, failure: str) -> Any:
    cost = space.cost(knobs)
    last = 0.02 + 0.1 * math.log10(cost.parameters) + 0.05 * (knobs.get("kind2") == "depthwise") + rng.normal(0, 0.01)
    curve = []
    for epoch in range(1, EPOCHS + 1):
        right = round(5_000 * max(0.01, last * (1 - 0.8 * math.exp((1 - epoch) / 3)) + rng.normal(0, 0.003)))
        curve.append([4 - right / 2_000, 4.1 - right / 2_000, right / 5_000])
    ends = int(rng.integers(2, 9)) if searched and number % 2 and number > 4 else EPOCHS
    start = datetime(2026, 1, 1, 12) + timedelta(seconds=100 * number)
    predictions = tuple(
        Predicted(epoch, float(curve[-1][2] + rng.normal(0, 0.06 / epoch)), 0.06 / epoch, 0.3)
        for epoch in (range(1, min(ends, EPOCHS - 1) + 1) if searched else ())
    )
    noted = Notes(
        worker=number % 2,
        parameters=cost.parameters,
        macs=cost.macs,
        depth=depth(space.network(knobs)),
        network=space.identity(knobs),
        curve=curve[:ends],
        seconds=[9.0] * ends,
        predictions=predictions,
    )
    value, state = curve[-1][2], TrialState.COMPLETE
    if ends < EPOCHS:
        noted, value = replace(noted, stopped=ends, predicted_loss=2.0), predictions[-1].mean
    elif searched and number == 8:
        noted = replace(noted, audited=Audited(3, 0.99))
    if searched and number == 2:
        noted, value, state = replace(noted, failure=failure, curve=(), seconds=()), None, TrialState.FAIL
    trial = noted_trial(
        noted,
        state=state,
        value=value,
        params=dict(knobs),
        distributions={knob.name: distribution(knob) for knob in space.knobs},
    )
    trial.datetime_start, trial.datetime_complete = start, start + timedelta(seconds=10 * ends)
    return trial


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two seeds."""
    path = tmp_path_factory.mktemp("made")
    for seed in (0, 1):
        write_run(path / f"seed{seed}", plan_of(12, seed))
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which whatever comes from outside tries to become a script."""
    search = plan_of(12, dataset=f"{HOSTILE}</script>", strategies=("tpe", "greedy"))
    run = write_run(tmp_path_factory.mktemp("hostile") / "run", search, failure=f"RuntimeError: {HOSTILE}</script>")
    nothing = dict.fromkeys(("searched", "race", "race_loss", "validation_loss", "gap", "best"))
    lists = {"budgets": [10_000], "default_of": [], "failures": []}
    network = {"label": HOSTILE, "budget": 10_000, "parameters": 9_000, "network": "0", "dropped": HOSTILE}
    network |= nothing | lists | {"kind": "found", "macs": 1, "epochs": 3, "layers": to_json(Flatten())}
    measured = {"mean": 0.5, "deviation": 0.01, "n": 3, "low": 0.48, "high": 0.52, "values": [0.49, 0.5, 0.51]}
    content = {
        "schema_version": 2,
        "dataset": HOSTILE,
        "recipe": {},
        "commands": [HOSTILE],
        "seeds": 3,
        "test_reads": 1,
        "verdicts": [{"budget": 10_000, "winner": "0", "default": "1", "margin": None, "words": HOSTILE}],
        "networks": [
            network | {"validation": measured, "test": measured},
            network | {"validation": None, "test": None},
        ],
    }
    (run / "confirmed.json").write_text(json.dumps(content))
    found = json.loads((run / "pareto.json").read_text())
    found["versions"]["torch"] = HOSTILE
    (run / "pareto.json").write_text(json.dumps(found))
    return run


@pytest.fixture(scope="module")
def page(made: Path) -> str:
    return write_report(made).read_text()


def content_of(page: str) -> dict[str, Any]:
    """The data in a page."""
    content: dict[str, Any] = json.loads(data_of(page))
    return content


# ---- what is in the page


def test_the_front_of_the_page_is_that_of_optuna_on_the_same_trials(made: Path) -> None:
    gathered = gather(made / "seed0")
    both = optuna.create_study(directions=["minimize", "maximize"])
    for trial in gathered.trials:
        record = trial.record
        if record.is_measured and record.strategy != BASELINES:
            both.add_trial(create_trial(values=[record.parameters, record.accuracy]))
    assert {(t.record.parameters, t.record.accuracy) for t in gathered.front} == {
        (int(t.values[0]), t.values[1]) for t in both.best_trials
    }
    (figure,) = [f for card in cards(gathered) for view in card.views for f in view.figures if f.name == "front"]
    (line,) = [trace for trace in figure.data if trace["name"] == "Pareto front"]
    front = pareto_front(gathered.runs[0].records)
    assert (line["x"], line["y"]) == ([r.parameters for r in front], [r.accuracy for r in front])


def test_importances_are_those_of_optuna_on_the_same_study(made: Path) -> None:
    gathered = gather(made / "seed0")
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(made / "seed0" / "journal.log"))
    )
    study = optuna.load_study(study_name="tpe-100000", storage=storage)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    expected = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert importances(gathered.runs[0].studies["tpe", 100_000]) == expected
    (figure,) = [
        f for card in cards(gathered) for view in card.views for f in view.figures if f.name == "importance-100000"
    ]
    (bars,) = [trace for trace in figure.data if trace["name"] == "tpe"]
    shown = dict(zip(bars["y"], bars["x"], strict=True))
    assert shown == {name: pytest.approx(share, abs=1e-5) for name, share in expected.items()}


def test_few_trials_are_not_ranked(tmp_path: Path) -> None:
    gathered = gather(write_run(tmp_path / "run", plan_of(5, budgets=(10_000,))))
    assert importances(gathered.runs[0].studies["tpe", 10_000]) is None
    (card,) = [card for card in cards(gathered) if card.name == "knobs"]
    assert not [figure.name for figure in card.views[0].figures if figure.name.startswith("importance")]


def test_plotly_knows_every_property_of_every_figure(page: str) -> None:
    content = content_of(page)
    for palette in (LIGHT, DARK):
        text = json.dumps(content["figures"])
        for name, shade in palette.items():
            text = text.replace(f'"${name}"', f'"{shade}"')
        assert '"$' not in text
        for figure in json.loads(text).values():
            go.Figure(figure)  # raises for what it does not know


def test_every_network_of_the_page_has_its_layers_and_they_add_up(page: str) -> None:
    content = content_of(page)
    of = {trial["network"]: trial for trial in content["trials"] if trial["network"]}
    assert set(content["tables"]) == set(of)
    for known, rows in content["tables"].items():
        assert f"{sum(row[3] for row in rows):,} of " in dict(of[known]["facts"])["parameters"]
    assert any(content["words"][row[1]].startswith("Conv 3→") for row in rows)


def test_every_card_says_what_one_sees_and_lies_in_its_place(made: Path) -> None:
    shown = cards(gather(made))
    assert sorted(card.name for card in shown) == list(CARDS)
    places = [CARDS[card.name][0] for card in shown]
    assert places == sorted(set(places))
    for card in shown:
        assert card.title
        assert card.sentence
        assert card.views or card.empty


def test_a_cell_is_text_unless_it_is_html() -> None:
    assert table([("a & b", "n")], [["<b>"], [Html("<b>1</b>")]], foot=["2"]) == (
        "<div class=wide><table><thead><tr><th class=n>a &amp; b</th></tr></thead><tbody>"
        "<tr><td class=n>&lt;b&gt;</td></tr><tr><td class=n><b>1</b></td></tr></tbody>"
        "<tfoot><tr><td class=n>2</td></tr></tfoot></table></div>"
    )
    assert table([("", ""), ("", "words")], [["a", "b"]]) == (
        "<div class=wide><table><tbody><tr><td>a</td><td class=words>b</td></tr></tbody></table></div>"
    )


def test_the_page_names_over_budget_counts_failures_and_the_command(made: Path, page: str) -> None:
    assert "of 96 proposed networks over budget" in page
    assert "RuntimeError: loss is not finite" in page
    assert command(gather(made)) in page
    assert [path.name for path in run_folders(made)] == ["seed0", "seed1"]


def test_the_command_is_the_one_that_made_the_run(made: Path) -> None:
    from nas.cli.main import build_parser

    flags = build_parser().parse_args(command(gather(made)).split()[1:])
    search = plan_of(12)
    assert (flags.budget, flags.trials, flags.strategies, flags.seeds) == (search.budgets, 12, search.strategies, 2)


def test_bands_are_over_seeds_and_one_search_has_none(made: Path) -> None:
    def best(run: Path) -> list[Any]:
        figures = [f for card in cards(gather(run)) for view in card.views for f in view.figures]
        (figure,) = [figure for figure in figures if figure.name == "best-10000-trials"]
        return list(figure.data)

    both = best(made)
    assert [trace["name"] for trace in both if trace["mode"] == "lines"] == ["tpe (n = 2)", "greedy (n = 2)"]
    assert sum(trace["mode"] == "none" for trace in both) == 2
    assert sum(trace["mode"] == "none" for trace in best(made / "seed0")) == 0


def test_a_part_with_nothing_to_show_says_so(tmp_path: Path) -> None:
    search = plan_of(1, strategies=("random",), baselines=(), stop="none", audit=0.0)
    gathered = gather(write_run(tmp_path / "run", search, begun=False))
    empty = {card.name: card.empty for card in cards(gathered) if not card.views}
    assert all(empty.values())
    assert {"front", "best", "curves", "audit", "walk", "failures"} <= set(empty)
    assert not {"checklist", "settings"} & set(empty)
    assert set(empty) <= set(re.findall(r'<section id="(\w+)"', report_html(tmp_path / "run")))


def test_a_running_search_is_shown_with_what_it_has(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", plan_of(3, budgets=(10_000,), baselines=()))
    search = plan_of(3, budgets=(10_000,), baselines=())
    studies = open_studies(search, run_folder(run), space_of(search, run_folder(run), (3, 32, 32), 100))
    study = studies["tpe", 10_000]
    trial = study.ask(study.sampler.infer_relative_search_space(study, study.trials[0]))
    known = gather(run).trials[0].record
    for name, value in (("network", "0" * 16), ("parameters", known.parameters), ("macs", known.macs), ("worker", 1)):
        trial.set_user_attr(name, value)
    trial.report(0.25, 1)
    gathered = gather(run)
    (running,) = [each for each in gathered.trials if each.record.state == "running"]
    content = content_of(report_html(run))
    assert dict(content["trials"][running.index]["facts"])["outcome"] == "running, 25.00% after 1 epochs"
    bars = {trace["name"]: trace for trace in content["figures"]["workers"]["data"]}
    assert bars["running"]["customdata"] == [running.index]
    assert bars["running"]["y"] == ["worker 1"]


def test_the_time_of_the_workers_is_told_by_what_they_did(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", plan_of(3, budgets=(10_000,), baselines=()))
    for slot, steps in ((0, 90.0), (1, 60.0)):
        stretch = {"began": 1000.0, "trial": "tpe-10000/0", "seconds": {"start": 2.0, "claim": 8.0, "steps": steps}}
        (run / "workers" / f"{slot}.timeline").write_text(json.dumps(stretch) + "\n")
    (card,) = [card for card in cards(gather(run)) if card.name == "activities"]
    assert "<b>75.0%</b> of their time" in card.sentence
    assert [re.findall(r"<td[^>]*>(.*?)</td>", row)[0] for row in card.views[0].html.split("<tr>")[2:]] == [
        "training steps",
        "having ended before the last worker",
        "finding out what to train next, for which workers take turns",
        "starting the process, reading the data",
    ]
    heights = {trace["name"]: trace["y"] for trace in card.views[0].figures[0].data}
    assert sum(heights["training steps"]) == pytest.approx(60 * 150 / 100, rel=1e-3)
    assert all(sum(parts) <= 2.0001 for parts in zip(*heights.values(), strict=True))


def test_a_run_whose_space_is_gone_is_shown_without_layers(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", plan_of(6, budgets=(10_000,)))
    stored = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps(stored | {"space": "gone.py"}))
    page = report_html(run)
    assert "there is no space file &#x27;gone.py&#x27;" in page
    assert content_of(page)["tables"] == {}


def test_an_interval_of_an_accuracy_narrows_with_the_images() -> None:
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(0.5, 10_000) == pytest.approx((0.4902, 0.5098), abs=1e-4)
    assert wilson(1.0, 100)[1] == 1.0


def test_published_points_are_those_of_the_data_set() -> None:
    assert set(published(plan_of(1), 100)) > set(NETWORKS["cifar100"])
    assert set(published(plan_of(1, dataset="/data/CIFAR-10.npz"), 10)) >= set(NETWORKS["cifar10"])
    assert published(plan_of(1, dataset="cifar10"), 100) == []
    assert published(plan_of(1, dataset="digits"), 10) == []
    reports = {one.label: one for one in published(plan_of(1), 100) if one.source == REPORT}
    assert reports["s0-10k"].parameters == 10_161
    assert len(reports) == sum(isinstance(m, Model) and m.dataset == "cifar100" for m in MODELS.values())
    assert all(0 < o.accuracy < 1 and o.parameters > 1_000 for own in NETWORKS.values() for o in own)


def test_what_was_confirmed_is_shown_with_its_interval(hostile: Path) -> None:
    gathered = gather(hostile)
    (card,) = [card for card in cards(gathered) if card.name == "confirmed"]
    assert "50.00% ± 1.00" in card.views[0].html
    assert f"<li>within 10,000 ({escape(HOSTILE)}): {escape(HOSTILE)}</li>" in card.views[0].html
    (front,) = [f for each in cards(gathered) for view in each.views for f in view.figures if f.name == "front"]
    (points,) = [trace for trace in front.data if trace["name"] == "confirmed (test)"]
    assert points["error_y"]["array"] == [pytest.approx(0.02)]


def test_the_shortlist_of_each_budget_and_seed_is_laid_beside_the_default(made: Path) -> None:
    gathered = gather(made)
    (shortlisted,) = [card for card in cards(gathered) if card.name == "shortlist"]
    assert [view.label for view in shortlisted.views] == [f"{budget:,}" for budget in gathered.search.budgets]
    for view in shortlisted.views:
        for seed in (0, 1):
            assert 3 <= view.html.count(f", seed {seed}</td>") <= 6


def test_nothing_from_outside_is_html(hostile: Path) -> None:
    page = report_html(hostile)
    assert HOSTILE not in page
    assert HOSTILE in json.dumps(content_of(page)).replace('\\"', '"')  # it is there, as text
    assert page.count("<script") == 3
    assert plotly_text(["<b>", "a & b"]) == "&lt;b&gt;<br>a &amp; b"


def test_the_layer_table_of_a_network_counts_all_parameters(made: Path) -> None:
    trial = gather(made / "seed0").front[-1]
    rows = trial.run.rows(trial.record)
    assert sum(row.parameters for row in rows) == trial.record.parameters


@pytest.mark.slow
def test_four_hundred_trials_take_less_than_8_mb(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", plan_of(100))
    size = write_report(run).stat().st_size
    assert 4 * MB < size < 8 * MB
    assert len(content_of((run / "report.html").read_text())["trials"]) == 404


# ---- the command


def test_nas_report_writes_where_it_is_told_and_says_where(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(made), "--out", str(tmp_path / "own.html")]) == 0
    assert capsys.readouterr().err.replace("\n", "") == f"report: {tmp_path / 'own.html'}"
    assert (tmp_path / "own.html").read_text().startswith("<!doctype html>")


def test_nas_report_refuses_what_is_no_run_and_a_place_that_cannot_be_written(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"nas: {tmp_path} is no folder of a search: it has no settings.json\n"
    assert main(["report", str(made / "seed0"), "--out", str(tmp_path / "none" / "r.html")]) == 2
    place = tmp_path / "none"
    said = f"nas: {place / 'r.html'} cannot be written: there is no folder {place}; give --out another file\n"
    assert capsys.readouterr().err == said
    journal = made / "seed0" / "journal.log"
    before = journal.read_bytes()
    assert main(["report", str(made / "seed0"), "--out", str(journal)]) == 2
    said = f"nas: {journal} cannot be written: it is there and no .html file, and would be lost; give --out another"
    assert capsys.readouterr().err == f"{said} file\n"
    assert journal.read_bytes() == before


def test_a_search_ends_with_its_report_or_why_there_is_none_and_the_commands_that_come_next(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = searching.command(tmp_path, out, "--workers", "1", "--no-baselines", trials=2, epochs=1)
    done = searching.run_cli(arguments)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert f"report: {out / 'report.html'}" in lines
    assert [line.split("  #")[0] for line in lines[-3:]] == [
        f"next: nas confirm {out}",
        f"next: nas report {out}",
        f"next: nas export {out} --to DIR",
    ]
    trials = content_of((out / "report.html").read_text())["trials"]
    assert sum("measured" in dict(trial["facts"])["outcome"] for trial in trials) == 2

    (out / "report.html").unlink()
    (out / "report.html").mkdir()
    (out / "report.html" / "in the way").touch()
    done = searching.run_cli(arguments)
    assert done.returncode == 0, done.stderr
    assert f"report not written: {out / 'report.html'} cannot be written: Is a directory" in done.stderr


# ---- watching


def fetched(url: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        text: str = answer.read().decode()
        return text


def test_a_watched_page_has_another_stamp_once_the_search_went_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", plan_of(3, budgets=(10_000,), baselines=()))
    with server(run) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            where = f"http://127.0.0.1:{made.server_port}"
            before = fetched(f"{where}/")
            assert fetched(f"{where}/stamp") == content_of(before)["stamp"]
            assert "connect-src 'self'" in before
            with open(run / "journal.log", "a") as journal:
                journal.write('{"op_code":0,"worker_id":"w","study_name":"other-1","directions":[2]}\n')
            deadline = time.monotonic() + 20
            while fetched(f"{where}/stamp") == content_of(before)["stamp"]:
                assert time.monotonic() < deadline
                time.sleep(0.3)
            assert content_of(fetched(f"{where}/"))["stamp"] != content_of(before)["stamp"]
            with pytest.raises(urllib.error.HTTPError, match="403"):
                fetched(f"{where}/", Host="elsewhere.example")
            with pytest.raises(urllib.error.HTTPError, match="404"):
                fetched(f"{where}/settings.json")
            with pytest.raises(RunError, match=f"port {made.server_port} cannot be used: Address already in use"):
                server(run, made.server_port)
            with pytest.raises(RunError, match="port 99999 cannot be used: ports are 0 to 65535"):
                server(run, 99999)
        finally:
            made.shutdown()
            thread.join()


def test_a_report_that_is_not_watched_asks_nobody(page: str) -> None:
    assert content_of(page)["stamp"] is None
    assert "connect-src 'none'" in page


def test_ctrl_c_ends_watching(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", plan_of(2, budgets=(10_000,), baselines=()))
    watching = subprocess.Popen(
        [sys.executable, "-m", "nas.cli", "report", str(run), "--watch"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=searching.listen_to_interrupts,
    )
    with watching:
        assert watching.stderr is not None
        assert f"watching {run} at http://127.0.0.1:" in watching.stderr.readline()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
        assert watching.stderr.read() == ""


# ---- Optuna's own tools


def test_optuna_dashboard_opens_the_storage_of_a_run(made: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "from optuna_dashboard._cli import main; main()"
    journal = str(made / "seed0" / "journal.log")
    dashboard = subprocess.Popen(
        [sys.executable, "-c", code, journal, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                studies = json.loads(fetched(f"http://127.0.0.1:{port}/api/studies"))["study_summaries"]
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.3)
        names = {study["study_name"]: study["study_id"] for study in studies}
        assert set(names) == {f"{s}-{b}" for s in ("tpe", "greedy", "baselines") for b in (10_000, 100_000)}
        trials = json.loads(fetched(f"http://127.0.0.1:{port}/api/studies/{names['tpe-10000']}"))["trials"]
        assert len(trials) == 12
    finally:
        dashboard.terminate()
        dashboard.wait(20)


def test_pictures_are_drawn_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("kaleido", reason="Kaleido is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    run = write_run(tmp_path / "run", plan_of(2, budgets=(10_000,), baselines=(), strategies=("tpe",)))
    assert main(["report", str(run), "--png", str(tmp_path / "png")]) == 0
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "png").iterdir()}
    assert {"front.png", "best-10000-trials.png", "curves-10000.png", "stages.png", "budget.png"} <= set(pictures)
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 5_000 for picture in pictures.values())


# ---- in a browser


def lonely_point(browser: Browser, figure: str, trace: str) -> tuple[int, float, float]:
    """Which point of a trace lies farthest from those of all others, and where in the window, the plot scrolled to its
    middle: at points that lie on one another the pointer means any of them."""
    index, x, y = browser.run(
        """
        const plot = document.querySelector(`[data-figure="${arguments[0]}"]`);
        plot.scrollIntoView({block: "center", behavior: "instant"});
        const box = plot.getBoundingClientRect(), {xaxis, yaxis} = plot._fullLayout;
        const placed = (trace) => trace.x.map((x, i) => [
          i, box.x + xaxis._offset + xaxis.d2p(x), box.y + yaxis._offset + yaxis.d2p(trace.y[i]),
        ]);
        const all = plot._fullData.flatMap(placed);
        const far = ([, x, y]) => all.map(([, u, v]) => Math.hypot(u - x, v - y)).filter((apart) => apart > 0);
        const room = (each) => Math.min(...far(each));
        const own = placed(plot._fullData.find((each) => each.name === arguments[1]));
        return own.reduce((best, each) => (room(each) > room(best) ? each : best));
        """,
        figure,
        trace,
    )
    return int(index), float(x), float(y)


def mouse(browser: Browser, kind: str, x: float, y: float) -> None:
    """A real event of the mouse, and as long as a hand takes: Plotly passes over clicks that come at once."""
    browser.mouse(kind, x, y)
    time.sleep(0.2)


@pytest.fixture(params=[(390, False), (1440, True)], ids=["390 light", "1440 dark"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Browser]:
    width, dark = request.param
    with opened(tmp_path / "profile", width, dark) as found:
        yield found


def test_the_page_works_from_disk_without_a_network(browser: Browser, hostile: Path) -> None:
    browser.open(write_report(hostile))
    browser.until("return document.documentElement.dataset.drawn")

    shown = browser.run("return [...document.querySelectorAll('.plot')].map((p) => [p.dataset.figure, p.offsetWidth])")
    for tab in range(browser.run("return document.querySelectorAll('[role=tab]').length")):
        browser.run("document.querySelectorAll('[role=tab]')[arguments[0]].click()", tab)
        browser.until(
            "return [...document.querySelectorAll('.plot')].filter((p) => p.offsetParent)"
            ".every((p) => p.querySelector('.main-svg') && p._fullData)"
        )
    browser.until("return [...document.querySelectorAll('.plot')].every((p) => p.querySelector('.main-svg'))")
    assert len(shown) == len(content_of((hostile / "report.html").read_text())["figures"]) > 10
    marks = ".trace path, .scatterlayer .text, .barlayer path, .scatterlayer path"
    blank = browser.run(
        "return [...document.querySelectorAll('.plot')].filter((p) => !p.querySelector(arguments[0]))"
        ".map((p) => p.dataset.figure)",
        marks,
    )
    assert blank == []
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")

    browser.run("document.querySelector('[role=tab]').click()")
    index, x, y = lonely_point(browser, "front", "Pareto front")
    mouse(browser, "mouseMoved", x - 3, y)
    mouse(browser, "mouseMoved", x, y)
    hover = browser.until("return document.querySelector('[data-figure=front] .hoverlayer')?.textContent")
    assert "parameters (" in hover
    assert "measured" in hover
    mouse(browser, "mousePressed", x, y)
    mouse(browser, "mouseReleased", x, y)
    browser.until("return !document.getElementById('panel').hidden")
    rows = browser.run("return document.querySelectorAll('#panel .layers tbody tr').length")
    total = browser.run("return document.querySelector('#panel .layers tfoot').children[0].children[3].textContent")
    front = gather(hostile).front
    assert total == f"{front[index].record.parameters:,}"
    assert rows > 5
    browser.until("return !!document.querySelector('#panel .plot .main-svg')")
    inside = (
        "const b = document.getElementById('panel').getBoundingClientRect(); return b.x >= 0 && b.right <= innerWidth"
    )
    assert browser.run(inside)
    browser.run("document.getElementById('close').click()")
    assert browser.run("return document.getElementById('panel').hidden")

    before = browser.run("return getComputedStyle(document.body).backgroundColor")
    browser.run("document.getElementById('theme').click()")
    assert browser.run("return getComputedStyle(document.body).backgroundColor") != before

    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    assert browser.run("return window.hacked") is None
    assert (browser.said, browser.requested) == ([], [])
