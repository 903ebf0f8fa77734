"""Secrets are taken out of whatever a bundle keeps: private keys, tokens, the data of Secrets. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["REMOVED", "redact", "redact_log", "redacted", "redacted_history", "redacted_scene"]

REMOVED = "[removed]"
_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/=-]{16,}"),
    re.compile(r"(?i)(?<=basic )[A-Za-z0-9+/]{8,}={0,2}"),
    re.compile(r"\b(?:hv[brs]\.|xox[a-z]-|AIza|glpat-)[\w-]{10,}"),
    re.compile(r"(?i)(?<=accountkey=)[A-Za-z0-9+/]{20,}={0,2}"),
    re.compile(r"(?<=[?&]sig=)[A-Za-z0-9%+/=_-]{16,}"),
    re.compile(r"\b(?:A[KS]IA[A-Z0-9]{16}|gh[opsur]_[A-Za-z0-9]{36}|github_pat_\w{22})\w{0,200}"),
)
_ENCODED = re.compile(r"\b(?:LS0tLS1|MII|MHcC)[A-Za-z0-9+/]{40,}={0,2}")
"""Base64 that may hold a key: of PEM, or of DER."""
_USER = re.compile(r"(://[^\s/:@\"']*:)[^\s/\"']+@")
"""Of an address: postgres://shop:hunter2@db/shop."""
_LONE_USER = re.compile(r"(://)[^\s/:@\"']+@")
"""Of an address as well: https://TOKEN@host/repository. A name alone is no loss."""
_LOGIN = re.compile(r"(\bcurl\b[^\n]{0,300}?[ \t](?:-u|--user)(?:[ \t]+|=)[\"']?[^\s:\"']{1,64}:)[^\s\"']+")
"""As curl takes it: -u shop:hunter2."""
_AUTH = re.compile(r"(\\?[\"']auth\\?[\"'][ \t]{0,8}:[ \t]{0,8}\\?[\"'])([A-Za-z0-9+/]{4,}={0,2})")
"""As what pulls images is told: "auth": "c2hvcDpodW50ZXIy"."""
_OF_KEYS = r"(?:api|private|access|secret|encryption|signing|session|master)[_-]?key"
_WORD = rf"(?:pass(?:word|wd|phrase)|secret|token|credential|cookie|authorization|{_OF_KEYS})"
_BRIEF = "(?<!by)(?<!com)pass"
_SHOUTED = r"(?:(?<![A-Z])(?:PASS|PWD)(?![A-Z])|_KEY(?![A-Z]))"
"""What says it too in the names of an environment: DB_PASS, FERNET_KEY."""
_FLAG = r"--?[\w.-]{0,60}(?i:passw(?:or)?d|passphrase|token|secret|credentials?|key)"
_FLAGGED = re.compile(rf"(?<![\w-])({_FLAG}(?:[ \t]+|=)[\"']?)[^\s\"'-][^\s\"']*")
_KEY = re.compile(
    rf"(?i:{_WORD}|(?:pass(?:word|wd|phrase)|token|credential|{_OF_KEYS})s|{_BRIEF}|inline_?bytes)"
    rf"(?:[_-]?[0-9]{{1,4}})?[\"'\]]*$|^(?=[A-Z0-9_]+$).*(?:(?i:{_WORD})|{_SHOUTED})"
)
"""A key that says it of its own value: at its end, for much that has the word earlier only refers to a secret
(secretName), or anywhere in the way of an environment."""
_NAMED = re.compile(r"(?<![\w.-])([\w.-]{1,64})\\?[\"']?[ \t]{0,8}[:=][ \t]{0,8}")
"""In a log: a name before its value, as in password=hunter2, x-api-key: abc, "token":"abc", ?access_token=abc&a=2."""
_VALUE = re.compile(
    r"""["](?P<double>(?:\\.|[^"\\\n])+)|'(?P<single>(?:\\.|[^'\\\n])+)"""
    r"""|\\["'](?P<within>(?:[^\\\n]|\\\\(?:\\.)?)+)"""
    r"""|(?P<word>(?:(?i:bearer|basic)[ \t])?[^\s"'&,;\\]{3,})"""
)
"""Such a value: what stands in quotes, also in those of a JSON text within another, up to them or to the end of the
line; or one word, with the scheme before it."""
_BLOCK = re.compile(
    r"[|>][+-]?[0-9]?[ \t]*\n(?P<indent>[ \t]+)(?P<lines>[^\n]*(?:\n(?:(?P=indent)[^\n]*|[ \t]*(?=\n)))*)"
)
"""A value of several lines, as YAML has it."""
_LINE = re.compile(r"(?i)(?:authorization|cookie)$")
"""A name whose value, without quotes, goes on to the end of the line: of several words, or several parts."""
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
_PUBLIC = {"certificate_chain", "validation_context"}
"""What of Envoy's TLS secrets everybody may see."""
_REFERENCES = {"@type", "audience", "group", "key", "kind", "name", "namespace", "path", "secretName", "ttl"}
"""Keys that say where a secret is, or how long it lasts, not what: they are kept below a name that speaks of one."""


def redact(text: str) -> str:
    """The text without private keys, also encoded ones, and without tokens."""
    for pattern in _SECRETS:
        text = pattern.sub(REMOVED, text)
    text = _USER.sub(lambda found: f"{found[1]}{REMOVED}@", text)
    text = _FLAGGED.sub(lambda found: f"{found[1]}{REMOVED}", text)
    text = _LOGIN.sub(lambda found: f"{found[1]}{REMOVED}", text)
    text = _AUTH.sub(lambda found: f"{found[1]}{REMOVED}" if _is_login(found[2]) else found[0], text)
    return _ENCODED.sub(lambda found: REMOVED if _is_key(found[0]) else found[0], text)


