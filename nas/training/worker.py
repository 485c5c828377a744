"""Trains and tests one network in its folder, and the process that does so with one folder after another.

python -m nas.training.worker DEVICE THREADS      several.py starts it and gives it folders
"""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from nas.data.augment import DeviceData, DeviceSplit
from nas.data.load import SearchData, Split, load_test
from nas.errors import (
    EXIT_DONE,
    EXIT_MACHINE,
    EXIT_NO_ANSWER,
    EXIT_WRONG_USE,
    DataError,
    RunError,
    UserError,
    is_of_the_machine,
    told_of_the_machine,
)
from nas.machine.checkpoint import write_tensors
from nas.machine.folders import WorkFolder, insist
from nas.machine.process import listen, report, say_to
from nas.space.named import from_stored, size
from nas.training.distillation.teaching import is_layer_tree, taught
from nas.training.epoch import Epoch, validation_losses
from nas.training.steps.evaluate import evaluate, first_batch
from nas.training.steps.schedule import best_epoch
from nas.training.train import DivergenceError, build, train, trained_weights
from nas.training.training import (
    Metrics,
    Training,
    augmentation_of,
    input_shape,
    is_finished,
    load_data,
    log_file,
    metrics_file,
    network_of,
    read_metrics,
    read_weights,
    state_file,
    training_folder,
    weights_file,
    write_metrics,
)


def run_training(
    folder: WorkFolder[Training],
    device: torch.device,
    on_epoch: Callable[[Metrics], None] = lambda metrics: None,
    load: Callable[[Training], SearchData] = load_data,
    pulse: Callable[[int, int], None] = lambda epoch, step: None,
) -> Metrics:
    """Trains what the folder's settings say, from where it was left, and keeps its metrics up to date. `pulse(epoch,
    step)` is called before every step.

    Raises RunError while another process trains there, DataError if the data set has changed, DivergenceError.
    """
    training = folder.read()
    with folder.lock("training", wait=False) as held:
        if not held:
            raise RunError(f"another process is training in {folder.path}; wait for it or give --out another folder")
        if is_finished(folder):
            return read_metrics(folder)
        return _train(folder, training, load(training), device, on_epoch, pulse)


def _train(
    folder: WorkFolder[Training],
    training: Training,
    data: SearchData,
    device: torch.device,
    on_epoch: Callable[[Metrics], None],
    pulse: Callable[[int, int], None],
) -> Metrics:
    recipe = training.recipe
    on_device = DeviceData.of(data, device, augmentation_of(recipe, data))
    parameters, macs = size(from_stored(training.network), input_shape(recipe, data), data.classes)
    epochs: list[Epoch] = []
    tested = _tests_so_far(folder)

    def metrics(finished: bool) -> Metrics:
        kept = epochs[best_epoch(validation_losses(epochs)) if recipe.stop_patience else -1]
        accuracy, loss = kept.validation_accuracy, kept.validation_loss
        known = {"teacher": training.teacher, **tested}
        return Metrics(training.model, parameters, macs, tuple(epochs), finished, accuracy, loss, **known)

    network = network_of(training, data)
    teacher = taught(training.teacher, data, device) if training.teacher else None
    records = training.teacher is None or is_layer_tree(training.teacher)
    state = state_file(folder)
    epochs_of = train(
        network,
        on_device,
        recipe,
        seed=training.seed,
        teacher=teacher,
        records=records,
        checkpoint=state,
        pulse=pulse,
    )
    for epoch in epochs_of:
        epochs.append(epoch)
        write_metrics(folder, metrics(finished=False))
        on_epoch(metrics(finished=False))
    write_tensors(weights_file(folder), trained_weights(state))
    write_metrics(folder, metrics(finished=True))
    return metrics(finished=True)


def _tests_so_far(folder: WorkFolder[Training]) -> dict[str, Any]:
    """What is known of the test split where weights were lost: how often it was read, and, if the state is there to
    make the same weights of, what was measured."""
    if not metrics_file(folder).exists():
        return {}
    earlier = read_metrics(folder)
    if not state_file(folder).exists():
        return {"test_reads": earlier.test_reads}
    return {name: getattr(earlier, name) for name in ("test_accuracy", "test_loss", "test_reads")}


