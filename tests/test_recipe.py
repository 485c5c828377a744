import json
import warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.data import MANY_IMAGES
from nas.data.augment import DeviceData
from nas.data.augmentations import AUGMENTATIONS
from nas.data.load import SearchData, Split
from nas.errors import RecipeError
from nas.network.layers import Flatten, Linear
from nas.network.layers import Sequence as Layers
from nas.training.recipe import Optimiser, Recipe, Schedule, changed, parse_changes, recipe_values
from nas.training.recipes import RECIPES, named_recipe, recipe_for
from nas.training.steps.schedule import best_epoch, gives_up, learning_rate
from nas.training.train import train


def rates(recipe: Recipe, steps: Sequence[int], epoch_steps: int, losses: Sequence[float] = ()) -> list[float]:
    return [learning_rate(recipe, step, epoch_steps, losses) for step in steps]


def plain(**changes: Any) -> Recipe:
    """Ten epochs at a rate of 1 without a warm-up, and what is changed."""
    return Recipe(**{"epochs": 10, "learning_rate": 1.0, "warmup_steps": 0} | changes)


def refusal(recipe: Recipe, changes: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as caught:
        changed(recipe, changes)
    return str(caught.value)


# Schedules


def test_a_constant_rate_is_reached_after_a_linear_warm_up() -> None:
    recipe = plain(learning_rate=0.1, warmup_steps=4)
    assert rates(recipe, [0, 1, 3, 4, 5, 99], 10) == pytest.approx([0.02, 0.04, 0.08, 0.1, 0.1, 0.1])


def test_without_a_warm_up_the_first_step_has_the_whole_rate() -> None:
    assert rates(plain(), [0, 1, 99], 10) == [1.0, 1.0, 1.0]


def test_a_multi_step_rate_falls_with_the_first_step_after_each_share_of_the_epochs() -> None:
    recipe = plain(schedule="multi-step", milestones=(0.5, 0.75), factor=0.1)
    assert rates(recipe, [0, 49, 50, 74, 75, 99], 10) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_the_rate_of_s4_falls_after_half_and_three_quarters_of_its_64_000_steps() -> None:
    recipe = RECIPES["s4"].recipe  # 45,000 images in batches of 128 are 352 steps, the last of 72 images
    assert recipe.epochs * 391 == 64_124  # He et al. count 391 steps, of 50,000 images
    assert rates(recipe, [0, 28_863, 28_864, 43_295, 43_296, 57_727], 352) == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )


def test_a_cosine_falls_from_the_whole_rate_to_none() -> None:
    found = rates(plain(schedule="cosine"), [0, 25, 50, 75, 99, 100], 10)
    assert found == pytest.approx([1, 0.853553, 0.5, 0.146447, 0.000246719, 0], abs=1e-6)


def test_one_cycle_rises_for_three_tenths_of_the_steps_and_then_falls_to_next_to_nothing() -> None:
    found = rates(plain(schedule="one-cycle"), [0, 15, 30, 65, 100], 10)
    assert found == pytest.approx([0.04, 0.52, 1.0, 0.500002, 4e-6], rel=1e-5)


def test_one_cycle_is_torchs_but_for_one_step() -> None:
    """torch's has its peak at step 0.3 n - 1 of n and its end at n - 1, ours at 0.3 n and n."""
    steps, parameter = 1_000, torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=steps, anneal_strategy="cos")
    torchs = [1 / 25]
    for _ in range(steps - 1):
        optimiser.step()
        schedule.step()
        torchs.append(optimiser.param_groups[0]["lr"])
    ours = rates(plain(schedule="one-cycle"), range(steps + 1), 100)
    for step in range(1, 300):
        assert ours[step] <= torchs[step] <= ours[step + 1]
    for step in range(300, 1_000):
        assert ours[step] >= torchs[step] >= ours[step + 1] * (1 - 1e-6)
    assert [ours[0], ours[-1]] == pytest.approx([torchs[0], torchs[-1]], rel=1e-6)


@given(
    st.lists(st.sampled_from([0.5, 0.99995, 1.0, 1.00005, 1.5]) | st.floats(0.01, 10), max_size=40),
    st.integers(1, 4),
    st.integers(0, 4),
    st.sampled_from([0.1, 0.5, 0.9]),
)
def test_a_plateau_lowers_the_rate_when_torchs_would(
    losses: list[float], patience: int, cooldown: int, factor: float
) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with warnings.catch_warnings():
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimiser, factor=factor, patience=patience, cooldown=cooldown, eps=0
        )
    recipe = plain(epochs=50, schedule="plateau", patience=patience, cooldown=cooldown, factor=factor)
    for epoch in range(len(losses) + 1):
        expected = pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
        assert learning_rate(recipe, epoch, 1, losses[:epoch]) == expected
        if epoch < len(losses):
            schedule.step(losses[epoch])


