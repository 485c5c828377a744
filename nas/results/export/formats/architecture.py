"""The network and all that is known of it as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

from nas.network.deployment.memory import peak_activation
from nas.network.folds import macs, parameters
from nas.network.serial import fingerprint, to_json
from nas.results.export.formats import Contents, Format

SCHEMA_VERSION = 1


def _write(contents: Contents, folder: Path) -> None:
    network, shape = contents.network, contents.shape
    architecture = {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": fingerprint(network, shape),
        "parameters": parameters(network),
        "macs": macs(network, shape),
        "peak_activation": peak_activation(network, shape),
        "shape": list(shape),
        **asdict(contents.card),
        "deployed": [asdict(program) for program in contents.deployed],
        "versions": contents.versions,
        "network": to_json(network),
    }
    text = json.dumps(architecture, indent=1, ensure_ascii=False)
    (folder / "architecture.json").write_text(text + "\n", encoding="utf-8")


FORMAT = Format(
    title="JSON",
    meaning="layer tree, preprocessing, class names, accuracies, how it came to be",
    files=("architecture.json",),
    write=_write,
    last=True,
)
