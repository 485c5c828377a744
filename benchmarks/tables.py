"""A table of evaluated networks as a search space: a strategy is judged in seconds instead of days of training."""

import csv
import gzip
import itertools
import math
import statistics
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from nas.network.folds import Cost
from nas.space.space import Knob, Knobs, Value

Key = tuple[Value, ...]


class TableError(Exception):
    """The file cannot stand in for training; the message says why in one line."""


@dataclass(frozen=True)
class Row:
    """One network. Accuracies are fractions."""

    parameters: int
    observed: float
    final: float


@dataclass(frozen=True)
class Table:
    """What a strategy searches (`nas.space.space.Searchable`); knobs without a row are no network."""

    knobs: tuple[Knob, ...]
    rows: Mapping[Key, Row]

    def row(self, knobs: Knobs) -> Row | None:
        """The network of the settings."""
        return self.rows.get(tuple(knobs[knob.name] for knob in self.knobs))

    def cost(self, knobs: Knobs) -> Cost | None:
        """Its parameters; a table knows no multiply-adds."""
        row = self.row(knobs)
        return None if row is None else Cost(row.parameters, 0)

    def identity(self, knobs: Knobs) -> str:
        """Each row is a network of its own."""
        return repr(tuple(knobs[knob.name] for knob in self.knobs))

    def settled(self, knobs: Knobs) -> dict[str, Value]:
        """The same: every knob counts."""
        return dict(knobs)

    def features(self, knobs: Knobs) -> tuple[float, ...]:
        """The logarithm (base 2) of its parameters."""
        cost = self.cost(knobs)
        return (math.log2(1 + cost.parameters) if cost else 0.0,)

    def beginning_at(self, start: Mapping[str, str]) -> Self:
        """The same with other defaults, written as in the file. Raises TableError for what is no option of a knob."""
        options = {knob.name: {str(option): i for i, option in enumerate(knob.options)} for knob in self.knobs}
        for name, text in start.items():
            if text not in options.get(name, ()):
                what = f"one of {', '.join(options[name])}" if name in options else f"no knob; {', '.join(options)} are"
                raise TableError(f"--start {name}={text}: {name} is {what}")
        places = {name: options[name][text] for name, text in start.items()}
        return replace(self, knobs=tuple(replace(k, start=places.get(k.name, k.start)) for k in self.knobs))


def read_table(
    path: Path,
    knobs: tuple[str, ...],
    parameters: str,
    observe: str,
    final: tuple[str, ...],
    ordered: tuple[str, ...] = (),
) -> Table:
    """The table in a CSV file (.gz too). The final accuracy is the mean of the `final` columns.

    Accuracies are percent if their median is above 1. Every knob is a choice, also one of whole numbers (tables code
    operations as numbers), save those in `ordered`, which must be numbers. Raises TableError for missing columns, cells
    that are no numbers, repeated networks and tables without a row.
    """
    records = _read(path, (*knobs, parameters, observe, *final))
    columns = {name: _values([record[name] for record in records]) for name in knobs}
    counts = [_whole(path, line, parameters, record[parameters]) for line, record in enumerate(records, 2)]
    accuracies = {
        name: [number(path, line, name, record[name]) for line, record in enumerate(records, 2)]
        for name in dict.fromkeys((observe, *final))
    }
    unit = 100 if statistics.median(itertools.chain(*accuracies.values())) > 1 else 1
    rows: dict[Key, Row] = {}
    for index, key in enumerate(zip(*columns.values(), strict=True)):
        if key in rows:
            raise TableError(
                f"{path}, line {index + 2}: the network {dict(zip(knobs, key, strict=True))} is there twice"
            )
        ends = statistics.fmean(accuracies[name][index] / unit for name in final)
        rows[key] = Row(counts[index], accuracies[observe][index] / unit, ends)
    return Table(tuple(_knob(path, name, columns[name], ordered=name in ordered) for name in knobs), rows)


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names and rows of a CSV file (.gz too). Raises TableError if it cannot be read."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise TableError(f"{path} cannot be read: {error}") from error
    reader = csv.DictReader(text.splitlines())
    return list(reader.fieldnames or ()), list(reader)


def _read(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    header, records = read_rows(path)
    if missing := [name for name in columns if name not in header]:
        raise TableError(f"{path} has no column {missing[0]!r}; it has {', '.join(header)}")
    if not records:
        raise TableError(f"{path} has no row below its header")
    return records


def number(path: Path, line: int, column: str, text: str) -> float:
    """A cell as a finite number. Raises TableError for any other."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise TableError(f"{path}, line {line}: {column} must be a number but is {text!r}")
    return value


def _whole(path: Path, line: int, column: str, text: str) -> int:
    value = number(path, line, column, text)
    if value < 0 or value != int(value):
        raise TableError(f"{path}, line {line}: {column} must be a whole number but is {text!r}")
    return int(value)


def _values(texts: list[str]) -> list[Value]:
    """The column as whole numbers if every cell is one."""
    try:
        return [int(text) for text in texts]
    except ValueError:
        return list(texts)


def _knob(path: Path, name: str, column: list[Value], *, ordered: bool) -> Knob:
    options = tuple(sorted(set(column), key=lambda value: (str(type(value)), value)))
    if ordered and not all(isinstance(option, int) and option >= 0 for option in options):
        raise TableError(f"{path}: column {name!r} cannot be ordered, for it has cells that are no whole numbers")
    return Knob(name, options, "ordered" if ordered and len(options) > 1 else "choice")
