"""Takes secrets out of what a bug report keeps. Pure.

Keys by their form, wherever they stand, also in base64; tokens and passwords by their form or by the name they stand
under, be that a key or what `name` or `key` beside them says, or as the argument after a flag; the data of Secrets and
the environment of applications altogether. What is taken out is replaced by a word, so that its place is still seen.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from refmesh.injector.policy import INIT, PROXY

__all__ = ["FOREIGN", "GONE", "clean", "clean_text"]

GONE = "<removed>"
FOREIGN = "<removed: the application's own>"
"""In place of the environment of a container that is not refmesh's: any part of it may be a secret."""
_PRIVATE = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----.*?(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----|\Z)", re.DOTALL
)
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_OF_KEYS = r"(?:api|private|access|secret|encryption|signing|session|master)[_-]?key"
_WORD = rf"(?:pass(?:word|wd|phrase)|secret|token|credential|cookie|authorization|{_OF_KEYS})"
_BRIEF = "(?<!by)(?<!com)pass"
_SHOUTED = r"(?:(?<![A-Z])(?:PASS|PWD)(?![A-Z])|_KEY(?![A-Z]))"
"""What says it too in the names of an environment: DB_PASS, FERNET_KEY."""
_ASSIGNED = re.compile(
    rf"((?:(?i:{_WORD}s?|{_BRIEF})|{_SHOUTED})(?:_[A-Z0-9_]{{1,40}}|_?[0-9]{{1,4}})?\\?[\"']?[ \t]*[=:][ \t]*)"
    r"(?:(\")(?:\\.|[^\"\\\n])+|(')(?:\\.|[^'\\\n])+|(\\[\"'])(?:[^\\\n]|\\\\(?:\\.)?)+"
    r"|(?![\s{\[\"']|(?i:true|false|null)\b)[^\s\"',;&}]+)"
)
"""A value in quotes, also in those of a JSON text within another, goes on to the next one or to the end of the line."""
_LINE = re.compile(r"(?i)((?:authorization|cookie)[ \t]*[=:][ \t]*)(?![\s{\[\"'])[^\n]+")
"""Headers whose value has several words or parts."""
_TOKENS = re.compile(
    r"\b(?:(?:hv[brs]\.|xox[a-z]-|AIza|glpat-)[\w-]{10,}|A[KS]IA[A-Z0-9]{16}|gh[opsur]_[A-Za-z0-9]{36}|github_pat_\w{22,})"
    r"|(?i:(?<=accountkey=))[A-Za-z0-9+/]{20,}={0,2}"
)
"""Of Vault, Slack, Google, GitLab, Amazon, GitHub and Azure."""
_USER = re.compile(r"(://[^\s/:@\"']*:)[^\s/\"']+@")
"""Of an address: postgres://shop:hunter2@db/shop."""
_FLAG = r"--?[\w.-]{0,60}(?i:passw(?:or)?d|passphrase|token|secret|credentials?|key)"
_FLAGGED = re.compile(rf"(?<![\w-])({_FLAG}[ \t]+[\"']?)[^\s\"'-][^\s\"']*")
_KEY = re.compile(
    rf"(?i:{_WORD}|(?:pass(?:word|wd|phrase)|token|credential|{_OF_KEYS})s|{_BRIEF})(?:[_-]?[0-9]{{1,4}})?[\"'\]]*$"
    rf"|^(?=[A-Z0-9_]+$).*(?:(?i:{_WORD})|{_SHOUTED})"
)
"""A key that says it of its own value: at its end, for much that has the word earlier only refers to a secret
(secretName), or anywhere in the way of an environment."""
_NAME = re.compile(rf"(?i:{_WORD}|(?:{_BRIEF}|(?<![a-z])pwd)(?![a-z]))|{_SHOUTED}")
"""What `name` or `key` says of the value beside it: anywhere, as in request.headers[x-api-key]."""
_HOLDS = re.compile(
    r"(?i)(?:\w*_|not|raw|string|default)?values?|(?:exact|prefix|suffix|contains|(?:safe_?)?regex|string)(?:_?match)?"
    r"|(?:inline_?)?(?:string|bytes)|safe_regex_match|value_?match"
)
"""Keys under which the value stands of what the `name` or `key` beside them says. Not `match`: beside a `name`, it is
a route's."""
_PLACES = "fromHeaders"
"""Where a token is looked for: what stands there is none."""
_REFERENCES = {"@type", "audience", "group", "key", "kind", "name", "namespace", "path", "secretName", "ttl"}
"""Keys that say where a secret is, or how long it lasts, not what: they are kept below a name that speaks of one."""
_PUBLIC = {"certificate_chain", "validation_context"}
"""What of Envoy's TLS secrets everybody may see."""
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")
_JWK_SECRETS = {"k", "d", "p", "q", "dp", "dq", "qi", "oth"}


