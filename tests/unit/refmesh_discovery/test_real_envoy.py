"""The real Envoy takes every change over the real delta protocol, at once and without a rejection."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from refmesh.agent.statistics import OF_CLUSTERS
from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.envoy_process import EnvoyUnderTest, running_envoy
from tests.unit.refmesh_discovery.helpers import MemoryCluster, endpoint_slice, pod, policy, service

PATIENCE_SECONDS = 20.0


def change(dice: random.Random, cluster: MemoryCluster) -> str:
    """One random change, as users and controllers make them."""
    name, kind = dice.choice(["a", "b", "c"]), dice.randrange(8)
    if kind == 0:
        number = ord(name)
        pods = [pod(f"{name}-1", f"10.3.{number}.1", app=name, account=dice.choice(["x", "y"]))]
        cluster.put("Service", service(name, f"10.9.0.{number}")).put("Pod", *pods)
        cluster.put("EndpointSlice", endpoint_slice(name, pods))
        return f"add {name}"
    if kind == 1:
        cluster.drop("Service", name).drop("EndpointSlice", f"{name}-x").drop("Pod", f"{name}-1")
        return f"remove {name}"
    if kind == 2:
        cluster.drop("Pod", f"{name}-1")
        return f"kill {name}"
    if kind == 3:
        host = dice.choice([name, "echo"])
        rule = {
            "host": host,
            "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
            "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": dice.randrange(1, 5)}}},
        }
        cluster.put("DestinationRule", policy(host, rule))
        return f"rule {host}"
    if kind == 4:
        cluster.drop("DestinationRule", dice.choice([name, "echo"]))
        return "no rule"
    if kind == 5:
        weight = dice.randrange(0, 100)
        route: list[dict[str, Any]] = [
            {"destination": {"host": "echo", "subset": "v1"}, "weight": 100 - weight},
            {"destination": {"host": name}, "weight": weight},
        ]
        cluster.put("VirtualService", policy("split", {"hosts": ["echo"], "http": [{"route": route}]}))
        return "split"
    if kind == 6:
        mode = dice.choice(["STRICT", "PERMISSIVE", "DISABLE"])
        cluster.put("PeerAuthentication", policy("default", {"mtls": {"mode": mode}}))
        return mode
    cluster.drop("VirtualService", "split")
    return "no split"


async def names_in_force(envoy: EnvoyUnderTest) -> dict[ResourceType, set[str]]:
    dump = await envoy.get("config_dump")
    by_type: dict[str, Any] = {item["@type"].rpartition(".")[2]: item for item in dump["configs"]}
    clusters = by_type["ClustersConfigDump"].get("dynamic_active_clusters", [])
    listeners = by_type["ListenersConfigDump"].get("dynamic_listeners", [])
    routes = by_type.get("RoutesConfigDump", {}).get("dynamic_route_configs", [])
    return {
        ResourceType.CLUSTER: {item["cluster"]["name"] for item in clusters},
        ResourceType.LISTENER: {item["name"] for item in listeners if "active_state" in item},
        ResourceType.ROUTE: {item["route_config"]["name"] for item in routes},
    }


async def test_random_changes_reach_envoy_without_a_stall_or_rejection(tmp_path: Path) -> None:
    dice = random.Random(7)
    cluster = MemoryCluster().with_echo()
    async with running_envoy(cluster, tmp_path) as envoy:
        await envoy.settled(PATIENCE_SECONDS)
        for _ in range(60):
            made = [change(dice, cluster)]
            envoy.publish()
            for _ in range(dice.choice([0, 0, 1, 3])):
                made.append(change(dice, cluster))
                envoy.publish()
            await envoy.settled(PATIENCE_SECONDS, what=", ".join(made))
            assert envoy.state is not None
            rejected = {kind: item["rejected"] for kind, item in envoy.state.status().items() if item["rejected"]}
            assert not rejected
        world = cluster.world()
        own = world.own(world.snapshot.pods["shop", "echo-v1"])
        found = await names_in_force(envoy)
        for kind in (ResourceType.CLUSTER, ResourceType.LISTENER):
            assert found[kind] == set(world.shared[kind]) | set(own[kind]), kind
        assert found[ResourceType.ROUTE] >= set(world.shared[ResourceType.ROUTE])


async def test_envoy_has_the_statistics_of_clusters_that_are_told_and_no_others(tmp_path: Path) -> None:
    rule = policy("echo", {"host": "echo", "trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 5}}})
    cluster = MemoryCluster().with_echo().put("DestinationRule", rule)
    async with running_envoy(cluster, tmp_path) as envoy:
        await envoy.settled(PATIENCE_SECONDS)
        names = [item.get("name", "") for item in (await envoy.get("stats?format=json"))["stats"]]
    prefix = "cluster.outbound|80||echo.shop.svc.cluster.local."
    assert {name.removeprefix(prefix) for name in names if name.startswith(prefix)} == set(OF_CLUSTERS)
    assert {"cluster_manager.cluster_added", "server.live"} <= set(names)
    assert any(name.startswith("listener.0.0.0.0_15006.") for name in names)
