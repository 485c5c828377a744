import json
import math
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from records import SPACE, record

from nas.api import search
from nas.cli.main import main
from nas.errors import RunError
from nas.network.folds import parameters
from nas.network.layers import Activation, Conv, Flatten, GlobalPool, Layer, Linear, Pool, Residual, Sequence
from nas.results.scaling import Form, best_of_budgets, form, laws, scaling, warm_starts
from nas.search.strategies import STRATEGIES
from nas.space.budget import Budget
from nas.space.files import named_space
from nas.space.space import Space, bind

NARROW = {"width": 4, "kernel": 3, "gate": False}
MEDIUM = {"width": 4, "kernel": 5, "gate": False}
WIDE = {"width": 8, "kernel": 5, "gate": True}


def test_the_form_of_a_network_is_read_off_its_main_path() -> None:
    network: Layer = Sequence(
        (
            Conv(3, 8, 3),
            Residual(Conv(8, 16, 5, stride=2), Conv(8, 16, 1, stride=2)),
            Activation("relu"),
            Conv(16, 32, 1),
            Pool("max", 2),
            GlobalPool(),
            Flatten(),
            Linear(32, 10),
        )
    )
    assert form(network, (3, 32, 32)) == Form(
        depth=4, width_ratio=4.0, kernel=4.0, halvings=2.0, drop_position=(1 / 2 + 1) / 2
    )


def test_the_last_halving_counts_and_the_global_pool_does_not() -> None:
    network: Layer = Sequence((*(Conv(1, 1, 3, stride=2) for _ in range(3)), GlobalPool(), Flatten(), Linear(1, 10)))
    for side in (8, 16):
        assert form(network, (1, side, side)).halvings == 3.0


def test_a_network_without_convolutions_has_a_form_too() -> None:
    assert form(Sequence((Flatten(), Linear(64, 10))), (1, 8, 8)) == Form(1, 1.0, 0.0, 0.0, 0.0)


def test_the_best_of_a_budget_are_measured_distinct_and_no_baselines() -> None:
    records = [
        record(NARROW, 0.5, budget=1_000, number=0),
        record(NARROW, 0.5, budget=1_000, strategy="random", number=0),
        record(MEDIUM, 0.6, budget=1_000, number=1),
        record(WIDE, 0.9, budget=10_000, strategy="baselines"),
        replace(record(WIDE, 0.8, budget=10_000, number=1), stopped=1, predicted=0.8),
        record(MEDIUM, 0.7, budget=10_000, number=2),
    ]
    best = best_of_budgets(records)
    assert {budget: [r.knobs for r in own] for budget, own in best.items()} == {
        1_000: [MEDIUM, NARROW],
        10_000: [MEDIUM],
    }
    assert [r.knobs for r in best_of_budgets(records, most=1)[1_000]] == [MEDIUM]
    small = replace(record(NARROW, 0.6, budget=10_000, number=3), parameters=100)
    assert best_of_budgets([*records, small])[10_000] == best[10_000]


def spaced(name: str, shape: tuple[int, ...] = (3, 32, 32), classes: int = 100) -> Space:
    return bind(named_space(name), shape, classes)


def test_a_law_is_the_power_that_made_the_networks() -> None:
    space = spaced("cifar_resnet")
    records = []
    for i, blocks in enumerate((1, 2, 4, 8, 16)):
        knobs = space.check({"blocks": blocks, "width": 8})
        cost = space.cost(knobs)
        assert cost is not None
        base = record(NARROW, 0.5, budget=10 ** (i + 3))
        records.append(replace(base, knobs=knobs, parameters=cost.parameters, network=space.identity(knobs)))
    found = {law.measure: law for law in laws(best_of_budgets(records), space)}
    assert found["depth"].is_power
    assert found["depth"].low < found["depth"].slope < found["depth"].high
    assert 0.8 < found["depth"].slope < 1.2  # parameters grow almost as the blocks do
    assert found["depth"].verdict == f"grows as N^{found['depth'].slope:.2f}, n = 5"
    assert found["halvings"].slope == 0
    assert found["halvings"].verdict == "no trend seen, n = 5"


