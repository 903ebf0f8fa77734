"""Formats of access logs, in Envoy's own words: checked before a proxy is sent one, which would keep no listener."""

from __future__ import annotations

import json
import re
from typing import Any

from refmesh.api.commands import OF_REQUESTS, commands
from refmesh.api.fields import encodable

__all__ = ["format_problem"]

_LONGEST = 4096
_HEADER = re.compile(r"\(:?[A-Za-z0-9!#$&'*+.^_`|~-]+(\?:?[A-Za-z0-9!#$&'*+.^_`|~-]+)?\)")
_METADATA = re.compile(r"\([A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*\)")
_PLAIN = OF_REQUESTS | frozenset(
    [
        "BYTES_RECEIVED",
        "BYTES_SENT",
        "CONNECTION_ID",
        "CONNECTION_TERMINATION_DETAILS",
        "DOWNSTREAM_PEER_CERT_V_END",
        "DOWNSTREAM_PEER_CERT_V_START",
        "DOWNSTREAM_PEER_FINGERPRINT_256",
        "DOWNSTREAM_PEER_ISSUER",
        "DOWNSTREAM_PEER_SERIAL",
        "DOWNSTREAM_PEER_SUBJECT",
        "DOWNSTREAM_REMOTE_PORT",
        "DOWNSTREAM_TLS_SESSION_ID",
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
        "DOWNSTREAM_WIRE_BYTES_RECEIVED",
        "DOWNSTREAM_WIRE_BYTES_SENT",
        "DURATION",
        "GRPC_STATUS",
        "GRPC_STATUS_NUMBER",
        "HOSTNAME",
        "REQUEST_DURATION",
        "REQUEST_HEADERS_BYTES",
        "REQUEST_TX_DURATION",
        "RESPONSE_CODE_DETAILS",
        "RESPONSE_DURATION",
        "RESPONSE_FLAGS",
        "RESPONSE_FLAGS_LONG",
        "RESPONSE_HEADERS_BYTES",
        "RESPONSE_TRAILERS_BYTES",
        "RESPONSE_TX_DURATION",
        "STREAM_ID",
        "TRACE_ID",
        "UNIQUE_ID",
        "UPSTREAM_CLUSTER",
        "UPSTREAM_CLUSTER_RAW",
        "UPSTREAM_LOCAL_ADDRESS",
        "UPSTREAM_PEER_SUBJECT",
        "UPSTREAM_PEER_URI_SAN",
        "UPSTREAM_PROTOCOL",
        "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        "UPSTREAM_TLS_CIPHER",
        "UPSTREAM_TLS_VERSION",
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        "UPSTREAM_WIRE_BYTES_RECEIVED",
        "UPSTREAM_WIRE_BYTES_SENT",
        "VIRTUAL_CLUSTER_NAME",
    ]
)
_WITH_HEADER = frozenset({"REQ", "RESP", "TRAILER"})
_WITH_METADATA = frozenset({"DYNAMIC_METADATA", "CLUSTER_METADATA", "UPSTREAM_METADATA"})


def format_problem(text: str, *, as_json: bool) -> str:
    """Why Envoy would not take a format, a line or an object of texts; empty for a good one."""
    if len(text) > _LONGEST:
        return f"has more than {_LONGEST} characters"
    if not as_json:
        return _line_problem(text)
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return "is no JSON object, which access_log_encoding JSON needs; for a line choose TEXT"
    if not isinstance(fields, dict) or not fields:
        return "must be a JSON object with a text for each field of a log entry"
    return next((problem for key, value in fields.items() if (problem := _field_problem(key, value))), "")


def _field_problem(key: str, value: Any) -> str:
    if not encodable(key):
        return f"has a field {key!r} that cannot be sent"
    if not isinstance(value, str):
        return f"must have a text for {key!r}"
    problem = _line_problem(value)
    return f"{problem} (in {key!r})" if problem else ""


def _line_problem(text: str) -> str:
    if not encodable(text):
        return "has characters that cannot be sent"
    for command in commands(text):
        if not command.name:
            return "has a % that begins no command operator; write %% for the sign"
        if not _sound(command.name, command.argument, command.length):
            return f"has {command.text}, which is no command operator of Envoy's that refmesh knows"
    return ""


def _sound(name: str, argument: str, length: str) -> bool:
    if name in _WITH_HEADER:
        return _HEADER.fullmatch(argument) is not None
    if name in _WITH_METADATA:
        return _METADATA.fullmatch(argument) is not None
    return name in _PLAIN and not argument and not length
