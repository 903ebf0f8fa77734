"""What HTTPRoute and GRPCRoute of Gateway API have in common: parents, backends, header matches and filters."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.gateway import GROUP
from refmesh.api.header_values import HEADER_NAME, countable, literal, query_name
from refmesh.api.meta import Meta
from refmesh.api.routing import (
    NO_CHANGE,
    Cors,
    Destination,
    HeaderChange,
    Mirror,
    NamedMatch,
    Redirect,
    Rewrite,
    Rule,
    TextMatch,
    weighable,
)

__all__ = [
    "Filters",
    "GatewayRoute",
    "ParentGateway",
    "ParentService",
    "backends",
    "gateway_parents",
    "hostnames",
    "named_values",
    "parents",
]

_VALUES = {"Exact": "exact", "RegularExpression": "regex"}
_HOSTNAME = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_ORIGIN = re.compile(r"\*|(?i:https?)://(?:\*\.)?[a-z0-9.-]+(?::\d{1,5})?", re.IGNORECASE)


@dataclass(frozen=True)
class ParentService:
    """A Service that the route attaches to; no port means every port. `reference` is the parentRef as written."""

    namespace: str
    name: str
    port: int | None
    reference: tuple[tuple[str, Any], ...]

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name of the Service."""
        return (self.namespace, self.name)


