"""Every defect fits its seam and does its harm; without one, nothing of the package is even imported."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from refmesh import defects
from refmesh.api import gateway_route
from refmesh.api.http_route import HTTPRoute
from refmesh.api.limits import ConnectionPool, OutlierDetection
from refmesh.api.load_balancer import HashKey
from refmesh.api.peer_authentication import MtlsMode
from refmesh.api.routing import Destination
from refmesh.config import references
from refmesh.config.store import SOURCES, Store
from refmesh.config.watcher import Watcher
from refmesh.defects.registry import seam
from refmesh.discovery import clusters, hashing, route_action, stream
from refmesh.discovery.policy import MtlsPolicies
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.stream import ProxyState
from refmesh.errors import UsageProblem
from refmesh.injector import patch
from refmesh.injector import policy as injection
from refmesh.kubeclient import Kube
from tests.unit.refmesh_discovery.helpers import MemoryCluster, endpoint_slice, message_of, pod, policy
from tests.unit.refmesh_discovery.simulated import SimulatedProxy, Toy, exchange

EVERY = (*defects.catalogue(), *defects.equivalents())


@pytest.fixture(autouse=True)
def sound_again() -> Iterator[None]:
    """Seams are attributes: put the sound functions back afterwards, and what one defect changes beside its own."""
    kept = [*map(seam, EVERY), (gateway_route, "literal"), (injection, "namespace_opts_in"), (patch, "proxy_container")]
    kept += [(MeshSettings, "identity"), (stream, "STALL_SECONDS")]
    sound = [getattr(owner, name) for owner, name in kept]
    yield
    for (owner, name), function in zip(kept, sound, strict=True):
        setattr(owner, name, function)


def test_there_are_six_with_names_of_their_own() -> None:
    names = [defect.name for defect in EVERY]
    assert len(set(names)) == len(names)
    assert len(defects.catalogue()) >= 6
    assert len(defects.equivalents()) >= 4


@pytest.mark.parametrize("defect", EVERY, ids=lambda defect: defect.name)
def test_each_seam_exists_and_is_replaced(defect: defects.Defect) -> None:
    owner, name = seam(defect)
    before = getattr(owner, name)
    assert defects.switch_on(defect.name) is defect
    assert getattr(owner, name) is not before


@pytest.mark.parametrize("defect", EVERY, ids=lambda defect: defect.name)
def test_each_takes_the_arguments_that_its_seam_takes(defect: defects.Defect) -> None:
    owner, name = seam(defect)
    sound = getattr(owner, name)
    wanted = inspect.signature(sound).parameters.values()
    taken = inspect.signature(defect.make(sound))
    for some in (wanted, [one for one in wanted if one.default is inspect.Parameter.empty]):
        placed = [one for one in some if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
        named = {one.name: one for one in some if one.kind is inspect.Parameter.KEYWORD_ONLY}
        taken.bind(*placed, **named)


def test_an_unknown_defect_is_a_usage_problem_that_lists_the_known() -> None:
    with pytest.raises(UsageProblem, match="weights-off-by-5"):
        defects.switch_on("no-such-thing")


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([90, 10], [8500, 1500]), ([50, 50], [4500, 5500]), ([1], [100]), ([70, 20, 10], [6500, 2000, 1500])],
)
def test_weights_are_off_by_five_points(weights: list[int], expected: list[int]) -> None:
    defects.switch_on("weights-off-by-5")
    assert route_action.weighted_shares(weights) == expected


def test_strict_becomes_permissive() -> None:
    cluster = MemoryCluster().with_echo().put("PeerAuthentication", policy("default", {"mtls": {"mode": "STRICT"}}))
    defects.switch_on("strict-served-as-permissive")
    from refmesh.discovery import inbound

    snapshot = cluster.snapshot()
    policies = MtlsPolicies.collect(snapshot.peer_authentications.values(), "refmesh-system")
    found = inbound.inbound_of(snapshot, policies, snapshot.pods["shop", "echo-v1"])
    assert {port.mode for port in found.ports} == {MtlsMode.PERMISSIVE}


def test_ejection_lasts_for_a_day() -> None:
    defects.switch_on("ejected-host-never-returns")
    found = clusters.outlier_detection(OutlierDetection(base_ejection_time=timedelta(seconds=2)))
    assert found.base_ejection_time.seconds == found.max_ejection_time.seconds == 86_400


def test_limits_are_forgotten() -> None:
    defects.switch_on("connection-limit-ignored")
    found = clusters.circuit_breakers(ConnectionPool(max_connections=1, max_pending_requests=1, max_requests=1))
    threshold = found.thresholds[0]
    assert threshold.max_connections.value == threshold.max_pending_requests.value == 2**32 - 1


@pytest.mark.parametrize(
    ("name", "most", "errors"), [("outlier-maximum-ignored", 100, 5), ("ejected-below-threshold", 50, 4)]
)
def test_ejection_goes_too_far(name: str, most: int, errors: int) -> None:
    defects.switch_on(name)
    found = clusters.outlier_detection(OutlierDetection(max_ejection_percent=50, consecutive_5xx=5))
    assert (found.max_ejection_percent.value, found.consecutive_5xx.value) == (most, errors)


def addresses(cluster: MemoryCluster) -> set[str]:
    world = cluster.world()
    found = message_of(world.shared[ResourceType.ENDPOINT]["outbound|80||echo.shop.svc.cluster.local"],
                       ResourceType.ENDPOINT)  # fmt: skip
    return {item.endpoint.address.socket_address.address for part in found.endpoints for item in part.lb_endpoints}


def test_endpoints_that_left_are_kept() -> None:
    defects.switch_on("deleted-endpoint-kept")
    cluster = MemoryCluster().with_echo()
    assert addresses(cluster) == {"10.1.0.1", "10.1.0.2"}
    cluster.put("EndpointSlice", endpoint_slice("echo", [pod("echo-v1", "10.1.0.1")]))
    assert addresses(cluster) == {"10.1.0.1", "10.1.0.2"}


def test_endpoints_that_are_not_ready_are_included() -> None:
    cluster = MemoryCluster().with_echo()
    piece = endpoint_slice("echo", [pod("echo-v1", "10.1.0.1"), pod("echo-v2", "10.1.0.2")])
    piece["endpoints"][1]["conditions"] = {"ready": False}
    cluster.put("EndpointSlice", piece)
    assert addresses(cluster) == {"10.1.0.1"}
    defects.switch_on("not-ready-endpoints-included")
    cluster.generator = type(cluster.generator)(MeshSettings())
    assert addresses(cluster) == {"10.1.0.1", "10.1.0.2"}


def test_balancing_forgets_key_and_turns() -> None:
    defects.switch_on("hash-key-ignored")
    assert hashing.policy(HashKey("header", "x-user")).header.header_name != "x-user"
    assert hashing.policy(HashKey("query", "user")).query_parameter.name == "user"
    defects.switch_on("round-robin-drawn")
    assert clusters.lb_policy("ROUND_ROBIN") == clusters.lb_policy("RANDOM")
    assert clusters.lb_policy(None) != clusters.lb_policy("RANDOM")


def test_a_normal_server_imports_no_defects() -> None:
    program = "import sys, refmesh.server; sys.exit('refmesh.defects' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == 0


def test_the_control_plane_loads_no_heavy_library() -> None:
    heavy = ("kubernetes", "pydantic", "jinja2", "typer", "rich", "numpy", "yaml")
    program = f"import sys, refmesh.server; sys.exit(','.join(set({heavy!r}) & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


ECHO = "echo.shop.svc.cluster.local"
RULES = [
    {
        "name": "a",
        "match": [{"uri": {"prefix": "/a"}, "headers": {"x": {"exact": "One"}}}],
        "route": [{"destination": {"host": "echo"}, "weight": 9}, {"destination": {"host": "none"}, "weight": 0}],
        "timeout": "1s",
        "retries": {"attempts": 1, "retryOn": "503", "perTryTimeout": "200ms"},
        "fault": {"abort": {"httpStatus": 418, "percentage": {"value": 100}}},
        "rewrite": {"uri": "/b"},
        "mirror": {"host": "copy"},
    },
    {"name": "b", "redirect": {"port": 8443}},
]


def generated(kind: str = "VirtualService", spec: dict[str, object] | None = None, namespace: str = "shop") -> Any:
    given = policy("v", spec or {"hosts": ["echo"], "http": RULES}, namespace)
    tables = MemoryCluster().with_echo().put(kind, given).world().tables("other")
    return message_of(tables[ResourceType.ROUTE][f"{ECHO}:80"], ResourceType.ROUTE).virtual_hosts[0].routes


def http_route(namespace: str = "shop", **rule: object) -> Any:
    parent = {"group": "", "kind": "Service", "name": "echo", "namespace": "shop"}
    return generated("HTTPRoute", {"parentRefs": [parent], "rules": [rule]}, namespace)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("last-match-wins", lambda: [item.name for item in generated()] == ["b", "a"]),
        ("header-case-ignored", lambda: generated()[0].match.headers[0].string_match.ignore_case),
        ("exact-header-as-prefix", lambda: generated()[0].match.headers[0].string_match.prefix == "One"),
        ("timeout-times-1000", lambda: generated()[0].route.timeout.seconds == 1000),
        ("timeout-times-3", lambda: generated()[0].route.timeout.seconds == 3),
        ("per-try-limit-dropped", lambda: not generated()[0].route.retry_policy.HasField("per_try_timeout")),
        (
            "per-try-limit-times-3",
            lambda: generated()[0].route.retry_policy.per_try_timeout.nanos == 600_000_000,
        ),
        ("retries-unlimited", lambda: generated()[0].route.retry_policy.num_retries.value == 25),
        ("fault-on-wrong-route", lambda: [len(item.typed_per_filter_config) for item in generated()] == [0, 1]),
        ("mirror-response-returned", lambda: "copy" in generated()[0].route.cluster),
        ("rewrite-dropped", lambda: not generated()[0].route.prefix_rewrite),
        ("redirect-wrong-port", lambda: generated()[1].redirect.port_redirect == 8444),
        ("zero-weight-served", lambda: len(generated()[0].route.weighted_clusters.clusters) == 2),
        (
            "prefix-splits-segment",
            lambda: http_route(matches=[{"path": {"value": "/a"}}])[0].match.prefix == "/a",
        ),
        (
            "unresolved-backend-answered",
            lambda: http_route(backendRefs=[{"name": "gone", "port": 80}])[0].route.cluster == f"outbound|80||{ECHO}",
        ),
        (
            "posts-retried",
            lambda: "5xx" in http_route(backendRefs=[{"name": "echo", "port": 80}])[0].route.retry_policy.retry_on,
        ),
        (
            "consumer-route-leaks",
            lambda: http_route("consumer", name="leak", backendRefs=[{"name": "echo", "port": 80}])[0].name == "leak",
        ),
    ],
)
def test_a_defect_shows_in_what_proxies_are_told(name: str, harm: Callable[[], bool]) -> None:
    assert not harm()
    defects.switch_on(name)
    assert harm()


def test_without_grants_every_namespace_is_open() -> None:
    cluster = MemoryCluster().with_echo()
    route = HTTPRoute.parse(policy("r", {"parentRefs": [], "rules": []}, "stranger"), "cluster.local")
    backend = Destination(ECHO, 80)
    assert references.backend_problem(cluster.snapshot(), route, backend).startswith("RefNotPermitted")
    defects.switch_on("reference-grant-unchecked")
    assert not references.backend_problem(cluster.snapshot(), route, backend)


def test_a_version_that_never_changes_hides_every_change() -> None:
    defects.switch_on("version-unchanged")
    one = MemoryCluster().with_echo().world().shared[ResourceType.ENDPOINT]
    other = MemoryCluster().with_echo().drop("Pod", "echo-v1").world().shared[ResourceType.ENDPOINT]
    assert [item.version for item in one.values()] == [item.version for item in other.values()]


def test_a_bad_object_ends_the_reading_of_its_kind() -> None:
    defects.switch_on("bad-object-blocks-all")
    watcher = Watcher(cast("Kube", None), Store(), lambda _snapshot: None)
    source = next(one for one in SOURCES if one.name == "VirtualService")
    with pytest.raises(ValueError, match="hosts"):
        watcher._take(source, policy("bad", {}))


def test_routes_go_out_before_their_clusters() -> None:
    from refmesh.discovery import stream

    defects.switch_on("route-before-cluster")
    assert next(iter(stream.delivery())) is ResourceType.ROUTE
    assert ResourceType.ROUTE in stream.delivery()[ResourceType.CLUSTER]


def test_answers_are_not_recognised_and_rejections_not_heard() -> None:
    from refmesh.discovery import stream

    request = DeltaDiscoveryRequest(response_nonce="1")
    request.error_detail.message = "no"
    assert stream.answered(request, {"1": 0.0}) == "1"
    assert stream.rejection(request) == "no"
    defects.switch_on("nonces-confused")
    defects.switch_on("nack-ignored")
    assert stream.answered(request, {"1": 0.0}) is None
    assert not stream.rejection(request)


def test_grpc_becomes_bytes() -> None:
    from refmesh.config import model, objects

    defects.switch_on("grpc-per-connection")
    assert objects.protocol_of("grpc") is model.Protocol.TCP
    assert objects.protocol_of("http") is model.Protocol.HTTP


@pytest.mark.parametrize("sulks", [False, True])
def test_a_proxy_that_rejected_a_cluster_gets_no_other_with_the_defect_alone(sulks: bool) -> None:
    if sulks:
        defects.switch_on("never-heals-after-rejection")
    server, proxy = ProxyState(), SimulatedProxy()
    server.offer(first := Toy(clusters={"a": 0}, bad=frozenset({"a"})).tables(), {})
    proxy.connect()
    exchange(server, proxy, 0.0)
    server.offer(Toy(clusters={"b": 0}).tables(first), {})
    exchange(server, proxy, 1.0)
    assert ("b" in proxy.has[ResourceType.CLUSTER]) is not sulks