def test_a_plateau_of_literal_losses() -> None:
    recipe = plain(schedule="plateau", patience=1, cooldown=2)
    losses = [3.0, 2.0, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6]  # falls after the 4th, rests for two, falls after the 8th
    found = [learning_rate(recipe, epoch, 1, losses[:epoch]) for epoch in range(10)]
    assert found == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_a_restart_begins_the_schedule_anew_at_its_own_rate_and_without_a_warm_up() -> None:
    recipe = plain(
        epochs=2, warmup_steps=1, schedule="cosine", restarts=2, restart_epochs=1, restart_rate=0.2, average_share=0.0
    )
    assert recipe.all_epochs == 4
    found = rates(recipe, [0, 1, 10, 19, 20, 25, 29, 30, 35], 10)
    assert found == pytest.approx([0.5, 0.993844, 0.5, 0.00615583, 0.2, 0.1, 0.00489435, 0.2, 0.1], rel=1e-5)


def test_a_restart_forgets_the_plateaus_before_it() -> None:
    recipe = plain(epochs=4, schedule="plateau", patience=1, restarts=1, restart_epochs=4, restart_rate=0.2)
    losses = [1.0, 1.0, 1.0, 1.0, 0.9, 0.9, 0.9]
    found = [learning_rate(recipe, epoch, 1, losses[:epoch]) for epoch in range(8)]
    assert found == pytest.approx([1, 1, 1, 0.1, 0.2, 0.2, 0.2, 0.02])


# Stopping


def test_a_training_gives_up_after_so_many_epochs_without_a_lower_loss() -> None:
    recipe = plain(stop_patience=2)
    assert [gives_up(recipe, [3.0, 2.0, 2.5, 2.0, 1.0][:count]) for count in range(6)] == [
        False,
        False,
        False,
        False,
        True,
        False,
    ]
    assert not gives_up(plain(), [1.0, *[2.0] * 50])


def test_the_best_epoch_is_the_first_of_the_lowest_losses() -> None:
    assert best_epoch([3.0, 1.0, 2.0, 1.0]) == 1
    assert best_epoch([]) == 0


# Named recipes


