"""Linkerd's adapter where it was held against the mesh itself: what is written so that Linkerd does what is meant."""

from __future__ import annotations

from typing import Any

from conformance.adapters import Rendered, Unsupported, load
from conformance.catalogue import grounds
from conformance.ground import render_ground
from conformance.intents import (
    Access,
    AccessRule,
    Backend,
    BackendGrant,
    Effect,
    Intent,
    LogAccesses,
    Mode,
    MtlsMode,
    RequestMatch,
    RequestRoute,
    Retry,
    RouteRule,
    Target,
    WeightedRoute,
)
from fixtures.workloads.manifests import GRPC_SERVICE
from fixtures.workloads.pod.wire_http2 import DEFAULT_METHOD
from tests.meshes.examples import MARK, TO_V1, V1, V2


def rendered(intent: Intent) -> Rendered:
    found = load("linkerd").render(intent)
    assert isinstance(found, Rendered), found
    return found


def declared(intent: Intent) -> str:
    found = load("linkerd").render(intent)
    assert isinstance(found, Unsupported), found
    return found.reason


def objects(intent: Intent) -> dict[tuple[str, str], dict[str, Any]]:
    """What is in the specifications, by kind and name."""
    return {(one["kind"], one["metadata"]["name"]): one["spec"] for one in rendered(intent).objects}


def allowed(*rules: AccessRule) -> Access:
    return Access("some", "ns", "web", Effect.ALLOW, rules)


PATHS = AccessRule(methods=("GET",), paths=("/report.v1",)), AccessRule(methods=("POST",), paths=("/orders/*",))


def test_linkerd_lets_in_by_a_route_what_rules_say_of_requests_and_nothing_beside_it():
    found = objects(allowed(*PATHS))
    assert {name for kind, name in found if kind == "HTTPRoute"} == {"some-some", "some-the-rest", "some-probes"}
    servers = [found["HTTPRoute", name]["parentRefs"] for name in ("some-some", "some-the-rest")]
    named = [
        {"group": "policy.linkerd.io", "kind": "Server", "name": f"web-{port}"} for port in (8080, 7070, 9090, 8443)
    ]
    assert servers == [named, named]
    assert found["HTTPRoute", "some-some"]["rules"] == [
        {
            "matches": [
                {"path": {"type": "Exact", "value": "/report.v1"}, "method": "GET"},
                # No prefix: /orders/ would hold for /orders too.
                {"path": {"type": "RegularExpression", "value": "/orders/.*"}, "method": "POST"},
            ]
        }
    ]
    targets = [spec["targetRef"]["name"] for (kind, _), spec in found.items() if kind == "AuthorizationPolicy"]
    assert targets == ["some-some", "some-probes"]  # nobody is let in by the route of everything else


def test_linkerd_lets_probes_in_beside_the_routes_of_a_server():
    """A Server without routes does so by itself."""
    found = objects(allowed(*PATHS))
    probes = found["HTTPRoute", "some-probes"]
    assert probes["rules"] == [{"matches": [{"path": {"type": "Exact", "value": "/ready"}, "method": "GET"}]}]
    assert [one["name"] for one in probes["parentRefs"]] == ["web-8080"]
    assert ("NetworkAuthentication", "some-probes") in found
    elsewhere = AccessRule(paths=("/a",), ports=(7070,))
    assert {name for kind, name in objects(allowed(elsewhere)) if kind == "HTTPRoute"} == {"some-some", "some-the-rest"}


def test_linkerds_routes_match_headers_and_hosts_and_begin_as_paths_are_written():
    rule = AccessRule(accounts=(("other", "client"),), paths=("/a.b*",), hosts=("shop.example",), header=("x-a", "1"))
    found = objects(allowed(rule))
    route = found["HTTPRoute", "some-some"]
    assert route["hostnames"] == ["shop.example"]
    (match,) = route["rules"][0]["matches"]
    assert match["path"]["value"] == r"/a\.b.*"
    assert match["headers"] == [{"type": "Exact", "name": "x-a", "value": "1"}]
    assert ("MeshTLSAuthentication", "some-some") in found


