"""Values in words, the same in tables, reports and cards."""

from dataclasses import fields

from nas.network.layers import Layer
from nas.search.records import Record


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as people write them.

    >>> duration(3725)
    '1h 02m'
    """
    seconds = int(seconds)
    if seconds >= 3600:
        return f"{seconds // 3600}h {seconds % 3600 // 60:02d}m"
    return f"{seconds // 60}m {seconds % 60:02d}s" if seconds >= 60 else f"{seconds}s"


def describe(record: Record) -> str:
    """The knobs that matter most, in a few words: the kinds of block and widths, or all knobs of a small space."""
    knobs = record.knobs
    stages = sorted(name[5:] for name in knobs if name.startswith("width") and name[5:].isdigit())
    if not stages:
        return " ".join(f"{name}={value}" for name, value in knobs.items())
    parts = [f"{knobs.get('kind' + s, '')} {knobs['width' + s]}×{knobs.get('blocks' + s, 1)}".strip() for s in stages]
    return " · ".join(parts)


def layer_text(layer: Layer) -> str:
    """A layer in one cell.

    >>> layer_text(Conv(8, 8, 3, stride=2, groups=8))
    'Conv 8→8 3×3 stride 2 groups 8'
    """
    values = {f.name: getattr(layer, f.name) for f in fields(layer)}
    words = [type(layer).__name__]
    if "inputs" in values:
        words.append(f"{values.pop('inputs')}→{values.pop('outputs')}")
    if "kernel" in values:
        words.append("{0}×{0}".format(values.pop("kernel")))
    defaults = {f.name: f.default for f in fields(layer)} | {"padding": values.get("padding"), "bias": False}
    for name, value in values.items():
        if value is True or isinstance(value, str):
            words.append(name if value is True else value)
        elif value != defaults[name]:
            words.append(f"{name} {value}")
    return " ".join(words)


def times(reads: int) -> str:
    """How often the test split was read, in words."""
    return "once" if reads == 1 else f"{reads} times"