def redact_log(text: str) -> str:
    """As `redact`, also without values after a name that speaks of a secret, and without users of addresses.

    Not for what a verdict is reached from: there, a word after a name may be all that a judge goes by.
    """
    text = _LONE_USER.sub(lambda found: f"{found[1]}{REMOVED}@", redact(text))
    parts, kept_to = [], 0
    found = _NAMED.search(text)
    while found is not None:
        at = found.end()  # what stands after a name of no secret may begin with a name itself: msg="password=hunter2"
        if _KEY.search(found[1]) and (hidden := _value(found[1], text, at)) is not None:
            begin, at = hidden
            parts += [text[kept_to:begin], REMOVED]
            kept_to = at
        found = _NAMED.search(text, at)
    return "".join((*parts, text[kept_to:]))


def _value(name: str, text: str, at: int) -> tuple[int, int] | None:
    """From where to where there is something to hide, without quotes, after the name of a secret; None for nothing."""
    if block := _BLOCK.match(text, at):
        return block.span("lines")
    found = _VALUE.match(text, at)
    if found is None or found.lastgroup is None:
        return None
    begin, end = found.span(found.lastgroup)
    if found.lastgroup == "word" and _LINE.search(name):
        line = text.find("\n", end)
        end = len(text) if line < 0 else line
    return begin, end


def _is_login(encoded: str) -> bool:
    """Whether base64 holds a name and a password."""
    try:
        return re.fullmatch(rb"[!-9;-~]*:[ -~]+", base64.b64decode(encoded, validate=True)) is not None
    except binascii.Error:
        return False


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


@dataclass(frozen=True)
class _Way:
    """How much of a JSON value is taken out."""

    hide: Callable[[Any], Any]
    """What becomes of a value that a name says is secret."""
    clean: Callable[[str], str]
    """What becomes of any other text."""


def redacted(value: Any) -> Any:
    """A JSON value without secrets, also under names that say so. Objects of kind Secret lose their data."""
    return _walk(value, _Way(_hidden, redact))


def redacted_scene(value: Any) -> Any:
    """The same of what a cluster or a proxy says, by whose texts nothing is judged: they are cleaned as a log is."""
    return _walk(value, _Way(_hidden, redact_log))


def redacted_history(value: Any) -> Any:
    """A history without secrets.

    Under a name that speaks of a secret, a single word as long as one is taken out, but not the short words by which a
    check calls its cases ("expired"): a judge needs them.
    """
    return _walk(value, _Way(_without_long, redact))


def _walk(value: Any, way: _Way) -> Any:
    if isinstance(value, Mapping):
        return _mapping(value, value, way)
    if isinstance(value, list | tuple):
        # Of arguments, without what follows a flag that asks for a secret.
        return [
            way.hide(item)
            if _is_flag(flag) and isinstance(item, str) and not item.startswith("-")
            else _walk(item, way)
            for flag, item in zip((None, *value), value, strict=False)
        ]
    if not isinstance(value, str):
        return value
    return _inside(value, way)


def _is_flag(item: Any) -> bool:
    return isinstance(item, str) and re.fullmatch(_FLAG, item) is not None


def _mapping(value: Mapping[str, Any], beside: Mapping[str, Any], way: _Way) -> dict[str, Any]:
    return {key: _under(str(key), item, beside, way) for key, item in value.items()}


def _under(key: str, item: Any, beside: Mapping[str, Any], way: _Way) -> Any:
    """What is kept of a value that stands under a key, and beside others."""
    if beside.get("kind") == "Secret" and key in {"data", "stringData"}:
        return REMOVED
    if key == "auth" and isinstance(item, str) and _is_login(item):
        return REMOVED
    if key == _PLACES and isinstance(item, list | tuple):
        return [_mapping(one, {}, way) if isinstance(one, Mapping) else _walk(one, way) for one in item]
    # The environment of a container: {"name": "DB_PASSWORD", "value": …}; a condition: {"key": …, "values": […]}.
    held = _HOLDS.fullmatch(key) is not None
    said = (held and _says(beside.get("name"))) or ((held or key == "match") and _says(beside.get("key")))
    return way.hide(item) if said or _KEY.search(key) is not None else _walk(item, way)


def _says(name: Any) -> bool:
    return isinstance(name, str) and _NAME.search(name) is not None


def _hidden(value: Any) -> Any:
    """A value without any of its texts, at any depth, but for those that only refer to something."""
    if isinstance(value, Mapping):
        return {
            key: redacted(item) if key in _PUBLIC or (key in _REFERENCES and isinstance(item, str)) else _hidden(item)
            for key, item in value.items()
        }
    return REMOVED if isinstance(value, str | list | tuple) else value


def _without_long(value: Any) -> Any:
    """A value without the single words that are as long as a secret, at any depth."""
    if isinstance(value, Mapping):
        return {
            key: redacted_history(item) if key in _REFERENCES else _without_long(item) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_long(item) for item in value]
    if isinstance(value, str) and len(value) >= 16 and not re.search(r"\s", value):
        return REMOVED
    return redacted_history(value)


def _inside(text: str, way: _Way) -> str:
    """A text; one that is a JSON object itself (kubectl's annotation of what was applied) is looked into."""
    if text.startswith("{") and text.rstrip().endswith("}"):
        try:
            document = json.loads(text)
        except ValueError:
            return way.clean(text)
        cleaned = _walk(document, way)
        return text if cleaned == document else json.dumps(cleaned)
    return way.clean(text)
