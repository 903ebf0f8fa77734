"""From snapshot to resources: what is generated means what the objects say, and nothing is built twice."""

from __future__ import annotations

from typing import Any

import pytest

from refmesh.config.model import Protocol
from refmesh.config.objects import protocol_of
from refmesh.discovery import names
from refmesh.discovery.resource import ResourceType
from refmesh.telemetry import metrics
from tests.unit.refmesh_discovery.helpers import (
    MemoryCluster,
    all_messages,
    endpoint_slice,
    message_of,
    pod,
    policy,
    service,
)

C, E, _, L, R = ResourceType
HOST = "echo.shop.svc.cluster.local"
CLUSTER = names.outbound_cluster(80, "", HOST)


def encodes() -> float:
    return float(sum(metrics.ENCODES.labels(kind.short)._value.get() for kind in ResourceType))


def addresses(message: Any) -> list[tuple[str, int]]:
    return [
        (item.endpoint.address.socket_address.address, item.endpoint.address.socket_address.port_value)
        for locality in message.endpoints
        for item in locality.lb_endpoints
    ]


def shared(cluster: MemoryCluster, kind: ResourceType, name: str, namespace: str = "shop") -> Any:
    return message_of(cluster.world().tables(namespace)[kind][name], kind)


@pytest.mark.parametrize(
    ("name", "app_protocol", "expected"),
    [
        ("http", "", Protocol.HTTP),
        ("http-web", "", Protocol.HTTP),
        ("grpc", "", Protocol.HTTP2),
        ("grpc-web", "", Protocol.GRPC_WEB),
        ("tcp-x", "", Protocol.TCP),
        ("https", "", Protocol.TCP),
        ("", "", Protocol.AUTO),
        ("web", "", Protocol.AUTO),
        ("tcp", "http", Protocol.HTTP),
        ("x", "kubernetes.io/h2c", Protocol.HTTP2),
        ("http", "example.com/custom", Protocol.AUTO),
        ("tcp", "http-web", Protocol.HTTP),
        ("tcp", "grpc-foo", Protocol.HTTP2),
        ("tcp", "grpc-web", Protocol.GRPC_WEB),
        ("http", "https-web", Protocol.TCP),
        ("", "postgresql", Protocol.TCP),
        ("smtp-in", "", Protocol.TCP),
    ],
)
def test_protocol_of_a_port(name: str, app_protocol: str, expected: Protocol) -> None:
    assert protocol_of(name, app_protocol) is expected


def test_ports_on_which_servers_speak_first_wait_for_no_client_unless_they_are_said_to_speak_otherwise() -> None:
    for number in (25, 53, 3306, 27017):
        assert protocol_of("", port=number) is protocol_of("db", "example.com/custom", number) is Protocol.TCP
        assert protocol_of("http-db", port=number) is Protocol.HTTP
    cluster = MemoryCluster().put("Service", service("db", ports={"": (3306, 3306)}))
    (port,) = cluster.snapshot().services["shop", "db"].ports
    assert port.protocol is Protocol.TCP
    own = pod("alone", app="alone", ports=(3306, 3307))
    world = cluster.put("Pod", own).world()
    routes = world.own(world.snapshot.pods["shop", "alone"])[R]
    assert [name for name in routes if "3306" in name] == []
    assert [name for name in routes if "3307" in name]


def test_every_name_that_is_used_exists() -> None:
    cluster = MemoryCluster().with_echo()
    world = cluster.world()
    for kind, used in (
        (R, {f"{HOST}:80", f"{HOST}:70"}),
        (E, {item for item in world.shared[C] if item.startswith("outbound|")}),
        (L, {"virtualOutbound", "10.0.0.1_80", "10.0.0.1_90", "10.0.0.1_70"}),
    ):
        assert set(world.shared[kind]) == used


def test_endpoints_are_the_ready_ones_marked_with_mtls() -> None:
    cluster = MemoryCluster().with_echo()
    plain = pod("plain", "10.1.0.9", meshed=False)
    late = pod("late", "10.1.0.8")
    cluster.put("Pod", plain, late)
    second = endpoint_slice("echo", [plain], ready=True)
    second["metadata"]["name"] = "echo-y"
    third = endpoint_slice("echo", [late], ready=False)
    third["metadata"]["name"] = "echo-z"
    cluster.put("EndpointSlice", second, third)
    found = shared(cluster, E, CLUSTER)
    assert addresses(found) == [("10.1.0.1", 8080), ("10.1.0.2", 8080), ("10.1.0.9", 8080)]
    marks = [
        dict(item.metadata.filter_metadata).get("envoy.transport_socket_match")
        for item in found.endpoints[0].lb_endpoints
    ]
    assert [mark is not None and mark["tlsMode"] == "istio" for mark in marks] == [True, True, False]


