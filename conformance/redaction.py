"""Secrets are taken out of whatever a bundle keeps: private keys, tokens, the data of Secrets. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["REMOVED", "redact", "redacted", "redacted_history"]

REMOVED = "[removed]"
_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/=-]{16,}"),
    re.compile(r"(?i)(?<=basic )[A-Za-z0-9+/]{8,}={0,2}"),
)
_ENCODED = re.compile(r"\b(?:LS0tLS1|MII|MHcC)[A-Za-z0-9+/]{40,}={0,2}")
"""Base64 that may hold a key: of PEM, or of DER."""
_NAMES = re.compile(
    r"(?i)(password|passwd|secret_?key|private_?key|api[_-]?key|inline_?bytes|token|authorization|cookie)[\"'\]]*$"
)
_HOLDS = re.compile(r"(?i)value(?!From)|exact|prefix|suffix|contains|regex|match|string|bytes")
"""Keys under which the value stands of what the `name` or `key` beside them says."""
_REFERENCES = {"audience", "group", "key", "kind", "name", "namespace", "path", "secretName"}
"""Keys that say where a secret is, not what: they are kept below a name that speaks of one."""


def redact(text: str) -> str:
    """The text without private keys, also encoded ones, and without tokens."""
    for pattern in _SECRETS:
        text = pattern.sub(REMOVED, text)
    return _ENCODED.sub(lambda found: REMOVED if _is_key(found[0]) else found[0], text)


def _is_key(encoded: str) -> bool:
    """Whether base64 holds a private key: PEM that says so, or DER that is one."""
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    except binascii.Error:
        return False
    if b"PRIVATE KEY-----" in data:
        return True
    try:
        load_der_private_key(data, None)
    except ValueError:
        return False
    except Exception:  # noqa: BLE001 - a line of a log may hold anything, and must not cost the bundle
        # TypeError: encrypted, and a key all the same. UnsupportedAlgorithm: PKCS#8 of a kind unknown here.
        return True
    return True


def redacted(value: Any) -> Any:
    """A JSON value without secrets, also under names that say so. Objects of kind Secret lose their data."""
    return _walk(value, names=_NAMES.search)


def redacted_history(value: Any) -> Any:
    """A history without secrets.

    Under a name that speaks of a secret, a single word as long as one is taken out, but not the short words by which a
    check calls its cases ("expired"): a judge needs them.
    """
    return _walk(value, names=lambda _: None, words=_NAMES.search)


def _walk(value: Any, names: Any, words: Any = lambda _: None) -> Any:
    if isinstance(value, Mapping):
        return {key: _under(str(key), item, value, names, words) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_walk(item, names, words) for item in value]
    if not isinstance(value, str):
        return value
    return _inside(value, names, words)


def _under(key: str, item: Any, parent: Mapping[str, Any], names: Any, words: Any) -> Any:
    if parent.get("kind") == "Secret" and key in {"data", "stringData"}:
        return REMOVED
    # The environment of a container: {"name": "DB_PASSWORD", "value": …}; a condition: {"key": …, "values": […]}.
    beside = (str(parent.get("name", "")), str(parent.get("key", ""))) if _HOLDS.search(key) else ()
    said = (key, *beside)
    if any(map(names, said)):
        return _hidden(item)
    if any(map(words, said)):
        return _without_long(item, names, words)
    return _walk(item, names, words)


def _hidden(value: Any) -> Any:
    """A value without any of its texts, at any depth, but for those that only refer to something."""
    if isinstance(value, Mapping):
        return {
            key: redact(item) if key in _REFERENCES and isinstance(item, str) else _hidden(item)
            for key, item in value.items()
        }
    return REMOVED if isinstance(value, str | list | tuple) else value


def _without_long(value: Any, names: Any, words: Any) -> Any:
    """A value without the single words that are as long as a secret, at any depth."""
    if isinstance(value, Mapping):
        return {
            key: _walk(item, names, words) if key in _REFERENCES else _without_long(item, names, words)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_long(item, names, words) for item in value]
    if isinstance(value, str) and len(value) >= 16 and not re.search(r"\s", value):
        return REMOVED
    return _walk(value, names, words)


def _inside(text: str, names: Any, words: Any) -> str:
    """A text; one that is a JSON object itself (kubectl's annotation of what was applied) is looked into."""
    if text.startswith("{") and text.rstrip().endswith("}"):
        try:
            document = json.loads(text)
        except ValueError:
            return redact(text)
        cleaned = _walk(document, names, words)
        return text if cleaned == document else json.dumps(cleaned)
    return redact(text)
