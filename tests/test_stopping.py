"""Rules of stopping, the same rules on a run's records, the audit, and the pruner for other Optuna studies."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from records import PLAN, SPACE, record

import nas
from nas.data.load import load_search_data
from nas.search.judging.audit import audit
from nas.search.judging.choice import chosen_rule
from nas.search.judging.forecasts import Forecast
from nas.search.judging.judge import Judge, is_audited, is_judged
from nas.search.judging.standings import Standings
from nas.search.notes import Audited, Predicted
from nas.search.options import SearchOptions
from nas.search.records import Record
from nas.search.search import BASELINES, decided
from nas.space.files import find_space, load_architecture
from nas.space.space import bind
from nas.stopping.curves import Curve, Prediction
from nas.stopping.rules import EAGER, RULES, Extrapolate, Halving, Median
from nas.training.recipe import Recipe

SURE_LOW, SURE_HIGH, UNSURE = Prediction(0.2, 0.01), Prediction(0.9, 0.01), Prediction(0.5, 0.2)
LONG = replace(PLAN, epochs=8, stop="extrapolate", audit=0.0)


def rival(last: float, epochs: int = 8) -> Curve:
    return Curve(tuple(np.linspace(last / 2, last, epochs).tolist()))


@pytest.mark.parametrize("name", RULES)
def test_without_rivals_every_rule_goes_on(name: str) -> None:
    for length in range(1, 8):
        assert RULES[name](8).judge(rival(0.3, length), UNSURE, []).goes_on


def test_every_rule_says_its_meaning_in_a_line_and_is_of_those_that_a_search_takes() -> None:
    for name, rule in RULES.items():
        assert rule.name == name
        assert 0 < len(rule.meaning) <= 100
        assert replace(LONG, stop=name).stop == name


def test_extrapolate_stops_what_will_hardly_beat_the_best_measured_rival() -> None:
    rule = Extrapolate(8, 0.05)
    rivals = [rival(0.6), rival(0.5), rival(0.99, 7)]  # the last has not come to its end: it is no measure
    assert not rule.judge(rival(0.2, 2), SURE_LOW, rivals).goes_on
    assert rule.judge(rival(0.2, 2), SURE_HIGH, rivals).goes_on
    unsure = rule.judge(rival(0.2, 2), UNSURE, rivals)
    assert not unsure.goes_on, "less likely than not: others first"
    assert unsure.is_worthy
    assert unsure.chance == UNSURE.chance_above(0.6) < 0.5
    assert not Extrapolate(8, 0.5).judge(rival(0.2, 2), UNSURE, rivals).is_worthy
    assert not rule.judge(rival(0.2, 2), SURE_LOW, rivals).is_worthy


def test_median_stops_below_the_median_after_its_startup() -> None:
    rivals = [rival(value) for value in (0.2, 0.3, 0.4, 0.5, 0.6)]
    below, above = rival(0.1, 4), rival(0.9, 4)
    assert not Median(8).judge(below, UNSURE, rivals).goes_on
    assert Median(8).judge(above, UNSURE, rivals).goes_on
    assert Median(8).judge(below, UNSURE, rivals[1:]).goes_on, "four complete rivals are too few"
    assert Median(8).judge(rival(0.1, 1), UNSURE, rivals).goes_on, "the first epoch is too early"


def test_halving_lets_a_third_go_on_at_a_rung_and_everyone_between_rungs() -> None:
    rivals = [rival(value / 10, 3) for value in range(1, 9)]
    outcomes = [Halving(8).judge(rival((place + 0.5) / 10, 3), UNSURE, rivals).goes_on for place in range(9)]
    assert sum(outcomes) == 3
    assert outcomes == sorted(outcomes)
    assert Halving(8).judge(rival(0.01, 2), UNSURE, rivals).goes_on


def test_the_rungs_of_halving_and_the_checks_of_the_others_are_where_they_say() -> None:
    assert [epoch for epoch in range(1, 100) if Halving(100).checks(epoch)] == [1, 3, 9, 27, 81]
    assert not Median(8).checks(1)
    assert Extrapolate(100).checks(20)
    assert not Extrapolate(100).checks(21)
    assert not any(RULES["none"](9).checks(epoch) for epoch in range(1, 10))


def trained(width: int, accuracy: float, *, strategy: str = "tpe", number: int = 0, epochs: int = 8) -> Record:
    """A training of SPACE of so many epochs of eight; stopped if that is fewer."""
    made = record({"width": width, "kernel": 3, "gate": False}, accuracy, strategy=strategy, number=number)
    curve = tuple((2.0 - 0.1 * e, 2.1 - 0.1 * e, accuracy * (1 - 0.5 / e)) for e in range(1, epochs + 1))
    if epochs == 8:
        return replace(
            made, curve=(*curve[:-1], (1.0, 1.1, accuracy)), accuracies=(*(r[2] for r in curve[:-1]), accuracy)
        )
    accuracies = tuple(row[2] for row in curve)
    return replace(made, curve=curve, accuracies=accuracies, state="stopped", stopped=epochs, predicted=accuracy)


def test_a_network_is_judged_by_smaller_ones_of_its_own_strategy_alone() -> None:
    large, other = trained(16, 0.9), trained(4, 0.8, strategy="random")
    small = trained(8, 0.3, epochs=2, number=1)
    judge = Judge(LONG, [large, other])
    assert judge.to_beat(small) == 0.0
    assert judge.verdict(small, small.curve, SURE_LOW).goes_on
    judge = Judge(LONG, [large, other, trained(4, 0.7, number=2)])
    assert judge.to_beat(small) == 0.7
    assert not judge.verdict(small, small.curve, SURE_LOW).goes_on


def test_curves_of_all_strategies_teach() -> None:
    young = trained(8, 0.3, epochs=2)
    alone = Judge(LONG, []).prediction(young, young.curve)
    others = [trained(4, 0.3 + 0.03 * i, strategy="random") for i in range(9)]
    taught = Judge(LONG, [replace(other, network=f"{i:016x}") for i, other in enumerate(others)])
    assert taught.prediction(young, young.curve).scale < alone.scale
    assert 0 <= taught.last_loss(young, young.curve) < young.curve[-1][1]


def forecast_of(known: dict[str, float]) -> Forecast:
    return lambda records: [(known[r.network], 0.05) if r.network in known else None for r in records]


def test_a_judge_that_looks_again_and_again_says_what_one_says_that_looks_once() -> None:
    """Over 500 networks, beyond which models are not learnt anew with each."""
    rng = np.random.default_rng(0)
    records: list[Record] = []
    forecast = forecast_of({})
    lasting = Judge(LONG)
    for number in range(640):
        epochs = 8 if rng.random() < 0.4 else int(rng.integers(1, 8))
        made = replace(
            trained(int(rng.integers(2, 40)), rng.uniform(0.2, 0.8), epochs=epochs), network=f"{number:016x}"
        )
        records.append(replace(made, number=number, latest=number))
        if number % 7 == 6:  # one that was stopped goes on
            place = int(rng.integers(number))
            if records[place].state == "stopped":
                records[place] = replace(records[place], state="running")
            elif records[place].state == "running":
                came = len(records[place].curve)
                longer = replace(trained(8, 0.7, epochs=8), network=records[place].network, number=place)
                steps = (place, came), (1000 + number, 8)
                records[place] = replace(longer, latest=1000 + number, resumed=1, steps=steps)
        if number in (3, 40, 499, 500, 501, 502, 639):
            forecast = forecast if number == 501 else forecast_of({f"{number // 2:016x}": 0.6})
            lasting.look(records, forecast)
            once, young = Judge(LONG, records, forecast), trained(8, 0.4, epochs=3)
            assert lasting.verdict(young, young.curve, UNSURE) == once.verdict(young, young.curve, UNSURE)
            assert lasting.prediction(young, young.curve) == once.prediction(young, young.curve)
            assert lasting.last_loss(young, young.curve) == once.last_loss(young, young.curve)
            assert lasting.to_beat(young) == once.to_beat(young)
            for nothing_new in (False, True):
                found, chance = lasting.to_resume(records, nothing_new=nothing_new)
                again, expected = once.to_resume(records, nothing_new=nothing_new)
                assert found is again
                assert chance == pytest.approx(expected)


def test_of_many_trials_what_is_learnt_from_stays_the_same_while_few_go_on() -> None:
    rng = np.random.default_rng(0)
    records = []
    for number in range(1000):  # learnt anew with every fourth told
        made = trained(int(rng.integers(2, 40)), rng.uniform(0.2, 0.8), epochs=int(rng.integers(1, 8)), number=number)
        records.append(replace(made, network=f"{number:016x}", latest=number, steps=((number, len(made.curve)),)))
    standings = Standings(LONG.studies)
    standings.update(records)
    before = [(record.network, epochs) for record, epochs in standings.taught(300)]
    assert len(before) == 300
    changed = list[bool]()
    for number, place in enumerate((990, 400, 995, 980), start=1000):
        gone_on = replace(trained(8, 0.7, epochs=8), network=records[place].network, number=place, latest=number)
        records[place] = replace(gone_on, resumed=1, steps=(*records[place].steps, (number, 8)))
        standings.update(records)
        known = [(record.network, epochs) for record, epochs in standings.taught(300)]
        changed.append(known != before)
        again = Standings(LONG.studies)
        again.update(records)
        assert known == [(record.network, epochs) for record, epochs in again.taught(300)]
    assert changed == [False, False, False, True]
    assert known[-1] == (records[980].network, 8)


def test_a_stopped_training_goes_on_when_it_would_not_be_stopped_any_more() -> None:
    best, promising, hopeless = (
        trained(4, 0.5),
        trained(8, 0.8, epochs=3, number=1),
        trained(16, 0.05, epochs=3, number=2),
    )
    records = [best, promising, hopeless]
    assert Judge(LONG, records).to_resume(records, nothing_new=False) == (promising, EAGER)
    assert Judge(LONG, records).to_audit(records) is None
    audited = Judge(replace(LONG, audit=1.0), records)
    assert audited.to_audit(records) in (promising, hopeless)
    twin = replace(trained(8, 0.8, epochs=2, strategy="random"), state="running")
    assert Judge(LONG, [*records, twin]).to_resume([*records, twin], nothing_new=True)[0] is None, "somebody trains it"


def test_a_small_network_of_good_chance_is_not_forgotten_among_many_better_ones_without() -> None:
    small, large = trained(4, 0.3), trained(16, 0.95, number=1)
    hopeless = [
        replace(trained(16, 0.6, epochs=3, number=n), network=f"{n:016x}", predictions=(Predicted(3, 0.6, 0.01, 0.0),))
        for n in range(2, 300)
    ]
    promising = replace(trained(8, 0.5, epochs=3, number=300), predictions=(Predicted(3, 0.5, 0.1, 0.4),))
    records = [small, large, *hopeless, promising]
    assert Judge(LONG, records).to_resume(records, nothing_new=True)[0] == promising


def test_of_equal_chances_one_that_may_go_on_is_taken() -> None:
    """Halving, three tied at the top of a rung and one below."""
    search = replace(LONG, stop="halving")
    bad = trained(4, 0.05, epochs=3)
    tied = [replace(trained(4, 0.5, epochs=3, number=i), network=f"{i:016x}") for i in (1, 2, 3)]
    record, _ = Judge(search, [bad, *tied]).to_resume([bad, *tied], nothing_new=True)
    assert record in tied
    assert Judge(replace(search, stop="median"), [bad, *tied]).to_resume([bad, *tied], nothing_new=True)[0] is None


def test_a_training_that_exploded_does_not_spoil_the_predicted_losses_of_others() -> None:
    others = [replace(trained(4, 0.3 + 0.03 * i), network=f"{i:016x}") for i in range(9)]
    young = trained(8, 0.4, epochs=4)
    plain = Judge(LONG, others).last_loss(young, young.curve)
    exploded = replace(others[0], curve=((1.0, 1e6, 0.1), *others[0].curve[1:]))
    assert Judge(LONG, [exploded, *others[1:]]).last_loss(young, young.curve) == pytest.approx(plain, abs=0.3)


def test_what_is_worth_it_but_unlikely_waits_until_nothing_new_is_left() -> None:
    records = [trained(4, 0.5), trained(8, 0.42, epochs=3, number=1)]
    judge = Judge(LONG, records)
    verdict = judge.verdict(records[1], records[1].curve, judge.prediction(records[1], records[1].curve))
    assert verdict.is_worthy
    assert not verdict.goes_on
    assert judge.to_resume(records, nothing_new=False)[0] is None
    assert judge.to_resume(records, nothing_new=True)[0] == records[1]


def test_baselines_are_measured_and_the_audit_takes_its_share() -> None:
    assert not is_judged(LONG, BASELINES)
    assert is_judged(LONG, "tpe")
    assert not is_judged(PLAN, "tpe")
    networks = [replace(trained(4, 0.5), network=f"{i:016x}") for i in range(2000)]
    for share in (0.0, 0.05, 1.0):
        assert np.mean([is_audited(replace(LONG, audit=share), r) for r in networks]) == pytest.approx(share, abs=0.02)


def test_the_audit_counts_what_was_saved_and_what_was_missed() -> None:
    sure = Predicted(2, 0.5, 0.001, 0.9)
    right = replace(trained(4, 0.5), predictions=(sure,))
    missed = replace(trained(8, 0.8, number=1), predictions=(sure,), audited=Audited(2, 0.6))
    rightly = replace(trained(16, 0.3, number=2), predictions=(sure._replace(mean=0.3),), audited=Audited(2, 0.6))
    stopped = trained(16, 0.4, epochs=3, strategy="random")
    baseline = replace(trained(4, 0.9), strategy=BASELINES, network="0" * 16)
    found = audit(LONG, [right, missed, rightly, stopped, baseline])
    assert found["stopped"] == 1
    assert (found["audited"], found["false_stops"]) == (2, 1)
    assert (found["epochs_spent"], found["epochs_in_full"]) == (24, 24), "one strategy trained what the other stopped"
    assert found["predictions"] == 3
    assert found["coverage"] == {"50": 2 / 3, "80": 2 / 3, "95": 2 / 3}
    at_two = found["rank_correlation"][1]
    assert at_two["trainings"] == 3
    assert at_two["prediction"] == pytest.approx(0.866, abs=1e-3)
    assert at_two["last_value"] == pytest.approx(1.0)
    assert found["rank_correlation"][0] == {"epoch": 1, "trainings": 0, "prediction": None, "last_value": None}


def test_the_audit_of_nothing_is_empty() -> None:
    found = audit(PLAN, [])
    assert found["coverage"] == {"50": None, "80": None, "95": None}
    assert found["rank_correlation"] == []


Direction = Literal["minimize", "maximize"]


def curve_of(level: float, speed: float) -> list[float]:
    return [level - 0.3 * (e + 1) ** -speed for e in range(12)]


def run_study(pruner: optuna.pruners.BasePruner, direction: Direction, *, trials: int = 60) -> optuna.Study:
    """Trials whose curves differ in level and speed; `size` goes with the level."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction=direction, pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0), study_name="curves"
    )
    sign = 1 if direction == "maximize" else -1

    def objective(trial: optuna.Trial) -> float:
        level = trial.suggest_float("level", 0.3, 0.8)
        trial.set_user_attr("size", level)
        values = curve_of(level, trial.suggest_float("speed", 0.5, 1.0))
        for epoch, value in enumerate(values):
            trial.report(sign * value, epoch)
            if epoch < 11 and trial.should_prune():
                raise optuna.TrialPruned
        return sign * values[-1]

    study.optimize(objective, n_trials=trials)
    return study


