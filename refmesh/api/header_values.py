"""Values that routes give to headers, in Envoy's words: format strings, where a percent sign begins a command.

Istio's API hands its authors this language; the Gateway API means every character literally.
"""

from __future__ import annotations

import re

from refmesh.api.fields import Field, Invalid

__all__ = ["format_string", "literal"]

_ANY = re.compile(r"%%|%(?P<name>[A-Z0-9_]+)(?P<arguments>\([^()%]*\))?(?P<length>:[0-9]{1,4})?%|%")
_LONGEST = 16384
"""Envoy's own limit for the value of a header, in bytes."""
_HEADERS = frozenset({"REQ", "RESP"})
_PLAIN = frozenset(
    {
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_ADDRESS",
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_LOCAL_URI_SAN",
        "DOWNSTREAM_PEER_URI_SAN", "DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_TLS_CIPHER", "DOWNSTREAM_TLS_VERSION", "PROTOCOL", "REQUESTED_SERVER_NAME", "RESPONSE_CODE",
        "ROUTE_NAME", "START_TIME", "UPSTREAM_HOST", "UPSTREAM_REMOTE_ADDRESS", "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    }
)  # fmt: skip
"""Of Envoy's commands those that tell of the request alone; files and environment of the proxy are nobody's to send."""


def literal(text: str) -> str:
    """The format string that says just `text`."""
    return text.replace("%", "%%")


def format_string(field: Field) -> str:
    """A format string as the user wrote it. Raises Invalid for a lone percent sign and for a command not offered."""
    text = field.text("")
    if len(text.encode()) > _LONGEST:
        raise Invalid(field.path, f"must have {_LONGEST} bytes at most")
    for found in _ANY.finditer(text):
        name, arguments = found["name"], found["arguments"]
        if name is None:
            if found[0] == "%":
                raise Invalid(field.path, "has a percent sign that begins no command: write %% for the sign itself")
        elif name in _HEADERS:
            if not re.fullmatch(r"\([A-Za-z0-9:_.-]+(\?[A-Za-z0-9:_.-]+)?\)", arguments or ""):
                raise Invalid(field.path, f"must name a header: %{name}(x-header)%")
        elif name not in _PLAIN or arguments or found["length"]:
            offered = ", ".join(sorted({*_PLAIN, *(f"{one}(…)" for one in _HEADERS)}))
            raise Invalid(field.path, f"must not use the command {found[0]}: there are {offered}")
    return text