def run_test(folder: WorkFolder[Training], device: torch.device, test: Split | None = None) -> Metrics:
    """Accuracy and loss on the test split, which is read once: what was measured is kept and returned ever after.
    `test` is the split where the caller has read it, for many trainings at once.

    Raises RunError for a training that has not finished.
    """
    with ExitStack() as held:
        insist(lambda: held.enter_context(folder.lock("training", wait=True)))
        done = read_metrics(folder)
        if done.test_accuracy is not None:
            return done
        if not done.finished:
            raise RunError(f"the training in {folder.path} has not finished; repeat its command first")
        return _test(folder, folder.read(), done, device, test)


def _test(
    folder: WorkFolder[Training], training: Training, done: Metrics, device: torch.device, test: Split | None
) -> Metrics:
    """The reading is noted before the network is judged: one that is cut off counts, and the split is read a second
    time. What memory is needed for that shows before, when training images are judged."""
    data = load_data(training)
    module = build(network_of(training, data), training.recipe.dropout)
    module.load_state_dict(read_weights(folder, module.state_dict()))
    on_device, size_of_input = DeviceData.of(data, device, ()), training.recipe.input_size
    module = module.to(device)
    evaluate(module, on_device, first_batch(on_device.train), size_of_input)
    split = DeviceSplit.of(read_test(training, data) if test is None else test, device)
    read = replace(done, test_reads=done.test_reads + 1)
    insist(lambda: write_metrics(folder, read))
    loss, accuracy = evaluate(module, on_device, split, size_of_input)
    tested = replace(read, test_accuracy=accuracy, test_loss=loss)
    insist(lambda: write_metrics(folder, tested))
    return tested


def read_test(training: Training, data: SearchData) -> Split:
    """The test split. Raises DataError if its classes are not those of the training split."""
    test, class_names = load_test(training.dataset, image_size=training.image_size)
    if class_names != data.class_names:
        raise DataError(f"the test split of {training.dataset} has other classes than its training split")
    return test


class DataOnce:
    """Loads the data of a training, or returns those of the last if they are the same."""

    def __init__(self) -> None:
        self._last: tuple[Training, SearchData] | None = None

    def __call__(self, training: Training) -> SearchData:
        """As `load_data`."""
        if self._last is None or not _on_same_data(training, self._last[0]):
            self._last = None  # before others are loaded: there may be no room for both
            self._last = training, load_data(training)
        return self._last[1]


def _on_same_data(one: Training, other: Training) -> bool:
    """Whether two trainings differ in their networks, recipes and teachers at most."""
    return replace(one, model=other.model, network=other.network, recipe=other.recipe, teacher=other.teacher) == other


def _attempt(folder: WorkFolder[Training], device: torch.device, load: Callable[[Training], SearchData]) -> int:
    """The exit code of one training: 1 if it diverged, 2 if it cannot be done, 3 if the machine gave out, each with one
    line on stderr."""
    try:
        run_training(folder, device, load=load)
    except (UserError, DivergenceError) as error:
        print(error, file=sys.stderr)
        return EXIT_WRONG_USE if isinstance(error, UserError) else EXIT_NO_ANSWER
    except Exception as error:
        if not is_of_the_machine(error):
            raise
        print(told_of_the_machine(error), file=sys.stderr)
        return EXIT_MACHINE
    return EXIT_DONE


def main() -> None:
    """Trains the folders that the parent names, one after another, and tells it the exit code of each. Other errors
    end the process, which is then replaced."""
    device, threads = torch.device(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    given, load = listen(), DataOnce()
    while True:
        folder = training_folder(json.loads(given.get()))
        say_to(log_file(folder))
        code = _attempt(folder, device, load)
        if device.type == "cuda":
            torch.cuda.empty_cache()  # for others on the same GPU
        report(code)


if __name__ == "__main__":
    main()
