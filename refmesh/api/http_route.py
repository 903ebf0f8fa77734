"""HTTPRoute of Gateway API whose parents are Services: routing between services without a gateway."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.meta import Meta
from refmesh.api.routing import (
    NO_CHANGE,
    Destination,
    HeaderChange,
    Match,
    NamedMatch,
    Redirect,
    Retry,
    Rewrite,
    Rule,
    TextMatch,
)

__all__ = ["HTTPRoute", "ParentService"]

_PATHS = {"Exact": "exact", "PathPrefix": "segment-prefix", "RegularExpression": "regex"}
_VALUES = {"Exact": "exact", "RegularExpression": "regex"}
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")


@dataclass(frozen=True)
class ParentService:
    """A Service that the route attaches to; no port means every port. `reference` is the parentRef as written."""

    namespace: str
    name: str
    port: int | None
    reference: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class HTTPRoute:
    """Rules for requests to the parents. Parents that are not Services are somebody else's."""

    meta: Meta
    parents: tuple[ParentService, ...]
    rules: tuple[Rule, ...]

    @classmethod
    def parse(cls, obj: Any, domain: str) -> HTTPRoute:
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "HTTPRoute")
        spec = Field(obj, "").get("spec").only("parentRefs", "hostnames", "rules", "useDefaultGateways")
        parents = tuple(found for item in spec.get("parentRefs").each() if (found := _parent(item, meta)) is not None)
        # Without rules the API server's default stands: everything goes to no backend, which is a 500.
        items = spec.get("rules").each()
        return cls(meta, parents, tuple(_rule(item, meta, domain) for item in items) if parents else ())


def _parent(item: Field, meta: Meta) -> ParentService | None:
    item.only("group", "kind", "namespace", "name", "sectionName", "port")
    if item.get("group").text("gateway.networking.k8s.io") != "" or item.get("kind").text("Gateway") != "Service":
        return None
    port = item.get("port")
    return ParentService(
        namespace=item.get("namespace").text(meta.namespace),
        name=item.get("name").text(),
        port=port.integer(low=1, high=65535) if port.present else None,
        reference=tuple(
            sorted((key, value.value) for key, value in item.entries().items() if isinstance(value.value, str | int))
        ),
    )


def _rule(item: Field, meta: Meta, domain: str) -> Rule:
    item.only("name", "matches", "filters", "backendRefs", "timeouts", "retry")
    filters = _Filters.read(item.get("filters"))
    timeouts = item.get("timeouts").only("request", "backendRequest")
    request, per_try = timeouts.get("request").duration(), timeouts.get("backendRequest").duration()
    return Rule(
        matches=tuple(_match(match) for match in item.get("matches").each()),
        destinations=tuple(_backend(backend, meta, domain) for backend in item.get("backendRefs").each()),
        timeout=request if request is not None else per_try,
        retry=_retry(item.get("retry"), per_try),
        request_headers=filters.request,
        response_headers=filters.response,
        redirect=filters.redirect,
        rewrite=filters.rewrite,
    )


def _match(item: Field) -> Match:
    item.only("path", "headers", "queryParams", "method")
    path = item.get("path").only("type", "value")
    kind = _PATHS[path.get("type").choice(*_PATHS, default="PathPrefix")]
    value = path.get("value").text("/")
    if kind == "regex":
        path.get("value").regex()
    elif not value.startswith("/"):
        raise Invalid(f"{path.path}.value", "must start with /")
    elif "?" in value or "#" in value:
        raise Invalid(f"{path.path}.value", "must be a path without query and fragment")
    method = item.get("method")
    everything = kind == "segment-prefix" and value == "/"
    return Match(
        path=None if everything else TextMatch(kind, value),  # type: ignore[arg-type]
        method=TextMatch("exact", method.choice(*_METHODS)) if method.present else None,
        headers=_values(item.get("headers"), header=True),
        query=_values(item.get("queryParams"), header=False),
    )


def _values(field: Field, *, header: bool) -> tuple[NamedMatch, ...]:
    found: dict[str, NamedMatch] = {}
    for item in field.each():
        item.only("type", "name", "value")
        name = item.get("name").text()
        if header and not _HEADER_NAME.fullmatch(name):
            raise Invalid(f"{item.path}.name", "is not a header name")
        kind = _VALUES[item.get("type").choice(*_VALUES, default="Exact")]
        value = item.get("value").regex() if kind == "regex" else item.get("value").text()
        key = name.lower() if header else name
        # Gateway API: of entries with the same name only the first counts.
        found.setdefault(key, NamedMatch(key, TextMatch(kind, value)))  # type: ignore[arg-type]
    return tuple(found.values())


