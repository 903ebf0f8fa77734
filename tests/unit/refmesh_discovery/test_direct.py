"""Whose word counts at an address that several Services claim, headless ones with endpoints written by hand among."""

from __future__ import annotations

from typing import Any

import pytest

from refmesh.discovery.names import direct_cluster
from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.helpers import (
    MemoryCluster,
    all_messages,
    endpoint_slice,
    metadata,
    pod,
    policy,
    service,
)
from tests.unit.refmesh_discovery.test_generation import headless

TLS = {"trafficPolicy": {"tls": {"mode": "SIMPLE", "insecureSkipVerify": True}}}
CLOSED = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}
REMOTE = "192.0.2.9"


def by_hand(
    cluster: MemoryCluster, name: str, namespace: str, address: str, port: int, *, tls: bool = True, **more: Any
) -> None:
    """A headless Service with one address that somebody wrote, and a rule that has TLS spoken to it."""
    made = service(name, "None", namespace, {"http": (80, port)})
    made["metadata"] = metadata(name, namespace, **more)
    del made["spec"]["selector"]
    written = endpoint_slice(name, [], namespace, ports={"http": port})
    written["endpoints"] = [{"addresses": [address]}]
    cluster.put("Service", made).put("EndpointSlice", written)
    if tls:
        cluster.put(
            "DestinationRule", policy(name, {"host": f"{name}.{namespace}.svc.cluster.local", **TLS}, namespace)
        )


def listeners(cluster: MemoryCluster) -> dict[str, bytes]:
    found = all_messages(cluster.world(), ("client", "caller"), ResourceType.LISTENER)
    return {name: message.SerializeToString(deterministic=True) for name, message in found.items()}


def caller(cluster: MemoryCluster) -> MemoryCluster:
    return cluster.put("Pod", pod("caller", "10.3.0.1", "client", app="caller"))


@pytest.mark.parametrize("where", ["aaa", "client"])
def test_an_endpoint_written_by_hand_does_not_take_the_address_of_a_service(where: str) -> None:
    cluster = caller(MemoryCluster().with_echo())
    before = listeners(cluster)
    by_hand(cluster, "x", "aaa", "10.0.0.1", 80, tls=where == "aaa")
    cluster.put("DestinationRule", policy("own", {"host": "x.aaa.svc.cluster.local", **TLS}, where))
    assert listeners(cluster) == before


@pytest.mark.parametrize("own_service", [False, True])
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("where", ["aaa", "client"])
def test_an_endpoint_written_by_hand_says_nothing_of_another_namespaces_pod(
    where: str, *, own_service: bool, closed: bool
) -> None:
    cluster = caller(MemoryCluster().with_echo())
    if own_service:
        headless(cluster)
    if closed:
        cluster.put("Sidecar", policy("s", CLOSED, "client"))
    before = listeners(cluster)
    by_hand(cluster, "x", "aaa", "10.1.0.1", 8080)
    cluster.put("DestinationRule", policy("own", {"host": "x.aaa.svc.cluster.local", **TLS}, where))
    assert listeners(cluster) == before
    assert ("10.1.0.1_8080" in before) is own_service
    # In plaintext it is reached as any address is: where only Services may be called it is one, and no more than that.
    plain = {"host": "x.aaa.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "DISABLE"}}}
    cluster.put("DestinationRule", policy("own", plain, where)).drop("DestinationRule", "x", "aaa")
    assert set(listeners(cluster)) - set(before) == ({"10.1.0.1_8080"} if closed and not own_service else set())
    assert listeners(cluster).items() >= before.items()


@pytest.mark.parametrize("names", [("a", "z"), ("z", "a")])
def test_of_two_services_with_an_address_outside_the_older_says_how_it_is_spoken_to(names: tuple[str, str]) -> None:
    older, younger = names
    cluster = caller(MemoryCluster().with_echo())
    by_hand(cluster, "db", younger, REMOTE, 5432, created="2026-02-02T00:00:00Z")
    by_hand(cluster, "db", older, REMOTE, 5432, created="2026-02-01T00:00:00Z")
    expected = direct_cluster(80, f"db.{older}.svc.cluster.local").encode()
    assert expected in listeners(cluster)[f"{REMOTE}_5432"]
    # Nor is it another for clients whose namespace speaks of the younger.
    cluster.put("DestinationRule", policy("own", {"host": f"db.{younger}.svc.cluster.local", **TLS}, "client"))
    assert expected in listeners(cluster)[f"{REMOTE}_5432"]


def test_an_address_that_is_nobody_elses_is_spoken_to_as_the_rule_says() -> None:
    cluster = caller(MemoryCluster().with_echo())
    by_hand(cluster, "db", "aaa", REMOTE, 5432)
    assert direct_cluster(80, "db.aaa.svc.cluster.local").encode() in listeners(cluster)[f"{REMOTE}_5432"]


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("meshed", [False, True])
def test_a_pod_that_is_not_ready_any_more_is_reached_as_before(*, meshed: bool, closed: bool) -> None:
    cluster = caller(headless(MemoryCluster().with_echo(meshed=meshed)))
    if closed:
        cluster.put("Sidecar", policy("s", CLOSED, "client"))
    before = listeners(cluster)
    assert ("10.1.0.1_8080" in before) is (meshed or closed)
    cluster.put("EndpointSlice", endpoint_slice("echo", [pod("echo-v1"), pod("echo-v2", "10.1.0.2")], ready=False))
    assert listeners(cluster) == before
    cluster.drop("Pod", "echo-v1")
    left = {name: made for name, made in before.items() if not name.startswith("10.1.0.1_")}
    assert listeners(cluster) == left
