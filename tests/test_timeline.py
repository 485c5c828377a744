"""Every moment of a worker belongs to one activity."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas.machine.timeline import Stretch, Timeline, read_timeline, read_timelines, spent


def test_the_activities_of_a_stretch_fill_the_time_between_its_beginning_and_the_next(tmp_path: Path) -> None:
    begun = time.time()
    timeline = Timeline(tmp_path / "0.timeline", begun - 2.0)
    timeline.begin("steps")
    time.sleep(0.05)
    timeline.begin("validation")
    timeline.write("tpe-1000/0")
    timeline.begin("claim")
    timeline.write("")
    ended = time.time()
    first, second = read_timeline(tmp_path / "0.timeline")
    assert first.trial == "tpe-1000/0"
    assert first.began == pytest.approx(begun - 2.0, abs=0.002)
    assert first.seconds["start"] == pytest.approx(2.0, abs=0.05)
    assert first.seconds["steps"] >= 0.05
    assert second.began == pytest.approx(first.ended, abs=0.002)
    assert second.ended == pytest.approx(ended, abs=0.05)


def test_a_line_that_a_kill_has_torn_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "0.timeline"
    file.write_text('{"began": 1.0, "trial": "a/0", "seconds": {"steps": 2.0}}\n{"began": 3.0, "tri')
    assert read_timeline(file) == [Stretch(1.0, "a/0", {"steps": 2.0})]
    assert read_timeline(tmp_path / "none") == []


@pytest.mark.parametrize("line", ["", "{", "[" * 100_000, "[[1]]", '{"began": null, "trial": "", "seconds": {}}', "\0"])
def test_a_damaged_line_and_a_copy_of_the_file_are_left_out(line: str, tmp_path: Path) -> None:
    timeline = Timeline(tmp_path / "0.timeline", 0.0)
    timeline.write("a")
    with open(tmp_path / "0.timeline", "a") as file:
        file.write(line + "\n")
    timeline.write("b")
    (tmp_path / "0 (copy).timeline").write_text(line + "\n")
    read = read_timelines(tmp_path)
    assert {slot: [stretch.trial for stretch in stretches] for slot, stretches in read.items()} == {0: ["a", "b"]}


def test_what_a_worker_did_is_not_lost_with_the_line_that_the_kill_of_the_one_before_has_torn(tmp_path: Path) -> None:
    file = tmp_path / "0.timeline"
    file.write_text('{"began": 1.0, "trial": "a/0", "seconds": {"steps": 2.0}}\n{"began": 3.0, "tri')
    timeline = Timeline(file, time.time())
    timeline.write("a/1")
    timeline.write("a/2")
    assert [stretch.trial for stretch in read_timeline(file)] == ["a/0", "a/1", "a/2"]


def test_a_worker_that_ended_before_the_last_was_idle() -> None:
    early = [Stretch(10.0, "a/0", {"steps": 3.0, "claim": 1.0})]
    late = [Stretch(10.0, "a/1", {"steps": 5.0}), Stretch(15.0, "", {"claim": 1.0})]
    assert spent({0: early, 1: late}) == {"steps": 8.0, "claim": 2.0, "idle": 2.0}


def test_a_process_knows_when_it_was_started() -> None:
    before = time.time()
    said = subprocess.run(
        [sys.executable, "-c", "from nas.machine.process import started; print(started())"],
        capture_output=True,
        text=True,
    )
    assert before - 0.1 <= float(said.stdout) <= time.time()
