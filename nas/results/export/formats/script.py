"""The script predict.py."""

import shutil
from pathlib import Path

from nas.results.export.formats import Contents, Format


def _write(contents: Contents, folder: Path) -> None:
    shutil.copyfile(Path(__file__).parents[1] / "predict.py", folder / "predict.py")


FORMAT = Format(
    title="script",
    meaning="an image file in, the likeliest classes out, by torch or onnxruntime",
    files=("predict.py",),
    write=_write,
)
