"""Which Sidecar speaks for a pod, and that it changes what that pod may call, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from refmesh.discovery import names
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.world import Generator
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, pod, policy
from tests.unit.refmesh_discovery.test_external import entry
from tests.unit.refmesh_discovery.test_generation import encodes, headless

ROOT = "refmesh-system"
CLOSED = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
OPEN = {"outboundTrafficPolicy": {"mode": "ALLOW_ANY"}}
ECHO = {"workloadSelector": {"labels": {"app": "echo"}}}
L, R = ResourceType.LISTENER, ResourceType.ROUTE


def sidecar(name: str, spec: dict[str, Any], namespace: str = "shop", created: str = "2026-01-01T00:00:00Z") -> Any:
    return policy(name, spec, namespace, created=created)


def cluster_of(*sidecars: Any, allow: bool = True) -> MemoryCluster:
    cluster = MemoryCluster().with_echo().put("Pod", pod("other", "10.2.0.1", app="other")).put("Sidecar", *sidecars)
    cluster.generator = Generator(MeshSettings(allow_unknown=allow))
    return cluster


def reaches(cluster: MemoryCluster, name: str = "echo-v1") -> bool:
    """Whether a pod reaches what nobody has registered."""
    capture = all_messages(cluster.world(), ("shop", name), L)["virtualOutbound"]
    return names.PASSTHROUGH.encode() in capture.default_filter_chain.filters[0].typed_config.value


@pytest.mark.parametrize(
    ("sidecars", "allow", "echo", "other"),
    [
        ([], True, True, True),
        ([], False, False, False),
        ([sidecar("m", CLOSED, ROOT)], True, False, False),
        ([sidecar("m", CLOSED, "elsewhere")], True, True, True),
        ([sidecar("n", {**CLOSED, "egress": [{"hosts": ["*/*"]}]})], True, False, False),
        ([sidecar("w", {**CLOSED, **ECHO})], True, False, True),
        ([sidecar("w", {**OPEN, **ECHO}), sidecar("n", CLOSED)], True, True, False),
        # The root namespace's workloads, and nobody else's.
        ([sidecar("w", {**CLOSED, **ECHO}, ROOT)], True, True, True),
        ([sidecar("m", CLOSED, ROOT), sidecar("n", OPEN)], False, True, True),
        # They are not merged: the closer one is silent, so what was chosen at install holds.
        ([sidecar("m", CLOSED, ROOT), sidecar("n", {})], True, True, True),
        ([sidecar("n", {"outboundTrafficPolicy": {}})], True, False, False),
        ([sidecar("new", CLOSED, created="2026-02-01T00:00:00Z"), sidecar("old", OPEN)], False, True, True),
        # One that cannot be read opens nothing, and closes what it may want closed.
        ([sidecar("bad", {**CLOSED, **ECHO, "ingress": []})], True, False, True),
        ([sidecar("bad", {"outboundTrafficPolicy": "x", "workloadSelector": 1})], True, False, False),
        ([sidecar("m", CLOSED, ROOT), sidecar("bad", {**OPEN, "ingress": []})], True, False, False),
    ],
)
def test_the_closest_speaks(sidecars: list[Any], allow: bool, echo: bool, other: bool) -> None:
    cluster = cluster_of(*sidecars, allow=allow)
    assert (reaches(cluster), reaches(cluster, "other")) == (echo, other)


def routes_of(cluster: MemoryCluster, name: str, listener: str) -> Any:
    """The routes of a listener's only connection manager, wherever they come from."""
    found = all_messages(cluster.world(), ("shop", name), L)[listener]
    manager = HttpConnectionManager.FromString(found.filter_chains[0].filters[0].typed_config.value)
    if manager.HasField("route_config"):
        return manager.route_config
    return all_messages(cluster.world(), ("shop", name), R)[manager.rds.route_config_name]


def test_requests_to_unknown_hosts_are_a_502_on_ports_of_http_and_others_are_cut_off() -> None:
    cluster = cluster_of(sidecar("w", {**CLOSED, **ECHO}))
    table = all_messages(cluster.world(), ("shop", "echo-v1"), L)
    assert {name for name in table if name.startswith("0.0.0.0")} == {"0.0.0.0_80", "0.0.0.0_70"}
    assert names.BLACK_HOLE.encode() in table["0.0.0.0_80"].default_filter_chain.filters[0].typed_config.value
    (host,) = routes_of(cluster, "echo-v1", "0.0.0.0_80").virtual_hosts
    assert (host.name, list(host.domains), host.routes[0].direct_response.status) == ("block_all", ["*"], 502)
    assert not [name for name in all_messages(cluster.world(), ("shop", "other"), L) if name.startswith("0.0.0.0")]
    # What is registered is there for both.
    assert {"10.0.0.1_80", "10.0.0.1_90"} <= set(table)


def test_hosts_of_a_service_entry_remain_and_only_the_others_are_closed() -> None:
    cluster = cluster_of(sidecar("w", {**CLOSED, **ECHO})).put("ServiceEntry", entry())
    for name, last in (("echo-v1", "block_all"), ("other", "allow_any")):
        known, unknown = routes_of(cluster, name, "0.0.0.0_80").virtual_hosts
        assert known.routes[0].route.cluster == "outbound|80||api.example.com"
        assert (unknown.name, unknown.routes[0].route.cluster) == (last, "" if name == "echo-v1" else names.PASSTHROUGH)


def test_endpoints_of_a_headless_service_are_registered() -> None:
    cluster = headless(MemoryCluster().with_echo(meshed=False))
    assert "10.1.0.2_8080" not in all_messages(cluster.world(), ("shop", "echo-v1"), L)
    cluster.put("Sidecar", sidecar("n", CLOSED))
    assert {"10.1.0.1_8080", "10.1.0.2_8080"} <= set(all_messages(cluster.world(), ("shop", "echo-v1"), L))


def test_pods_that_may_call_the_same_share_what_is_encoded_once() -> None:
    cluster = cluster_of(sidecar("n", CLOSED))
    first = cluster.world()
    one, two = (first.tables_of(first.snapshot.pods["shop", name])[L] for name in ("echo-v1", "other"))
    assert one is two
    assert one is not first.shared[L]
    before = encodes()
    cluster.put("Namespace", {"metadata": {"name": "news"}})
    second = cluster.world()
    assert second.tables_of(second.snapshot.pods["shop", "echo-v1"])[L] is one
    assert encodes() == before
