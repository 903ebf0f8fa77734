"""Headers that routes ask for and change: their names, and their values in Envoy's words, which are format strings.

Istio's API hands its authors this language; the Gateway API means every character literally.
"""

from __future__ import annotations

import re

from refmesh.api.commands import OF_REQUESTS, commands
from refmesh.api.fields import Field, Invalid

__all__ = ["HEADER_NAME", "format_string", "literal"]

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
"""A token (RFC 9110, section 5.6.2) that is no longer than anybody needs."""

_LONGEST = 16384
"""Envoy's own limit for the value of a header, in bytes."""
_HEADERS = frozenset({"REQ", "RESP"})
_PLAIN = OF_REQUESTS | {"UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"}
_HEADER = re.compile(r"\([A-Za-z0-9:_.-]+(\?[A-Za-z0-9:_.-]+)?\)")


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
