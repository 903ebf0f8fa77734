"""Takes secrets out of what a bug report keeps. Pure.

Keys by their form, wherever they stand, also in base64; tokens and passwords by their form or by the name they stand
under, be that a key or what `name` or `key` beside them says; the data of Secrets altogether. What is taken out is
replaced by a word, so that its place is still seen.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["GONE", "clean", "clean_text"]

GONE = "<removed>"
_PRIVATE = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----.*?(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----|\Z)", re.DOTALL
)
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_WORD = r"(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|private[_-]?key|credentials?|cookie|authorization)"
_ASSIGNED = re.compile(rf"(?i)({_WORD}[\"']?[ \t]*[=:][ \t]*[\"']?)(?![\s{{\[]|true\b|false\b|null\b)[^\s\"',;&}}]+")
_NAME = re.compile(rf"(?i){_WORD}[\"'\]]*$")
"""Also of a header in brackets, as conditions of policies have it: request.headers[x-api-key]."""
_HOLDS = re.compile(r"(?i)value(?!From)|exact|prefix|suffix|contains|regex|match|string|bytes")
"""Keys under which the value stands of what the `name` or `key` beside them says."""
_REFERENCES = {"@type", "audience", "group", "key", "kind", "name", "namespace", "path", "secretName"}
"""Keys that say where a secret is, not what: they are kept below a name that speaks of one."""
_PUBLIC = {"certificate_chain", "validation_context"}
"""What of Envoy's TLS secrets everybody may see."""
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")
_JWK_SECRETS = {"k", "d", "p", "q", "dp", "dq", "qi", "oth"}


def clean_text(text: str) -> str:
    """Text without keys, tokens and passwords."""
    text = _PRIVATE.sub(GONE, text.replace("\\n", "\n") if "PRIVATE KEY-----" in text else text)
    text = _JWT.sub(GONE, text)
    text = _SCHEME.sub(lambda found: f"{found[1]} {GONE}", text)
    text = _ASSIGNED.sub(lambda found: f"{found[1]}{GONE}", text)
    return _ENCODED.sub(lambda found: GONE if _holds_key(found[0]) else found[0], text)


def clean(value: Any) -> Any:
    """A JSON value without them, at any depth."""
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("{", "[")):
        # An object within a string: what kubectl applied last, or a set of keys.
        try:
            return json.dumps(clean(json.loads(value)))
        except (ValueError, RecursionError):
            pass
    return clean_text(value)


def _mapping(value: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): _under(str(key), item, value) for key, item in value.items()}


def _under(key: str, item: Any, parent: Mapping[str, Any]) -> Any:
    """What is kept of a value that stands under a key."""
    if parent.get("kind") == "Secret" and key in {"data", "stringData"} and isinstance(item, Mapping):
        return dict.fromkeys(map(str, item), GONE)
    if "kty" in parent and key in _JWK_SECRETS:
        return GONE
    # The environment of a container is {"name": "DB_PASSWORD", "value": …}, a header of Envoy's {"key": …, "value": …}.
    named = _is_named(parent.get("name")) or _is_named(parent.get("key"))
    if _is_named(key) or (named and _HOLDS.search(key) is not None):
        return _hidden(item)
    return clean(item)


def _is_named(name: Any) -> bool:
    return isinstance(name, str) and _NAME.search(name) is not None


def _hidden(value: Any) -> Any:
    """A value without any of its texts and numbers, at any depth, but for those that only refer to something."""
    if isinstance(value, Mapping):
        texts = {str(key): item for key, item in value.items()}
        return {
            key: clean(item) if key in _PUBLIC or (key in _REFERENCES and isinstance(item, str)) else _hidden(item)
            for key, item in texts.items()
        }
    if isinstance(value, list | tuple):
        return [_hidden(item) for item in value]
    return value if value is None or isinstance(value, bool) or value == "" else GONE


def _holds_key(text: str) -> bool:
    """Whether base64 holds a private key, as PEM or as DER."""
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4))
    except (binascii.Error, ValueError):
        return False
    if b"PRIVATE KEY-----" in data:
        return True
    if data[:1] != b"\x30":
        return False
    try:
        load_der_private_key(data, None)
    except ValueError:
        return False
    except Exception:  # noqa: BLE001 - anybody's path may stand here, and must not end what is cleaned
        # TypeError: an encrypted one. UnsupportedAlgorithm: PKCS#8 of a kind unknown here. InternalError: an odd one.
        return True
    return True