def spent(study: optuna.Study) -> int:
    return sum(len(trial.intermediate_values) for trial in study.trials)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_pruner_keeps_the_best_trial_and_saves_most_of_the_rest(direction: Direction) -> None:
    full = run_study(optuna.pruners.NopPruner(), direction)
    pruned = run_study(nas.CurvePruner(epochs=12), direction)
    assert pruned.best_trial.number == full.best_trial.number
    assert spent(pruned) < 0.4 * spent(full)


def test_the_pruner_judges_by_size_where_told_to() -> None:
    blind = run_study(nas.CurvePruner(epochs=12), "maximize")
    by_size = run_study(nas.CurvePruner(epochs=12, size="size"), "maximize")
    smallest = min(by_size.trials, key=lambda trial: trial.user_attrs["size"])
    assert smallest.state == optuna.trial.TrialState.COMPLETE
    assert blind.trials[smallest.number].state == optuna.trial.TrialState.PRUNED


def test_one_exploding_trial_does_not_disable_the_pruner() -> None:
    study = optuna.create_study(direction="minimize", pruner=nas.CurvePruner(epochs=12, size="size"))
    rng = np.random.default_rng(0)
    for number in range(30):
        trial = study.ask()
        trial.set_user_attr("size", [1.0, None, "1M", float("nan")][number] if number < 4 else 1.0)
        values = [1 - value for value in curve_of(rng.uniform(0.3, 0.8), 0.7)]
        values[0] = {5: 1e160, 6: 1e6}.get(number, values[0])
        for epoch, value in enumerate(values):
            trial.report(value, epoch)
            if epoch < 11 and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, values[-1])
    assert sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials) > 15


