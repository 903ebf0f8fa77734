"""Conditions of AuthorizationPolicies as Envoy's matchers, one function an attribute.

`loose` is asked where too much must rather match than too little: in DENY and AUDIT policies, and for the not-forms of
ALLOW policies. It decides what cannot be decided for certain, such as which of several equal headers counts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ListMatcher, ValueMatcher

from refmesh.discovery.packing import uint32

__all__ = [
    "JWT_FILTER",
    "cidr",
    "claim",
    "header",
    "host",
    "method",
    "namespace_identity",
    "path",
    "principal_identity",
    "request_principal",
    "text",
]

JWT_FILTER = "envoy.filters.http.jwt_authn"
CLAIMS = "payload"
"""Where the JWT filter puts the claims, within its own metadata."""

_TEMPLATE = re.compile(r"(\{\*\*?\})")
_PORT = re.compile(r"(?=:[0-9]*\*?\Z)")


def exact(value: str) -> Any:
    """Exactly this text."""
    return StringMatcher(exact=value)


def text(value: str) -> Any:
    """`x`, `x*`, `*x`, or `*` for anything that is not empty."""
    if value == "*":
        return pattern(".+")
    if value.startswith("*"):
        return StringMatcher(suffix=value[1:])
    if value.endswith("*"):
        return StringMatcher(prefix=value[:-1])
    return exact(value)


def pattern(regex: str) -> Any:
    """A regular expression for the whole text."""
    return StringMatcher(safe_regex=RegexMatcher(regex=regex))


def quoted(value: str) -> str:
    """The regular expression for `x`, `x*`, `*x` or `*`."""
    return ".*".join(re.escape(part) for part in value.split("*"))


# ---------------------------------------------------------------------------------------------------------------- peers
def principal_identity(value: str, trust_domain: str) -> Any:
    """The URI in the peer's certificate, for a principal such as `cluster.local/ns/shop/sa/web`."""
    if value == "*":
        return StringMatcher(prefix="spiffe://")
    if value.startswith("*"):
        return StringMatcher(suffix=value[1:])
    # Policies are written for any mesh: cluster.local stands for its own trust domain.
    domain, slash, rest = value.partition("/")
    return text(f"spiffe://{trust_domain if domain == 'cluster.local' else domain}{slash}{rest}")


def namespace_identity(value: str) -> Any:
    """The URI in the certificate of a peer of a namespace."""
    part = re.escape(value).replace(r"\*", "[^/]*")
    return pattern(f"spiffe://[^/]+/ns/{part}/sa/[^/]+")


def cidr(value: str) -> Any:
    """An address or a block."""
    network = ipaddress.ip_network(value, strict=False)
    return CidrRange(address_prefix=str(network.network_address), prefix_len=uint32(network.prefixlen))


# ------------------------------------------------------------------------------------------------------------- requests
def header(name: str, value: str, *, loose: bool) -> Any:
    """A header. Several of one name are one text with commas between (see `refmesh.agent.bootstrap.RUNTIME`).

    Strictly, that whole text must match; loosely, one of the values is enough.
    """
    if value == "*":
        return HeaderMatcher(name=name, present_match=True)
    if not loose:
        return HeaderMatcher(name=name, string_match=text(value))
    before = "" if value.startswith("*") else r"(?:.*,)?\s*"
    after = "" if value.endswith("*") else r"\s*(?:,.*)?"
    return HeaderMatcher(name=name, string_match=pattern(f"{before}{quoted(value)}{after}"))


def host(value: str, *, loose: bool) -> Any:
    """The Host header, in any case.

    Strictly, it must be as it is written, with the port if it has one. Loosely, a dot after the name and, where the
    value has no port, a port change nothing: whoever is asked is the same, and gateways route by the name alone.
    """
    matcher = text(value)
    if value == "*":
        return HeaderMatcher(name=":authority", string_match=matcher)
    matcher.ignore_case = True
    if loose:
        name, *port = _PORT.split(value, maxsplit=1)
        matcher = pattern(rf"(?i){quoted(name)}\.?{quoted(port[0]) if port else '(?::.*)?'}")
    return HeaderMatcher(name=":authority", string_match=matcher)


def method(value: str) -> Any:
    """The method."""
    return HeaderMatcher(name=":method", string_match=text(value))


def path(value: str) -> Any:
    """The path without its query and, by the route's setting, without parameters (`;x=1`)."""
    if "{" not in value:
        return text(value)
    words = {"{*}": "[^/]+", "{**}": ".*"}
    return pattern("".join(words.get(part) or re.escape(part) for part in _TEMPLATE.split(value)))


# --------------------------------------------------------------------------------------------------------------- tokens
def request_principal(value: str) -> list[list[Any]]:
    """Issuer and subject of the token, written `issuer/subject`: all matchers of one of the lists must match.

    An issuer is mostly a URL. Envoy has the two apart, so the text may be divided at each of its slashes, and a text
    that only begins or ends so may end within the issuer or begin within the subject.
    """
    divided = [(value[:index], value[index + 1 :]) for index, letter in enumerate(value) if letter == "/"]
    found = [(issuer, subject) for issuer, subject in divided if issuer and subject]
    if value.endswith("*"):
        found.append((value, "*"))
    if value.startswith("*") or not found:
        found.append(("*", value))
    return [[claim(("iss",), text(issuer)), claim(("sub",), text(subject))] for issuer, subject in dict.fromkeys(found)]


def claim(keys: Sequence[str], matcher: Any, *, listed: bool = False) -> Any:
    """A claim that is a text or, `listed`, one item of a list."""
    value = ValueMatcher(string_match=matcher)
    if listed:
        value = ValueMatcher(list_match=ListMatcher(one_of=value))
    steps = [MetadataMatcher.PathSegment(key=key) for key in (CLAIMS, *keys)]
    return MetadataMatcher(filter=JWT_FILTER, path=steps, value=value)
