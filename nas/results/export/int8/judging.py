"""What a finished training loses in int8: judged once, and kept in its folder.

int8.json    accuracies in fp32 and in int8 on the validation split and on the test split, by onnxruntime
"""

import json
from collections.abc import Callable
from typing import Any, TypedDict

from nas.data.load import Split
from nas.errors import RunError, in_one_line
from nas.machine.folders import WorkFolder, insist, write_atomically
from nas.network.layers import with_dropout
from nas.network.modules.module import to_module
from nas.results.export.int8.graph import float_graph
from nas.results.export.int8.network import quantised_network
from nas.results.export.int8.operations import CannotQuantiseError
from nas.results.export.measuring import accuracy, preprocessing_of, sample_of, session
from nas.results.options import OPSET
from nas.space.named import Torchvision, from_stored
from nas.stored import Positive, Share, StoredError, parsed, stored
from nas.training.training import Training, load_data, read_weights


class Compared(TypedDict):
    """Accuracies on so many images of a split."""

    fp32: Share
    int8: Share
    images: Positive


class Int8(TypedDict):
    """Those on each split, None of an empty one; and why there are none where the network could not be quantised."""

    validation: Compared | None
    test: Compared | None
    failure: str | None


def int8_judge(folder: WorkFolder[Training]) -> Callable[[Split], None]:
    """Quantises the network of a finished training, judges it on its validation split, and returns what judges it on
    the test split and keeps both; nothing is done where that was done before."""
    if (folder.path / "int8.json").exists():
        return lambda test: None
    training = folder.read()
    network, data = from_stored(training.network), load_data(training)
    assert not isinstance(network, Torchvision)
    preprocessing = preprocessing_of(data, training.recipe.input_size)
    layers = with_dropout(network, training.recipe.dropout)
    weights = read_weights(folder, to_module(layers).state_dict())
    try:
        found = quantised_network(layers, weights, preprocessing, sample_of(data), OPSET)
    except CannotQuantiseError as error:
        failure = Int8(validation=None, test=None, failure=str(error))
        return lambda test: _keep(folder, failure)
    plain = float_graph(found.operations, found.shapes, OPSET)
    fp32, int8 = (session(model.SerializeToString()) for model in (plain, found.model))

    def judged(split: Split) -> Compared | None:
        plainly, whole = accuracy(fp32, split, preprocessing), accuracy(int8, split, preprocessing)
        if plainly is None or whole is None:  # an empty split
            return None
        return Compared(fp32=plainly, int8=whole, images=len(split.labels))

    validation = judged(data.validation)
    return lambda test: _keep(folder, Int8(validation=validation, test=judged(test), failure=None))


def _keep(folder: WorkFolder[Training], found: Int8) -> None:
    insist(lambda: write_atomically(folder.path / "int8.json", json.dumps(found, indent=1) + "\n"))


def read_int8(folder: WorkFolder[Training]) -> dict[str, Any] | None:
    """What was judged, None where nothing was. Raises RunError for a file that is damaged."""
    file = folder.path / "int8.json"
    try:
        found: dict[str, Any] = stored(parsed(file.read_text()), Int8, "int8.json")
    except FileNotFoundError:
        return None
    except (ValueError, StoredError) as error:
        raise RunError(f"{file} is damaged: {in_one_line(error):.200}; delete it, and confirm again") from error
    return found
