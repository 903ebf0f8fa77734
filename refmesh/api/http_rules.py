"""The http routes of a VirtualService."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from refmesh.api import http_actions
from refmesh.api.fields import Field, Invalid
from refmesh.api.header_values import HEADER_NAME, countable, format_string, query_name
from refmesh.api.routing import (
    Destination,
    Fault,
    HeaderChange,
    Match,
    Mirror,
    NamedMatch,
    Retry,
    Rule,
    TextMatch,
    weighable,
)
from refmesh.api.stream_routes import gateway_names, source_labels, target

__all__ = ["read_rule", "without_effect"]

_NOBODY = "no request is picked: percentage.value is 0, which it is where it is not given"
_NO_TRIES = "none is made: attempts is 0, which it is where it is not given"
_UNNAMED = {
    "retriable-headers": "nothing names the headers but the header x-envoy-retriable-header-names of a request",
    "retriable-status-codes": (
        "nothing names the statuses but the header x-envoy-retriable-status-codes of a request, unless retryOn names "
        "them by number"
    ),
}
"""Why what is tried again for answers that nobody has named is not."""

_HOST_HEADERS = {"host", ":authority"}


def read_rule(item: Field, namespace: str, domain: str) -> Rule:
    """Read an entry of `http`. Raises `Invalid`."""
    item.only(
        "name", "match", "route", "timeout", "retries", "fault", "headers", "redirect", "rewrite", "mirror", "mirrors",
        "mirrorPercentage", "corsPolicy", "directResponse", "delegate",
    )  # fmt: skip
    destinations = tuple(_destination(route, namespace, domain) for route in item.get("route").each())
    redirect, direct = http_actions.redirect(item.get("redirect")), http_actions.direct(item.get("directResponse"))
    delegate = _delegate(item, namespace)
    if not destinations and redirect is None and direct is None and delegate is None:
        raise Invalid(f"{item.path}.route", "is required (or a redirect, a directResponse, or a delegate)")
    if redirect is not None and (destinations or direct is not None):
        raise Invalid(f"{item.path}.redirect", "cannot stand beside a route or a directResponse")
    if direct is not None and destinations:
        raise Invalid(f"{item.path}.directResponse", "cannot stand beside a route")
    destinations = _weights(item, destinations)
    request, response = _headers(item.get("headers"))
    timeout = item.get("timeout").duration()
    return Rule(
        name=item.get("name").text(""),
        matches=tuple(_match(match, namespace) for match in item.get("match").each()),
        destinations=destinations,
        timeout=timeout,
        retry=http_actions.retry(item.get("retries")),
        fault=http_actions.fault(item.get("fault")),
        request_headers=request,
        response_headers=response,
        redirect=redirect,
        direct=direct,
        rewrite=http_actions.rewrite(item.get("rewrite")),
        mirrors=_mirrors(item, namespace, domain),
        cors=http_actions.cors(item.get("corsPolicy")),
        delegate=delegate,
    )


def without_effect(rules: Iterable[Rule]) -> Iterator[str]:
    """A sentence for each field of these rules, which are all of an object's, that does nothing."""
    for index, rule in enumerate(rules):
        path = f"spec.http[{index}]"
        if rule.fault is not None:
            yield from (f"{path}.fault.{part} has no effect: {_NOBODY}" for part in _idle_faults(rule.fault))
        if rule.retry is not None:
            idle = _idle_retries(rule.retry)
            yield from (f"{path}.retries.retryOn: {word} has no effect: {_UNNAMED[word]}" for word in idle)
            if rule.retry.idle:
                yield f"{path}.retries: what it says of tries has no effect: {_NO_TRIES}"


def _idle_faults(fault: Fault) -> Iterator[str]:
    if fault.delay is not None and not fault.delay_percent:
        yield "delay"
    aborts = fault.abort_status or fault.abort_grpc_status is not None
    if aborts and not fault.abort_percent:
        yield "abort"


