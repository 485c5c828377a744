"""What quantisation-aware fine-tuning wins back: a network of the digits, one channel of whose first norm is multiplied
and what reads it divided by a factor. In fp32 it computes the same, in int8 the other channels are left fewer levels.
Prints accuracies on the validation split as JSON."""

import json
import tempfile
from pathlib import Path

from torch import Tensor

import nas
from nas.results.export.exportable import exportables
from nas.results.export.int8.finetuning import finetuned_network

FACTORS = (30, 100, 300)

EPOCHS = 3


def main() -> None:
    """Trains, stretches, quantises."""
    with tempfile.TemporaryDirectory() as folder:
        nas.train("plain", ["width1=12"], dataset="digits", epochs=5, device="cpu", out=Path(folder) / "plain")
        found = exportables(Path(folder) / "plain")[""]
    told = {}
    for factor in FACTORS:
        weights = stretched(found.weights, factor)
        quantised = finetuned_network(found.network, weights, found.card, found.sample, 20, EPOCHS)
        told[factor] = quantised.note
    print(json.dumps({"fp32": found.card.measured[0].values[0], "epochs": EPOCHS, "factors": told}, indent=1))


def stretched(weights: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    """The weights with the channel of the largest shift stretched."""
    weights = {name: value.clone() for name, value in weights.items()}
    norm = next(name for name in weights if name.endswith("running_mean")).removesuffix("running_mean")
    behind = [name for name, value in weights.items() if value.ndim == 4][1]
    channel = int(weights[f"{norm}bias"].abs().argmax())
    for name in ("weight", "bias"):
        weights[f"{norm}{name}"][channel] *= factor
    weights[behind][:, channel] /= factor
    return weights


if __name__ == "__main__":
    main()