def test_an_endpoint_whose_pod_is_gone_is_left_out_at_once() -> None:
    cluster = MemoryCluster().with_echo().drop("Pod", "echo-v1")
    assert addresses(shared(cluster, E, CLUSTER)) == [("10.1.0.2", 8080)]


def test_a_pod_in_its_node_s_network_is_an_endpoint_in_plaintext_and_nothing_of_the_mesh_s() -> None:
    own = pod("on-node", "192.168.0.5", version="v2")
    own["spec"]["hostNetwork"] = True
    cluster = MemoryCluster().put("Service", service("echo")).put("Pod", own)
    cluster.put("EndpointSlice", endpoint_slice("echo", [own]))
    cluster.put(
        "DestinationRule", policy("subsets", {"host": "echo", "subsets": [{"name": "v2", "labels": {"version": "v2"}}]})
    )
    for subset in ("", "v2"):
        found = shared(cluster, E, names.outbound_cluster(80, subset, HOST))
        assert addresses(found) == [("192.168.0.5", 8080)]
        assert "envoy.transport_socket_match" not in found.endpoints[0].lb_endpoints[0].metadata.filter_metadata
    assert b"sa/echo" not in cluster.world().shared[C][CLUSTER].wire


def test_an_address_that_somebody_wrote_is_the_pod_there_in_the_same_namespace_if_there_is_one() -> None:
    there = pod("there", "10.1.0.5", account="there")
    elsewhere, on_node = (
        pod("elsewhere", "10.1.0.6", "far", account="far"),
        pod("on-node", "192.168.0.5", account="node"),
    )
    on_node["spec"]["hostNetwork"] = True
    by_hand = endpoint_slice("echo", [there, elsewhere, on_node])
    for item in by_hand["endpoints"]:
        del item["targetRef"]
    cluster = MemoryCluster().put("Service", service("echo")).put("Pod", there, elsewhere, on_node)
    cluster.put("EndpointSlice", by_hand)
    found = shared(cluster, E, CLUSTER).endpoints[0].lb_endpoints
    marked = {
        one.endpoint.address.socket_address.address: "envoy.transport_socket_match" in one.metadata.filter_metadata
        for one in found
    }
    assert marked == {"10.1.0.5": True, "10.1.0.6": False, "192.168.0.5": False}
    wire = cluster.world().shared[C][CLUSTER].wire
    assert [name for name in (b"sa/there", b"sa/far", b"sa/node") if name in wire] == [b"sa/there"]
    # Where the pod is gone the address stays: nobody says that it was a pod's.
    assert len(addresses(shared(cluster.drop("Pod", "there"), E, CLUSTER))) == 3


def test_a_reused_address_never_gets_another_pod_s_traffic() -> None:
    cluster = MemoryCluster().with_echo().put("Pod", pod("echo-v1", "10.1.0.77"))
    assert addresses(shared(cluster, E, CLUSTER)) == [("10.1.0.2", 8080)]


def test_the_client_accepts_the_service_accounts_behind_the_service_and_no_other() -> None:
    cluster = MemoryCluster().with_echo()
    message = shared(cluster, C, CLUSTER)
    secured = message.transport_socket_matches[0]
    assert secured.match["tlsMode"] == "istio"
    from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext

    context = UpstreamTlsContext()
    assert secured.transport_socket.typed_config.Unpack(context)
    assert context.sni == f"outbound_.80_._.{HOST}"
    validation = context.common_tls_context.combined_validation_context.default_validation_context
    assert [item.matcher.exact for item in validation.match_typed_subject_alt_names] == [
        "spiffe://cluster.local/ns/shop/sa/echo"
    ]


def test_without_any_known_identity_nobody_is_trusted() -> None:
    cluster = MemoryCluster().put("Service", service("empty"))
    message = shared(cluster, C, names.outbound_cluster(80, "", "empty.shop.svc.cluster.local"))
    from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext

    context = UpstreamTlsContext()
    assert message.transport_socket_matches[0].transport_socket.typed_config.Unpack(context)
    validation = context.common_tls_context.combined_validation_context.default_validation_context
    assert len(validation.match_typed_subject_alt_names) == 1


