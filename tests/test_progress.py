"""The progress of a search tells the truth: it goes by the epochs that are left."""

import io
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import searching
from hypothesis import given, settings
from hypothesis import strategies as st
from records import PLAN, record
from rich.console import Console

from nas.api import run_search
from nas.cli.live import QUIET_SECONDS, LiveView, PlainView
from nas.cli.run_tables import leaders, progress_words
from nas.machine.folders import WorkFolder
from nas.results.words import describe
from nas.search.options import SearchOptions
from nas.search.records import Record, State
from nas.search.result.front import pareto_front
from nas.search.search import BASELINES, Search, run_folder
from nas.search.workers.progress import Outlook, Progress
from nas.search.workers.snapshot import Snapshot
from nas.space.space import Value

EPOCHS = 8
ONE = replace(PLAN, budgets=(10_000,), strategies=("random",), trials=12, epochs=EPOCHS)
STOPPING = replace(ONE, stop="extrapolate", audit=0.0)
SECONDS = 1.5
"""An epoch of every network here."""


def trial(number: int, epochs: int, state: State, *, strategy: str = "random", resumed: int = 0) -> Record:
    """A training that has come so far; networks are told apart by their number."""
    known = record({"width": 4, "kernel": 3, "gate": False}, 0.5, strategy=strategy, number=number)
    curve = tuple((2.0, 2.0 - 0.1 * epoch, 0.1 + 0.01 * number + 0.02 * epoch) for epoch in range(epochs))
    return replace(
        known,
        state=state,
        network=f"network {number}",
        accuracies=tuple(row[2] for row in curve),
        curve=() if state == "running" else curve,
        seconds=0.0 if state == "running" else SECONDS * epochs,
        stopped=epochs if state == "stopped" else 0,
        predicted=0.3 if state == "stopped" else None,
        resumed=resumed,
        first_epochs=min(epochs, 1) if resumed else epochs,
    )


def play(search: Search, seed: int) -> Iterator[tuple[float, list[Record]]]:
    """A search with two workers, look after look: (seconds, records) whenever the two have trained an epoch. Trainings
    are stopped now and then; in the end two in three of the stopped go on."""
    chance = random.Random(seed)
    trials: dict[int, Record] = {}
    waiting = [(number, 0) for number in range(search.trials)]
    running: dict[int, tuple[int, int]] = {}
    gone_on = search.stop == "none"
    seconds = 3.0
    while True:
        while len(running) < 2 and waiting:
            number, epochs = waiting.pop(0)
            running[number] = (epochs, int(epochs > 0))
        for number, (epochs, resumed) in running.items():
            trials[number] = trial(number, epochs, "running", resumed=resumed)
        yield seconds, list(trials.values())
        if not running:
            return
        for number, (epochs, resumed) in list(running.items()):
            running[number] = epochs + 1, resumed
            is_stopped = search.stop != "none" and number > 1 and not resumed and chance.random() < 0.3
            if epochs + 1 == EPOCHS or is_stopped:
                ended: State = "trained" if epochs + 1 == EPOCHS else "stopped"
                trials[number] = trial(number, epochs + 1, ended, resumed=resumed)
                del running[number]
        if not running and not waiting and not gone_on:
            frozen = [(r.number, len(r.accuracies)) for r in trials.values() if r.state == "stopped"]
            waiting, gone_on = [each for each in frozen if each[0] % 3], True
        seconds += SECONDS


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([ONE, STOPPING]))
def test_the_share_moves_with_every_epoch_never_falls_and_is_whole_only_at_the_end(seed: int, search: Search) -> None:
    progress, shares, epochs = Progress(search, workers=2), [], []
    for seconds, records in play(search, seed):
        progress.look(records, seconds)
        shares.append(progress.share)
        epochs.append(sum(len(each.accuracies) for each in records))
    assert shares[0] == 0.0
    for (before, after), (trained, more) in zip(pairwise(shares), pairwise(epochs), strict=True):
        assert after > before if more > trained and before < 1 else after == before
    assert all(share < 1 for share in shares[:-1])
    if search.stop == "none":
        assert shares == pytest.approx([each / epochs[-1] for each in epochs])


def test_where_nothing_is_stopped_the_time_left_is_what_the_epochs_left_take() -> None:
    progress, end = Progress(ONE, workers=2), 3.0 + SECONDS * ONE.trials * EPOCHS / 2
    assert progress.seconds_left is None
    for seconds, records in play(ONE, 0):
        progress.look(records, seconds)
        if seconds > 3.0:
            assert progress.seconds_left == pytest.approx(end - seconds, abs=0.01)


def test_between_two_epochs_the_time_left_runs_down_but_no_epoch_is_counted_before_its_end() -> None:
    progress = Progress(replace(ONE, trials=1), workers=1)
    for seconds, epochs in ((0.0, 0), (1.5, 1), (3.0, 2)):
        progress.look([trial(0, epochs, "running")], seconds)
    shares, left = [progress.share], [progress.seconds_left or 0.0]
    for seconds in (3.5, 4.0, 60.0, 90.0):
        progress.look([trial(0, 2, "running")], seconds)
        shares.append(progress.share)
        left.append(progress.seconds_left or 0.0)
    assert left[0] > left[1] > left[2] > 0
    assert shares[0] < shares[1] < shares[2] < 3 / EPOCHS


