"""The expressions that choose which accesses are logged: a part of CEL, read here so that Envoy takes what is accepted.

Envoy refuses a listener whose expression it cannot read, and logs nothing where types do not fit. So types are checked,
and only attributes and functions are known that Envoy has: comparisons of numbers and texts, `&&`, `||`, `!`, `in`,
`has`, `contains`, `startsWith`, `endsWith`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from refmesh.api.fields import Field, Invalid

__all__ = ["read_expression"]

_LONGEST, _DEEPEST = 1024, 32
_TOKEN = re.compile(
    r"""\s*(?:(?P<int>\d{1,18})(?![\w.])|(?P<text>"(?:[^"\\]|\\["'\\])*"|'(?:[^'\\]|\\["'\\])*')"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<sign>&&|\|\||[=!<>]=|[!<>()\[\].]))""",
    re.ASCII,
)
_WORDS = ("in", "true", "false", "null")
"""CEL's own, which are no names."""
_TEXT, _INT, _BOOL, _MAP = "text", "number", "truth value", "map"
_ORDERED = ("<", "<=", ">", ">=")
_TESTS = ("contains", "startsWith", "endsWith")
_CERTIFICATES = (
    "subject_local_certificate", "subject_peer_certificate", "dns_san_local_certificate", "dns_san_peer_certificate",
    "uri_san_local_certificate", "uri_san_peer_certificate",
)  # fmt: skip


def _known(names: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {name: kind for kind, group in names.items() for name in group}


_ATTRIBUTES: Mapping[str, Mapping[str, str]] = {
    "request": _known(
        {
            _TEXT: (
                "path", "url_path", "host", "scheme", "method", "referer", "useragent", "id", "protocol", "query",
            ),
            _INT: ("size", "total_size"),
            _MAP: ("headers",),
        }
    ),
    "response": _known(
        {
            _TEXT: ("code_details",),
            _INT: ("code", "flags", "grpc_status", "size", "total_size"),
            _MAP: ("headers", "trailers"),
        }
    ),
    "source": _known({_TEXT: ("address",), _INT: ("port",)}),
    "destination": _known({_TEXT: ("address",), _INT: ("port",)}),
    "connection": _known(
        {
            _TEXT: ("requested_server_name", "tls_version", "termination_details", *_CERTIFICATES),
            _INT: ("id",),
            _BOOL: ("mtls",),
        }
    ),
    "upstream": _known(
        {
            _TEXT: ("address", "tls_version", "transport_failure_reason", *_CERTIFICATES),
            _INT: ("port", "request_attempt_count"),
        }
    ),
    "xds": _known({_TEXT: ("cluster_name", "route_name", "virtual_host_name", "filter_chain_name")}),
}  # fmt: skip


def read_expression(field: Field) -> str:
    """The expression as it is written. Raises `Invalid` for one that Envoy would not take, or that means nothing."""
    text = field.text()
    if len(text) > _LONGEST:
        raise Invalid(field.path, f"must have {_LONGEST} characters at most")
    reader = _Reader(text, field.path)
    kind = reader.either()
    reader.end()
    if kind != _BOOL:
        raise Invalid(field.path, f"must be true or false, and is a {kind}")
    return text


class _Reader:
    """Reads an expression from left to right; each method gives the type of what it has read."""

    def __init__(self, text: str, path: str) -> None:
        self._path = path
        self._depth = 0
        self._tokens: list[tuple[str, str]] = []
        position, end = 0, len(text.rstrip(" "))
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise Invalid(path, f"cannot be read from {text[position:].strip(' ')[:20]!r} on")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        self._next = 0

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise self._unexpected()

    def either(self) -> str:
        return self._joined("||", lambda: self._joined("&&", self._negated))

    def _joined(self, sign: str, part: Callable[[], str]) -> str:
        kind = part()
        while self._take(sign):
            for one in (kind, part()):
                self._want(one, _BOOL, sign)
        return kind

    def _negated(self) -> str:
        if not self._take("!"):
            return self._compared()
        self._deeper()
        self._want(self._negated_operand(), _BOOL, "!")
        self._depth -= 1
        return _BOOL

    def _negated_operand(self) -> str:
        # ! binds closer than comparisons: it stands before another, a call, or something in parentheses.
        return self._negated() if self._peek() == "!" else self._operand()

    def _compared(self) -> str:
        kind = self._operand()
        sign = self._peek()
        if sign == "in":
            self._next += 1
            self._want(kind, _TEXT, "in")
            self._want(self._operand(), _MAP, "in")
            return _BOOL
        if sign not in {*_ORDERED, "==", "!="}:
            return kind
        self._next += 1
        other = self._operand()
        if kind != other or kind == _MAP or (kind == _BOOL and sign in _ORDERED):
            raise Invalid(self._path, f"compares a {kind} with a {other} by {sign}")
        return _BOOL

    def _operand(self) -> str:
        group, word = self._token()
        if group == "int":
            return _INT
        if group == "text":
            return self._tested(_TEXT)
        if word == "(":
            self._deeper()
            kind = self.either()
            self._expect(")")
            self._depth -= 1
            return kind
        if word in {"true", "false"}:
            return _BOOL
        if word == "has" and self._take("("):
            self._attribute(self._token()[1], selected=True)
            self._expect(")")
            return _BOOL
        if group != "name":
            self._next -= 1
            raise self._unexpected()
        return self._tested(self._attribute(word))

    def _attribute(self, root: str, *, selected: bool = False) -> str:
        """`request.path`, or a value of a map: `request.headers['x']`, and where it is asked for only, `.x`."""
        self._expect(".")
        name = self._token()[1]
        kind = _ATTRIBUTES.get(root, {}).get(name)
        if kind is None:
            known = (
                ", ".join(f"{root}.{one}" for one in _ATTRIBUTES.get(root, {})) or f"those of {', '.join(_ATTRIBUTES)}"
            )
            raise Invalid(self._path, f"has no attribute {root}.{name}; known are {known}")
        if kind != _MAP:
            return kind
        if selected and self._take("."):
            group, word = self._token()
            if group != "name" or word in _WORDS:
                self._next -= 1
                raise self._unexpected()
            return _TEXT
        if not selected and self._take("["):
            if self._token()[0] != "text":
                self._next -= 1
                raise self._unexpected()
            self._expect("]")
            return _TEXT
        return kind

    def _tested(self, kind: str) -> str:
        """The same, or what one of the functions of a text says of it."""
        if not self._take("."):
            return kind
        name = self._token()[1]
        if name not in _TESTS:
            raise Invalid(self._path, f"has no function {name}; known are {', '.join(_TESTS)}")
        self._want(kind, _TEXT, name)
        self._expect("(")
        self._want(self._operand(), _TEXT, name)
        self._expect(")")
        return _BOOL

    def _want(self, kind: str, wanted: str, sign: str) -> None:
        if kind != wanted:
            raise Invalid(self._path, f"{sign} needs a {wanted}, not a {kind}")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Invalid(self._path, f"nests more than {_DEEPEST} levels deep")

    def _peek(self) -> str:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else ""

    def _token(self) -> tuple[str, str]:
        if self._next == len(self._tokens):
            raise Invalid(self._path, "ends too early")
        self._next += 1
        return self._tokens[self._next - 1]

    def _take(self, sign: str) -> bool:
        found = self._peek() == sign
        self._next += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise self._unexpected(f", where {sign} belongs")

    def _unexpected(self, where: str = "") -> Invalid:
        if self._next == len(self._tokens):
            return Invalid(self._path, f"ends too early{where}")
        return Invalid(self._path, f"has an unexpected {self._peek()!r}{where}")
