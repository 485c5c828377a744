"""Who trains what next, where several workers claim at once."""

import threading
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from optuna.trial import Trial
from records import PLAN

from nas.machine.pulse import Pulse
from nas.search.journal import tell
from nas.search.notes import Notes
from nas.search.sampling.feasible import FeasibleSampler
from nas.search.search import run_folder, worker_file
from nas.search.sharing.open import open_shared
from nas.search.studies import open_studies
from nas.search.workers.claims import Claims
from nas.space.files import find_space, load_architecture
from nas.space.space import bind

SEARCH = replace(PLAN, strategies=("linear",), budgets=(10_000,), trials=30)
SPACE = bind(load_architecture(find_space("mixed")[0]), (1, 8, 8), 10)


def claims_of(path: Path, slot: int) -> Claims:
    folder = run_folder(path)
    folder.enter(SEARCH)
    shared = open_shared(folder, slot)
    studies = open_studies(SEARCH, folder, SPACE, shared.storage)
    return Claims(SEARCH, shared, SPACE, studies, Pulse(worker_file(folder, slot, "pulse")))


def claimed(claims: Claims) -> Trial:
    found = claims.next()
    assert not isinstance(found, str)
    return found[0]


def end(trial: Trial) -> None:
    tell(trial, Notes(curve=((2.0, 2.0, 0.1), (1.0, 1.0, 0.3)), seconds=(1.0, 1.0)), 0.3)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Claims, Claims]:
    """Two workers of a search that has begun."""
    first, second = claims_of(tmp_path / "run", 0), claims_of(tmp_path / "run", 1)
    for _ in range(10):
        end(claimed(first))
    return first, second


def test_who_waits_for_its_turn_thinks_ahead_and_proposes_that(two: tuple[Claims, Claims]) -> None:
    first, second = two
    thought, found = threading.Event(), list[Trial]()

    def think() -> None:
        second.think_ahead()
        thought.set()

    def claim() -> None:
        with second.shared.claiming(think):
            found.append(claimed(second))

    with first.shared.claiming(think):  # at once: nothing to think of
        assert not thought.is_set()
        waits = threading.Thread(target=claim)
        waits.start()
        assert thought.wait(60)
        assert not found
        again = mock.patch.object(FeasibleSampler, "proposal", side_effect=AssertionError("thought of in its turn"))
        again.start()
    waits.join(60)
    again.stop()
    (trial,) = found
    assert trial.number == 10
    assert SEARCH.budget(10_000).admits(SPACE.network(trial.params), SPACE.shape)


def test_a_network_that_another_claimed_meanwhile_is_not_proposed_again(two: tuple[Claims, Claims]) -> None:
    first, second = two
    second.think_ahead()
    with mock.patch.object(first, "shared", second.shared):  # thinks as the other does
        first.think_ahead()
    theirs = claimed(first)
    end(theirs)
    ours = claimed(second)
    assert SPACE.identity(ours.params) != SPACE.identity(theirs.params)


def test_a_worker_alone_never_thinks_ahead(two: tuple[Claims, Claims]) -> None:
    first, _ = two
    with first.shared.claiming(mock.Mock(side_effect=AssertionError("it need not wait"))):
        assert claimed(first).number == 10
