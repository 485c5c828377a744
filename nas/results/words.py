"""Values in words, the same in tables, pages and cards."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from nas.network.folds import Row
from nas.network.layers import Layer

if TYPE_CHECKING:
    from nas.errors import Refusal
    from nas.search.records import Record

BARS = "▁▂▃▄▅▆▇█"


def with_spread(
    mean: float | None, deviation: float | None, digits: int = 2, *, scale: float = 100, unit: str = ""
) -> str:
    """A mean with its standard deviation, if that is known; "" where there is no mean. Shares are told in per cent,
    other values with a `scale` of 1.

    >>> with_spread(0.5, 0.01, unit="%")
    '50.00% ± 1.00'
    """
    if mean is None:
        return ""
    return f"{scale * mean:.{digits}f}{unit}" + ("" if deviation is None else f" ± {scale * deviation:.{digits}f}")


def mean_text(summary: Mapping[str, Any] | None, unit: str = "") -> str:
    """Mean and deviation of accuracies over seeds, as confirmed.json has them; "" where nothing was measured."""
    return with_spread(summary["mean"], summary["deviation"], unit=unit) if summary else ""


def interval_text(
    low: float | None, high: float | None, digits: int = 2, *, scale: float = 100, unit: str = "", between: str = " to "
) -> str:
    """The ends of an interval; "" where it is not known. Shares are told in per cent, other values with a `scale` of 1.

    >>> interval_text(0.48, 0.52, unit="%")
    '48.00% to 52.00%'
    """
    if low is None or high is None:
        return ""
    return between.join(f"{scale * end:.{digits}f}{unit}" for end in (low, high))


def cell(value: Any) -> str:
    """A value in a table: whole numbers with commas, nothing for None, text as it is.

    >>> cell(1200), cell(None), cell("12 %")
    ('1,200', '', '12 %')
    """
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def counted(number: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "epoch"), counted(1200, "epoch")
    ('1 epoch', '1,200 epochs')
    """
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def sparkline(values: Sequence[float]) -> str:
    """The values as a row of bars between the smallest and the largest.

    >>> sparkline([0.1, 0.2, 0.4])
    '▁▃█'
    """
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0
    return "".join(BARS[int((value - low) * scale)] for value in values)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as people write them.

    >>> duration(3725)
    '1h 02m'
    """
    seconds = int(seconds)
    if seconds >= 3600:
        return f"{seconds // 3600}h {seconds % 3600 // 60:02d}m"
    return f"{seconds // 60}m {seconds % 60:02d}s" if seconds >= 60 else f"{seconds}s"


def about(seconds: float) -> str:
    """A time that is only known roughly, in two figures at most.

    >>> about(4), about(84), about(750), about(5000)
    ('about 5 s', 'about 1 min 20 s', 'about 13 min', 'about 1 h 25 min')
    """
    seconds = max(seconds, 1.0)
    if seconds >= 36_000:
        return f"about {seconds / 3600:.0f} h"
    if seconds >= 3570:
        hours, minutes = divmod(5 * round(seconds / 300), 60)
        return f"about {hours} h {minutes} min" if minutes else f"about {hours} h"
    if seconds >= 295:
        return f"about {seconds / 60:.0f} min"
    step = 10 if seconds > 55 else 5
    minutes, rest = divmod(step * math.ceil(seconds / step), 60)
    return "about " + " ".join(f"{n} {unit}" for n, unit in ((minutes, "min"), (rest, "s")) if n)


def _stages(record: "Record") -> list[str]:
    return sorted(name[5:] for name in record.knobs if name.startswith("width") and name[5:].isdigit())


def legend(records: Iterable["Record"]) -> str:
    """How `describe` tells the networks, in words; nothing where it tells the knobs as they are."""
    return "kind, width × blocks of each stage" if any(map(_stages, records)) else ""


def short(fingerprint: str) -> str:
    """Its beginning, by which people tell networks apart."""
    return fingerprint[:6]


def describe(record: "Record") -> str:
    """The knobs that matter most, in a few words: the kinds of block and widths, or all knobs of a small space."""
    knobs, stages = record.knobs, _stages(record)
    if not stages:
        return " ".join(f"{name}={value}" for name, value in knobs.items())
    stages = [s for s in stages if knobs.get("blocks" + s, 1)]
    parts = [f"{knobs.get('kind' + s, '')} {knobs['width' + s]}×{knobs.get('blocks' + s, 1)}".strip() for s in stages]
    return " · ".join(parts)


def named(record: "Record") -> str:
    """A network in a few words, and what tells it apart from others of which these are true."""
    return f"{describe(record)} ({short(record.network)})"


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


def layer_cells(row: Row) -> tuple[str, str, str, int, int]:
    """Where a layer of a network lies, what it is, output shape, parameters, multiply-adds."""
    return " / ".join(row.path), layer_text(row.layer), "×".join(map(str, row.output)), row.parameters, row.macs


def times(reads: int) -> str:
    """How often the test split was read, in words."""
    return "once" if reads == 1 else f"{reads} times"


def verdict_lines(confirmed: Mapping[str, Any]) -> list[str]:
    """What a confirmed.json says against the default, a line a budget."""
    labels = {entry["network"]: entry["label"] for entry in confirmed.get("networks", [])}
    lines = []
    for each in confirmed.get("verdicts", []):
        who = f" ({labels.get(each['winner'], each['winner'])})" if each["winner"] else ""
        lines.append(f"within {each['budget']:,}{who}: {each['words']}")
    return lines


def refusal_lines(refusals: Sequence["Refusal"], *, of: int | None = None) -> list[str]:
    """Settings that a space refused, a line a reason; `of` is how many were drawn."""
    drawn = f" of {of:,} drawn" if of else ""
    return [
        f"skipped {counted(each.settings, 'setting')}{drawn} of which the space's network() made none: {each.reason} "
        f"(the first: {each.first})"
        for each in refusals
    ]
