"""Wrong content made from right content: text, JSON values, bytes and flags changed at random places."""

import random
import re
import string
from typing import Any

EXTREMES = [
    "0",
    "-1",
    "1e308",
    "-1e-320",
    "nan",
    "inf",
    "99999999999999999999",
    "0x10",
    "1_0",
    ".5",
    "1e3",
    "None",
    "''",
]
"""Numbers as nobody means them."""

WORDS = [
    "",
    " ",
    "../../outside",
    "/etc/passwd",
    "a/b",
    "..",
    "\x00",
    "\ud800",
    "é☃🙂",
    "<script>alert(1)</script>",
    "'\";DROP TABLE trials;--",
    "x" * 5000,
    "__import__('os').system('touch executed')",
    "%s%n",
    "[red]",
    "\n\n",
    "-",
    "--",
    "none",
    "auto",
]
"""Text as nobody means it."""

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]],
    [{}],
    *WORDS,
]
"""JSON values of every kind."""


def text(rng: random.Random, original: str, changes: int = 2) -> str:
    """The text with so many changes."""
    for _ in range(rng.randint(1, changes)):
        original = rng.choice([_cut, _double, _other_number, _other_word, _junk, _end])(rng, original)
    return original


def _span(rng: random.Random, original: str) -> tuple[int, int]:
    start = rng.randrange(len(original) + 1)
    return start, min(len(original), start + rng.choice([1, 3, 10, 60]))


def _cut(rng: random.Random, original: str) -> str:
    start, end = _span(rng, original)
    return original[:start] + original[end:]


def _double(rng: random.Random, original: str) -> str:
    start, end = _span(rng, original)
    return original[:end] + original[start:end] + original[end:]


def _other_number(rng: random.Random, original: str) -> str:
    return _in_place_of(rng, r"\d+(?:\.\d+)?", original, rng.choice(EXTREMES))


def _other_word(rng: random.Random, original: str) -> str:
    words = re.findall(r"[A-Za-z_]+", original)
    return _in_place_of(rng, r"[A-Za-z_]+", original, rng.choice([*words, *WORDS]))


def _in_place_of(rng: random.Random, pattern: str, original: str, new: str) -> str:
    places = list(re.finditer(pattern, original))
    if not places:
        return original + new
    place = rng.choice(places)
    return original[: place.start()] + new + original[place.end() :]


def _junk(rng: random.Random, original: str) -> str:
    start, _ = _span(rng, original)
    return original[:start] + "".join(rng.choices(string.printable + "é☃\x00", k=rng.randint(1, 8))) + original[start:]


def _end(rng: random.Random, original: str) -> str:
    return original[: rng.randrange(len(original) + 1)]


def value(rng: random.Random, original: Any) -> Any:
    """The JSON value with one node changed, dropped, added or moved."""
    if rng.random() < 0.15 or not isinstance(original, dict | list) or not original:
        return rng.choice(VALUES)
    copy: Any = dict(original) if isinstance(original, dict) else list(original)
    key = rng.choice(list(copy)) if isinstance(copy, dict) else rng.randrange(len(copy))
    kind = rng.random()
    if kind < 0.75:
        copy[key] = value(rng, copy[key])
    elif kind < 0.85:
        del copy[key]
    elif isinstance(copy, dict):
        copy[rng.choice(WORDS)] = rng.choice([copy[key], *VALUES])
    else:
        copy.insert(key, rng.choice([copy[key], *VALUES]))
    return copy


def content(rng: random.Random, original: bytes) -> bytes:
    """The bytes with some of them turned over, lost, doubled or cut off."""
    changed = bytearray(original)
    kind = rng.randrange(5)
    start = rng.randrange(len(changed) + 1)
    if kind == 0:
        return bytes(changed[:start])
    if kind == 1:
        for _ in range(rng.choice([1, 4, 40])):
            if changed:
                changed[rng.randrange(len(changed))] = rng.randrange(256)
    elif kind == 2:
        del changed[start : start + rng.choice([1, 16, 512])]
    elif kind == 3:
        changed[start:start] = rng.randbytes(rng.choice([1, 16, 512]))
    else:
        changed[start : start + 64] = bytes(64)
    return bytes(changed)


def lines(rng: random.Random, original: bytes) -> bytes:
    """The lines in another order, doubled, cut, mixed into each other or with a value changed."""
    rows = original.splitlines(keepends=True)
    kind = rng.randrange(5)
    place = rng.randrange(len(rows))
    if kind == 0:
        rng.shuffle(rows)
    elif kind == 1:
        rows[place:place] = rng.choices(rows, k=rng.choice([1, 5]))
    elif kind == 2:
        del rows[place : place + rng.choice([1, 3, 20])]
    elif kind == 3:
        rows[place] = text(rng, rows[place].decode()).encode("utf-8", "surrogatepass")
    else:
        return content(rng, original)
    return b"".join(rows)
