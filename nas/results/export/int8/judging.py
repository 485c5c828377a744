"""What a finished training loses in int8: judged once, and kept in its folder.

int8.json    accuracies in fp32 and in int8 on the validation split and on the test split, by onnxruntime
"""

import json
from typing import Any, TypedDict

from nas.data.load import Split
from nas.errors import RunError, in_one_line
from nas.machine.folders import WorkFolder, write_atomically
from nas.network.layers import with_dropout
from nas.results.export.int8.graph import float_graph
from nas.results.export.int8.network import quantised_network
from nas.results.export.int8.operations import CannotQuantiseError
from nas.results.export.measuring import accuracy, preprocessing_of, sample_of, session
from nas.results.options import OPSET
from nas.space.named import Torchvision, from_stored
from nas.stored import Positive, Share, StoredError, stored
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


def judge_in_int8(folder: WorkFolder[Training], test: Split) -> None:
    """Quantises the network of a finished training and judges it on its validation split and on the test split, which
    the caller has read; what was judged before stays."""
    if (folder.path / "int8.json").exists():
        return
    training = folder.read()
    network, data = from_stored(training.network), load_data(training)
    assert not isinstance(network, Torchvision)
    preprocessing = preprocessing_of(data, training.recipe.input_size)
    result: dict[str, Any] = {"validation": None, "test": None, "failure": None}
    try:
        layers = with_dropout(network, training.recipe.dropout)
        found = quantised_network(layers, read_weights(folder), preprocessing, sample_of(data), OPSET)
    except CannotQuantiseError as error:
        result["failure"] = str(error)
    else:
        plain = float_graph(found.operations, found.shapes, OPSET)
        fp32, int8 = (session(model.SerializeToString()) for model in (plain, found.model))
        for name, split in (("validation", data.validation), ("test", test)):
            if images := len(split.labels):
                shares = {"fp32": accuracy(fp32, split, preprocessing), "int8": accuracy(int8, split, preprocessing)}
                result[name] = {**shares, "images": images}
    write_atomically(folder.path / "int8.json", json.dumps(result, indent=1) + "\n")


def read_int8(folder: WorkFolder[Training]) -> dict[str, Any] | None:
    """What was judged, None where nothing was. Raises RunError for a file that is damaged."""
    file = folder.path / "int8.json"
    try:
        found: dict[str, Any] = stored(json.loads(file.read_text()), Int8, "int8.json")
    except FileNotFoundError:
        return None
    except (ValueError, StoredError) as error:
        raise RunError(f"{file} is damaged: {in_one_line(error):.200}; delete it, and confirm again") from error
    return found
