"""A teacher found in the folder of its training, and the scores that it gives."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nas.data.load import SearchData
from nas.errors import RunError, UserError
from nas.machine.folders import WorkFolder
from nas.network.layers import Layer
from nas.space.named import from_stored
from nas.training.distillation.teacher import Teacher
from nas.training.steps.evaluate import autocast, resized
from nas.training.train import build
from nas.training.training import (
    Training,
    is_finished,
    network_of,
    read_metrics,
    read_weights,
    training_folder,
    weights_file,
)


def teacher_in(path: Path, training: Training) -> Teacher:
    """The teacher of the training: the network trained in the folder. Raises UserError for a folder that is no finished
    training on the same images."""
    folder = training_folder(path)
    if not folder.settings.exists():
        raise UserError(f"the teacher {path} is no folder of a training; train one: nas train MODEL --out {path}")
    own = folder.read()
    if not is_finished(folder):
        raise UserError(f"the training of the teacher in {path} has not finished; repeat its command first")
    if own.data_checksum != training.data_checksum or own.image_size != training.image_size:
        raise UserError(f"the teacher in {path} was trained on {own.dataset}, not on these images; train another")
    metrics = read_metrics(folder)
    is_same_split = not own.all_images and (own.seed, own.validation_share) == (
        training.seed,
        training.validation_share,
    )
    knows = not training.all_images and (not is_same_split or (own.teacher is not None and own.teacher.knows))
    return Teacher(
        str(path.resolve()), own.model, metrics.parameters, metrics.macs, _checksum(weights_file(folder)), knows
    )


def taught(teacher: Teacher, data: SearchData, device: torch.device) -> Callable[[Tensor], Tensor]:
    """What the teacher says of images [N, C, H, W], normalised as its pupil's: scores [N, classes]. Raises RunError if
    its weights are no longer those that the pupil's training began with."""
    folder = folder_of(teacher)
    training = folder.read()
    module = build(network_of(training, data), training.recipe.dropout)
    module.load_state_dict(read_weights(folder, module.state_dict()))
    module = module.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)

    def scores(images: Tensor) -> Tensor:
        with torch.no_grad(), autocast(images.device):
            told: Tensor = module(resized(images, training.recipe.input_size))
        return told.float()

    return scores


def folder_of(teacher: Teacher) -> WorkFolder[Training]:
    """The folder of the teacher's training. Raises RunError if its weights are no longer those that the pupil's
    training began with."""
    if not is_unchanged(teacher):
        raise RunError(f"the teacher in {teacher.folder} is not the one that this training began with; restore it")
    return training_folder(Path(teacher.folder))


def is_unchanged(teacher: Teacher) -> bool:
    """Whether its weights are those that the pupil's training began with."""
    weights = weights_file(training_folder(Path(teacher.folder)))
    return weights.exists() and _checksum(weights) == teacher.checksum


def is_layer_tree(teacher: Teacher) -> bool:
    """Whether the teacher's network is a layer tree, which looks at no values on the host."""
    return isinstance(from_stored(training_folder(Path(teacher.folder)).read().network), Layer)


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
