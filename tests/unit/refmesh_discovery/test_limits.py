"""connectionPool, outlierDetection and retryBudget: from the rule to what Envoy is told."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions
from google.protobuf.json_format import MessageToDict

from refmesh.api.destination_rule import DestinationRule
from refmesh.api.fields import Invalid
from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, message_of, pod, policy
from tests.unit.refmesh_discovery.test_standings import judged

UNLIMITED = 2**32 - 1
ECHO = "echo.shop.svc.cluster.local"
KEEPALIVE = {"probes": 3, "time": "60s", "interval": "5s"}


def rule(pool: dict[str, Any], host: str = "echo", **traffic: Any) -> dict[str, Any]:
    return policy("limits", {"host": host, "trafficPolicy": {"connectionPool": pool, **traffic}})


def messages(*rules: dict[str, Any], kind: ResourceType = ResourceType.CLUSTER) -> dict[str, Any]:
    return all_messages(MemoryCluster().with_echo().put("DestinationRule", *rules).world(), ("shop", "echo-v1"), kind)


def options(cluster: Any) -> Any:
    found = HttpProtocolOptions()
    (packed,) = cluster.typed_extension_protocol_options.values()
    assert packed.Unpack(found)
    return found


def stream(found: Any) -> Any:
    proxy = TcpProxy()
    assert found.filters[-1].typed_config.Unpack(proxy)
    return proxy


def test_what_a_pool_says_of_connections_reaches_the_kernel_http_and_streams() -> None:
    tcp = {"tcpKeepalive": KEEPALIVE, "idleTimeout": "30s", "maxConnectionDuration": "1h"}
    written = rule({"tcp": tcp})
    cluster = messages(written)[f"outbound|90||{ECHO}"]
    asked = cluster.upstream_connection_options.tcp_keepalive
    assert (asked.keepalive_probes.value, asked.keepalive_time.value, asked.keepalive_interval.value) == (3, 60, 5)
    common = options(cluster).common_http_protocol_options
    assert (common.idle_timeout.seconds, common.max_connection_duration.seconds) == (30, 3600)
    listeners = messages(written, kind=ResourceType.LISTENER)
    proxy = stream(listeners["10.0.0.1_90"].filter_chains[0])
    assert (proxy.idle_timeout.seconds, proxy.max_downstream_connection_duration.seconds) == (30, 3600)


@pytest.mark.parametrize(
    ("written", "path", "value"),
    [
        ({"tcp": {"connectTimeout": "1500ms"}}, "connect_timeout", "1.500s"),
        ({"http": {"maxRetries": 7}}, "circuit_breakers.thresholds.0.max_retries", 7),
        ({"http": {"maxRetries": 0}}, "circuit_breakers.thresholds.0.max_retries", UNLIMITED),
        ({"http": {"maxRequestsPerConnection": 3}}, "http.max_requests_per_connection", 3),
        ({"http": {"maxRequestsPerConnection": 0}}, "http.max_requests_per_connection", None),
        ({"consecutiveGatewayErrors": 4}, "outlier_detection.consecutive_gateway_failure", 4),
        ({"consecutiveGatewayErrors": 4}, "outlier_detection.enforcing_consecutive_gateway_failure", 100),
        ({"consecutiveGatewayErrors": 0}, "outlier_detection.enforcing_consecutive_gateway_failure", 0),
        ({"splitExternalLocalOriginErrors": True}, "outlier_detection.split_external_local_origin_errors", True),
        # Envoy's statistical detector, which it has on unless told otherwise.
        ({"splitExternalLocalOriginErrors": True}, "outlier_detection.enforcing_local_origin_success_rate", 0),
        (
            {"splitExternalLocalOriginErrors": True, "consecutiveLocalOriginFailures": 6},
            "outlier_detection.consecutive_local_origin_failure",
            6,
        ),
        (
            {"splitExternalLocalOriginErrors": True, "consecutiveLocalOriginFailures": 6},
            "outlier_detection.enforcing_consecutive_local_origin_failure",
            100,
        ),
        (
            {"splitExternalLocalOriginErrors": True, "consecutiveLocalOriginFailures": 0},
            "outlier_detection.enforcing_consecutive_local_origin_failure",
            0,
        ),
        # Without the split they count among the others.
        ({"consecutiveLocalOriginFailures": 6}, "outlier_detection.consecutive_local_origin_failure", None),
    ],
)
def test_each_limit_is_where_envoy_looks_for_it(written: dict[str, Any], path: str, value: Any) -> None:
    pool = written if {"tcp", "http"} & set(written) else {}
    cluster = messages(rule(pool, outlierDetection={} if pool else written))[f"outbound|80||{ECHO}"]
    found: Any = MessageToDict(cluster, preserving_proto_field_name=True)
    found["http"] = MessageToDict(options(cluster).common_http_protocol_options, preserving_proto_field_name=True)
    for word in path.split("."):
        found = found[int(word)] if word.isdigit() else found.get(word)
    assert found == value


def test_requests_idle_as_http_says_and_never_end_where_a_pool_says_zero() -> None:
    written = rule({"tcp": {"idleTimeout": "0s"}, "http": {"idleTimeout": "7s"}})
    assert options(messages(written)[f"outbound|80||{ECHO}"]).common_http_protocol_options.idle_timeout.seconds == 7
    proxy = stream(messages(written, kind=ResourceType.LISTENER)["10.0.0.1_90"].filter_chains[0])
    assert proxy.HasField("idle_timeout")
    assert proxy.idle_timeout.ToSeconds() == 0


def test_streams_last_as_the_rule_of_their_own_namespace_says() -> None:
    other = rule({"tcp": {"idleTimeout": "9s"}}, host=ECHO)
    other["metadata"]["namespace"] = "elsewhere"
    cluster = MemoryCluster().with_echo().put("Namespace", {"metadata": {"name": "elsewhere"}})
    cluster.put("DestinationRule", rule({"tcp": {"idleTimeout": "30s"}}), other)
    world = cluster.world()

    def idle(namespace: str) -> int:
        listener = message_of(world.tables(namespace)[ResourceType.LISTENER]["10.0.0.1_90"], ResourceType.LISTENER)
        return int(stream(listener.filter_chains[0]).idle_timeout.seconds)

    assert [idle(namespace) for namespace in ("shop", "elsewhere", "third")] == [30, 9, 30]


def test_an_upgrade_is_between_proxies_and_the_application_gets_what_its_port_says() -> None:
    written = rule({"http": {"h2UpgradePolicy": "UPGRADE", "maxConcurrentStreams": 7}})
    found = messages(written)
    http2 = options(found[f"outbound|80||{ECHO}"]).explicit_http_config.http2_protocol_options
    assert http2.max_concurrent_streams.value == 7
    assert options(found["inbound|8080||"]).explicit_http_config.HasField("http_protocol_options")
    untouched = messages()["inbound|8080||"]
    assert options(untouched).HasField("use_downstream_protocol_config")


@pytest.mark.parametrize(
    ("namespace", "private", "protocol"),
    [
        ("other", True, "use_downstream_protocol_config"),
        ("other", False, "use_downstream_protocol_config"),
        ("refmesh-system", True, "use_downstream_protocol_config"),
        ("refmesh-system", False, "explicit_http_config"),
        ("shop", True, "explicit_http_config"),
    ],
)
def test_nobody_upgrades_what_other_namespaces_servers_are_sent(namespace: str, private: bool, protocol: str) -> None:
    written = rule({"http": {"h2UpgradePolicy": "UPGRADE"}}, host=ECHO)
    written["metadata"]["namespace"] = namespace
    if private:
        written["spec"]["exportTo"] = ["."]
    cluster = MemoryCluster().with_echo().put("DestinationRule", written)
    world = cluster.world()
    served = all_messages(world, ("shop", "echo-v1"), ResourceType.CLUSTER)["inbound|8080||"]
    assert options(served).WhichOneof("upstream_protocol_options") == protocol
    # Both ends agree: what clients send is what the server's proxy reckons with.
    table = world.tables(namespace)[ResourceType.CLUSTER]
    sent = options(message_of(table[f"outbound|80||{ECHO}"], ResourceType.CLUSTER))
    assert sent.WhichOneof("upstream_protocol_options") == protocol


def test_clients_keep_their_protocol_on_a_port_for_http2_where_a_rule_says_so() -> None:
    cluster = MemoryCluster().with_echo()
    made: dict[str, Any] = {
        "metadata": {"name": "g", "namespace": "shop"},
        "spec": {"clusterIP": "10.0.0.9", "ports": []},
    }
    made["spec"]["ports"] = [{"name": "grpc", "port": 80, "protocol": "TCP"}]
    keepalive = {"interval": "10s", "timeout": "1s"}
    cluster.put("Service", made)
    cluster.put("DestinationRule", rule({"http": {"useClientProtocol": True, "http2KeepAlive": keepalive}}, host="g"))
    table = cluster.world().shared[ResourceType.CLUSTER]
    found = options(message_of(table["outbound|80||g.shop.svc.cluster.local"], ResourceType.CLUSTER))
    assert found.use_downstream_protocol_config.http2_protocol_options.connection_keepalive.interval.seconds == 10


def test_only_the_statuses_that_are_named_count_as_errors() -> None:
    outlier = {"consecutive5xxErrors": 2, "outlierDetectionHttpErrorCodes": [503, *[429] * 1000]}
    found = options(messages(rule({}, outlierDetection=outlier))[f"outbound|80||{ECHO}"])
    rules = found.outlier_detection.error_matcher.or_match.rules
    assert [one.http_response_headers_match.headers[0].string_match.exact for one in rules] == ["429", "503"]


EXPORTS = [
    ("shop", ["."], (3, UNLIMITED, UNLIMITED)),
    ("shop", ["far"], (UNLIMITED, 3, UNLIMITED)),
    ("shop", [".", "far"], (3, 3, UNLIMITED)),
    ("shop", ["far", "*"], (3, 3, 3)),
    ("shop", ["nowhere"], (UNLIMITED, UNLIMITED, UNLIMITED)),
    ("refmesh-system", ["far"], (UNLIMITED, 3, UNLIMITED)),
    # A stranger says nothing to others' clients.
    ("other", ["far"], (UNLIMITED, UNLIMITED, UNLIMITED)),
    ("other", [".", "far"], (UNLIMITED, UNLIMITED, 3)),
]


@pytest.mark.parametrize(("home", "to", "limits"), EXPORTS)
def test_a_rule_is_for_the_namespaces_that_it_is_exported_to(home: str, to: list[str], limits: tuple[int, ...]) -> None:
    written = rule({"tcp": {"maxConnections": 3}}, host=ECHO)
    written["spec"]["exportTo"], written["metadata"]["namespace"] = to, home
    cluster = MemoryCluster().with_echo().put("DestinationRule", written)
    for namespace in ("far", "other"):
        cluster.put("Namespace", {"metadata": {"name": namespace}})
        cluster.put("Pod", pod("p", "10.1.0.9", namespace=namespace))
    world = cluster.world()

    def limit(namespace: str) -> int:
        item = world.tables(namespace)[ResourceType.CLUSTER][f"outbound|80||{ECHO}"]
        return int(message_of(item, ResourceType.CLUSTER).circuit_breakers.thresholds[0].max_connections.value)

    assert tuple(map(limit, ("shop", "far", "other"))) == limits
    standing = judged(cluster, "DestinationRule", written["metadata"]["name"], home)
    assert bool(standing.blocked) is (3 not in limits)
    assert bool(standing.notes) is ((home, to) == ("other", [".", "far"]))


@pytest.mark.parametrize(
    ("to", "exported"),
    [(["."], {"shop"}), (["far", "."], {"far", "shop"}), (["*"], set()), (None, set()), (["A b"], set()), ("x", set())],
)
def test_a_rule_that_cannot_be_read_closes_its_host_for_those_alone_for_whom_it_is(to: Any, exported: set[str]) -> None:
    spec = {"host": ECHO, "exportTo": to, "nonsense": 1, "trafficPolicy": {"tls": {"mode": "SIMPLE"}}}
    assert DestinationRule.closed(policy("x", spec), "", "cluster.local").exported == exported


def test_a_namespace_s_own_rule_stands_before_one_that_was_exported_to_it() -> None:
    lent, own, wide = (rule({"tcp": {"maxConnections": number}}, host=ECHO) for number in (3, 4, 5))
    lent["spec"]["exportTo"], own["metadata"]["namespace"] = ["far"], "far"
    wide["metadata"]["name"] = "wide"
    cluster = MemoryCluster().with_echo().put("DestinationRule", lent, wide)
    cluster.put("Namespace", {"metadata": {"name": "far"}}).put("Pod", pod("p", "10.1.0.9", namespace="far"))

    def limits() -> list[int]:
        tables = (cluster.world().tables(space)[ResourceType.CLUSTER] for space in ("shop", "far"))
        found = (message_of(table[f"outbound|80||{ECHO}"], ResourceType.CLUSTER) for table in tables)
        return [one.circuit_breakers.thresholds[0].max_connections.value for one in found]

    assert limits() == [5, 3]
    cluster.put("DestinationRule", own)
    assert limits() == [5, 4]
    assert judged(cluster, "DestinationRule", lent["metadata"]["name"]).blocked[0].reason == "Conflicted"


@pytest.mark.parametrize(
    ("pool", "field"),
    [
        ({"tcp": {"tcpKeepalive": {"time": "10ms"}}}, r"tcp\.tcpKeepalive\.time: must be at least 1000ms"),
        ({"tcp": {"tcpKeepalive": {"interval": "10h"}}}, r"tcpKeepalive\.interval: must be at most 32767s"),
        ({"tcp": {"tcpKeepalive": {"probes": 128}}}, r"tcpKeepalive\.probes: must be between 0 and 127"),
        ({"tcp": {"maxConnectionDuration": "0s"}}, r"tcp\.maxConnectionDuration: must be at least 1ms"),
        ({"http": {"h2UpgradePolicy": "MAYBE"}}, r"http\.h2UpgradePolicy: must be one of DEFAULT"),
        (
            {"http": {"h2UpgradePolicy": "UPGRADE", "useClientProtocol": True}},
            r"http\.h2UpgradePolicy: UPGRADE contradicts useClientProtocol",
        ),
        ({"http": {"http2KeepAlive": {"interval": "1s"}}}, r"http2KeepAlive\.timeout: is required"),
        ({"http": {"turns": 1}}, r"http\.turns: is not supported"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(pool: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid, match=field):
        DestinationRule.parse(rule(pool), "cluster.local")
