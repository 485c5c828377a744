"""Networks trained by what they are called: one (`nas train`), and what tables of several share."""

import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from nas.data.load import SearchData, check_apart, load_search_data, placed
from nas.errors import UserError
from nas.machine.folders import WorkFolder, slug
from nas.machine.options import text, words
from nas.machine.process import pick_device
from nas.results.networks import find_network, is_stored, stored_data
from nas.results.options import TrainingOptions, TrainOptions
from nas.results.words import about
from nas.space.named import is_known, to_stored
from nas.training.distillation.teaching import teacher_in
from nas.training.recipe import Recipe, check_teaching, recipe_values
from nas.training.recipes import named_recipe
from nas.training.several import train_all
from nas.training.training import (
    Metrics,
    Training,
    check,
    input_shape,
    load_data,
    metrics_file,
    read_metrics,
    training_folder,
)
from nas.training.worker import read_test, run_test

Asked = TypeVar("Asked", bound=TrainingOptions)
OnEpoch = Callable[[str, Metrics, int], None]
"""Told of an epoch: what is trained, what it came to so far, the epochs of the whole training."""


class Clock:
    """How long trainings side by side will take yet, by the epochs that were trained since it was made."""

    def __init__(self, epochs: Mapping[Path, int]) -> None:
        """`epochs` of each training, by its folder."""
        begun = [folder for folder in map(training_folder, epochs) if metrics_file(folder).exists()]
        self._done = {folder.path: len(read_metrics(folder).epochs) for folder in begun}
        self._before, self._all = sum(self._done.values()), sum(epochs.values())
        self._began = time.monotonic()

    def left(self, folder: WorkFolder[Training], metrics: Metrics) -> str:
        """In words, now that a training has come so far: "about 4 min left"; nothing where nothing is."""
        self._done[folder.path] = len(metrics.epochs)
        done = sum(self._done.values())
        waiting, new = self._all - done, done - self._before
        seconds = (time.monotonic() - self._began) / max(new, 1) * waiting
        return f"{about(seconds)} left" if waiting > 0 else ""


@dataclass(frozen=True)
class Trained:
    """A training that has ended: its folder and what it came to, or the reason for which it failed."""

    folder: Path
    metrics: Metrics | None
    failure: str | None = None


def train(asked: TrainOptions, on_epoch: OnEpoch | None = None) -> Trained:
    """Trains one network with a recipe, in a process of its own, and keeps settings, curve, metrics and weights in a
    folder, from where the same call goes on; other settings are refused there. With `test` the test split is read in
    the end, once.

    Raises UserError for what cannot be done, before anything is trained.
    """
    folder, training = _begun(asked)

    def show(_: WorkFolder[Training], metrics: Metrics) -> None:
        if on_epoch:
            on_epoch(training.model, metrics, training.recipe.all_epochs)

    failure = train_all([folder], workers=1, device=asked.device, on_epoch=show).get(folder.path)
    if failure and failure.is_wrong_use:
        raise UserError(failure.reason)
    if failure:
        return Trained(folder.path, None, failure.reason)
    if asked.test:
        test([folder], asked.device)
    return Trained(folder.path, read_metrics(folder))


def _begun(asked: TrainOptions) -> tuple[WorkFolder[Training], Training]:
    """The folder of the training, its settings written, and what they are."""
    asked = with_data(asked, [asked.model])
    data = load(asked, asked.seed, all_images=asked.all_images)
    recipe = asked.decided(len(data.train.images))
    training = decided(
        asked, asked.model, asked.knobs, recipe, data, asked.seed, select=asked.select, all_images=asked.all_images
    )
    name = slug(f"{data.name}-{training.model}-{Path(asked.recipe).stem}-seed{asked.seed}")
    folder = training_folder(asked.out or Path("trained") / name)
    check_apart(folder.path, training.dataset, "--out")
    folder.enter(training)
    return folder, training


def with_data(asked: Asked, models: Iterable[str]) -> Asked:
    """The options with, where no data set is asked for, that of the search that found the networks, if one did. Raises
    UserError where they were found on several."""
    if asked.dataset:
        return asked
    found = {stored_data(Path(model)) for model in models if is_stored(model)}
    if len(found) > 1:
        raise UserError("these networks were found on different data sets or splits; say which to use: --dataset")
    for dataset, image_size, share in found:
        return replace(
            asked,
            dataset=dataset,
            image_size=image_size if asked.image_size is None else asked.image_size,
            validation_share=share if asked.validation_share is None else asked.validation_share,
        )
    return asked


def load(asked: TrainingOptions, seed: int, *, all_images: bool = False) -> SearchData:
    """The training and the validation split that are asked for, the latter empty with `all_images`."""
    if asked.dataset is None:
        raise UserError("give dataset=…: a name like 'digits', a .npz file, or a folder of images a class")
    return load_search_data(
        asked.dataset,
        seed=seed,
        validation_share=asked.validation_share,
        image_size=asked.image_size,
        images=asked.images,
        all_images=all_images,
    )


def decided(
    asked: TrainingOptions,
    model: str,
    knobs: Sequence[str],
    recipe: Recipe,
    data: SearchData,
    seed: int,
    *,
    select: str | None = None,
    all_images: bool = False,
) -> Training:
    """The settings of one training, checked as far as can be without training."""
    assert asked.dataset is not None
    named = find_network(
        model,
        knobs,
        select=select,
        shape=input_shape(recipe, data),
        classes=data.classes,
        pretrained=asked.pretrained,
    )
    training = Training(
        model=named.label,
        network=to_stored(named.network),
        dataset=placed(asked.dataset),
        data_checksum=data.checksum,
        image_size=asked.image_size,
        validation_share=asked.validation_share,
        images=asked.images,
        recipe=recipe,
        seed=seed,
        all_images=all_images,
    )
    check(training, data)
    check_teaching(recipe, is_taught=asked.teacher is not None)
    if asked.teacher is None:
        return training
    return replace(training, teacher=teacher_in(Path(str(asked.teacher)), training))


def test(folders: Sequence[WorkFolder[Training]], device: str) -> None:
    """Reads the test split once, for all trainings that were not tested before."""
    waiting = [folder for folder in folders if read_metrics(folder).test_accuracy is None]
    if waiting:
        training = waiting[0].read()
        split = read_test(training, load_data(training))
    for folder in waiting:
        run_test(folder, pick_device(device, 0), split)


def training_command(training: Training, images: int) -> str:
    """The command of a training on that many images, every setting written out. Where the settings do not tell, it has
    RUN for the run folder of a network that a search found, NETWORK for a network of one's own space."""
    model, *knobs = training.words
    select = None
    if model == "found":
        model, knobs, select = "RUN", [], knobs[0]
    elif not is_known(model):
        model, knobs = "NETWORK", []
    asked = TrainOptions(
        model,
        knobs,
        select=select,
        dataset=training.dataset,
        image_size=training.image_size,
        validation_share=training.validation_share,
        images=training.images,
        seed=training.seed,
        recipe="search",
        changes=recipe_changes(named_recipe("search", images), training.recipe),
        teacher=training.teacher.folder if training.teacher else None,
        all_images=training.all_images,
    )
    return shlex.join(["nas", "train", *words(asked)])


def recipe_changes(base: Recipe, recipe: Recipe) -> tuple[str, ...]:
    """What `--set` takes to make of the base the recipe."""
    before, after = recipe_values(base), recipe_values(recipe)
    changed = {name: value for name, value in after.items() if value != before[name]}
    return tuple(f"{name}={text(value)}" for name, value in changed.items())