def test_linkerd_cannot_let_different_callers_in_by_different_requests():
    other = AccessRule(accounts=(("other", "client"),), paths=("/b",))
    assert "one route" in declared(allowed(PATHS[0], other))
    assert "tokens" in declared(allowed(AccessRule(token=("issuer", "subject"))))


def test_linkerd_logs_accesses_of_a_namespace_by_annotation():
    found = rendered(LogAccesses("ns", "web"))
    assert [one["metadata"]["annotations"] for one in found.merges] == [{"config.linkerd.io/access-log": "apache"}]
    # Its pods take that over when they are created.
    ground = next(one for one in grounds() if one.name == "obs")
    layers = {one.namespace: one for one in render_ground(ground, load("linkerd"), run="r", image="i")}
    assert layers["mp-r-obs-in"].annotations["config.linkerd.io/access-log"] == "apache"


def test_everybody_may_call_into_a_meshed_namespace_whatever_linkerd_is_installed_to_deny():
    """But for those that stand strict from the start."""
    policy = "config.linkerd.io/default-inbound-policy"
    for ground in grounds():
        layers = {one.namespace: one for one in render_ground(ground, load("linkerd"), run="r", image="i")}
        strict = {
            intent.namespace
            for intent in ground.standing({one.name: f"mp-r-{ground.name}-{one.name}" for one in ground.places})
            if isinstance(intent, MtlsMode) and intent.mode is Mode.STRICT and not intent.workload
        }
        for place in ground.places:
            name = f"mp-r-{ground.name}-{place.name}"
            said = "all-authenticated" if name in strict else "all-unauthenticated"
            assert layers[name].annotations.get(policy) == (said if place.meshed else None), name


def test_linkerd_is_told_where_the_backends_of_a_consumers_route_are():
    """By Gateway API they are in the route's namespace; Linkerd looked for them in the parent's."""
    depot = RouteRule((Target(Backend("depot", service="depot")), Target(V1, namespace="third")))
    route = RequestRoute("far", "shop", 8080, (depot,), MARK, "service", parent_namespace="ns", name="shop-for-far")
    spec = objects(route)["HTTPRoute", "shop-for-far"]
    assert [[one["namespace"] for one in rule["backendRefs"]] for rule in spec["rules"]] == [["far"], ["far", "third"]]
    own = RequestRoute("ns", "web", 8080, (RouteRule(TO_V1),), MARK, "service")
    refs = [one for rule in objects(own)["HTTPRoute", "web"]["rules"] for one in rule["backendRefs"]]
    assert not any("namespace" in one for one in refs)


def test_linkerd_is_given_the_service_of_a_mark_in_grpc():
    """Its proxies refused a GRPCRoute of which a match names no method. What is judged is left as it is."""
    method = {"type": "Exact", "service": GRPC_SERVICE}
    assert DEFAULT_METHOD.startswith(f"/{GRPC_SERVICE}/")
    split = objects(WeightedRoute("ns", "calls", 7070, ((V1, 50), (V2, 50)), MARK, protocol="grpc"))
    mark, rest = split["GRPCRoute", "calls"]["rules"]
    assert [match["method"] for match in mark["matches"]] == [method]
    assert "matches" not in rest
    by_header = RouteRule(TO_V1, (RequestMatch(headers=(("x-color", "blue"),)),))
    judged = objects(RequestRoute("ns", "calls", 7070, (by_header,), MARK, "service", "grpc"))
    first, second = judged["GRPCRoute", "calls"]["rules"]
    assert first["matches"][0]["method"] == method
    assert "method" not in second["matches"][0]


def test_what_linkerd_understands_by_itself_is_written_as_for_others():
    assert objects(BackendGrant("ns", "depot", "in")) == {
        (one["kind"], one["metadata"]["name"]): one["spec"]
        for one in _gateway(BackendGrant("ns", "depot", "in")).objects
    }


def _gateway(intent: Intent) -> Rendered:
    found = load("gateway-api").render(intent)
    assert isinstance(found, Rendered), found
    return found


def test_linkerd_limits_no_last_try():
    rule = RouteRule(TO_V1, timeout=9.0, retry=Retry(3, (502, 503), 1.5))
    assert "last try" in declared(RequestRoute("ns", "web", 8080, (rule,)))
