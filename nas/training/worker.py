"""The process that trains one network in its folder.

python -m nas.training.worker DIR DEVICE THREADS      trains what the settings say; several.py starts it
"""

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from nas.data.augment import DeviceData, DeviceSplit
from nas.data.load import SearchData, Split, load_test
from nas.errors import EXIT_NO_ANSWER, EXIT_WRONG_USE, DataError, RunError, UserError
from nas.machine.folders import WorkFolder
from nas.machine.process import end_with_parent
from nas.space.named import from_stored, size
from nas.training.schedule import best_epoch
from nas.training.train import DivergenceError, Epoch, build, evaluate, train, trained_weights
from nas.training.training import (
    Metrics,
    Training,
    augmentation_of,
    input_shape,
    is_finished,
    load_data,
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
) -> Metrics:
    """Trains what the folder's settings say, from where it was left, and keeps its metrics up to date.

    Raises RunError while another process trains there, DataError if the data set has changed, DivergenceError.
    """
    training = folder.read()
    with folder.lock("training", wait=False) as held:
        if not held:
            raise RunError(f"another process is training in {folder.path}; wait for it or give --out another folder")
        if is_finished(folder):
            return read_metrics(folder)
        return _train(folder, training, load_data(training), device, on_epoch)


def _train(
    folder: WorkFolder[Training],
    training: Training,
    data: SearchData,
    device: torch.device,
    on_epoch: Callable[[Metrics], None],
) -> Metrics:
    recipe = training.recipe
    on_device = DeviceData.of(data, device, augmentation_of(recipe, data))
    parameters, macs = size(from_stored(training.network), input_shape(recipe, data), data.classes)
    epochs: list[Epoch] = []
    tested = _tests_so_far(folder)

    def metrics(finished: bool) -> Metrics:
        losses = [epoch.validation_loss for epoch in epochs]
        kept = epochs[best_epoch(losses) if recipe.stop_patience else -1]
        accuracy, loss = kept.validation_accuracy, kept.validation_loss
        return Metrics(training.model, parameters, macs, tuple(epochs), finished, accuracy, loss, **tested)

    network = network_of(training, data)
    for epoch in train(network, on_device, recipe, seed=training.seed, checkpoint=state_file(folder)):
        epochs.append(epoch)
        write_metrics(folder, metrics(finished=False))
        on_epoch(metrics(finished=False))
    weights = weights_file(folder)
    partial = weights.with_suffix(".partial")
    torch.save(trained_weights(state_file(folder)), partial)
    os.replace(partial, weights)
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
    with folder.lock("training", wait=True):
        done = read_metrics(folder)
        if done.test_accuracy is not None:
            return done
        if not done.finished:
            raise RunError(f"the training in {folder.path} has not finished; repeat its command first")
        return _test(folder, folder.read(), done, device, test)


def _test(
    folder: WorkFolder[Training], training: Training, done: Metrics, device: torch.device, test: Split | None
) -> Metrics:
    """The reading is noted before the network is judged: one that is cut off counts."""
    data = load_data(training)
    module = build(network_of(training, data), training.recipe.dropout)
    module.load_state_dict(read_weights(folder))
    on_device = DeviceData.of(data, device, ())
    if test is None:
        test = read_test(training, data)
    read = replace(done, test_reads=done.test_reads + 1)
    write_metrics(folder, read)
    split = DeviceSplit.of(test, device)
    loss, accuracy = evaluate(module.to(device), on_device, split, training.recipe.input_size)
    tested = replace(read, test_accuracy=accuracy, test_loss=loss)
    write_metrics(folder, tested)
    return tested


def read_test(training: Training, data: SearchData) -> Split:
    """The test split. Raises DataError if its classes are not those of the training split."""
    test, class_names = load_test(training.dataset, image_size=training.image_size)
    if class_names != data.class_names:
        raise DataError(f"the test split of {training.dataset} has other classes than its training split")
    return test


def main() -> int:
    """Trains one folder. Exit code 1 if the training diverged, 2 if it cannot be done, each with one line on stderr."""
    path, device, threads = sys.argv[1:]
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(int(threads))
    try:
        run_training(training_folder(path), torch.device(device))
    except (UserError, DivergenceError) as error:
        print(error, file=sys.stderr)
        return EXIT_WRONG_USE if isinstance(error, UserError) else EXIT_NO_ANSWER
    return 0


if __name__ == "__main__":
    sys.exit(main())
