"""Envoy's format strings, of which headers and access logs are made: a percent sign begins a command, two mean one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["OF_REQUESTS", "Command", "commands"]

_ANY = re.compile(r"%%|%(?P<name>[A-Z][A-Z0-9_]*)(?P<argument>\([^()%\x00-\x1f]*\))?(?P<length>:[0-9]{1,4})?%|%")
OF_REQUESTS = frozenset(
    {
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_ADDRESS",
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_LOCAL_URI_SAN",
        "DOWNSTREAM_PEER_URI_SAN", "DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_TLS_CIPHER", "DOWNSTREAM_TLS_VERSION", "PROTOCOL", "REQUESTED_SERVER_NAME", "RESPONSE_CODE",
        "ROUTE_NAME", "START_TIME", "UPSTREAM_HOST", "UPSTREAM_REMOTE_ADDRESS",
    }
)  # fmt: skip
"""Commands without argument or length that tell of the request alone, and not of the proxy that has it."""


@dataclass(frozen=True)
class Command:
    """A command as it is written; the name is empty where a percent sign begins none."""

    text: str
    name: str
    argument: str
    """With its parentheses."""
    length: str
    """With its colon."""


def commands(text: str) -> Iterator[Command]:
    """The commands of a format string, in order."""
    for found in _ANY.finditer(text):
        if found[0] != "%%":
            yield Command(found[0], found["name"] or "", found["argument"] or "", found["length"] or "")