def clean_text(text: str) -> str:
    """Text without keys, tokens and passwords."""
    text = _PRIVATE.sub(GONE, text.replace("\\n", "\n") if "PRIVATE KEY-----" in text else text)
    text = _JWT.sub(GONE, text)
    text = _SCHEME.sub(lambda found: f"{found[1]} {GONE}", text)
    text = _USER.sub(lambda found: f"{found[1]}{GONE}@", text)
    text = _TOKENS.sub(GONE, text)
    text = _LINE.sub(lambda found: f"{found[1]}{GONE}", text)
    text = _ASSIGNED.sub(lambda found: f"{found[1]}{found[2] or found[3] or found[4] or ''}{GONE}", text)
    text = _FLAGGED.sub(lambda found: f"{found[1]}{GONE}", text)
    return _ENCODED.sub(lambda found: GONE if _holds_key(found[0]) else found[0], text)


def clean(value: Any) -> Any:
    """A JSON value without them, at any depth."""
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, list | tuple):
        return _items(value)
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("{", "[")):
        # An object within a string: what kubectl applied last, or a set of keys.
        try:
            return json.dumps(clean(json.loads(value)))
        except (ValueError, RecursionError):
            pass
    return clean_text(value)


def _mapping(value: Mapping[str, Any], beside: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An object; `beside`: what is taken to stand beside each value instead."""
    return {str(key): _under(str(key), item, value if beside is None else beside) for key, item in value.items()}


def _items(items: Sequence[Any]) -> list[Any]:
    """A list; of arguments, without what follows a flag that asks for a secret."""
    before = (None, *items)
    return [
        GONE if _is_flag(flag) and isinstance(item, str) and not item.startswith("-") else clean(item)
        for flag, item in zip(before, items, strict=False)
    ]


def _is_flag(item: Any) -> bool:
    return isinstance(item, str) and re.fullmatch(_FLAG, item) is not None


def _under(key: str, item: Any, parent: Mapping[str, Any]) -> Any:
    """What is kept of a value that stands under a key."""
    if parent.get("kind") == "Secret" and key in {"data", "stringData"} and isinstance(item, Mapping):
        return dict.fromkeys(map(str, item), GONE)
    if "kty" in parent and key in _JWK_SECRETS:
        return GONE
    if key == "env" and isinstance(item, list) and parent.get("name") not in {PROXY, INIT}:
        return [_foreign(one) for one in item]
    if key == _PLACES and isinstance(item, list):
        return [_mapping(one, {}) if isinstance(one, Mapping) else clean(one) for one in item]
    # The environment of a container is {"name": "DB_PASSWORD", "value": …}, a header of Envoy's {"key": …, "value": …}.
    held = _HOLDS.fullmatch(key) is not None
    said = (held and _says(parent.get("name"))) or ((held or key == "match") and _says(parent.get("key")))
    return _hidden(item) if said or _KEY.search(key) is not None else clean(item)


def _says(name: Any) -> bool:
    return isinstance(name, str) and _NAME.search(name) is not None


def _foreign(variable: Any) -> Any:
    """A variable of an application's environment: that there is one, and where it is from, but not what."""
    if not isinstance(variable, Mapping):
        return GONE
    return {key: FOREIGN if key == "value" else item for key, item in _mapping(variable).items()}


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