def test_search_and_final_take_smaller_steps_where_there_are_few_images_and_other_recipes_do_not() -> None:
    assert named_recipe("search", MANY_IMAGES) == RECIPES["search"].recipe == Recipe()
    assert named_recipe("search", 500) == recipe_for(500) == Recipe(3, 64, learning_rate=0.05, warmup_steps=10)
    assert named_recipe("final", 10_000) == RECIPES["final"].recipe
    assert named_recipe("final", 500) == changed(RECIPES["final"].recipe, {"batch_size": 32, "learning_rate": 0.1})
    assert named_recipe("s1", 500) == RECIPES["s1"].recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_named_recipe_says_its_meaning_and_is_never_longer_where_there_are_few_images(name: str) -> None:
    named = RECIPES[name]
    assert 0 < len(named.meaning) <= 80
    assert named.for_images(MANY_IMAGES) == named.recipe
    assert named.for_images(MANY_IMAGES - 1).all_epochs <= named.recipe.all_epochs


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_schedule_has_a_course(schedule: Schedule) -> None:
    extra: dict[str, dict[str, Any]] = {"multi-step": {"milestones": (0.5,)}, "plateau": {"patience": 1}}
    recipe = changed(Recipe(epochs=4, warmup_steps=0), {"schedule": schedule, **extra.get(schedule, {})})
    course = [learning_rate(recipe, step, 10, [1.0] * (step // 10)) for step in range(40)]
    assert all(0 <= rate <= recipe.learning_rate for rate in course)
    assert (len(set(course)) == 1) == (schedule == "constant")


@pytest.mark.parametrize("optimiser", get_args(Optimiser))
def test_every_optimiser_makes_steps(optimiser: Optimiser) -> None:
    split = Split(np.arange(16 * 64, dtype=np.uint8).reshape(16, 8, 8, 1), np.arange(16) % 2)
    data = DeviceData.of(SearchData("marked", split, split, ("a", "b"), "", ()), torch.device("cpu"), ())
    network = Layers((Flatten(), Linear(64, 2)))
    first, second = train(network, data, Recipe(epochs=2, batch_size=8, optimiser=optimiser, warmup_steps=0), seed=0)
    assert first.train_loss != second.train_loss


def test_a_file_changes_the_recipe_that_it_extends(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "s4"\nepochs = 2\nmilestones = [0.25]\naugmentation = []\n')
    assert named_recipe(str(file), 500) == changed(
        RECIPES["s4"].recipe, {"epochs": 2, "milestones": (0.25,), "augmentation": ()}
    )
    file.write_text("epochs = 7\n")
    assert named_recipe(str(file), 500) == Recipe(7, 64, learning_rate=0.05, warmup_steps=10)
    assert named_recipe(str(file), MANY_IMAGES) == Recipe(7)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epochs = ", "{file} is no TOML file: Invalid value (at end of document)"),
        ("epochs = 0", "{file}: epochs must be at least 1 but got 0"),
        ("epoch = 1", "{file}: a recipe has no 'epoch'; it has epochs, batch_size, optimiser, "),
        ("epochs = [3]", "{file}: epochs must be one value but got (3,)"),
        (
            "milestones = 0.5",
            "{file}: conflicting options: milestones go with schedule multi-step; got (0.5,) with constant",
        ),
        ('extends = "nothing"', f"{{file}}: no recipe is named 'nothing'; shipped are {', '.join(RECIPES)}; "),
        ('extends = "other.toml"', "{file}: extends must name a shipped recipe but is 'other.toml'"),
        ("extends = 3", "{file}: extends must name a shipped recipe but is 3"),
        (
            "[optimiser]\nname = 3",
            "{file}: optimiser must be of nesterov, sgd, adam, adamw, muon but got {{'name': 3}}",
        ),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(RecipeError) as caught:
        named_recipe(str(file), 500)
    assert str(caught.value).startswith(told.format(file=file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "nothing",
            f"no recipe is named 'nothing'; shipped are {', '.join(RECIPES)}; or give a .toml file",
        ),
        ("/nowhere/mine.toml", "/nowhere/mine.toml cannot be read: No such file or directory"),
    ],
)
def test_a_recipe_that_is_not_there_is_refused(name: str, told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        named_recipe(name, 500)
    assert str(caught.value) == told


# Changes


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": 0}, "epochs must be at least 1 but got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number but got 1.5"),
        ({"epochs": True}, "epochs must be a whole number but got True"),
        ({"epochs": None}, "epochs must be a whole number but got None"),
        ({"epochs": 10**400}, f"epochs must be a finite number but got 1{'0' * 79}"),
        ({"learning_rate": -0.1}, "learning_rate must be above 0 but got -0.1"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number but got nan"),
        ({"learning_rate": float("inf")}, "learning_rate must be a finite number but got inf"),
        ({"learning_rate": "fast"}, "learning_rate must be a number but got 'fast'"),
        ({"momentum": 1}, "momentum must be at least 0 and below 1 but got 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1 but got 1.0"),
        ({"optimiser": "lion"}, "optimiser must be of nesterov, sgd, adam, adamw, muon but got 'lion'"),
        (
            {"schedule": "linear"},
            "schedule must be of constant, multi-step, plateau, one-cycle, cosine but got 'linear'",
        ),
        (
            {"augmentation": ("blur",)},
            f"augmentation must be of {', '.join(AUGMENTATIONS)} but got 'blur'",
        ),
        ({"augmentation": ("flip", "flip")}, "conflicting options: augmentation names one twice: flip, flip"),
        ({"milestones": (0.5,)}, "conflicting options: milestones go with schedule multi-step; got (0.5,) with const"),
        ({"schedule": "multi-step"}, "conflicting options: milestones go with schedule multi-step; got () with multi-"),
        (
            {"schedule": "multi-step", "milestones": (0.5, 0.25)},
            "conflicting options: milestones must ascend but are (0.5, 0.25)",
        ),
        (
            {"schedule": "multi-step", "milestones": (0.0,)},
            "milestones must be above 0 and at most 1 but got 0.0",
        ),
        (
            {"schedule": "plateau"},
            "conflicting options: patience (1 or more) goes with schedule plateau; got 0 with plateau",
        ),
        ({"cooldown": 2}, "conflicting options: cooldown goes with schedule plateau; got 2 with constant"),
        (
            {"schedule": "cosine", "stop_patience": 3},
            "conflicting options: stop_patience would cut the annealing of schedule cosine; set it to 0",
        ),
        (
            {"restarts": 1},
            "conflicting options: restarts, restart_epochs and restart_rate go together; got 1, 0 and 0",
        ),
        (
            {"stop_patience": 1, "restarts": 1, "restart_epochs": 1, "restart_rate": 0.1},
            "conflicting options: stop_patience and restarts: a training that has stopped does not go on; set one of "
            "them to 0",
        ),
        ({"rate": 1}, "a recipe has no 'rate'; it has epochs, batch_size, optimiser, learning_rate, momentum, "),
    ],
)
def test_nonsense_is_refused_in_one_line(changes: dict[str, Any], told: str) -> None:
    refused = refusal(Recipe(), changes)
    assert refused.startswith(told)
    assert "\n" not in refused


def test_changes_are_written_as_on_the_command_line() -> None:
    changes = parse_changes(
        ["epochs=3", "learning_rate=1e-3", "optimiser=adam", "augmentation=crop,flip", "milestones=0.5,0.75"]
    )
    assert changes == {
        "epochs": 3,
        "learning_rate": 0.001,
        "optimiser": "adam",
        "augmentation": ("crop", "flip"),
        "milestones": (0.5, 0.75),
    }
    assert parse_changes(["augmentation=none", "milestones=none"]) == {"augmentation": (), "milestones": ()}
    assert parse_changes(["augmentation=auto"]) == {"augmentation": None}


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("epochs", "changes of a recipe must be NAME=VALUE but got 'epochs'"),
        ("epochs=", "changes of a recipe must be NAME=VALUE but got 'epochs='"),
        ("epochs=1.5", "epochs must be a whole number but got '1.5'"),
        ("learning_rate=fast", "learning_rate must be a number but got 'fast'"),
        ("milestones=0.5,half", "milestones must be a number but got '0.5,half'"),
        ("rate=1", "a recipe has no 'rate'; it has epochs, "),
    ],
)
def test_changes_that_cannot_be_read_are_refused(assignment: str, told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_changes([assignment])
    assert str(caught.value).startswith(told)


def test_a_value_that_is_changed_twice_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_changes(["epochs=1", "dropout=0.1", "epochs=2"])
    assert str(caught.value) == "epochs is changed twice; give it one value"


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Any recipe, every option drawn."""
    schedule: Schedule = draw(st.sampled_from(get_args(Schedule)))
    share = st.floats(0, 1, exclude_max=True)
    some = st.integers(1, 10**6)
    stop = schedule in ("constant", "multi-step", "plateau") and draw(st.booleans())
    restarts = not stop and draw(st.booleans())
    shares = st.lists(st.floats(0, 1, exclude_min=True), min_size=1, max_size=4, unique=True)
    augmentation = st.none() | st.lists(st.sampled_from(list(AUGMENTATIONS)), unique=True).map(tuple)
    return Recipe(
        epochs=draw(some),
        batch_size=draw(some),
        optimiser=draw(st.sampled_from(get_args(Optimiser))),
        learning_rate=draw(st.floats(0, 1e300, exclude_min=True)),
        momentum=draw(share),
        weight_decay=draw(st.floats(0, 1e300)),
        schedule=schedule,
        warmup_steps=draw(st.integers(0, 10**6)),
        milestones=tuple(sorted(draw(shares))) if schedule == "multi-step" else (),
        factor=draw(st.floats(0, 1, exclude_min=True)),
        patience=draw(some) if schedule == "plateau" else 0,
        cooldown=draw(st.integers(0, 9)) if schedule == "plateau" else 0,
        average_share=draw(st.floats(0, 1)),
        label_smoothing=draw(share),
        dropout=draw(share),
        augmentation=draw(augmentation),
        mixup=draw(st.floats(0, 1e300)),
        cutmix=draw(st.floats(0, 1e300)),
        stop_patience=draw(some) if stop else 0,
        restarts=draw(st.integers(1, 20)) if restarts else 0,
        restart_epochs=draw(some) if restarts else 0,
        restart_rate=draw(st.floats(0, 1e300, exclude_min=True)) if restarts else 0.0,
        input_size=draw(st.integers(0, 1024)),
    )


@given(recipes())
def test_a_recipe_is_stored_as_json_and_read_again(recipe: Recipe) -> None:
    assert changed(Recipe(), json.loads(json.dumps(recipe_values(recipe)))) == recipe


def written(value: Any) -> str:
    if value is None:
        return "auto"
    return (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


@given(recipes())
def test_a_recipe_is_written_as_changes_and_read_again(recipe: Recipe) -> None:
    assignments = [f"{option.name}={written(getattr(recipe, option.name))}" for option in fields(Recipe)]
    assert changed(Recipe(), parse_changes(assignments)) == recipe


@given(recipes())
def test_every_rate_of_every_recipe_lies_between_nothing_and_its_highest(recipe: Recipe) -> None:
    highest = max(recipe.learning_rate, recipe.restart_rate)
    losses = [1.0] * recipe.epochs if recipe.epochs < 100 else []
    last = recipe.all_epochs * 10 - 1
    assert all(0 <= learning_rate(recipe, step, 10, losses) <= highest * (1 + 1e-9) for step in (0, last // 2, last))