def test_a_trial_to_come_takes_as_long_as_the_latest_that_ended() -> None:
    """A mean over those and one to the last epoch: the first are never stopped."""
    search = replace(STOPPING, trials=4)
    ended = [trial(0, EPOCHS, "trained"), trial(1, 2, "failed"), trial(2, 2, "replayed")]
    work = Outlook(search).workload(ended)
    assert work.done({}) == SECONDS * (EPOCHS + 2 + 2)
    assert work.left == pytest.approx(SECONDS * (EPOCHS + EPOCHS + 2 + 0) / 4)


def test_baselines_and_the_work_of_large_networks_count_for_what_they_are() -> None:
    search = replace(STOPPING, trials=1, baselines=("resnet", "vgg"))
    large = replace(trial(7, EPOCHS, "trained", strategy=BASELINES), seconds=800.0)
    work = Outlook(search).workload([trial(0, EPOCHS, "trained"), large])
    assert work.left == pytest.approx(800.0)
    assert work.done({}) == SECONDS * EPOCHS + 800.0


def test_once_every_network_was_tried_the_stopped_that_go_on_are_told() -> None:
    search = replace(STOPPING, trials=3, audit=1.0)
    ended = [trial(0, EPOCHS, "trained"), trial(1, EPOCHS, "trained"), trial(2, 2, "stopped")]
    snapshot, progress = Snapshot(search, ended, 30.0, 0), Progress(search, workers=1)
    progress.look(ended, 30.0)
    assert progress_words(snapshot, progress)[1:3] == ("3/3 networks", "1 stopped training to go on")
    ended[2] = trial(2, 4, "running", resumed=1)
    progress.look(ended, 33.0)
    assert progress_words(replace(snapshot, records=ended), progress)[1] == "3/3 networks"


def test_the_time_left_is_that_to_the_time_limit_where_it_is_sooner() -> None:
    progress = Progress(ONE, workers=2)
    looks = list(play(ONE, 0))[:10]
    for seconds, records in looks:
        progress.look(records, seconds)
    now = Snapshot(ONE, looks[-1][1], looks[-1][0], 0)
    assert progress_words(replace(now, time_limit=None), progress)[-1] == "about 1 min left"
    assert progress_words(replace(now, time_limit=now.seconds + 20), progress)[-1] == "about 20 s left"
    assert progress_words(replace(now, time_limit=900.0), progress)[-1] == "about 1 min left"


def test_without_a_terminal_it_says_how_far_it_is_where_no_trial_finishes_for_long(tmp_path: Path) -> None:
    said = io.StringIO()
    folder: WorkFolder[Search] = run_folder(tmp_path)
    with PlainView(Console(file=said, width=160)) as view:
        view.begin(folder, ONE, 2)
        for epochs, seconds in enumerate((0.0, 20.0, 40.0, QUIET_SECONDS + 41)):
            view.update(Snapshot(ONE, [trial(0, epochs, "running")], seconds, 0))
    assert [re.sub("about .*left", "LEFT", line) for line in said.getvalue().splitlines()[1:]] == [
        "[2 %, 0/12 networks, LEFT]",
        "[3 %, 0/12 networks, LEFT]",
    ]


def test_a_real_search_says_with_every_trial_how_much_is_done(tmp_path: Path) -> None:
    space, data = searching.write_space(tmp_path), searching.write_data(tmp_path)
    said = io.StringIO()
    with PlainView(Console(file=said, width=160)) as view:
        asked = SearchOptions(
            budget=2_000, dataset=str(data), space=str(space), strategies=["random"], trials=8, epochs=4, device="cpu",
            out=tmp_path / "run",
        )  # fmt: skip
        run_search(asked, view)
    shares = [int(found) for found in re.findall(r"^\[(\d+) %, \d+/8 networks", said.getvalue(), re.MULTILINE)]
    assert len(shares) >= 8
    assert shares == sorted(shares)
    assert 0 < shares[0] < 100


def test_the_view_in_a_terminal_shows_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    said = io.StringIO()
    with LiveView(Console(file=said, width=160, force_terminal=True)) as view:
        view.begin(run_folder(tmp_path), ONE, 2)
        for seconds, records in list(play(ONE, 0))[:10]:
            view.update(Snapshot(ONE, records, seconds, 0))
    assert "18 %" in said.getvalue()
    assert "2/12 networks" in said.getvalue()
    assert "about 1 min left" in said.getvalue()


def test_a_network_is_described_by_the_stages_that_it_has() -> None:
    small = record({"width": 4, "kernel": 3, "gate": False}, 0.5)
    assert describe(small) == "width=4 kernel=3 gate=False"
    knobs: dict[str, Value] = {
        "kind1": "basic",
        "width1": 8,
        "blocks1": 2,
        "kind2": "mixer",
        "width2": 16,
        "blocks2": 0,
        "width3": 4,
    }
    assert describe(replace(small, knobs=knobs)) == "basic 8×2 · 4×1"


def test_networks_that_are_described_alike_are_told_apart_and_accuracies_by_their_images() -> None:
    ended = [trial(number, EPOCHS, "trained") for number in range(2)]
    said = io.StringIO()
    search = replace(ONE, validation_images=50)
    Console(file=said, width=160).print(leaders(Snapshot(search, ended, 30.0, 0)))
    best = pareto_front(ended)[-1]
    assert f"{describe(best)} ({best.network[:6]})" in said.getvalue()
    assert re.search(r"accuracy on 50 validation images, ± \d+\.\d points by chance", said.getvalue())
