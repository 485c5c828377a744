"""Layer trees as JSON, both ways, and the fingerprint by which identical networks are known."""

import hashlib
import json
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from nas.errors import UserError
from nas.network.layers import KINDS, Function, Layer, Sequence, Shape, Statistic

_CHOICES = {Function: get_args(Function), Statistic: get_args(Statistic)}


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
    return to_json(value) if type(value) in KINDS.values() else value


def from_json(tree: Any) -> Layer:
    """The layer tree written by `to_json`. Raises LayerJSONError naming the first thing that is wrong."""
    found = tree.get("layer") if isinstance(tree, dict) else tree
    if not isinstance(tree, dict) or not isinstance(found, str) or found not in KINDS:
        raise LayerJSONError(f"a layer must be one of {', '.join(KINDS)}, but the JSON has {found!r:.80}")
    kind = KINDS[tree["layer"]]
    hints = get_type_hints(kind)
    names = [f.name for f in fields(kind)]
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
        return tuple(from_json(inner) for inner in value)
    if hint == Layer:
        return from_json(value)
    if hint in _CHOICES:
        valid = value in _CHOICES[hint]
    elif hint is float:
        valid = type(value) in (int, float) and 0 <= value < 1
    elif hint is int:
        valid = type(value) is int and value >= (0 if name in ("padding", "first") else 1)
    else:
        valid = type(value) is hint
    if not valid:
        wanted = "one of " + ", ".join(_CHOICES[hint]) if hint in _CHOICES else getattr(hint, "__name__", hint)
        raise LayerJSONError(f"{tree['layer']}.{name} must be {wanted}, but the JSON has {value!r:.80}")
    return value


def fingerprint(layer: Layer, shape: Shape) -> str:
    """16 hex digits equal for two networks exactly if their trees (names aside) and input shapes are equal."""
    text = json.dumps([_nameless(to_json(layer)), list(shape)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _nameless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _nameless(v) for k, v in value.items() if not (k == "name" and value["layer"] == Sequence.__name__)}
    return [_nameless(inner) for inner in value] if isinstance(value, list) else value
