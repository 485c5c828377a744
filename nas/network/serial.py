"""Layer trees as JSON, both ways, and the fingerprint by which identical networks are known."""

import hashlib
import json
from dataclasses import fields
from typing import Any

from nas.errors import UserError
from nas.machine.options import plain
from nas.network.checked import MOST_NESTED, field_types, wanted_instead
from nas.network.layers import KINDS, Layer, Sequence, Shape
from nas.network.remembered import Remembered


class LayerJSONError(UserError):
    """JSON that is not a layer tree."""


def to_json(layer: Layer) -> dict[str, Any]:
    """The tree as JSON values: `{"layer": "Conv", "inputs": 3, …}`, every field written out.

    >>> to_json(Activation("silu"))
    {'layer': 'Activation', 'function': 'silu'}
    """
    return {"layer": type(layer).__name__} | {f.name: _value_to_json(getattr(layer, f.name)) for f in fields(layer)}


def _value_to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [to_json(inner) for inner in value]
    return to_json(value) if type(value) in KINDS.values() else plain(value)


def from_json(tree: Any) -> Layer:
    """The layer tree written by `to_json`. Raises LayerJSONError naming the first thing that is wrong."""
    try:
        return _layer_from_json(tree)
    except RecursionError:
        raise LayerJSONError(f"more than {MOST_NESTED} layers lie one in another") from None


def _layer_from_json(tree: Any) -> Layer:
    found = tree.get("layer") if isinstance(tree, dict) else tree
    if not isinstance(tree, dict) or not isinstance(found, str) or found not in KINDS:
        raise LayerJSONError(f"a layer must be one of {', '.join(KINDS)}, but the JSON has {found!r:.80}")
    kind = KINDS[tree["layer"]]
    hints = field_types(kind)
    names = list(hints)
    if unknown := set(tree) - set(names) - {"layer"}:
        raise LayerJSONError(f"{tree['layer']} has no field {sorted(unknown)[0]!r}; it has {', '.join(names)}")
    values = {name: _value_from_json(tree, name, hints[name]) for name in names if name in tree}
    try:
        return kind(**values)
    except TypeError as error:
        raise LayerJSONError(f"{tree['layer']} in the JSON is incomplete: {error}") from error


def _value_from_json(tree: dict[str, Any], name: str, hint: Any) -> Any:
    value = tree[name]
    if hint == tuple[Layer, ...]:
        if not isinstance(value, list):
            raise LayerJSONError(f"{tree['layer']}.{name} must be a list, but the JSON has {value!r:.80}")
        return tuple(_layer_from_json(inner) for inner in value)
    if hint == Layer:
        return _layer_from_json(value)
    if wanted := wanted_instead(name, hint, value):
        raise LayerJSONError(f"{tree['layer']}.{name} must be {wanted}, but the JSON has {value!r:.80}")
    return value


def fingerprint(layer: Layer, shape: Shape) -> str:
    """16 hex digits equal for two networks exactly if their trees (names aside) and input shapes are equal."""
    text = f"[{_nameless(layer)},{json.dumps(list(shape), separators=(',', ':'))}]"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _nameless(layer: Layer) -> str:
    """The JSON text of the tree without the names of sequences, its keys sorted."""
    values = {f.name: getattr(layer, f.name) for f in fields(layer)} | {"layer": type(layer).__name__}
    if isinstance(layer, Sequence):
        del values["name"]
    return "{" + ",".join(f'"{name}":{_nameless_value(values[name])}' for name in sorted(values)) + "}"


def _nameless_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(_TEXTS.of(inner, _nameless) for inner in value)}]"
    return _TEXTS.of(value, _nameless) if type(value) in KINDS.values() else json.dumps(plain(value))


_TEXTS = Remembered[str]()