def _idle_retries(retry: Retry) -> Iterator[str]:
    words = retry.on.split(",")
    if "retriable-headers" in words:
        yield "retriable-headers"
    if "retriable-status-codes" in words and not retry.statuses:
        yield "retriable-status-codes"


def _delegate(item: Field, namespace: str) -> tuple[str, str] | None:
    field = item.get("delegate")
    if not field.present:
        return None
    for key in ("route", "redirect", "directResponse"):
        if item.get(key).present:
            raise Invalid(field.path, f"cannot stand beside {key}: the delegate says what becomes of the requests")
    field.only("name", "namespace")
    return (field.get("namespace").text("") or namespace, field.get("name").text())


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


def _weights(item: Field, destinations: tuple[Destination, ...]) -> tuple[Destination, ...]:
    if len(destinations) == 1 and destinations[0].weight == 0:
        # Istio reads an absent weight of a single destination as all of the traffic; an explicit 0 means none there.
        if item.get("route").each()[0].get("weight").present:
            raise Invalid(f"{item.path}.route[0].weight", "must not be 0 where it is the only destination")
        return (replace(destinations[0], weight=100),)
    if destinations and not any(destination.weight for destination in destinations):
        raise Invalid(f"{item.path}.route", "has no destination with a weight above 0")
    return weighable(destinations, f"{item.path}.route")


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
        "name", "uri", "scheme", "method", "authority", "headers", "withoutHeaders", "queryParams", "ignoreUriCase",
        "gateways", "port", "sourceLabels", "sourceNamespace",
    )  # fmt: skip
    port = item.get("port")
    headers = [_named(name, value, header=True) for name, value in item.get("headers").entries().items()]
    without = [_named(name, value, header=True) for name, value in item.get("withoutHeaders").entries().items()]
    return Match(
        path=http_actions.text_match(item.get("uri"), ignore_case=item.get("ignoreUriCase").boolean()),
        method=http_actions.text_match(item.get("method")),
        authority=http_actions.text_match(item.get("authority")),
        scheme=http_actions.text_match(item.get("scheme")),
        headers=(*headers, *(NamedMatch(entry.name, entry.match, invert=True) for entry in without)),
        query=tuple(_named(name, value, header=False) for name, value in item.get("queryParams").entries().items()),
        port=port.integer(low=1, high=65535) if port.present else None,
        source_labels=source_labels(item),
        source_namespace=item.get("sourceNamespace").text(""),
        gateways=gateway_names(item, namespace),
    )


def _named(name: str, value: Field, *, header: bool) -> NamedMatch:
    if header and not HEADER_NAME.fullmatch(name):
        raise Invalid(value.path, "is not a header name")
    # An empty object asks for presence only.
    found = http_actions.text_match(value) or TextMatch("present")
    return NamedMatch(name.lower() if header else query_name(name, value.path), found)


def _headers(field: Field) -> tuple[HeaderChange, HeaderChange]:
    field.only("request", "response")
    return _change(field.get("request"), request=True), _change(field.get("response"), request=False)


def _change(field: Field, *, request: bool) -> HeaderChange:
    field.only("set", "add", "remove")
    hosts = list[str]()

    def pairs(key: str) -> tuple[tuple[str, str], ...]:
        entries = field.get(key).entries()
        if request:
            hosts.extend(_host(entries.pop(name)) for name in list(entries) if name.lower() in _HOST_HEADERS)
        return tuple((_header_name(name, value), format_string(value)) for name, value in entries.items())

    remove = tuple(_header_name(item.text(), item) for item in field.get("remove").each())
    change = HeaderChange(pairs("set"), pairs("add"), remove, next(filter(None, hosts), ""))
    return countable(change, field.path)


def _host(value: Field) -> str:
    """A host that stands among the headers. There is one only, so that it is set where it would be added too."""
    text = value.text("")
    if "%" in text:
        raise Invalid(value.path, "is the host, which is taken literally: it has no percent sign")
    return text


def _header_name(name: str, field: Field) -> str:
    if not HEADER_NAME.fullmatch(name) or name.lower() == "host":
        raise Invalid(field.path, f"{name!r} is not a header name that can be changed")
    return name