@dataclass(frozen=True)
class ParentGateway:
    """A Gateway that the route attaches to: one of its listeners, those of a port, or all. `reference` as written."""

    namespace: str
    name: str
    section: str
    port: int | None
    reference: tuple[tuple[str, Any], ...]

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name of the Gateway."""
        return (self.namespace, self.name)


@dataclass(frozen=True)
class GatewayRoute:
    """Rules for requests to the parents: Services (`parents`), and Gateways. Other parents are somebody else's.

    `hostnames` say for which hosts the rules hold at a Gateway; none: for all. Services have no use for them.
    """

    meta: Meta
    parents: tuple[ParentService, ...]
    rules: tuple[Rule, ...]
    gateways: tuple[ParentGateway, ...] = ()
    hostnames: tuple[str, ...] = ()


def parents(spec: Field, meta: Meta) -> tuple[ParentService, ...]:
    """The parents that are Services."""
    return tuple(found for item in spec.get("parentRefs").each() if (found := _parent(item, meta)) is not None)


def _parent(item: Field, meta: Meta) -> ParentService | None:
    item.only("group", "kind", "namespace", "name", "sectionName", "port")
    if item.get("group").text("gateway.networking.k8s.io") != "" or item.get("kind").text("Gateway") != "Service":
        return None
    if item.get("sectionName").text(""):
        raise Invalid(f"{item.path}.sectionName", "has no meaning for a Service; use port")
    port = item.get("port")
    return ParentService(
        namespace=item.get("namespace").text(meta.namespace),
        name=item.get("name").text(),
        port=port.integer(low=1, high=65535) if port.present else None,
        reference=_as_written(item),
    )


def gateway_parents(spec: Field, meta: Meta) -> tuple[ParentGateway, ...]:
    """The parents that are Gateways."""
    found = []
    for item in spec.get("parentRefs").each():
        kind = (item.get("group").text(GROUP), item.get("kind").text("Gateway"))
        if kind == (GROUP, "Gateway"):
            port = item.get("port")
            parent = ParentGateway(
                namespace=item.get("namespace").text(meta.namespace),
                name=item.get("name").text(),
                section=item.get("sectionName").text(""),
                port=port.integer(low=1, high=65535) if port.present else None,
                reference=_as_written(item),
            )
            found.append(parent)
    return tuple(found)


def _as_written(item: Field) -> tuple[tuple[str, Any], ...]:
    entries = item.entries().items()
    return tuple(sorted((key, value.value) for key, value in entries if isinstance(value.value, str | int)))


def hostnames(spec: Field) -> tuple[str, ...]:
    """The hosts that the rules are for, in lower case; a `*` may stand for the first label."""
    found = []
    for item in spec.get("hostnames").each():
        name = item.text().lower()
        if not _HOSTNAME.fullmatch(name):
            raise Invalid(item.path, "must be a host name, whose first label may be *")
        found.append(name)
    return tuple(found)


def named_values(field: Field, *, header: bool) -> tuple[NamedMatch, ...]:
    """Matches of headers or query parameters."""
    found: dict[str, NamedMatch] = {}
    for item in field.each():
        item.only("type", "name", "value")
        name = item.get("name").text()
        if header and not HEADER_NAME.fullmatch(name):
            raise Invalid(f"{item.path}.name", "is not a header name")
        kind = _VALUES[item.get("type").choice(*_VALUES, default="Exact")]
        value = item.get("value").regex() if kind == "regex" else item.get("value").text()
        key = name.lower() if header else query_name(name, f"{item.path}.name")
        # Gateway API: of entries with the same name only the first counts.
        found.setdefault(key, NamedMatch(key, TextMatch(kind, value)))  # type: ignore[arg-type]
    return tuple(found.values())


def backends(field: Field, meta: Meta, domain: str) -> tuple[Destination, ...]:
    """The `backendRefs` of a rule."""
    return weighable(tuple(_backend(item, meta, domain) for item in field.each()), field.path)


def _backend(item: Field, meta: Meta, domain: str) -> Destination:
    """A backendRef with its weight and filters. One that cannot be right in any cluster carries the reason."""
    item.only("group", "kind", "namespace", "name", "port", "weight", "filters")
    filters = Filters.read(item.get("filters"), meta, domain)
    if replace(filters, request=NO_CHANGE, response=NO_CHANGE) != Filters():
        raise Invalid(f"{item.path}.filters", "on a backend only header modifiers are supported by refmesh")
    return replace(
        _reference(item, meta, domain),
        weight=item.get("weight").integer(1, high=1_000_000),
        request_headers=filters.request,
        response_headers=filters.response,
    )


def _reference(item: Field, meta: Meta, domain: str) -> Destination:
    namespace, name = item.get("namespace").text(meta.namespace), item.get("name").text()
    group, kind = item.get("group").text(""), item.get("kind").text("Service")
    port = item.get("port")
    invalid = ""
    if (group, kind) != ("", "Service"):
        invalid = f"InvalidKind: {group or 'core'}/{kind} cannot be a backend"
    elif not port.present:
        invalid = f"BackendNotFound: the reference to Service {name} has no port"
    return Destination(
        host=f"{name}.{namespace}.svc.{domain}",
        port=port.integer(low=1, high=65535) if port.present else None,
        invalid=invalid,
    )


@dataclass(frozen=True)
class Filters:
    """The filters of a rule or a backend."""

    request: HeaderChange = NO_CHANGE
    response: HeaderChange = NO_CHANGE
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None

    @classmethod
    def read(cls, field: Field, meta: Meta, domain: str) -> Filters:
        """Read a list of filters. Raises `Invalid` for one that refmesh has not."""
        found, mirrors = cls(), list[Mirror]()
        for item in field.each():
            match item.get("type").text():
                case "RequestHeaderModifier":
                    change = _header_filter(item.only("type", "requestHeaderModifier").get("requestHeaderModifier"))
                    found = replace(found, request=change)
                case "ResponseHeaderModifier":
                    change = _header_filter(item.only("type", "responseHeaderModifier").get("responseHeaderModifier"))
                    found = replace(found, response=change)
                case "RequestRedirect":
                    redirect = _redirect(item.only("type", "requestRedirect").get("requestRedirect"))
                    found = replace(found, redirect=redirect)
                case "URLRewrite":
                    found = replace(found, rewrite=_rewrite(item.only("type", "urlRewrite").get("urlRewrite")))
                case "RequestMirror":
                    mirrors.append(_mirror(item.only("type", "requestMirror").get("requestMirror"), meta, domain))
                case "CORS":
                    found = replace(found, cors=_cors(item.only("type", "cors").get("cors")))
                case other:
                    raise Invalid(f"{item.path}.type", f"{other} is not supported by refmesh")
        if found.redirect and found.rewrite:
            raise Invalid(field.path, "cannot have both RequestRedirect and URLRewrite")
        return replace(found, mirrors=tuple(mirrors))


def _mirror(field: Field, meta: Meta, domain: str) -> Mirror:
    field.only("backendRef", "percent", "fraction")
    percent, fraction = field.get("percent"), field.get("fraction").only("numerator", "denominator")
    if percent.present and fraction.present:
        raise Invalid(f"{field.path}.fraction", "cannot stand beside percent")
    share = float(percent.integer(100, high=100))
    if fraction.present:
        whole = fraction.get("denominator").integer(100, low=1)
        share = 100.0 * fraction.get("numerator").integer(high=whole) / whole
    target = field.get("backendRef").only("group", "kind", "namespace", "name", "port")
    return Mirror(_reference(target, meta, domain), share)


def _cors(field: Field) -> Cors:
    field.only("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge", "allowCredentials")
    seconds = field.get("maxAge").integer(5, low=1)

    def texts(key: str) -> tuple[str, ...]:
        return tuple(item.text() for item in field.get(key).each())

    return Cors(
        origins=tuple(_origin(item) for item in field.get("allowOrigins").each()),
        methods=texts("allowMethods"),
        headers=texts("allowHeaders"),
        exposed=texts("exposeHeaders"),
        max_age=timedelta(seconds=seconds),
        credentials=field.get("allowCredentials").boolean(),
    )


def _origin(item: Field) -> TextMatch:
    text = item.text()
    if not _ORIGIN.fullmatch(text):
        raise Invalid(item.path, "must be * or an origin such as https://example.com or https://*.example.com")
    if "*" not in text:
        return TextMatch("exact", text)
    # The wildcard of a host stands for one label or more, never for another scheme, port or path.
    return TextMatch("regex", ".*" if text == "*" else re.escape(text).replace(r"\*", r"[^/:]+"))


def _header_filter(field: Field) -> HeaderChange:
    field.only("set", "add", "remove")

    def pairs(key: str) -> tuple[tuple[str, str], ...]:
        items = [item.only("name", "value") for item in field.get(key).each()]
        return tuple((_name(item.get("name")), literal(item.get("value").text(""))) for item in items)

    remove = tuple(_name(item) for item in field.get("remove").each())
    return countable(HeaderChange(pairs("set"), pairs("add"), remove), field.path)


def _name(field: Field) -> str:
    name = field.text()
    if not HEADER_NAME.fullmatch(name) or name.lower() == "host":
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