def test_limits_and_ejection_reach_the_cluster_and_its_subsets() -> None:
    rule = policy(
        "r",
        {
            "host": "echo",
            "trafficPolicy": {
                "connectionPool": {"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 2}},
                "outlierDetection": {"consecutive5xxErrors": 5, "baseEjectionTime": "2s", "maxEjectionPercent": 50},
                "retryBudget": {"percent": 12.5},
            },
            "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
        },
    )
    cluster = MemoryCluster().with_echo().put("DestinationRule", rule)
    for subset in ("", "v1"):
        message = shared(cluster, C, names.outbound_cluster(80, subset, HOST))
        threshold = message.circuit_breakers.thresholds[0]
        assert (threshold.max_connections.value, threshold.max_pending_requests.value) == (1, 2)
        assert threshold.max_requests.value == 2**32 - 1
        budget = threshold.retry_budget
        assert (budget.budget_percent.value, budget.min_retry_concurrency.value) == (12.5, 3)
        outlier = message.outlier_detection
        assert (outlier.consecutive_5xx.value, outlier.base_ejection_time.seconds) == (5, 2)
        assert outlier.max_ejection_percent.value == 50
        assert outlier.enforcing_success_rate.value == 0
    assert addresses(shared(cluster, E, names.outbound_cluster(80, "v1", HOST))) == [("10.1.0.1", 8080)]


def split(weights: list[int]) -> dict[str, Any]:
    return policy(
        "split",
        {
            "hosts": ["echo"],
            "http": [
                {
                    "route": [
                        {"destination": {"host": "echo", "subset": f"v{index}"}, "weight": weight}
                        for index, weight in enumerate(weights)
                    ]
                }
            ],
        },
    )


def test_weights_are_handed_on_as_they_are_and_zero_gets_nothing() -> None:
    cluster = MemoryCluster().with_echo().put("VirtualService", split([90, 10, 0]))
    action = shared(cluster, R, f"{HOST}:80").virtual_hosts[0].routes[0].route
    assert [(item.name, item.weight.value) for item in action.weighted_clusters.clusters] == [
        (names.outbound_cluster(80, "v0", HOST), 90),
        (names.outbound_cluster(80, "v1", HOST), 10),
    ]


def http_route(name: str, matches: list[Any], backend: str, namespace: str = "shop", **more: Any) -> dict[str, Any]:
    return policy(
        name,
        {
            "parentRefs": [{"group": "", "kind": "Service", "name": "echo", "namespace": "shop", "port": 80}],
            "rules": [{"matches": matches, "backendRefs": [{"name": backend, "port": 80}]}],
        },
        namespace,
        **more,
    )


def test_http_routes_are_ordered_by_how_specific_their_matches_are() -> None:
    cluster = MemoryCluster().with_echo()
    cluster.put(
        "HTTPRoute",
        http_route("a", [{"path": {"value": "/"}}], "echo", created="2026-01-01T00:00:00Z"),
        http_route("b", [{"path": {"value": "/long"}}, {"path": {"value": "/l"}}], "echo"),
        http_route("c", [{"path": {"type": "Exact", "value": "/l"}}], "echo"),
        http_route("d", [{"path": {"value": "/l"}, "method": "GET"}], "echo"),
        http_route("e", [{"path": {"value": "/l"}, "headers": [{"name": "x", "value": "1"}]}], "echo"),
    )
    routes = shared(cluster, R, f"{HOST}:80").virtual_hosts[0].routes
    seen = [
        (item.match.path or item.match.path_separated_prefix or item.match.prefix, len(item.match.headers))
        for item in routes
    ]
    assert seen == [("/l", 0), ("/long", 0), ("/l", 1), ("/l", 1), ("/l", 0), ("/", 0)]
    assert routes[2].match.headers[0].name == ":method"


def test_a_missing_backend_answers_500_and_no_match_answers_404() -> None:
    cluster = MemoryCluster().with_echo().put("HTTPRoute", http_route("a", [{"path": {"value": "/only"}}], "missing"))
    routes = shared(cluster, R, f"{HOST}:80").virtual_hosts[0].routes
    assert len(routes) == 1
    assert routes[0].direct_response.status == 500


def test_a_consumer_s_route_is_seen_by_clients_of_its_namespace_only() -> None:
    cluster = MemoryCluster().with_echo()
    cluster.put("Service", service("echo", "10.0.9.9", namespace="client"))
    cluster.put("HTTPRoute", http_route("mine", [{"path": {"value": "/mine"}}], "echo", namespace="client"))
    world = cluster.world()
    route = f"{HOST}:80"
    seen = {
        namespace: message_of(world.tables(namespace)[R][route], R).virtual_hosts[0].routes[0].match
        for namespace in ("client", "shop", "third")
    }
    assert seen["client"].path_separated_prefix == "/mine"
    assert seen["shop"].prefix == seen["third"].prefix == "/"
    assert world.tables("shop") is world.tables("third")


def test_what_was_made_for_a_namespace_alone_goes_with_its_last_rule() -> None:
    cluster = MemoryCluster().with_echo()
    cluster.put("HTTPRoute", http_route("mine", [{"path": {"value": "/mine"}}], "echo", namespace="client"))
    kept = cluster.generator._memory._tables
    cluster.world()
    assert set(kept) == {"", "client"}
    cluster.drop("HTTPRoute", "mine", "client").world()
    assert set(kept) == {""}


def test_retries_are_safe_by_default_and_as_asked_otherwise() -> None:
    cluster = MemoryCluster().with_echo()
    route = shared(cluster, R, f"{HOST}:80").virtual_hosts[0].routes[0].route
    assert route.retry_policy.retry_on == "connect-failure,refused-stream,reset-before-request"
    assert route.timeout.seconds == 0
    to_echo = {"route": [{"destination": {"host": "echo"}}]}
    for asked in ({"attempts": 0}, {"retryOn": "503", "perTryTimeout": "1s"}):
        none = policy("r", {"hosts": ["echo"], "http": [{**to_echo, "retries": asked}]})
        route = shared(cluster.put("VirtualService", none), R, f"{HOST}:80").virtual_hosts[0].routes[0].route
        assert not route.HasField("retry_policy")


def test_nothing_is_encoded_twice_and_tables_that_did_not_change_are_the_same_objects() -> None:
    cluster = MemoryCluster().with_echo()
    first = cluster.world()
    before = encodes()
    second = cluster.world()
    assert encodes() == before
    assert all(second.shared[kind] is first.shared[kind] for kind in ResourceType)
    cluster.drop("Pod", "echo-v1")
    third = cluster.world()
    # One endpoint less for each of the three ports, and nothing else; how many proxies there are plays no part.
    assert encodes() - before == 3
    assert third.shared[L] is first.shared[L]


def test_pods_of_one_kind_share_their_own_resources() -> None:
    world = MemoryCluster().with_echo().world()
    one, two = (world.own(world.snapshot.pods["shop", name]) for name in ("echo-v1", "echo-v2"))
    assert one is two


def test_a_pod_s_own_resources_are_kept_while_only_endpoints_change_and_no_longer() -> None:
    cluster = MemoryCluster().with_echo()
    first = cluster.world()
    echo = first.snapshot.pods["shop", "echo-v1"]
    kept = first.own(echo)
    cluster.drop("Pod", "echo-v2")
    assert cluster.world().own(echo) is kept
    cluster.put("PeerAuthentication", policy("default", {"mtls": {"mode": "STRICT"}}))
    assert cluster.world().own(echo) is not kept
    # A proxy that still looks at an earlier world sees that world.
    assert first.own(echo) is kept
    cluster.put("Pod", pod("echo-v1", "10.1.0.7", app="other", ports=(9999,)))
    moved = cluster.world()
    assert moved.own(moved.snapshot.pods["shop", "echo-v1"]) != first.own(echo)


def test_one_bad_object_blocks_no_other() -> None:
    cluster = MemoryCluster().with_echo()
    cluster.put("VirtualService", split([1, 1]), policy("bad", {"hosts": ["echo"], "http": [{"mirror": {}}]}))
    snapshot = cluster.snapshot()
    assert [key[2] for key in snapshot.rejected] == ["bad"]
    assert len(snapshot.virtual_services) == 1
    cluster.drop("VirtualService", "bad")
    assert not cluster.snapshot().rejected


def test_a_policy_that_nobody_foresaw_is_refused_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> Any:
        raise KeyError("odd")

    monkeypatch.setattr("refmesh.config.store.parse", failing)
    cluster = MemoryCluster().with_echo()
    cluster.put("AuthorizationPolicy", policy("odd", {"rules": [{}]}))
    snapshot = cluster.snapshot()
    (rejected,) = snapshot.rejected.values()
    assert rejected.reason == "refmesh cannot read it: KeyError"
    (closed,) = snapshot.authorization_policies.values()
    assert not closed.rules


def chains(cluster: MemoryCluster, name: str = "echo-v1") -> dict[str, Any]:
    listener = all_messages(cluster.world(), ("shop", name), L)["virtualInbound"]
    return {chain.name: chain for chain in listener.filter_chains}


def test_strict_has_no_chain_for_plaintext_on_any_port() -> None:
    strict = policy("default", {"mtls": {"mode": "STRICT"}})
    found = chains(MemoryCluster().with_echo().put("PeerAuthentication", strict))
    for name, chain in found.items():
        if name != "loop":
            assert chain.filter_chain_match.transport_protocol == "tls", name
            assert chain.HasField("transport_socket"), name


def test_switching_to_strict_leaves_the_chain_of_mesh_clients_as_it_is() -> None:
    cluster = MemoryCluster().with_echo()
    before = chains(cluster)
    after = chains(cluster.put("PeerAuthentication", policy("default", {"mtls": {"mode": "STRICT"}})))
    for name in ("8080-mtls", "9090-mtls", "7070-mtls-http", "7070-mtls-tcp"):
        assert before[name].SerializeToString(deterministic=True) == after[name].SerializeToString(deterministic=True)


def test_a_service_that_comes_beside_another_leaves_the_chains_as_they_are() -> None:
    cluster = MemoryCluster().with_echo()
    before = all_messages(cluster.world(), ("shop", "echo-v1"), L)["virtualInbound"]
    canary = service("canary", "10.0.0.9")
    canary["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
    canary["spec"]["selector"] = {"app": "echo", "version": "v1"}
    after = all_messages(cluster.put("Service", canary).world(), ("shop", "echo-v1"), L)["virtualInbound"]
    assert after == before
    assert HOST.encode() in after.SerializeToString()


def test_no_two_chains_match_the_same() -> None:
    for mode in ("STRICT", "PERMISSIVE", "DISABLE"):
        cluster = MemoryCluster().with_echo()
        cluster.put("PeerAuthentication", policy("default", {"mtls": {"mode": mode}}))
        matches = [chain.filter_chain_match.SerializeToString(deterministic=True) for chain in chains(cluster).values()]
        assert len(matches) == len(set(matches))


def test_an_endpoint_port_that_takes_no_tls_is_reached_in_plaintext() -> None:
    exception = policy(
        "echo",
        {
            "selector": {"matchLabels": {"app": "echo"}},
            "mtls": {"mode": "STRICT"},
            "portLevelMtls": {"9090": {"mode": "DISABLE"}},
        },
    )
    cluster = MemoryCluster().with_echo().put("PeerAuthentication", exception)
    plain = shared(cluster, E, names.outbound_cluster(90, "", HOST)).endpoints[0].lb_endpoints[0]
    secured = shared(cluster, E, CLUSTER).endpoints[0].lb_endpoints[0]
    assert "envoy.transport_socket_match" not in plain.metadata.filter_metadata
    assert secured.metadata.filter_metadata


def headless(cluster: MemoryCluster) -> MemoryCluster:
    made = service("echo")
    made["spec"]["clusterIP"], made["spec"]["clusterIPs"] = "None", ["None"]
    return cluster.put("Service", made)


def test_endpoints_of_a_headless_service_are_reached_at_their_own_address_over_mtls() -> None:
    cluster = headless(MemoryCluster().with_echo())
    world = cluster.world()
    assert {"10.1.0.1_8080", "10.1.0.2_8080", "10.1.0.1_9090"} <= set(world.shared[L])
    assert not [name for name in world.shared[L] if name.startswith("10.0.0.1_")]
    message = message_of(world.shared[C][names.direct_cluster(80, HOST)], C)
    assert message.type == message.ORIGINAL_DST
    assert message.transport_socket.name == "envoy.transport_sockets.tls"


def test_endpoints_of_a_headless_service_without_proxy_pass_through() -> None:
    world = headless(MemoryCluster().with_echo(meshed=False)).world()
    assert set(world.shared[L]) == {"virtualOutbound"}
