"""Histories as JSON and back, exactly: what a judge gets from a bundle equals what it got in the run. Pure.

JSON's own values stand for themselves and an array for a tuple, because histories are frozen; whatever else there is
carries its kind under a key that begins with `$`. A dataclass is its fields beside `"$type": "module:Name"`. Reading
imports nothing: a type must be one of the suite's, and known already.
"""

from __future__ import annotations

import base64
import dataclasses
import math
import sys
from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import Any

from reports.errors import MeshproofError, UsageProblem

__all__ = ["NotKept", "decode", "encode"]

_ROOMS = ("conformance", "fixtures", "reports")
"""Top-level packages whose types a bundle may name."""


class NotKept(MeshproofError):
    """A history holds a value that has no form in JSON; the sentence says where."""


def encode(value: object, where: str = "history") -> Any:
    """A history as strict JSON. Raises `NotKept` naming the place of a value that has no such form."""
    if isinstance(value, Enum):
        return {"$enum": _name(type(value), where), "value": encode(value.value, where)}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(str(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in dataclasses.fields(value) if one.init]
        return _typed(value, names, where)
    if isinstance(value, tuple):
        fields = getattr(value, "_fields", None)
        return _typed(value, fields, where) if fields else _items(value, where)
    if isinstance(value, list):
        return {"$list": _items(value, where)}
    if isinstance(value, set | frozenset):
        return {"$frozenset": sorted(_items(list(value), where), key=repr)}
    if isinstance(value, Mapping):
        return _mapping(value, where)
    raise NotKept(f"{where} is a {type(value).__name__}, which a bundle cannot keep")


def _text(value: str) -> Any:
    """A text as itself; one with lone surrogates, which has no UTF-8 form, by its code units."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return {"$text": base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()}
    return value


def _name(kind: type, where: str) -> str:
    name = f"{kind.__module__}:{kind.__qualname__}"
    if _known(name) is not kind:
        raise NotKept(f"{where} is a {name}, which is not a type of the suite that can be found by name")
    return name


def _typed(value: object, names: Any, where: str) -> dict[str, Any]:
    fields = {name: encode(getattr(value, name), f"{where}.{name}") for name in names}
    return {"$type": _name(type(value), where), **fields}


def _items(values: Any, where: str) -> list[Any]:
    return [encode(item, f"{where}[{position}]") for position, item in enumerate(values)]


def _mapping(value: Mapping[Any, Any], where: str) -> dict[str, Any]:
    plain = all(isinstance(key, str) and not key.startswith("$") and _text(key) == key for key in value)
    if isinstance(value, Counter) or not plain:
        kind = "$counter" if isinstance(value, Counter) else "$pairs"
        return {kind: [[encode(key, f"{where} key"), encode(item, f"{where}[{key!r}]")] for key, item in value.items()]}
    return {key: encode(item, f"{where}.{key}") for key, item in value.items()}


def decode(document: Any, where: str = "history") -> Any:
    """The inverse of `encode`. Raises `UsageProblem` naming the place that keeps no form of it."""
    if isinstance(document, list):
        return tuple(decode(item, f"{where}[{position}]") for position, item in enumerate(document))
    if not isinstance(document, dict):
        return document
    kind = next((key for key in document if isinstance(key, str) and key.startswith("$")), "")
    if not kind:
        return {key: decode(item, f"{where}.{key}") for key, item in document.items()}
    try:
        return _special(kind, document, where)
    except UsageProblem:
        raise
    except (TypeError, ValueError, KeyError) as error:
        raise UsageProblem(f"{where} is no {kind} that this version of the suite can read: {error}") from error


def _special(kind: str, document: dict[str, Any], where: str) -> Any:
    inner = document[kind]
    if kind == "$type":
        fields = {key: decode(item, f"{where}.{key}") for key, item in document.items() if key != "$type"}
        return _type(inner, where)(**fields)
    if kind == "$enum":
        return _type(inner, where)(decode(document["value"], where))
    if kind == "$float":
        return float(inner)
    if kind == "$bytes":
        return base64.b64decode(inner, validate=True)
    if kind == "$text":
        return base64.b64decode(inner, validate=True).decode("utf-8", "surrogatepass")
    if kind == "$list":
        return list(decode(inner, where))
    if kind == "$frozenset":
        return frozenset(decode(inner, where))
    if kind == "$pairs":
        return {decode(key, where): decode(item, where) for key, item in inner}
    if kind == "$counter":
        return Counter({decode(key, where): decode(item, where) for key, item in inner})
    raise UsageProblem(f"{where} is marked {kind}, which this version of the suite does not know")


def _known(name: str) -> type | None:
    """The type that a name stands for; None where it is not one of the suite's or not loaded."""
    module, _, path = name.partition(":")
    if module.partition(".")[0] not in _ROOMS:
        return None
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None


def _type(name: Any, where: str) -> type:
    found = _known(name) if isinstance(name, str) else None
    if found is None or not (dataclasses.is_dataclass(found) or issubclass(found, Enum | tuple)):
        raise UsageProblem(f"{where} is a {name!r}, which this version of the suite does not know")
    return found
