"""VirtualService: routing for hosts, in the order that the object gives. tcp and tls routes are in stream_routes.py."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from refmesh.api.fields import MILLISECOND, Field, Invalid
from refmesh.api.istio_gateway import HOST
from refmesh.api.meta import Meta, short_host
from refmesh.api.routing import (
    Cors,
    Destination,
    Fault,
    HeaderChange,
    Match,
    Mirror,
    NamedMatch,
    Redirect,
    Retry,
    Rewrite,
    Rule,
    TextMatch,
)
from refmesh.api.stream_routes import MESH, StreamMatch, StreamRule, gateway_names, source_labels, stream_rules, target

__all__ = ["VirtualService"]

# What Envoy knows for x-envoy-retry-on and x-envoy-retry-grpc-on; it leaves out other words in silence.
_RETRY_ON = {
    "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx",
    "refused-stream", "retriable-status-codes", "retriable-headers", "http3-post-connect-failure", "cancelled",
    "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
}  # fmt: skip
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True)
class VirtualService:
    """Rules for requests to `hosts` (full names); the first rule that matches decides.

    `gateways` are the Gateways (namespace/name) and the `mesh` that it is for.
    """

    meta: Meta
    hosts: tuple[str, ...]
    rules: tuple[Rule, ...]
    streams: tuple[StreamRule, ...] = ()
    gateways: tuple[str, ...] = (MESH,)
    outside: tuple[str, ...] = ()
    """The hosts as clients at a Gateway call them: as they are written, "" for every one."""

    def rules_for(self, gateway: str) -> tuple[Rule, ...]:
        """The HTTP rules that hold at a Gateway, or in the `mesh`."""
        if gateway not in self.gateways:
            return ()
        found = []
        for rule in self.rules:
            matches = tuple(match for match in rule.matches if not match.gateways or gateway in match.gateways)
            # A rule all of whose matches are for somewhere else must not become one for every request here.
            if matches or not rule.matches:
                found.append(replace(rule, matches=matches))
        return tuple(found)

    @property
    def source_namespaces(self) -> frozenset[str]:
        """The namespaces whose clients a match asks for."""
        return frozenset(match.source_namespace for match in self._matches if match.source_namespace)

    @property
    def by_labels(self) -> bool:
        """Whether clients are told apart by the labels of their pods."""
        return any(match.source_labels for match in self._matches)

    @property
    def _matches(self) -> tuple[Match | StreamMatch, ...]:
        requests = (match for rule in self.rules for match in rule.matches)
        return (*requests, *(match for rule in self.streams for match in rule.matches))

    @classmethod
    def parse(cls, obj: Any, domain: str) -> VirtualService:
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "VirtualService")
        spec = Field(obj, "").get("spec").only("hosts", "http", "tcp", "tls", "gateways", "exportTo")
        for scope in spec.get("exportTo").each():
            if scope.text() != "*":
                raise Invalid(scope.path, "is not supported by refmesh unless it is `*`")
        gateways = gateway_names(spec, meta.namespace) or (MESH,)
        written = tuple(_host(host) for host in spec.get("hosts").each())
        if not written:
            raise Invalid("spec.hosts", "is required")
        hosts = tuple(short_host(host, meta.namespace, domain) for host in written)
        rules = tuple(_rule(item, meta.namespace, domain) for item in spec.get("http").each())
        streams = stream_rules(spec, meta.namespace, domain, gateways)
        if not rules and not streams:
            raise Invalid("spec.http", "needs at least one rule, or spec.tcp or spec.tls does")
        return cls(meta, hosts, rules, streams, gateways, tuple("" if host == "*" else host for host in written))


def _host(field: Field) -> str:
    host = field.text().lower().rstrip(".")
    if "*" in host and not HOST.fullmatch(host):
        raise Invalid(field.path, "may have a * as its first label only")
    return host


def _rule(item: Field, namespace: str, domain: str) -> Rule:
    if item.get("delegate").present:
        raise Invalid(f"{item.path}.delegate", "is not supported by refmesh; write the delegate's routes here")
    item.only(
        "name", "match", "route", "timeout", "retries", "fault", "headers", "redirect", "rewrite", "mirror", "mirrors",
        "mirrorPercentage", "corsPolicy",
    )  # fmt: skip
    destinations = tuple(_destination(route, namespace, domain) for route in item.get("route").each())
    redirect = _redirect(item.get("redirect"))
    if not destinations and redirect is None:
        raise Invalid(f"{item.path}.route", "is required (or a redirect)")
    if destinations and redirect is not None:
        raise Invalid(f"{item.path}.redirect", "cannot stand beside a route")
    destinations = _weights(item, destinations)
    request, response = _headers(item.get("headers"))
    timeout = item.get("timeout").duration()
    return Rule(
        name=item.get("name").text(""),
        matches=tuple(_match(match, namespace) for match in item.get("match").each()),
        destinations=destinations,
        timeout=timeout,
        retry=_retry(item.get("retries")),
        fault=_fault(item.get("fault")),
        request_headers=request,
        response_headers=response,
        redirect=redirect,
        rewrite=_rewrite(item.get("rewrite")),
        mirrors=_mirrors(item, namespace, domain),
        cors=_cors(item.get("corsPolicy")),
    )


def _mirrors(item: Field, namespace: str, domain: str) -> tuple[Mirror, ...]:
    single, several = item.get("mirror"), item.get("mirrors").each()
    if single.present and several:
        raise Invalid(f"{item.path}.mirrors", "cannot stand beside mirror")
    if not single.present and item.get("mirrorPercentage").present:
        raise Invalid(f"{item.path}.mirrorPercentage", "needs a mirror")
    if single.present:
        share = item.get("mirrorPercentage").only("value").get("value").number(100.0)
        return (Mirror(target(single, namespace, domain), share),)
    return tuple(
        Mirror(
            target(entry.only("destination", "percentage").get("destination"), namespace, domain),
            entry.get("percentage").only("value").get("value").number(100.0),
        )
        for entry in several
    )


def _cors(field: Field) -> Cors | None:
    if not field.present:
        return None
    field.only("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge", "allowCredentials")
    origins = []
    for item in field.get("allowOrigins").each():
        origin = _text_match(item)
        if origin is None:
            raise Invalid(item.path, "must have one of exact, prefix, regex")
        everything = origin.kind == "exact" and origin.value == "*"
        origins.append(TextMatch("regex", ".*") if everything else origin)

    def texts(key: str) -> tuple[str, ...]:
        return tuple(item.text() for item in field.get(key).each())

    return Cors(
        origins=tuple(origins),
        methods=texts("allowMethods"),
        headers=texts("allowHeaders"),
        exposed=texts("exposeHeaders"),
        max_age=field.get("maxAge").duration(),
        credentials=field.get("allowCredentials").boolean(),
    )


def _weights(item: Field, destinations: tuple[Destination, ...]) -> tuple[Destination, ...]:
    if len(destinations) == 1 and destinations[0].weight == 0:
        # Istio reads an absent weight of a single destination as all of the traffic; an explicit 0 means none there.
        if item.get("route").each()[0].get("weight").present:
            raise Invalid(f"{item.path}.route[0].weight", "must not be 0 where it is the only destination")
        return (replace(destinations[0], weight=100),)
    if destinations and not any(destination.weight for destination in destinations):
        raise Invalid(f"{item.path}.route", "has no destination with a weight above 0")
    return destinations


def _destination(route: Field, namespace: str, domain: str) -> Destination:
    route.only("destination", "weight", "headers")
    request, response = _headers(route.get("headers"))
    return replace(
        target(route.get("destination"), namespace, domain),
        weight=route.get("weight").integer(0, high=1_000_000),
        request_headers=request,
        response_headers=response,
    )


def _match(item: Field, namespace: str) -> Match:
    item.only(
        "name", "uri", "method", "authority", "headers", "withoutHeaders", "queryParams", "ignoreUriCase", "gateways",
        "port", "sourceLabels", "sourceNamespace",
    )  # fmt: skip
    port = item.get("port")
    headers = [_named(name, value, header=True) for name, value in item.get("headers").entries().items()]
    without = [_named(name, value, header=True) for name, value in item.get("withoutHeaders").entries().items()]
    return Match(
        path=_text_match(item.get("uri"), ignore_case=item.get("ignoreUriCase").boolean()),
        method=_text_match(item.get("method")),
        authority=_text_match(item.get("authority")),
        headers=(*headers, *(NamedMatch(entry.name, entry.match, invert=True) for entry in without)),
        query=tuple(_named(name, value, header=False) for name, value in item.get("queryParams").entries().items()),
        port=port.integer(low=1, high=65535) if port.present else None,
        source_labels=source_labels(item),
        source_namespace=item.get("sourceNamespace").text(""),
        gateways=gateway_names(item, namespace),
    )


def _named(name: str, value: Field, *, header: bool) -> NamedMatch:
    if header and not _HEADER_NAME.fullmatch(name):
        raise Invalid(value.path, "is not a header name")
    if not name:
        raise Invalid(value.path, "needs a name")
    # An empty object asks for presence only.
    found = _text_match(value) or TextMatch("present")
    return NamedMatch(name.lower() if header else name, found)


def _text_match(field: Field, *, ignore_case: bool = False) -> TextMatch | None:
    field.only("exact", "prefix", "regex")
    given = [kind for kind in ("exact", "prefix", "regex") if field.get(kind).present]
    if len(given) > 1:
        raise Invalid(field.path, "must have one of exact, prefix, regex")
    if not given:
        return None
    if given[0] == "regex":
        return TextMatch("regex", field.get("regex").regex())
    return TextMatch("exact" if given[0] == "exact" else "prefix", field.get(given[0]).text(), ignore_case)


def _headers(field: Field) -> tuple[HeaderChange, HeaderChange]:
    field.only("request", "response")
    return _change(field.get("request")), _change(field.get("response"))


def _change(field: Field) -> HeaderChange:
    field.only("set", "add", "remove")

    def pairs(key: str) -> tuple[tuple[str, str], ...]:
        return tuple((_header_name(name, value), value.text("")) for name, value in field.get(key).entries().items())

    remove = tuple(_header_name(item.text(), item) for item in field.get("remove").each())
    return HeaderChange(pairs("set"), pairs("add"), remove)


def _header_name(name: str, field: Field) -> str:
    if not _HEADER_NAME.fullmatch(name) or name.lower() == "host":
        raise Invalid(field.path, f"{name!r} is not a header name that can be changed")
    return name


def _retry(field: Field) -> Retry | None:
    if not field.present:
        return None
    field.only("attempts", "perTryTimeout", "retryOn")
    conditions, statuses = [], []
    for condition in (part.strip() for part in field.get("retryOn").text("").split(",")):
        if condition.isascii() and condition.isdigit():
            if not 100 <= int(condition[:9]) <= 599:
                raise Invalid(f"{field.path}.retryOn", f"{condition} is not an HTTP status")
            statuses.append(int(condition))
        elif condition in _RETRY_ON:
            conditions.append(condition)
        elif condition:
            known = ", ".join(sorted(_RETRY_ON))
            raise Invalid(f"{field.path}.retryOn", f"{condition!r} is neither an HTTP status nor one of {known}")
    if statuses:
        conditions.append("retriable-status-codes")
    attempts = field.get("attempts").integer(2, high=1000)
    return Retry(attempts, field.get("perTryTimeout").duration(), ",".join(conditions), tuple(statuses))


def _fault(field: Field) -> Fault | None:
    if not field.present:
        return None
    delay, abort = field.only("delay", "abort").get("delay"), field.get("abort")
    delay.only("fixedDelay", "percentage")
    abort.only("httpStatus", "percentage")
    fixed = delay.get("fixedDelay").duration(low=MILLISECOND)
    if delay.present and fixed is None:
        raise Invalid(f"{delay.path}.fixedDelay", "is required")
    return Fault(
        delay=fixed,
        delay_percent=_percent(delay) if delay.present else 0.0,
        abort_status=abort.get("httpStatus").integer(low=200, high=599) if abort.present else 0,
        abort_percent=_percent(abort) if abort.present else 0.0,
    )


def _percent(field: Field) -> float:
    return field.get("percentage").only("value").get("value").number(100.0)


def _redirect(field: Field) -> Redirect | None:
    if not field.present:
        return None
    field.only("uri", "authority", "port", "scheme", "redirectCode")
    code = field.get("redirectCode").integer(301, high=599)
    if code not in {301, 302, 303, 307, 308}:
        raise Invalid(f"{field.path}.redirectCode", "must be 301, 302, 303, 307 or 308")
    port = field.get("port")
    return Redirect(
        scheme=field.get("scheme").text(""),
        host=field.get("authority").text(""),
        port=port.integer(low=1, high=65535) if port.present else 0,
        path=field.get("uri").text(""),
        status=code,
    )


def _rewrite(field: Field) -> Rewrite | None:
    if not field.present:
        return None
    field.only("uri", "authority")
    uri = field.get("uri")
    return Rewrite(host=field.get("authority").text(""), prefix=uri.text() if uri.present else None)
