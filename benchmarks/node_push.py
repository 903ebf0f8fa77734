"""What a push costs the control plane where a Service is seen otherwise from every Node, beside one without such.

A synthetic cluster with a proxy on every Node; no network and no Envoys, only what the control plane does: the world
is built from a snapshot, every proxy is offered it, and what it is to be sent is worked out and acknowledged. One
Service has a pod on every Node and `internalTrafficPolicy: Local`, or a few pods and `trafficDistribution:
PreferSameNode`. Either an endpoint of some other Service changes (`other`), over and over, or one of its own (`own`).
Rounds with and without take turns, so that a busy machine hits both, and a ratio is of medians of processor time.
`proxies_ms` leaves out the building of the world, most of which has nothing to do with Nodes. `told` says how many
proxies were sent something, which no way of working it out may change.

    python benchmarks/node_push.py --nodes 50 100 300 --services 300 --endpoints 3000 --changes 20
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from discovery_push import encodes, endpoint_slice, fill, pod, service
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from refmesh.config.store import Store
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.stream import ProxyState
from refmesh.discovery.world import Generator, World

ASKING: dict[str, tuple[dict[str, str], int | None]] = {
    "plain": ({}, None),
    "local": ({"internalTrafficPolicy": "Local"}, None),
    "same_node": ({"trafficDistribution": "PreferSameNode"}, 3),
}
"""What a Service says, and how many pods it has; None: one on every Node."""
LAST = "zz-own"


@dataclass
class Mesh:
    """A cluster with its control plane and proxies."""

    store: Store
    pods: dict[str, list[dict[str, Any]]]
    """By Service, of the two that change."""
    generator: Generator = field(default_factory=lambda: Generator(MeshSettings()))
    proxies: dict[str, ProxyState] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    seconds_of_proxies: dict[str, list[float]] = field(default_factory=dict)
    encoded: dict[str, list[float]] = field(default_factory=dict)
    told: dict[str, list[int]] = field(default_factory=dict)

    def build(self) -> World:
        return self.generator.build(self.store.snapshot())

    def push(self, world: World) -> int:
        """Bring every proxy up to date. Returns how many were sent anything."""
        now, told = time.monotonic(), 0
        for name, proxy in self.proxies.items():
            where = world.snapshot.pods["bench", name]
            proxy.offer(world.tables_of(where), world.own(where))
            sent = False
            while responses := proxy.responses(now):
                sent = True
                for one in responses:
                    proxy.request(DeltaDiscoveryRequest(type_url=one.kind.value, response_nonce=one.nonce))
            told += sent
        return told

    def round(self, what: str, number: int) -> None:
        """One change of an endpoint."""
        app = LAST if what == "own" else "s0"
        self.store.put("EndpointSlice", endpoint_slice(app, self.pods[app], ready=number % 2 == 1))
        begun, before = time.process_time(), encodes()
        world, built = self.build(), time.process_time()
        told, done = self.push(world), time.process_time()
        self.seconds.setdefault(what, []).append(done - begun)
        self.seconds_of_proxies.setdefault(what, []).append(done - built)
        self.encoded.setdefault(what, []).append(encodes() - before)
        self.told.setdefault(what, []).append(told)


def mesh(asking: str, nodes: int, options: argparse.Namespace) -> Mesh:
    store, first = fill(options.services, options.endpoints)
    said, count = ASKING[asking]
    own = [on_node(pod(f"{LAST}-{n}", LAST, 200_000 + n), n) for n in range(count or nodes)]
    asked = service(65_000)
    asked["metadata"]["name"], asked["spec"]["selector"] = LAST, {"app": LAST}
    asked["spec"] |= said
    store.put("Service", asked)
    callers = [on_node(pod(f"caller-{n}", "caller", 300_000 + n), n) for n in range(nodes)]
    for item in (*own, *callers):
        store.put("Pod", item)
    store.put("EndpointSlice", endpoint_slice(LAST, own, ready=True))
    found = Mesh(store, {"s0": first, LAST: own})
    wanted = list(found.build().shared[ResourceType.ENDPOINT])
    for item in callers:
        proxy = found.proxies[item["metadata"]["name"]] = ProxyState()
        for kind in (ResourceType.CLUSTER, ResourceType.ENDPOINT, ResourceType.LISTENER):
            names = wanted if kind is ResourceType.ENDPOINT else ["*"]
            proxy.request(DeltaDiscoveryRequest(type_url=kind.value, resource_names_subscribe=names))
    found.push(found.build())
    return found


def on_node(made: dict[str, Any], number: int) -> dict[str, Any]:
    made["spec"]["nodeName"] = f"node-{number}"
    return made


def measure(nodes: int, options: argparse.Namespace) -> dict[str, Any]:
    meshes = {asking: mesh(asking, nodes, options) for asking in ASKING}
    for number in range(options.changes):
        for what in ("other", "own"):
            for one in meshes.values():
                one.round(what, number)
    found: dict[str, Any] = {"nodes": nodes}
    for what in ("other", "own"):
        plain = statistics.median(meshes["plain"].seconds[what])
        for asking, one in meshes.items():
            spent = statistics.median(one.seconds[what])
            found[f"{what}_{asking}"] = {
                "ms": round(spent * 1000, 2),
                "ratio": round(spent / plain, 2),
                "proxies_ms": round(statistics.median(one.seconds_of_proxies[what]) * 1000, 2),
                "encodes": statistics.median(one.encoded[what]),
                "told": statistics.median(one.told[what]),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[50, 100, 300])
    parser.add_argument("--services", type=int, default=300)
    parser.add_argument("--endpoints", type=int, default=3000)
    parser.add_argument("--changes", type=int, default=20)
    options = parser.parse_args()
    print("filling the clusters", file=sys.stderr)
    runs = [measure(count, options) for count in options.nodes]
    print(json.dumps({"services": options.services, "endpoints": options.endpoints, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
