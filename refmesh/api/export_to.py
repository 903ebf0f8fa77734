"""`exportTo`: whose clients an object speaks to, wherever it is."""

from __future__ import annotations

import re

from refmesh.api.fields import Field, Invalid

__all__ = ["ANNOTATION", "EVERYWHERE", "exported", "exported_by"]

ANNOTATION = "networking.istio.io/exportTo"
"""What a Service has instead of a field, its words parted by commas."""

EVERYWHERE: frozenset[str] = frozenset()
"""Every namespace."""
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MOST = 32
"""Every namespace that is named has a configuration of its own made for it."""


def exported(field: Field, namespace: str) -> frozenset[str]:
    """The namespaces that are named, the object's own for `.`; `EVERYWHERE` for `*` or nothing. Raises `Invalid`."""
    found = []
    for item in field.each():
        name = item.text()
        if name not in {"*", "."} and not _NAMESPACE.fullmatch(name):
            raise Invalid(item.path, f"must be `*`, `.` or the name of a namespace, not {name!r}")
        found.append(namespace if name == "." else name)
    if len(set(found)) > _MOST:
        raise Invalid(field.path, f"must not name more than {_MOST} namespaces; use `*` for all of them")
    return EVERYWHERE if "*" in found else frozenset(found)


def exported_by(annotation: str, namespace: str) -> frozenset[str]:
    """The same of a Service's annotation, which nobody has validated: a word like `~` names no namespace."""
    found = {namespace if word == "." else word for item in annotation.split(",") if (word := item.strip())}
    return EVERYWHERE if "*" in found else frozenset(found)
