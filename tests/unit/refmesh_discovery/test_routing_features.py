"""GRPCRoute, mirrors, CORS, matches by client, tcp and tls routes: from the object to what Envoy is told."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.http.cors.v3.cors_pb2 import CorsPolicy
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault

from refmesh.api.fields import Invalid
from refmesh.api.grpc_route import GRPCRoute
from refmesh.api.http_route import HTTPRoute
from refmesh.api.reference_grant import ReferenceGrant
from refmesh.api.virtual_service import VirtualService
from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, message_of, policy, service

ECHO = "echo.shop.svc.cluster.local"
PARENT = {"group": "", "kind": "Service", "name": "echo"}
BACKEND = {"name": "echo", "port": 80}
TO_ECHO: dict[str, Any] = {"route": [{"destination": {"host": "echo"}}]}
TO_A: dict[str, Any] = {"route": [{"destination": {"host": "a"}}]}


def virtual_service(*http: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return policy("v", {"hosts": ["echo"], **({"http": list(http)} if http else {}), **spec})


def routes(cluster: MemoryCluster, port: int = 80, namespace: str = "shop") -> Any:
    table = cluster.world().tables(namespace)[ResourceType.ROUTE]
    found = message_of(table[f"{ECHO}:{port}"], ResourceType.ROUTE)
    return found.virtual_hosts[0].routes


def test_a_grpc_method_is_a_path() -> None:
    matches = [
        {"method": {"service": "a.B", "method": "C"}},
        {"method": {"service": "a.B"}},
        {"method": {"method": "C"}},
        {"method": {"type": "RegularExpression", "service": "a.*"}},
        {"headers": [{"name": "X", "value": "1"}]},
    ]
    spec = {"parentRefs": [PARENT], "rules": [{"matches": matches, "backendRefs": [{"name": "echo", "port": 80}]}]}
    found = routes(MemoryCluster().with_echo().put("GRPCRoute", policy("g", spec)))
    assert [item.match.path or item.match.path_separated_prefix or item.match.safe_regex.regex for item in found] == [
        "/a.B/C",
        "/a.B",
        "/(?:a.*)/(?:[^/]+)",
        "/[^/]+/C",
        "",
    ]


def test_grpc_routes_decide_alone_on_a_port_that_both_kinds_name() -> None:
    spec = {"parentRefs": [PARENT], "rules": [{"name": "grpc", "backendRefs": [{"name": "echo", "port": 80}]}]}
    other = {"parentRefs": [PARENT], "rules": [{"name": "http", "backendRefs": [{"name": "echo", "port": 80}]}]}
    cluster = MemoryCluster().with_echo()
    cluster.put("HTTPRoute", policy("h", other, created="2020-01-01T00:00:00Z")).put("GRPCRoute", policy("g", spec))
    assert [item.name for item in routes(cluster)] == ["grpc"]


def test_mirrors_of_both_kinds_carry_their_share_and_the_caller_hears_the_primary() -> None:
    filters = [
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "copy", "port": 80}, "percent": 25}},
        {
            "type": "RequestMirror",
            "requestMirror": {
                "backendRef": {"name": "copy", "port": 80},
                "fraction": {"numerator": 1, "denominator": 8},
            },
        },
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "nobody", "port": 80}}},
    ]
    rule = {"filters": filters, "backendRefs": [{"name": "echo", "port": 80}]}
    cluster = MemoryCluster().with_echo().put("Service", service("copy", "10.0.0.7"))
    cluster.put("HTTPRoute", policy("r", {"parentRefs": [PARENT], "rules": [rule]}))
    (found,) = routes(cluster)
    assert found.route.cluster == f"outbound|80||{ECHO}"
    copies = [
        (item.cluster, item.runtime_fraction.default_value.numerator) for item in found.route.request_mirror_policies
    ]
    assert copies == [
        ("outbound|80||copy.shop.svc.cluster.local", 250_000),
        ("outbound|80||copy.shop.svc.cluster.local", 125_000),
    ]
    mirrored = virtual_service(
        {"route": [{"destination": {"host": "echo"}}], "mirror": {"host": "copy"}, "mirrorPercentage": {"value": 0.5}}
    )
    (found,) = routes(MemoryCluster().with_echo().put("VirtualService", mirrored))
    assert found.route.request_mirror_policies[0].runtime_fraction.default_value.numerator == 5000


@pytest.mark.parametrize(
    ("text", "origin", "holds"),
    [
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://evil.com/.example.com", False),
        ("https://*.example.com", "https://axexample.com", False),
        ("*", "http://anything", True),
    ],
)
def test_a_wildcard_origin_stands_for_hosts_only(text: str, origin: str, holds: bool) -> None:
    import re

    cors = {"type": "CORS", "cors": {"allowOrigins": [text]}}
    spec = {"parentRefs": [PARENT], "rules": [{"filters": [cors], "backendRefs": [{"name": "echo", "port": 80}]}]}
    found = HTTPRoute.parse(policy("r", spec), "cluster.local").rules[0].cors
    assert found is not None
    assert bool(re.fullmatch(found.origins[0].value, origin)) is holds


@pytest.mark.parametrize(
    ("said", "forwarded"), [(None, True), ("UNSPECIFIED", True), ("FORWARD", True), ("IGNORE", False)]
)
def test_preflights_of_other_origins_reach_the_application_unless_they_are_to_be_ignored(
    said: str | None, forwarded: bool
) -> None:
    cors = {"allowOrigins": [{"exact": "https://a"}], "unmatchedPreflights": said}
    (route,) = routes(
        MemoryCluster().with_echo().put("VirtualService", virtual_service(TO_ECHO | {"corsPolicy": cors}))
    )
    found = CorsPolicy()
    assert route.typed_per_filter_config["envoy.filters.http.cors"].Unpack(found)
    assert found.forward_not_matching_preflights.value is forwarded


def http(*rules: dict[str, Any]) -> Any:
    return routes(MemoryCluster().with_echo().put("VirtualService", virtual_service(*rules)))


def test_matches_by_port_namespace_and_labels_reach_the_right_clients_only() -> None:
    def to(host: str, **match: Any) -> dict[str, Any]:
        return {"name": host, "match": [match], "route": [{"destination": {"host": host}}]}

    cluster = (
        MemoryCluster()
        .with_echo()
        .put(
            "VirtualService",
            virtual_service(
                to("labelled", sourceLabels={"version": "v2"}),
                to("near", sourceNamespace="shop"),
                to("port-90", port=70),
                {"name": "rest", "route": [{"destination": {"host": "echo"}}]},
            ),
        )
    )
    world = cluster.world()
    assert [item.name for item in routes(cluster, namespace="other")] == ["rest"]
    assert [item.name for item in routes(cluster)] == ["near", "rest"]
    assert [item.name for item in routes(cluster, port=70)] == ["near", "port-90", "rest"]
    own = world.own(world.snapshot.pods["shop", "echo-v2"])[ResourceType.ROUTE]
    common = world.own(world.snapshot.pods["shop", "echo-v1"])[ResourceType.ROUTE]
    assert set(own) - set(common) == {f"{ECHO}:80", f"{ECHO}:70"}
    assert set(common) < set(own), "the inbound routes stay"
    found = message_of(own[f"{ECHO}:80"], ResourceType.ROUTE)
    assert [item.name for item in found.virtual_hosts[0].routes] == ["labelled", "near", "rest"]


def test_a_match_for_a_gateway_only_says_nothing_to_sidecars() -> None:
    rule = {"match": [{"gateways": ["edge"]}], "route": [{"destination": {"host": "echo"}}]}
    parsed = VirtualService.parse(virtual_service(rule, gateways=["edge", "mesh"]), "cluster.local")
    assert parsed.gateways == ("shop/edge", "mesh")
    assert parsed.rules_for("mesh") == ()
    assert len(parsed.rules_for("shop/edge")) == 1
    only_edge = virtual_service({"route": [{"destination": {"host": "gone"}}]}, gateways=["edge"])
    for silent in (only_edge, virtual_service(rule, gateways=["edge", "mesh"])):
        (found,) = routes(MemoryCluster().with_echo().put("VirtualService", silent))
        assert found.route.cluster == f"outbound|80||{ECHO}"


@pytest.mark.parametrize("match", [{"sourceNamespace": "qa"}, {"sourceLabels": {"version": "v2"}}, {"port": 70}])
def test_rules_for_some_clients_or_one_port_leave_the_others_what_they_had(match: dict[str, Any]) -> None:
    rule = {"match": [match], "route": [{"destination": {"host": "gone"}}]}
    outside = {"hosts": ["a.example.com"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}
    cluster = MemoryCluster().with_echo().put("ServiceEntry", policy("e", outside))
    world = cluster.put("VirtualService", virtual_service(rule, hosts=["echo", "a.example.com"])).world()
    for pod in ("echo-v1", "echo-v2"):
        found = all_messages(world, ("shop", pod), ResourceType.ROUTE)
        (service_,), (host, _) = found[f"{ECHO}:80"].virtual_hosts, found["0.0.0.0_80"].virtual_hosts
        led = [[item.route.cluster for item in one.routes] for one in (service_, host)]
        if "sourceLabels" in match and pod == "echo-v2":
            assert led == [["outbound|80||gone.shop.svc.cluster.local"]] * 2
        else:
            assert led == [[f"outbound|80||{ECHO}"], ["outbound|80||a.example.com"]]


def test_rules_that_match_no_request_are_rules_all_the_same() -> None:
    rule = {"match": [{"uri": {"exact": "/a"}, "sourceNamespace": "shop"}], **TO_ECHO}
    cluster = MemoryCluster().with_echo().put("VirtualService", virtual_service(rule))
    assert [item.match.path for item in routes(cluster)] == ["/a"]


def test_an_older_object_for_gateways_alone_stands_in_no_one_s_way() -> None:
    edge = virtual_service({"route": [{"destination": {"host": "gone"}}]}, gateways=["edge"])
    near = policy(
        "near", {"hosts": ["echo"], "http": [{"timeout": "2s", "route": [{"destination": {"host": "echo"}}]}]}
    )
    near["metadata"]["creationTimestamp"] = "2026-03-01T00:00:00Z"
    (found,) = routes(MemoryCluster().with_echo().put("VirtualService", edge, near))
    assert found.route.timeout.seconds == 2


def test_tcp_and_tls_routes_shape_the_listener_of_their_port() -> None:
    spec = virtual_service(
        tls=[{"match": [{"sniHosts": ["a.example"], "port": 90}], "route": [{"destination": {"host": "tls-a"}}]}],
        tcp=[
            {
                "match": [{"port": 90}],
                "route": [
                    {"destination": {"host": "one", "port": {"number": 9}}, "weight": 3},
                    {"destination": {"host": "two"}, "weight": 1},
                ],
            }
        ],
    )
    world = MemoryCluster().with_echo().put("VirtualService", spec).world()
    listener = message_of(world.shared[ResourceType.LISTENER]["10.0.0.1_90"], ResourceType.LISTENER)
    assert [list(chain.filter_chain_match.server_names) for chain in listener.filter_chains] == [[], ["a.example"]]
    assert b"outbound|9||one.shop" in listener.filter_chains[0].filters[0].typed_config.value
    assert b"outbound|90||tls-a.shop" in listener.filter_chains[1].filters[0].typed_config.value
    other = message_of(world.shared[ResourceType.LISTENER]["10.0.0.1_70"], ResourceType.LISTENER)
    assert b"one.shop" not in other.SerializeToString()


def test_a_tls_route_for_every_name_takes_no_plaintext() -> None:
    every = {"match": [{"sniHosts": ["*"]}], "route": [{"destination": {"host": "all"}}]}
    world = MemoryCluster().with_echo().put("VirtualService", virtual_service(tls=[every])).world()
    listener = message_of(world.shared[ResourceType.LISTENER]["10.0.0.1_90"], ResourceType.LISTENER)
    assert [chain.filter_chain_match.transport_protocol for chain in listener.filter_chains] == ["", "tls"]
    assert [b"all.shop" in chain.filters[0].typed_config.value for chain in listener.filter_chains] == [False, True]


@pytest.mark.parametrize(
    ("http", "field"),
    [
        (TO_A | {"delegate": {"name": "x"}}, r"spec\.http\[0\]\.delegate: cannot stand beside route"),
        ({"route": [{"destination": {"host": "a"}}], "mirrorPercentage": {"value": 5}}, "mirrorPercentage"),
        ({"route": [{"destination": {"host": "a"}}], "corsPolicy": {"allowOrigins": [{}]}}, "allowOrigins"),
        (TO_A | {"headers": {"request": {"set": {"Host": "%REQ(x)%"}}}}, r"set\['Host'\]: is the host, which is taken"),
        (TO_A | {"headers": {"request": {"remove": ["host"]}}}, r"remove\[0\]: 'host' is not a header name that can"),
        (TO_A | {"headers": {"response": {"set": {"Host": "a"}}}}, r"set\['Host'\]: 'Host' is not a header name that"),
        (TO_A | {"fault": {"abort": {}}}, r"abort: needs exactly one of httpStatus and grpcStatus"),
        (TO_A | {"fault": {"abort": {"httpStatus": 503, "grpcStatus": "OK"}}}, r"abort: needs exactly one of"),
        (TO_A | {"fault": {"abort": {"grpcStatus": "14"}}}, r"grpcStatus: must be one of OK, CANCELLED"),
        (TO_A | {"directResponse": {"status": 200}}, r"directResponse: cannot stand beside a route"),
        ({"directResponse": {"status": 99}}, r"directResponse\.status: must be between 200"),
        ({"directResponse": {"status": 200, "body": {"string": "a", "bytes": "YQ=="}}}, "must have one of string and"),
        ({"directResponse": {"status": 200, "body": {"bytes": "%"}}}, r"body\.bytes: must be base64"),
        ({"directResponse": {"status": 200, "body": {"string": "é" * 2049}}}, r"body: has 4098 bytes, at most 4096"),
        (
            TO_A | {"rewrite": {"uriRegexRewrite": {"match": "/(a)", "rewrite": r"\2"}}},
            r"uriRegexRewrite\.rewrite: names a group by .2, and the match has 1",
        ),
        (TO_A | {"rewrite": {"uri": "/", "uriRegexRewrite": {"match": "a"}}}, "uriRegexRewrite: cannot stand beside"),
        ({"redirect": {"uri": "/", "prefixRewrite": "/a"}}, "prefixRewrite: cannot stand beside uri"),
        (TO_A | {"retries": {"backoff": "1us"}}, r"retries\.backoff: must be at least 1ms"),
        (TO_A | {"corsPolicy": {"unmatchedPreflights": "MAYBE"}}, "unmatchedPreflights: must be one of UNSPECIFIED"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_field(http: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid, match=field):
        VirtualService.parse(virtual_service(http), "cluster.local")


def test_a_virtual_service_aborts_grpc_answers_rewrites_and_retries() -> None:
    away = {"route": [{"destination": {"host": "echo"}}]}
    (fault, answer, pattern, prefix, tries) = routes(
        MemoryCluster()
        .with_echo()
        .put(
            "VirtualService",
            virtual_service(
                away
                | {
                    "match": [{"scheme": {"exact": "https"}}],
                    "fault": {"abort": {"grpcStatus": "UNAVAILABLE", "percentage": {"value": 50}}},
                },
                {"match": [{"uri": {"exact": "/no"}}], "directResponse": {"status": 418, "body": {"string": "tea"}}},
                away
                | {
                    "match": [{"uri": {"prefix": "/a"}}],
                    "rewrite": {"uriRegexRewrite": {"match": "/(a)/(.*)", "rewrite": r"/\2/\1"}},
                },
                {"match": [{"uri": {"prefix": "/old"}}], "redirect": {"prefixRewrite": "/new"}},
                away
                | {
                    "retries": {
                        "attempts": 1,
                        "backoff": "2s",
                        "retryIgnorePreviousHosts": False,
                        "retryRemoteLocalities": True,
                    },
                    "corsPolicy": {"allowOrigins": [{"exact": "*"}], "unmatchedPreflights": "FORWARD"},
                },
            ),
        )
    )
    injected = HTTPFault()
    assert fault.typed_per_filter_config["envoy.filters.http.fault"].Unpack(injected)
    assert (injected.abort.grpc_status, injected.abort.percentage.numerator) == (14, 500_000)
    assert (fault.match.headers[0].name, fault.match.headers[0].string_match.exact) == (":scheme", "https")
    assert (answer.direct_response.status, answer.direct_response.body.inline_bytes) == (418, b"tea")
    assert pattern.route.regex_rewrite.substitution == r"/\2/\1"
    assert prefix.redirect.prefix_rewrite == "/new"
    policy_ = tries.route.retry_policy
    assert policy_.retry_back_off.base_interval.seconds == 2
    assert not policy_.retry_host_predicate
    assert policy_.retry_priority.name == "envoy.retry_priorities.previous_priorities"


@pytest.mark.parametrize(
    ("change", "more", "host"),
    [
        ({"set": {"Host": "a"}}, {}, "a"),
        ({"set": {":authority": "a", "x-a": "1"}}, {}, "a"),
        ({"add": {"host": "b"}}, {}, "b"),
        ({"add": {"host": "b"}, "set": {"Host": "a"}}, {"rewrite": {"uri": "/"}}, "a"),
        ({"set": {"Host": "a"}}, {"rewrite": {"authority": "c"}}, "c"),
        ({"set": {"host": ""}}, {}, ""),
    ],
)
def test_a_host_among_the_headers_is_what_is_asked_for(change: Any, more: dict[str, Any], host: str) -> None:
    (found,) = http(TO_ECHO | {"headers": {"request": change}} | more)
    assert found.route.host_rewrite_literal == host
    added = [(item.header.key, item.header.value) for item in found.request_headers_to_add]
    assert added == ([("x-a", "1")] if "x-a" in change.get("set", {}) else [])


def test_a_destination_may_have_a_host_of_its_own() -> None:
    route = [
        {"destination": {"host": "a"}, "weight": 1, "headers": {"request": {"set": {"Host": "a.example.com"}}}},
        {"destination": {"host": "b"}, "weight": 1},
    ]
    both, one = http({"route": route}), http({"route": route[:1]})
    assert [item.host_rewrite_literal for item in both[0].route.weighted_clusters.clusters] == ["a.example.com", ""]
    assert [item.host_rewrite_literal for item in one[0].route.weighted_clusters.clusters] == ["a.example.com"]


@pytest.mark.parametrize(
    ("share", "delay", "abort"),
    [
        ({}, 0, 0),
        ({"percentage": {}}, 0, 0),
        ({"percentage": {"value": 0.5}}, 5_000, 5_000),
        ({"percent": 30}, 300_000, None),
        ({"percent": 30, "percentage": {"value": 50}}, 500_000, None),
    ],
)
def test_a_fault_befalls_so_many_requests_as_in_istio(share: dict[str, Any], delay: int, abort: int | None) -> None:
    fault: dict[str, Any] = {"delay": {"fixedDelay": "1s", **share}}
    if abort is not None:
        fault["abort"] = {"httpStatus": 503, **share}
    (found,) = routes(MemoryCluster().with_echo().put("VirtualService", virtual_service(TO_ECHO | {"fault": fault})))
    injected = HTTPFault()
    assert found.typed_per_filter_config["envoy.filters.http.fault"].Unpack(injected)
    assert injected.delay.percentage.numerator == delay
    assert injected.HasField("delay") is bool(delay)
    assert injected.abort.percentage.numerator == (abort or 0)
    assert injected.HasField("abort") is bool(abort)


def test_what_picks_no_request_or_answer_is_said() -> None:
    rules: list[dict[str, Any]] = [
        {"fault": {"delay": {"fixedDelay": "1s"}, "abort": {"grpcStatus": "OK"}}},
        {"retries": {"attempts": 1, "retryOn": "5xx,retriable-headers,retriable-status-codes"}},
        {"retries": {"attempts": 1, "retryOn": "retriable-status-codes,503"}},
        {"fault": {"delay": {"fixedDelay": "1s", "percent": 1}}},
        {"retries": {"retryOn": "503"}},
        {"retries": {"attempts": 0, "perTryTimeout": "1s"}},
        {"retries": {"attempts": 0}},
    ]
    found = VirtualService.parse(virtual_service(*(TO_ECHO | rule for rule in rules)), "cluster.local").idle
    assert [note.partition(" has no effect: ")[0] for note in found] == [
        "spec.http[0].fault.delay",
        "spec.http[0].fault.abort",
        "spec.http[1].retries.retryOn: retriable-headers",
        "spec.http[1].retries.retryOn: retriable-status-codes",
        "spec.http[4].retries: what it says of tries",
        "spec.http[5].retries: what it says of tries",
    ]


def test_a_virtual_service_lets_pages_of_others_see_headers_and_keep_the_answer_for_a_while() -> None:
    policy_ = {"allowOrigins": [{"prefix": "https://a"}], "exposeHeaders": ["x-a", "x-b"], "maxAge": "2m"}
    (found,) = routes(
        MemoryCluster().with_echo().put("VirtualService", virtual_service(TO_A | {"corsPolicy": policy_}))
    )
    made = CorsPolicy()
    assert found.typed_per_filter_config["envoy.filters.http.cors"].Unpack(made)
    assert (made.expose_headers, made.max_age) == ("x-a,x-b", "120")
    assert made.allow_origin_string_match[0].prefix == "https://a"


@pytest.mark.parametrize(
    ("match", "sensitive"),
    [
        ({"uri": {"exact": "/A"}, "ignoreUriCase": True}, False),
        ({"uri": {"prefix": "/A"}, "ignoreUriCase": True}, False),
        ({"uri": {"prefix": "/A"}, "ignoreUriCase": False}, True),
        ({"uri": {"prefix": "/A"}}, True),
    ],
)
def test_the_case_of_a_path_counts_unless_a_match_says_otherwise(match: dict[str, Any], sensitive: bool) -> None:
    (found,) = routes(MemoryCluster().with_echo().put("VirtualService", virtual_service(TO_A | {"match": [match]})))
    assert (found.match.path or found.match.prefix) == "/A"
    assert (not found.match.HasField("case_sensitive") or found.match.case_sensitive.value) is sensitive


def test_a_bad_grpc_route_or_grant_names_the_field() -> None:
    spec: dict[str, Any] = {"parentRefs": [PARENT], "rules": [{"matches": [{"method": {"service": "a/b"}}]}]}
    with pytest.raises(Invalid, match=r"rules\[0\]\.matches\[0\]\.method\.service"):
        GRPCRoute.parse(policy("g", spec), "cluster.local")
    with pytest.raises(Invalid, match=r"spec\.to"):
        ReferenceGrant.parse(policy("g", {"from": [{"kind": "HTTPRoute", "namespace": "a"}]}), "cluster.local")


@pytest.mark.parametrize("matches", [[], [{"headers": [{"name": "x", "value": "y"}]}], [{"path": {"value": "/"}}]])
@pytest.mark.parametrize(("replacement", "rewrite"), [("/v1", "/v1/"), ("/v1/", "/v1/"), ("/", "/"), ("", "/")])
def test_a_replaced_root_stays_a_segment_of_its_own(matches: list[Any], replacement: str, rewrite: str) -> None:
    change = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": replacement}}
    rules = [
        {"matches": matches, "filters": [{"type": "RequestRedirect", "requestRedirect": change}]},
        {"matches": matches, "filters": [{"type": "URLRewrite", "urlRewrite": change}], "backendRefs": [BACKEND]},
    ]
    cluster = MemoryCluster().with_echo()
    away, forward = routes(cluster.put("HTTPRoute", policy("r", {"parentRefs": [PARENT], "rules": rules})))[:2]
    assert (away.match.prefix, away.redirect.prefix_rewrite) == ("/", rewrite)
    assert (forward.match.prefix, forward.route.prefix_rewrite) == ("/", rewrite)


def test_what_a_virtual_service_replaces_is_text() -> None:
    rule = {"rewrite": {"uri": "/v1"}, "route": [{"destination": {"host": "echo"}}]}
    (found,) = routes(MemoryCluster().with_echo().put("VirtualService", virtual_service(rule)))
    assert found.route.prefix_rewrite == "/v1"
