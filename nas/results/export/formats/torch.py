"""The network as plain torch source, and its weights as safetensors."""

import runpy
from pathlib import Path

from nas.network.modules.module import to_module
from nas.results.export.difference import difference
from nas.results.export.formats import Contents, Format


def _write(contents: Contents, folder: Path) -> None:
    """Writes both files and compares what they compute with nas's own module."""
    from safetensors.torch import save

    model, weights = folder / "model.py", folder / "weights.safetensors"
    model.write_text(contents.source, encoding="utf-8")
    stored = save({name: value.contiguous().clone() for name, value in contents.weights.items()})
    weights.write_bytes(stored)  # the package's own file is for its owner's eyes only
    own = to_module(contents.network)
    own.load_state_dict(contents.weights)
    written = runpy.run_path(str(model))["load"](weights)
    difference(own.eval(), written, contents.shape, model.name)


FORMAT = Format(
    title="torch",
    meaning="the network as plain torch source, and its weights",
    files=("model.py", "weights.safetensors"),
    write=_write,
    packages=("safetensors",),
)
