"""RT-14: HTTP/2 without TLS, WebSocket and gRPC go where routes say, as themselves."""

from __future__ import annotations

from conformance.catalogue import check
from conformance.checks.cases import Asked, Case, Pairs, Question, ask, judge_cases
from conformance.checks.routing_ground import GROUND, STANDING, TO_V1, TO_V2, V3, both, offer
from conformance.checks.standing import Route
from conformance.context import Context
from conformance.gates import Gate
from conformance.intents import HeaderEdit, Intent, Marker, RequestMatch, RequestRoute, RouteRule

__all__ = ["CALL_CASES", "SPEAK_CASES"]

_EDIT = HeaderEdit(set=(("x-tone", "low"),))
REST = RouteRule(TO_V1)
offer("speak", (RouteRule(TO_V2, (RequestMatch(prefix="/two"),), request_headers=_EDIT), REST))
SPEAK_CASES = (
    Case("HTTP/2", "/two", protocol="h2c", version="v2", arrives=(("x-tone", "low"),)),
    Case("HTTP/2, another rule", "/one", protocol="h2c", version="v1"),
    Case(
        "WebSocket",
        "/two",
        protocol="websocket",
        version="v2",
        backend_protocol="websocket",
        arrives=(("x-tone", "low"),),
    ),
    Case("WebSocket, another rule", "/one", protocol="websocket", version="v1", backend_protocol="websocket"),
)
METHOD, OTHER = "/meshproof.Echo/Call", "/meshproof.Echo/Other"


def _calls(ctx: Context, marker: Marker) -> tuple[Intent, ...]:
    by_method = RouteRule(TO_V2, (RequestMatch(path=METHOD),), request_headers=_EDIT)
    by_header = RouteRule(TO_V2, (RequestMatch(headers=(("x-color", "blue"),)),))
    rules = (by_method, by_header, REST)
    return (RequestRoute(ctx.space("in"), "calls", 7070, rules, marker, "service", "grpc"),)


# The mark is asked for by another method: a rule that names one is more specific than the mark's.
STANDING.routes["calls"] = Route("calls", _calls, V3, Gate(port=7070, protocol="grpc", path=OTHER, ordinary=OTHER))


def _call(name: str, path: str, version: str, *, headers: Pairs = (), arrives: Pairs = ()) -> Case:
    return Case(
        name,
        path,
        headers=headers,
        protocol="grpc",
        port=7070,
        version=version,
        backend_protocol="grpc",
        arrives=arrives,
    )


CALL_CASES = (
    _call("gRPC method", METHOD, "v2", arrives=(("x-tone", "low"),)),
    _call("another method", OTHER, "v1"),
    _call("another service", "/meshproof.Other/Call", "v1"),
    _call("metadata", OTHER, "v2", headers=(("x-color", "blue"),)),
)


@check(
    id="RT-14",
    title="WebSocket, HTTP/2 and gRPC are routed as themselves",
    proves=("routing", "grpc routing", "WebSocket"),
    judge=judge_cases,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/geps/gep-1911/",
)
def protocols(ctx: Context) -> tuple[Asked, ...]:
    """Several messages over one WebSocket, several streams over one HTTP/2 connection, calls by method and metadata."""
    spoken = both(ctx, "speak", SPEAK_CASES)
    held = STANDING.hold(ctx, "calls")
    return spoken + ask(ctx, *(Question(name, "service", CALL_CASES) for name in held))
