"""Routes in Istio's words and in Gateway API's: each part of a rule in its place, and nothing dropped in silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.adapters import Rendered, Unsupported, gateway_api_words, istio_api
from conformance.intents import (
    Backend,
    BackendGrant,
    Fault,
    HeaderEdit,
    Inject,
    Marker,
    Mirror,
    RateLimit,
    Redirect,
    RequestMatch,
    RequestRoute,
    Retry,
    RetryBudget,
    Rewrite,
    RouteRule,
    RouteTimeout,
    Scope,
    Target,
    WeightedRoute,
)

V1, V2, V3 = (Backend(name, version=name, service=f"web-{name}") for name in ("v1", "v2", "v3"))
MARK = Marker("x-mark", "abc", V3)
TO_V1 = (Target(V1),)


def route(*rules: RouteRule, **more: Any) -> RequestRoute:
    return RequestRoute("ns", "web", 8080, rules, **more)


def istio(*rules: RouteRule, **more: Any) -> list[dict[str, Any]]:
    found = istio_api.render(route(*rules, **more))
    assert isinstance(found, Rendered), found
    return [dict(one) for one in found.objects[-1]["spec"]["http"]]


def gateway(*rules: RouteRule, **more: Any) -> list[dict[str, Any]]:
    found = gateway_api_words.render(route(*rules, **more))
    assert isinstance(found, Rendered), found
    (only,) = found.objects
    return [dict(one) for one in only["spec"]["rules"]]


def test_matches():
    match = RequestMatch(method="POST", headers=(("x-a", "1"),), query=(("q", "2"),))
    by_path, by_prefix = replace(match, path="/one"), replace(match, prefix="/two")
    (rule,) = istio(RouteRule(TO_V1, (by_path, by_prefix)))
    rest = {"method": {"exact": "POST"}, "headers": {"x-a": {"exact": "1"}}, "queryParams": {"q": {"exact": "2"}}}
    assert rule["match"] == [
        {"uri": {"exact": "/one"}, **rest},
        {"uri": {"exact": "/two"}, **rest},
        {"uri": {"prefix": "/two/"}, **rest},  # text, so that /twofold does not match
    ]
    assert rule["route"] == [{"destination": {"host": "web", "subset": "v1"}}]
    (rule,) = gateway(RouteRule(TO_V1, (by_path, by_prefix)))
    rest = {
        "method": "POST",
        "headers": [{"type": "Exact", "name": "x-a", "value": "1"}],
        "queryParams": [{"type": "Exact", "name": "q", "value": "2"}],
    }
    assert rule["matches"] == [
        {"path": {"type": "Exact", "value": "/one"}, **rest},
        {"path": {"type": "PathPrefix", "value": "/two"}, **rest},
    ]
    assert rule["backendRefs"] == [{"name": "web-v1", "port": 8080, "weight": 1}]


@given(
    st.lists(st.sampled_from(["/a", "/a/b", ""]), max_size=3),
    st.sampled_from(["", "/new"]),
    st.sampled_from(["", "elsewhere"]),
)
def test_a_rule_that_matches_something_never_becomes_a_route_that_matches_everything(prefixes, prefix, host):
    rewrite = Rewrite(prefix=prefix, host=host) if prefix or host else None
    rules = istio(RouteRule(TO_V1, tuple(RequestMatch(prefix=one, method="GET") for one in prefixes), rewrite=rewrite))
    assert rules
    for one in rules:
        assert all("method" in match for match in one.get("match", [])) or not prefixes
        assert bool(one.get("match")) or not prefixes


def test_a_prefix_is_rewritten_by_segments():
    whole, below = istio(RouteRule(TO_V1, (RequestMatch(prefix="/old"),), rewrite=Rewrite(prefix="/new", host="h")))
    assert (whole["match"], whole["rewrite"]) == ([{"uri": {"exact": "/old"}}], {"uri": "/new", "authority": "h"})
    assert (below["match"], below["rewrite"]) == ([{"uri": {"prefix": "/old/"}}], {"uri": "/new/", "authority": "h"})
    (rule,) = gateway(RouteRule(TO_V1, (RequestMatch(prefix="/old"),), rewrite=Rewrite(prefix="/new", host="h")))
    change = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}, "hostname": "h"}
    assert rule["filters"] == [{"type": "URLRewrite", "urlRewrite": change}]


def test_headers_redirect_mirror_and_patience():
    edit = HeaderEdit(set=(("x-a", "1"),), add=(("x-b", "2"),), remove=("x-c",))
    whole = RouteRule(
        TO_V1, request_headers=edit, response_headers=edit, mirror=Mirror(V2, 30), timeout=1.5, retry=Retry(2, (503,))
    )
    (rule,) = istio(whole)
    said = {"set": {"x-a": "1"}, "add": {"x-b": "2"}, "remove": ["x-c"]}
    assert rule["headers"] == {"request": said, "response": said}
    assert (rule["mirror"], rule["mirrorPercentage"]) == ({"host": "web", "subset": "v2"}, {"value": 30.0})
    assert (rule["timeout"], rule["retries"]) == ("1500ms", {"attempts": 2, "retryOn": "503"})
    (rule,) = gateway(whole)
    assert [one["type"] for one in rule["filters"]] == [
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
    ]
    assert rule["filters"][2]["requestMirror"] == {"backendRef": {"name": "web-v2", "port": 8080}, "percent": 30}
    assert (rule["timeouts"], rule["retry"]) == ({"request": "1500ms"}, {"attempts": 2, "codes": [503]})
    away = RouteRule(redirect=Redirect(301, "https", "example.org", 9443, "/there"))
    (rule,) = istio(away)
    assert rule["redirect"] == {
        "redirectCode": 301,
        "scheme": "https",
        "authority": "example.org",
        "port": 9443,
        "uri": "/there",
    }
    (rule,) = gateway(away)
    assert rule["filters"][0]["requestRedirect"] == {
        "statusCode": 301,
        "scheme": "https",
        "hostname": "example.org",
        "port": 9443,
        "path": {"type": "ReplaceFullPath", "replaceFullPath": "/there"},
    }


def test_a_limit_for_each_try():
    (rule,) = istio(RouteRule(TO_V1, retry=Retry(2, per_try=0.5)))
    assert rule["retries"] == {"attempts": 2, "perTryTimeout": "500ms", "retryOn": "gateway-error"}
    (rule,) = gateway(RouteRule(TO_V1, retry=Retry(2, per_try=0.5)))
    assert (rule["timeouts"], rule["retry"]) == ({"backendRequest": "500ms"}, {"attempts": 2})


def test_faults_are_istios_alone():
    faulty = RouteRule(TO_V1, fault=Fault(418, 30.0, 0.5, 20.0))
    (rule,) = istio(faulty)
    assert rule["fault"] == {
        "abort": {"httpStatus": 418, "percentage": {"value": 30.0}},
        "delay": {"fixedDelay": "500ms", "percentage": {"value": 20.0}},
    }
    assert gateway_api_words.render(route(faulty)) == Unsupported("HTTPRoute has no faults")


def test_the_mark_comes_first_and_in_the_same_object():
    first, second = istio(RouteRule(TO_V1), marker=MARK)
    assert first["match"] == [{"headers": {"x-mark": {"exact": "abc"}}}]
    assert first["route"] == [{"destination": {"host": "web", "subset": "v3"}}]
    assert "match" not in second
    first, second = gateway(RouteRule(TO_V1), marker=MARK)
    assert first["matches"] == [{"headers": [{"type": "Exact", "name": "x-mark", "value": "abc"}]}]
    assert first["backendRefs"][0]["name"] == "web-v3"


def test_subsets_cover_every_backend():
    found = istio_api.render(route(RouteRule(TO_V1, mirror=Mirror(V2)), marker=MARK))
    assert isinstance(found, Rendered)
    assert [one["name"] for one in found.objects[0]["spec"]["subsets"]] == ["v1", "v2", "v3"]


def test_grpc_routes_and_parents_elsewhere():
    found = gateway_api_words.render(
        route(
            RouteRule(TO_V1, (RequestMatch(path="/pkg.Svc/Get", headers=(("a", "b"),)), RequestMatch(path="/pkg.Svc"))),
            protocol="grpc",
            parent_namespace="far",
            name="mine",
        )
    )
    assert isinstance(found, Rendered)
    (only,) = found.objects
    assert (only["kind"], only["metadata"]) == ("GRPCRoute", {"name": "mine", "namespace": "ns"})
    assert only["spec"]["parentRefs"][0] == {
        "group": "",
        "kind": "Service",
        "name": "web",
        "port": 8080,
        "namespace": "far",
    }
    assert only["spec"]["rules"][0]["matches"] == [
        {
            "method": {"type": "Exact", "service": "pkg.Svc", "method": "Get"},
            "headers": [{"type": "Exact", "name": "a", "value": "b"}],
        },
        {"method": {"type": "Exact", "service": "pkg.Svc"}},
    ]
    shares = WeightedRoute("ns", "web", 7070, ((V1, 1), (V2, 1)), MARK, "service", "grpc")
    found = istio_api.render(shares)
    assert isinstance(found, Rendered)
    assert found.objects[0]["kind"] == "GRPCRoute"


def test_backends_and_grants_in_other_namespaces():
    (rule,) = gateway(RouteRule((Target(V1, namespace="far"),)))
    assert rule["backendRefs"] == [{"name": "web-v1", "port": 8080, "namespace": "far", "weight": 1}]
    found = gateway_api_words.render(BackendGrant("far", "web-v1", "ns"))
    assert isinstance(found, Rendered)
    (grant,) = found.objects
    assert grant["metadata"] == {"name": "web-v1", "namespace": "far"}
    assert [(one["kind"], one["namespace"]) for one in grant["spec"]["from"]] == [
        ("HTTPRoute", "ns"),
        ("GRPCRoute", "ns"),
    ]
    assert grant["spec"]["to"] == [{"group": "", "kind": "Service", "name": "web-v1"}]


@pytest.mark.parametrize(
    "intent",
    [
        route(RouteRule(TO_V1, unknown_filter="x")),
        route(RouteRule(redirect=Redirect(prefix="/x"))),
        route(RouteRule((Target(V1, namespace="far"),))),
        route(RouteRule(TO_V1, (RequestMatch(prefix="/x"),), rewrite=Rewrite(path="/y"))),
        route(RouteRule(TO_V1), parent_namespace="far"),
        RateLimit("ns", "web", 8080, 5, 1.0),
    ],
)
def test_what_istios_kinds_cannot_say_is_unsupported(intent):
    assert isinstance(istio_api.render(intent), Unsupported)


@pytest.mark.parametrize(
    "intent",
    [
        route(RouteRule(TO_V1, timeout=1.0), protocol="grpc"),
        route(RouteRule(TO_V1, retry=Retry(1)), protocol="grpc"),
        route(RouteRule(TO_V1, rewrite=Rewrite(path="/")), protocol="grpc"),
        route(RouteRule(TO_V1, (RequestMatch(prefix="/"),)), protocol="grpc"),
        RetryBudget("ns", "web", 8080, Retry(3), 20, 1),
        Inject(Scope.NAMESPACE),
    ],
)
def test_what_gateway_api_cannot_say_is_unsupported(intent):
    assert isinstance(gateway_api_words.render(intent), Unsupported)


def test_timeouts_of_a_service():
    found = gateway_api_words.render(RouteTimeout("ns", "web", 8080, 0.5))
    assert isinstance(found, Rendered)
    assert found.objects[0]["spec"]["rules"] == [
        {"backendRefs": [{"name": "web", "port": 8080}], "timeouts": {"request": "500ms"}}
    ]


def test_an_unknown_filter_is_a_reference_to_a_kind_of_ours():
    (rule,) = gateway(RouteRule(TO_V1, unknown_filter="x"))
    assert rule["filters"] == [
        {
            "type": "ExtensionRef",
            "extensionRef": {"group": "conformance.meshproof.io", "kind": "UnknownFilter", "name": "x"},
        }
    ]
