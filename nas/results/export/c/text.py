"""Constants as C99 writes them."""

import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np

WIDTH = 120
"""Columns of a line."""


def floating(value: float | np.floating[Any]) -> str:
    """A float, exactly.

    >>> floating(0.1), floating(2)
    ('0.100000001f', '2.0f')
    """
    written = f"{np.float32(value):.9g}"
    return f"{written}f" if set(written) & set(".e") else f"{written}.0f"


def quoted(name: str) -> str:
    """A string literal of the UTF-8 of a name; bytes beyond plain ASCII as they are numbered."""
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in _bytes(name))
    return f'"{"".join(plain)}"'


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def array(kind: str, name: str, values: Iterable[float]) -> str:
    """A constant array."""
    written = (floating(value) if kind == "float" else str(int(value)) for value in values)
    indent = 4 * " "
    lines = textwrap.fill(", ".join(written), WIDTH, initial_indent=indent, subsequent_indent=indent)
    return f"static const {kind} {name}[] = {{\n{lines},\n}};"


def struct(kind: str, name: str, fields: dict[str, object]) -> str:
    """A constant struct."""
    told = ", ".join(f".{field} = {value}" for field, value in fields.items())
    return textwrap.fill(f"static const {kind} {name} = {{{told}}};", WIDTH, subsequent_indent=4 * " ")
