"""VirtualService: HTTP routing for hosts, in the order that the object gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.meta import Meta, short_host
from refmesh.api.routing import (
    Destination,
    Fault,
    HeaderChange,
    Match,
    NamedMatch,
    Redirect,
    Retry,
    Rewrite,
    Rule,
    TextMatch,
)

__all__ = ["VirtualService"]

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_MESH_GATEWAY = "mesh"


@dataclass(frozen=True)
class VirtualService:
    """Rules for requests to `hosts` (full names); the first rule that matches decides."""

    meta: Meta
    hosts: tuple[str, ...]
    rules: tuple[Rule, ...]

    @classmethod
    def parse(cls, obj: Any, domain: str) -> VirtualService:
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "VirtualService")
        spec = Field(obj, "").get("spec").only("hosts", "http", "gateways", "exportTo")
        for gateway in spec.get("gateways").each():
            if gateway.text() != _MESH_GATEWAY:
                raise Invalid(gateway.path, "names a Gateway; only `mesh` is supported by refmesh")
        for scope in spec.get("exportTo").each():
            if scope.text() != "*":
                raise Invalid(scope.path, "is not supported by refmesh unless it is `*`")
        hosts = tuple(short_host(host.text(), meta.namespace, domain) for host in spec.get("hosts").each())
        if not hosts:
            raise Invalid("spec.hosts", "is required")
        rules = tuple(_rule(item, meta.namespace, domain) for item in spec.get("http").each())
        if not rules:
            raise Invalid("spec.http", "needs at least one rule")
        return cls(meta, hosts, rules)


def _rule(item: Field, namespace: str, domain: str) -> Rule:
    item.only("name", "match", "route", "timeout", "retries", "fault", "headers", "redirect", "rewrite")
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
        matches=tuple(_match(match) for match in item.get("match").each()),
        destinations=destinations,
        timeout=timeout,
        retry=_retry(item.get("retries")),
        fault=_fault(item.get("fault")),
        request_headers=request,
        response_headers=response,
        redirect=redirect,
        rewrite=_rewrite(item.get("rewrite")),
    )


def _weights(item: Field, destinations: tuple[Destination, ...]) -> tuple[Destination, ...]:
    if len(destinations) == 1 and destinations[0].weight == 0:
        # Istio reads an absent weight of a single destination as all of the traffic; an explicit 0 means none there.
        if item.get("route").each()[0].get("weight").present:
            raise Invalid(f"{item.path}.route[0].weight", "must not be 0 where it is the only destination")
        return (_with_weight(destinations[0], 100),)
    if destinations and not any(destination.weight for destination in destinations):
        raise Invalid(f"{item.path}.route", "has no destination with a weight above 0")
    return destinations


def _with_weight(destination: Destination, weight: int) -> Destination:
    return Destination(
        destination.host,
        destination.port,
        destination.subset,
        weight,
        destination.request_headers,
        destination.response_headers,
    )


def _destination(route: Field, namespace: str, domain: str) -> Destination:
    route.only("destination", "weight", "headers")
    target = route.get("destination").only("host", "subset", "port")
    port = target.get("port").only("number").get("number")
    request, response = _headers(route.get("headers"))
    return Destination(
        host=short_host(target.get("host").text(), namespace, domain),
        port=port.integer(low=1, high=65535) if port.present else None,
        subset=target.get("subset").text(""),
        weight=route.get("weight").integer(0, high=1_000_000),
        request_headers=request,
        response_headers=response,
    )


def _match(item: Field) -> Match:
    item.only(
        "name", "uri", "method", "authority", "headers", "withoutHeaders", "queryParams", "ignoreUriCase", "gateways"
    )
    headers = [_named(name, value, header=True) for name, value in item.get("headers").entries().items()]
    without = [_named(name, value, header=True) for name, value in item.get("withoutHeaders").entries().items()]
    return Match(
        path=_text_match(item.get("uri"), ignore_case=item.get("ignoreUriCase").boolean()),
        method=_text_match(item.get("method")),
        authority=_text_match(item.get("authority")),
        headers=(*headers, *(NamedMatch(entry.name, entry.match, invert=True) for entry in without)),
        query=tuple(_named(name, value, header=False) for name, value in item.get("queryParams").entries().items()),
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
        elif condition:
            conditions.append(condition)
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
    if delay.present and delay.get("fixedDelay").duration() is None:
        raise Invalid(f"{delay.path}.fixedDelay", "is required")
    return Fault(
        delay=delay.get("fixedDelay").duration(),
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
