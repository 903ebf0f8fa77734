"""RequestAuthentication: whose tokens a workload believes. What a request without one may do, other policies say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from refmesh.api.fields import Field, Invalid
from refmesh.api.key_sets import key_set_problem
from refmesh.api.meta import Meta
from refmesh.api.selection import EVERYTHING, Selection

__all__ = ["JwtRule", "RequestAuthentication"]

_HEADER = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")


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
        return cls(meta, Selection.read(spec), tuple(_rule(item) for item in spec.get("jwtRules").each()))

    @classmethod
    def closed(cls, obj: Any, reason: str, domain: str) -> RequestAuthentication:  # noqa: ARG003 - one signature for every kind
        """What is in force in place of an object that cannot be read: no bearer token holds at what it selects."""
        spec = Field(obj, "").get("spec")
        if not isinstance(spec.value, dict):
            spec = Field({}, "spec")
        return cls(Meta.read(obj, "RequestAuthentication"), Selection.lenient(spec), (JwtRule(""),), reason)


def _rule(item: Field) -> JwtRule:
    item.only(
        "issuer",
        "audiences",
        "jwks",
        "jwksUri",
        "jwks_uri",
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
    return JwtRule(
        issuer=item.get("issuer").text(),
        audiences=_texts(item.get("audiences")),
        jwks=jwks,
        jwks_uri=uri,
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
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    return "" if good else f"must be an http or https URL, not {uri!r}"
