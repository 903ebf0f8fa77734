"""Entries of the proxies' access logs, read back from the lines that proxies write. Pure.

Clients choose much of a line: what is not clearly an entry is none. Of the target only the path is kept, since queries,
fragments and matrix parameters carry tokens, and pages are made for being looked at by others as well.
Formats: `refmesh.discovery.access_logs`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

__all__ = ["Entry", "is_foreign", "path_of", "read"]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_IDENTITY = re.compile(r"spiffe://[^/]+/ns/([a-z0-9-]{1,63})/sa/([a-z0-9.-]{1,253})")
_TRACE = re.compile(r"[0-9a-f]{32}")
_DIRECTIONS = ("inbound", "outbound")
_LONE = re.compile("[\ud800-\udfff]")
"""Half a character: JSON can name one, and no page can show it."""
# Anchored at both ends: what the client chose is between them, or a single word. A target holds no blank, but may hold
# anything else.
_LINE = re.compile(
    r'\[(?P<start_time>[^\]]{24})\] "(?P<method>[^\s"]+) (?P<path>[^ ]+) [^\s"]+" (?P<response_code>\d{1,3}) \S+ '
    r"(?P<response_flags>\S+) \d+ \d+ (?P<duration>\d{1,15}|-) .*"
    r'"(?P<upstream_host>[^\s"]+)" (?P<upstream_cluster>[^\s"]+) [^\s"]+ (?P<downstream_remote_address>[^\s"]+) [^"]*'
)
_OWN = ("refmesh-agent: ",)
_ENVOY = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} [a-z]+ envoy ")
_TEXT, _PATH, _FLAGS = 120, 200, 40
_LONGEST = 128 << 10
"""Characters of a line: Envoy's headers have 60 KB at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request or connection, as the proxy of one side tells it. Texts are empty where nothing is known."""

    time: str
    """RFC 3339 with milliseconds, UTC: sorts as text."""
    direction: str
    """inbound, outbound or empty."""
    method: str
    """Empty for a connection that is no HTTP."""
    path: str
    code: int
    """0 where there was no response."""
    flags: str
    """Envoy's response flags."""
    milliseconds: int | None
    peer: str
    """Who called, or what was called: an account or a service as `NAME.NAMESPACE`, else an address."""
    verified: bool
    """The peer showed a certificate."""
    trace: str = ""
    """32 hexadecimal digits."""


def read(line: str) -> Entry | None:
    """The entry in a line of a proxy's log, in refmesh's own formats; None for any other line."""
    if len(line) > _LONGEST:
        return None
    if line.startswith("{"):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return None
        return _entry(found) if isinstance(found, dict) else None
    match = _LINE.fullmatch(line)
    return None if match is None else _entry(match.groupdict())


def is_foreign(line: str) -> bool:
    """Whether a line is neither an entry nor what agent and Envoy say of themselves."""
    return bool(line.strip()) and not line.startswith(_OWN) and _ENVOY.match(line) is None and read(line) is None


def _entry(found: dict[str, Any]) -> Entry | None:
    time = found.get("start_time")
    if not isinstance(time, str) or _TIME.fullmatch(time) is None or "duration" not in found:
        return None
    cluster = _text(found, "upstream_cluster")
    direction = _text(found, "direction") or cluster.partition("|")[0]
    peer, verified = _peer(found, direction, cluster)
    trace = _text(found, "trace_id")
    return Entry(
        time,
        direction if direction in _DIRECTIONS else "",
        _text(found, "method")[:_FLAGS],
        path_of(_text(found, "path")),
        _number(found, "response_code", 999) or 0,
        _text(found, "response_flags")[:_FLAGS],
        _number(found, "duration", 10**15),
        peer[:_TEXT],
        verified,
        trace if _TRACE.fullmatch(trace) else "",
    )


def _peer(found: dict[str, Any], direction: str, cluster: str) -> tuple[str, bool]:
    if direction == "inbound":
        identity = _IDENTITY.fullmatch(_text(found, "downstream_peer_uri_san"))
        if identity is not None:
            return f"{identity[2]}.{identity[1]}", True
        return _text(found, "downstream_remote_address"), False
    verified = bool(_text(found, "upstream_peer_uri_san"))
    parts = cluster.split("|")
    if len(parts) == 4 and parts[3]:
        subset = f" ({parts[2]})" if parts[2] else ""
        return f"{parts[3].partition('.svc.')[0]}{subset}", verified
    return _text(found, "upstream_host") or _text(found, "authority"), verified


def _text(found: dict[str, Any], key: str) -> str:
    """A field's text, fit for UTF-8; Envoy writes `-` or null where it has none."""
    value = found.get(key)
    return _LONE.sub("\ufffd", value) if isinstance(value, str) and value != "-" else ""


def _number(found: dict[str, Any], key: str, most: int) -> int | None:
    value = found.get(key)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value) if len(value) < 20 else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def path_of(target: str) -> str:
    """The path of a target in any of HTTP's forms, and nothing that comes after it."""
    path = re.split(r"[?#;]", target, maxsplit=1)[0]
    scheme, separator, rest = path.partition("://")
    if separator and "/" not in scheme:
        path = "/" + rest.partition("/")[2]
    return path if len(path) <= _PATH else f"{path[:_PATH]}…"
