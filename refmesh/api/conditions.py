"""What an AuthorizationPolicy can ask of a request, attribute by attribute, and how values are written.

Texts match as in Istio: `x` exactly, `x*` by prefix, `*x` by suffix, `*` wherever the attribute is there at all.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from refmesh.api.fields import Field, Invalid

__all__ = ["Attribute", "Condition", "read_condition", "read_group"]

_TEMPLATE = re.compile(r"\{[^{}]*\}")
_KEYED = re.compile(r"(request\.headers|request\.auth\.claims)((?:\[[^\[\]]+\])+)")
_HEADER = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+|:(?:authority|method|path|scheme)")


class Attribute(Enum):
    """What is looked at. The value says whether it exists only where requests do."""

    PRINCIPAL = ("source.principal", False)
    NAMESPACE = ("source.namespace", False)
    SOURCE_IP = ("source.ip", False)
    REMOTE_IP = ("remote.ip", False)
    REQUEST_PRINCIPAL = ("request.auth.principal", True)
    AUDIENCE = ("request.auth.audiences", True)
    PRESENTER = ("request.auth.presenter", True)
    CLAIM = ("request.auth.claims", True)
    HEADER = ("request.headers", True)
    HOST = ("hosts", True)
    METHOD = ("methods", True)
    PATH = ("paths", True)
    PORT = ("destination.port", False)
    DESTINATION_IP = ("destination.ip", False)
    SNI = ("connection.sni", False)

    @property
    def http_only(self) -> bool:
        """Whether bytes on a connection cannot be asked for it."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds if the attribute matches one of `any_of` (or there are none) and none of `none_of`."""

    attribute: Attribute
    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """The header's name, or the path into the claims."""


_BY_WORD = {
    attribute.value[0]: attribute
    for attribute in Attribute
    if attribute not in {Attribute.HEADER, Attribute.CLAIM, Attribute.HOST, Attribute.METHOD, Attribute.PATH}
}


def read_group(item: Field, known: Mapping[str, Attribute]) -> tuple[Condition, ...]:
    """A source or an operation: `name` and `notName` lists of each attribute. Raises `Invalid`."""
    negated = {name: f"not{name[0].upper()}{name[1:]}" for name in known}
    item.only(*known, *negated.values())
    found = []
    for name, attribute in known.items():
        any_of, none_of = (_values(item.get(key), attribute) for key in (name, negated[name]))
        if any_of or none_of:
            found.append(Condition(attribute, any_of, none_of))
    if not found:
        raise Invalid(item.path, "must have at least one field; leave out the list to match everything")
    return tuple(found)


def read_condition(item: Field) -> Condition:
    """An entry of `when`. Raises `Invalid`."""
    item.only("key", "values", "notValues")
    attribute, keys = _key(item.get("key"))
    any_of, none_of = (_values(item.get(key), attribute) for key in ("values", "notValues"))
    if not any_of and not none_of:
        raise Invalid(item.path, "needs values or notValues")
    return Condition(attribute, any_of, none_of, keys)


def _key(field: Field) -> tuple[Attribute, tuple[str, ...]]:
    text = field.text()
    if (attribute := _BY_WORD.get(text)) is not None:
        return attribute, ()
    match = _KEYED.fullmatch(text)
    if match is None:
        words = ", ".join([*sorted(_BY_WORD), "request.headers[NAME]", "request.auth.claims[NAME]"])
        raise Invalid(field.path, f"must be one of {words}, not {text!r}")
    keys = tuple(match[2][1:-1].split("]["))
    if match[1] == "request.auth.claims":
        return Attribute.CLAIM, keys
    if len(keys) != 1 or not _HEADER.fullmatch(keys[0]):
        raise Invalid(field.path, f"does not name a header: {match[2]}")
    return Attribute.HEADER, (keys[0].lower(),)


def _values(field: Field, attribute: Attribute) -> tuple[str, ...]:
    items = field.each()
    if field.present and not items:
        raise Invalid(field.path, "must not be an empty list")
    check = _CHECKS.get(attribute)
    for item in items:
        problem = check(item.text()) if check is not None else ""
        if item.text() and problem:
            raise Invalid(item.path, problem)
    return tuple(item.text() for item in items)


def _block(text: str) -> str:
    try:
        if "%" in text:  # Python takes any text for a zone after it, and Envoy none
            raise ValueError
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return f"must be an IP address or a CIDR block such as 10.1.0.0/16, not {text!r}"
    return ""


def _port(text: str) -> str:
    good = text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535
    return "" if good else f"must be a port number in quotes, not {text!r}"


def _path(text: str) -> str:
    if not text.startswith(("/", "*")):
        return f"must start with / or *, not {text!r}: no request would match"
    if "?" in text or "#" in text:
        return "must be a path without a query: what follows ? is not compared"
    if any(part not in {"{*}", "{**}"} for part in _TEMPLATE.findall(text)) or text.count("{") != text.count("}"):
        return "may use braces only as {*} (one segment) and {**} (any number of segments)"
    if "{" in text and "*" in _TEMPLATE.sub("", text):
        return "cannot mix {*} or {**} with *"
    return _stars(text) if "{" not in text else ""


def _stars(text: str) -> str:
    inside = text[1:-1] if text != "*" else ""
    return (
        "may have one * only, at its start or its end"
        if "*" in inside or (len(text) > 1 and text[0] == text[-1] == "*")
        else ""
    )


def _method(text: str) -> str:
    # A method is case-sensitive; one in lower case matches nothing, which a DENY policy cannot afford.
    return "must be in upper case" if text != text.upper() else _stars(text)


def _principal(text: str) -> str:
    if text.startswith("spiffe://"):
        return f"is written without spiffe://: {text.removeprefix('spiffe://')!r}"
    return _stars(text)


_CHECKS: Mapping[Attribute, Callable[[str], str]] = {
    Attribute.SOURCE_IP: _block,
    Attribute.REMOTE_IP: _block,
    Attribute.DESTINATION_IP: _block,
    Attribute.PORT: _port,
    Attribute.PATH: _path,
    Attribute.METHOD: _method,
    Attribute.PRINCIPAL: _principal,
    Attribute.NAMESPACE: _stars,
    Attribute.REQUEST_PRINCIPAL: _stars,
    Attribute.HOST: _stars,
}