def test_the_pruner_leaves_alone_what_it_cannot_judge() -> None:
    study = run_study(nas.CurvePruner(epochs=12, clues=("nobody has this",)), "maximize", trials=5)
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}
    with pytest.raises(ValueError, match="threshold from 0 to 1"):
        nas.CurvePruner(epochs=3, threshold=2)


def test_records_of_the_small_space_know_their_size() -> None:
    sizes = [SPACE.cost({"width": width, "kernel": 3, "gate": False}) for width in (4, 8, 16)]
    assert sizes == sorted(sizes, key=lambda cost: cost.parameters if cost else 0)


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ({"epochs": 3}, "none"),
        ({"epochs": 3, "stop": "extrapolate"}, "extrapolate"),
        ({"epochs": 3, "stop_threshold": 0.1}, "extrapolate"),
        ({"epochs": 3, "audit": 0.5}, "extrapolate"),
        ({"epochs": 100}, "extrapolate"),
        ({"epochs": 100, "stop": "median"}, "median"),
    ],
)
def test_trainings_too_short_to_gain_by_it_are_stopped_only_where_asked(asked: dict[str, Any], rule: str) -> None:
    options = SearchOptions(dataset="digits", budget=100_000, **asked)
    data = load_search_data("digits", seed=0, validation_share=None, image_size=None)
    file = find_space("mixed")[0]
    space = bind(load_architecture(file), data.shape, data.classes)
    images = len(data.train.labels) * asked["epochs"]
    stop = chosen_rule(options, space, images)
    assert stop == rule
    search = decided(options, data=data, space=space, file=file, recipe=Recipe(), baselines=(), starts=(), stop=stop)
    assert search.audit == (0.0 if rule == "none" else asked.get("audit", 0.05))


def test_what_another_model_forecasts_of_a_network_moves_its_prediction() -> None:
    others = [replace(trained(4, 0.5 + 0.01 * i), network=f"{i:016x}") for i in range(6)]
    young = trained(8, 0.4, epochs=2)
    plain = Judge(LONG, others).prediction(young, young.curve)

    told = Judge(LONG, others, forecast_of({young.network: plain.mean + 0.2})).prediction(young, young.curve)
    assert plain.mean < told.mean < plain.mean + 0.2
    elsewhere = Judge(LONG, others, forecast_of({"0" * 15 + "f": 0.9})).prediction(young, young.curve)
    assert elsewhere == plain
