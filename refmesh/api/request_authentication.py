"""RequestAuthentication: whose tokens a workload believes. What a request without one may do, other policies say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from refmesh.api.fields import MILLISECOND, Field, Invalid
from refmesh.api.hostnames import address_of, leads_back
from refmesh.api.key_sets import key_set_problem
from refmesh.api.meta import Meta
from refmesh.api.selection import EVERYTHING, Selection

__all__ = ["MOST_RULES", "NOT_FETCHED", "JwtRule", "RequestAuthentication"]

MOST_RULES = 256
NOT_FETCHED = "keys are not fetched from loopback and link-local addresses, nor from the control plane's own"

_HEADER = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_LONGEST_FETCH = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class JwtRule:
    """One issuer. Without keys no token of it holds."""

    issuer: str
    audiences: tuple[str, ...] = ()
    """A token must be meant for one of them; empty asks nothing."""
    jwks: str = ""
    """The keys, as a JSON Web Key Set."""
    jwks_uri: str = ""
    """Where the control plane gets the keys, if they are not given."""
    timeout: timedelta | None = None
    """How long it waits for them; None where nothing is said."""
    headers: tuple[tuple[str, str], ...] = ()
    """Where tokens are looked for: names and what stands before the token. Authorization: Bearer if nothing is said."""
    params: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    forward: bool = False
    """Whether the application gets the token too."""
    payload_header: str = ""
    """Header that carries the verified claims to the application, in base64url."""
    claim_headers: tuple[tuple[str, str], ...] = ()
    """Headers that carry single claims to the application: header and claim."""

    @property
    def read_headers(self) -> frozenset[str]:
        """The headers in which tokens are looked for, that of cookies among them."""
        named = {name for name, _ in self.headers} | ({"cookie"} if self.cookies else set())
        return frozenset(named if named or self.params else {"authorization"})

    @property
    def written_headers(self) -> frozenset[str]:
        """The headers by which the application hears what a token says."""
        return frozenset(name for name in (self.payload_header, *(name for name, _ in self.claim_headers)) if name)


@dataclass(frozen=True, slots=True)
class RequestAuthentication:
    """One object. All rules of all objects that select a workload hold there together."""

    meta: Meta
    selection: Selection = EVERYTHING
    rules: tuple[JwtRule, ...] = ()
    unreadable: str = ""
    """Why the object could not be read, where this stands in for it."""

    @classmethod
    def parse(cls, obj: Any, domain: str) -> RequestAuthentication:  # noqa: ARG003 - one signature for every kind
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "RequestAuthentication")
        spec = Field(obj, "").get("spec").only("selector", "targetRef", "targetRefs", "jwtRules")
        return cls(
            meta, Selection.read(spec), tuple(_rule(item) for item in spec.get("jwtRules").each(most=MOST_RULES))
        )

    @classmethod
    def closed(cls, obj: Any, reason: str, domain: str) -> RequestAuthentication:  # noqa: ARG003 - one signature for every kind
        """What is in force in place of an object that cannot be read: no bearer token holds at what it selects.

        The headers that its tokens would write are written by nobody then, least of all by clients.
        """
        spec = Field(obj, "").get("spec")
        if not isinstance(spec.value, dict):
            spec = Field({}, "spec")
        unsaid = JwtRule("", claim_headers=tuple((name, "sub") for name in sorted(set(_named_outputs(spec)))))
        return cls(Meta.read(obj, "RequestAuthentication"), Selection.lenient(spec), (unsaid,), reason)


def _rule(item: Field) -> JwtRule:
    item.only(
        "issuer",
        "audiences",
        "jwks",
        "jwksUri",
        "jwks_uri",
        "timeout",
        "fromHeaders",
        "fromParams",
        "fromCookies",
        "forwardOriginalToken",
        "outputPayloadToHeader",
        "outputClaimToHeaders",
    )
    jwks, uri = item.get("jwks").text(""), item.get("jwksUri").text("") or item.get("jwks_uri").text("")
    if bool(jwks) is bool(uri):
        raise Invalid(f"{item.path}.jwks", "or jwksUri must be given, and not both")
    if problem := key_set_problem(jwks) if jwks else _uri_problem(uri):
        raise Invalid(f"{item.path}.{'jwks' if jwks else 'jwksUri'}", problem)
    rule = JwtRule(
        issuer=item.get("issuer").text(),
        audiences=_texts(item.get("audiences")),
        jwks=jwks,
        jwks_uri=uri,
        timeout=_timeout(item.get("timeout")),
        headers=tuple(
            (_header(one.only("name", "prefix").get("name")), one.get("prefix").text(""))
            for one in item.get("fromHeaders").each()
        ),
        params=_texts(item.get("fromParams")),
        cookies=_texts(item.get("fromCookies")),
        forward=item.get("forwardOriginalToken").boolean(),
        payload_header=_header(item.get("outputPayloadToHeader")) if item.get("outputPayloadToHeader").present else "",
        claim_headers=tuple(
            (_header(one.only("header", "claim").get("header")), one.get("claim").text())
            for one in item.get("outputClaimToHeaders").each()
        ),
    )
    read = rule.read_headers
    for field, name in _outputs(item):
        if name.lower() in read:
            problem = f"is {name!r}, where this rule looks for tokens; name another header"
            raise Invalid(field.path, problem)
    return rule


def _outputs(item: Field) -> Iterator[tuple[Field, str]]:
    """The fields of a good rule that name headers to write, and the names."""
    single = item.get("outputPayloadToHeader")
    claims = (one.get("header") for one in item.get("outputClaimToHeaders").each())
    return ((field, field.text()) for field in (single, *claims) if field.present)


def _named_outputs(spec: Field) -> Iterator[str]:
    """The names of headers to write that can be read of a spec, whatever else cannot be."""
    for rule in _objects(spec.value.get("jwtRules")):
        claims = _objects(rule.get("outputClaimToHeaders"))
        for name in (rule.get("outputPayloadToHeader"), *(one.get("header") for one in claims)):
            if isinstance(name, str) and _HEADER.fullmatch(name):
                yield name.lower()


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects in what may be a list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _timeout(field: Field) -> timedelta | None:
    found = field.duration(low=MILLISECOND)
    if found is not None and found > _LONGEST_FETCH:
        raise Invalid(field.path, f"must be at most {_LONGEST_FETCH.total_seconds():.0f}s")
    return found


def _texts(field: Field) -> tuple[str, ...]:
    return tuple(item.text() for item in field.each())


def _header(field: Field) -> str:
    text = field.text()
    if not _HEADER.fullmatch(text):
        raise Invalid(field.path, f"is not the name of a header: {text!r}")
    return text.lower()


def _uri_problem(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        host = parts.hostname if parts.scheme in {"http", "https"} and parts.port != 0 else None
    except ValueError:
        host = None
    if not host:
        return f"must be an http or https URL, not {uri!r}"
    address = address_of(host)
    return "" if address is None or not leads_back(address) else f"must not lead to {host}: {NOT_FETCHED}"
