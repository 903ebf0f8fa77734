"""Headers that routes ask for and change: their names, and their values in Envoy's words, which are format strings.

Istio's API hands its authors this language; the Gateway API means every character literally.
"""

from __future__ import annotations

import re

from refmesh.api.commands import OF_REQUESTS, commands
from refmesh.api.fields import Field, Invalid, encodable
from refmesh.api.routing import HeaderChange

__all__ = ["HEADER_NAME", "countable", "format_string", "literal", "query_name"]

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
"""A token (RFC 9110, section 5.6.2) that is no longer than anybody needs."""

_LONGEST = 16384
"""Envoy's own limit for the value of a header, in bytes."""
_LONGEST_QUERY_NAME = 1024
"""The same for the name of a query parameter."""
_MOST_CHANGES = 1000
"""And for how many headers a route, or one of its destinations, sets and adds on the way there, or on the way back."""
_HEADERS = frozenset({"REQ", "RESP"})
_PLAIN = OF_REQUESTS | {"UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"}
_HEADER = re.compile(r"\([A-Za-z0-9:_.-]+(\?[A-Za-z0-9:_.-]+)?\)")


def query_name(name: str, path: str) -> str:
    """The name of a query parameter that a match at `path` asks for. Raises `Invalid` for one that Envoy refuses."""
    if not name or not encodable(name):
        raise Invalid(path, "needs a name that can be sent")
    if len(name.encode()) > _LONGEST_QUERY_NAME:
        raise Invalid(path, f"has a name of {len(name.encode())} bytes, at most {_LONGEST_QUERY_NAME}")
    return name


def countable(change: HeaderChange, path: str) -> HeaderChange:
    """The change that stands at `path`. Raises `Invalid` where Envoy refuses a route for how much it changes."""
    count = len(change.set) + len(change.add)
    if count > _MOST_CHANGES:
        raise Invalid(path, f"sets and adds {count} headers, at most {_MOST_CHANGES}")
    return change


def literal(text: str) -> str:
    """The format string that says just `text`."""
    return text.replace("%", "%%")


def format_string(field: Field) -> str:
    """A format string as the user wrote it. Raises Invalid for a lone percent sign and for a command not offered."""
    text = field.text("")
    if len(text.encode()) > _LONGEST:
        raise Invalid(field.path, f"must have {_LONGEST} bytes at most")
    for command in commands(text):
        if not command.name:
            raise Invalid(field.path, "has a percent sign that begins no command: write %% for the sign itself")
        if command.name in _HEADERS:
            if not _HEADER.fullmatch(command.argument):
                raise Invalid(field.path, f"must name a header: %{command.name}(x-header)%")
        # Files and environment of the proxy are nobody's to send.
        elif command.name not in _PLAIN or command.argument or command.length:
            offered = ", ".join(sorted({*_PLAIN, *(f"{one}(…)" for one in _HEADERS)}))
            raise Invalid(field.path, f"must not use the command {command.text}: there are {offered}")
    return text