def test_two_networks_are_too_few_for_an_interval_and_the_json_has_null() -> None:
    records = [record(NARROW, 0.5, budget=1_000), record(WIDE, 0.6, budget=10_000)]
    content = scaling(records, SPACE)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["laws"][0]["low"] is None
    assert content["laws"][0]["verdict"] == "too few networks to say (n = 2)"
    assert [one["budget"] for one in content["networks"]] == [1_000, 10_000]


def test_one_budget_gives_no_law() -> None:
    with pytest.raises(RunError, match=r"need measured networks of at least 2 budgets but there are 1; search several"):
        scaling([record(NARROW, 0.5)], SPACE)


def test_a_warm_start_takes_the_nearest_budget_that_is_not_larger_or_the_smallest() -> None:
    records = [record(NARROW, 0.5, budget=1_000), record(WIDE, 0.6, budget=10_000), record(MEDIUM, 0.7, budget=10_000)]
    assert warm_starts(records, (500, 5_000, 50_000), SPACE) == ([NARROW], [NARROW], [MEDIUM, WIDE])


def test_a_warm_start_needs_measured_networks_of_the_same_space() -> None:
    with pytest.raises(RunError, match="no measured network to begin from"):
        warm_starts([], (1_000,), SPACE)
    with pytest.raises(RunError, match="of another space than 'manykinds'"):
        warm_starts([replace(record(NARROW, 0.5), knobs={"width": 4})], (1_000,), SPACE)


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_every_strategy_begins_with_the_starts_fitted_then_the_default(strategy: str) -> None:
    space = spaced("residual")
    start = space.defaults | {"blocks1": 4, "kernel1": 5}
    sampler = STRATEGIES[strategy](space, Budget(20_000), seed=0, starts=[start])
    study = optuna.create_study(direction="maximize", sampler=sampler)
    proposed = []
    for _ in range(2):
        trial = study.ask(sampler.distributions)
        proposed.append(trial.params)
        study.tell(trial, 0.5)
    assert (proposed[0]["blocks1"], proposed[0]["kernel1"]) == (4, 5)
    assert (proposed[1]["blocks1"], proposed[1]["kernel1"]) == (space.defaults["blocks1"], space.defaults["kernel1"])
    for settings in proposed:
        cost = space.cost(settings)
        assert cost is not None
        assert 19_000 < cost.parameters <= 20_000


def test_a_search_begins_where_another_ended_and_nas_scaling_tells_the_laws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = search(
        dataset="digits", budget=(1_000, 3_000), trials=2, epochs=1, strategies=("random",), below=0.0, stop="none",
        space="residual", out=tmp_path / "first", workers=1, device="cpu",
    )  # fmt: skip
    second = search(
        dataset="digits", budget=6_000, trials=1, epochs=1, strategies=("random",), below=0.0, stop="none",
        space="residual", out=tmp_path / "second", workers=1, device="cpu", warm_start=tmp_path / "first",
    )  # fmt: skip
    (starts,) = second.front.search.starts
    assert len(starts) == 2
    assert first.front.networks[-1].network == spaced("residual", (1, 8, 8), 10).identity(starts[0])
    assert 3_000 < parameters(second.network()) <= 6_000
    capsys.readouterr()
    assert main(["scaling", str(tmp_path / "first"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [law["measure"] for law in content["laws"]] == [
        "depth",
        "width_ratio",
        "kernel",
        "halvings",
        "drop_position",
    ]
    assert all(law["slope"] is None or math.isfinite(law["slope"]) for law in content["laws"])
    assert main(["scaling", str(tmp_path / "first")]) == 0
    assert main(["scaling", str(tmp_path / "second")]) == 2
    assert "at least 2 budgets but there are 1" in capsys.readouterr().err