def _backend(item: Field, meta: Meta, domain: str) -> Destination:
    item.only("group", "kind", "namespace", "name", "port", "weight", "filters")
    namespace, name = item.get("namespace").text(meta.namespace), item.get("name").text()
    group, kind = item.get("group").text(""), item.get("kind").text("Service")
    filters = _Filters.read(item.get("filters"))
    if filters.redirect or filters.rewrite:
        raise Invalid(f"{item.path}.filters", "on a backend only header modifiers are supported by refmesh")
    port = item.get("port")
    invalid = ""
    if (group, kind) != ("", "Service"):
        invalid = f"InvalidKind: {group or 'core'}/{kind} cannot be a backend"
    elif not port.present:
        invalid = f"BackendNotFound: the reference to Service {name} has no port"
    elif namespace != meta.namespace:
        invalid = f"RefNotPermitted: no ReferenceGrant lets routes of {meta.namespace} use Service {namespace}/{name}"
    return Destination(
        host=f"{name}.{namespace}.svc.{domain}",
        port=port.integer(low=1, high=65535) if port.present else None,
        weight=item.get("weight").integer(1, high=1_000_000),
        request_headers=filters.request,
        response_headers=filters.response,
        invalid=invalid,
    )


def _retry(field: Field, per_try: timedelta | None) -> Retry | None:
    if not field.present:
        return None
    field.only("codes", "attempts", "backoff")
    codes = tuple(item.integer(low=400, high=599) for item in field.get("codes").each())
    # A list of statuses comes on top of connection failures, as Gateway API describes retries.
    on = "connect-failure,refused-stream,reset-before-request" + (",retriable-status-codes" if codes else "")
    return Retry(field.get("attempts").integer(1, high=1000), per_try, on, codes)


@dataclass(frozen=True)
class _Filters:
    request: HeaderChange = NO_CHANGE
    response: HeaderChange = NO_CHANGE
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None

    @classmethod
    def read(cls, field: Field) -> _Filters:
        request, response = NO_CHANGE, NO_CHANGE
        redirect, rewrite = None, None
        for item in field.each():
            match item.get("type").text():
                case "RequestHeaderModifier":
                    request = _header_filter(item.only("type", "requestHeaderModifier").get("requestHeaderModifier"))
                case "ResponseHeaderModifier":
                    response = _header_filter(item.only("type", "responseHeaderModifier").get("responseHeaderModifier"))
                case "RequestRedirect":
                    redirect = _redirect(item.only("type", "requestRedirect").get("requestRedirect"))
                case "URLRewrite":
                    rewrite = _rewrite(item.only("type", "urlRewrite").get("urlRewrite"))
                case other:
                    raise Invalid(f"{item.path}.type", f"{other} is not supported by refmesh")
        return cls(request, response, redirect, rewrite)


def _header_filter(field: Field) -> HeaderChange:
    field.only("set", "add", "remove")

    def pairs(key: str) -> tuple[tuple[str, str], ...]:
        items = [item.only("name", "value") for item in field.get(key).each()]
        return tuple((_name(item.get("name")), item.get("value").text("")) for item in items)

    return HeaderChange(pairs("set"), pairs("add"), tuple(_name(item) for item in field.get("remove").each()))


def _name(field: Field) -> str:
    name = field.text()
    if not _HEADER_NAME.fullmatch(name) or name.lower() == "host":
        raise Invalid(field.path, f"{name!r} is not a header name that can be changed")
    return name


def _path_change(field: Field) -> tuple[str, str | None]:
    """(full path, replacement of the matched prefix)."""
    if not field.present:
        return "", None
    field.only("type", "replaceFullPath", "replacePrefixMatch")
    if field.get("type").choice("ReplaceFullPath", "ReplacePrefixMatch") == "ReplaceFullPath":
        return field.get("replaceFullPath").text(), None
    return "", field.get("replacePrefixMatch").text("")


def _redirect(field: Field) -> Redirect:
    field.only("scheme", "hostname", "path", "port", "statusCode")
    status = field.get("statusCode").integer(302, high=599)
    if status not in {301, 302, 303, 307, 308}:
        raise Invalid(f"{field.path}.statusCode", "must be 301, 302, 303, 307 or 308")
    path, prefix = _path_change(field.get("path"))
    scheme, port = field.get("scheme"), field.get("port")
    return Redirect(
        scheme=scheme.choice("http", "https") if scheme.present else "",
        host=field.get("hostname").text(""),
        port=port.integer(low=1, high=65535) if port.present else 0,
        path=path,
        prefix=prefix,
        status=status,
    )


def _rewrite(field: Field) -> Rewrite:
    field.only("hostname", "path")
    path, prefix = _path_change(field.get("path"))
    return Rewrite(field.get("hostname").text(""), path, prefix)
