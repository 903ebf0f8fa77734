"""The pieces that the schemas of CustomResourceDefinitions are made of (OpenAPI v3, as the API server takes it)."""

from __future__ import annotations

from typing import Any

__all__ = ["BOOLEAN", "INTEGER", "NUMBER", "STRING", "Schema", "array", "mapping"]

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}


def mapping(**properties: Schema) -> Schema:
    """An object with these fields, and any others."""
    # What refmesh does not know it refuses by name, which it cannot do if the API server has dropped it.
    known = {"properties": properties} if properties else {}
    return {"type": "object", **known, "x-kubernetes-preserve-unknown-fields": True}


def array(item: Schema, most: int | None = None) -> Schema:
    """A list, of at most so many."""
    return {"type": "array", "items": item, **({} if most is None else {"maxItems": most})}
