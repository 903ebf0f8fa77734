"""What namespaces with rules and Services of their own cost the control plane, beside the same cluster without any.

Each of `--namespaces` has a few Services; with rules of its own also a DestinationRule that is exported to itself alone
and, by `networking.istio.io/exportTo`, one Service more. One endpoint changes over and over; timed are the world that
is made of each change, and what is different for one proxy of every namespace. Both clusters take turns, and memory is
what Python allocates for each. The limit is on the world: that a namespace costs its own differences, and no copy of
what everybody has.

    python benchmarks/discovery_namespaces.py --namespaces 200 --services 10 --changes 7
"""

from __future__ import annotations

import argparse
import json
import time
import tracemalloc
from typing import Any

from discovery_push import endpoint_slice, pod

from refmesh.config.store import Store
from refmesh.discovery.difference import changes
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.world import Generator, World

LIMIT = 3.0
"""Times as long as without rules."""


def placed(item: dict[str, Any], namespace: str) -> dict[str, Any]:
    """The object in a namespace."""
    item["metadata"]["namespace"] = namespace
    return item


def service(name: str, number: int, exported: str) -> dict[str, Any]:
    address = f"12.{number // 65536 % 256}.{number // 256 % 256}.{number % 256}"
    return {
        "metadata": {"name": name, "annotations": {"networking.istio.io/exportTo": exported}},
        "spec": {
            "clusterIP": address,
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
        },
    }


class Cluster:
    """A synthetic cluster, and the time that each change took."""

    def __init__(self, name: str, namespaces: int, services: int, *, ruled: bool) -> None:
        self.name, self.store, self.generator = name, Store(), Generator(MeshSettings())
        self.spaces = [f"ns{index}" for index in range(namespaces)]
        self.build: list[float] = []
        self.differences: list[float] = []
        tracemalloc.start()
        for index, space in enumerate(self.spaces):
            self.store.put("Namespace", {"metadata": {"name": space}})
            for place in range(services + ruled):
                self._service(space, f"s{place}", index * (services + 1) + place, "." if place == services else "*")
            if ruled:
                rule = {"host": f"s0.{space}.svc.cluster.local", "exportTo": ["."], "subsets": [{"name": "v1"}]}
                self.store.put("DestinationRule", placed({"metadata": {"name": "own"}, "spec": rule}, space))
        self.world = self._made()
        self.megabytes = tracemalloc.get_traced_memory()[0] / 2**20
        tracemalloc.stop()

    def _service(self, space: str, name: str, number: int, exported: str) -> None:
        item = placed(pod(f"{name}-0", name, number), space)
        self.store.put("Service", placed(service(name, number, exported), space))
        self.store.put("Pod", item)
        self.store.put("EndpointSlice", placed(endpoint_slice(name, [item], ready=True), space))

    def _made(self) -> World:
        return self.generator.build(self.store.snapshot())

    def change(self, number: int) -> None:
        """Another address for an endpoint of the first namespace."""
        self._service("ns0", "s0", 1_000_000 + number, "*")
        began = time.perf_counter()
        new = self._made()
        built = time.perf_counter()
        for space in self.spaces:
            one = new.snapshot.pods[space, "s0-0"]
            before, after = self.world.tables_of(one), new.tables_of(one)
            for kind in ResourceType:
                changes(before.get(kind, {}), after.get(kind, {}))
        self.differences.append(time.perf_counter() - built)
        self.build.append(built - began)
        self.world = new

    def row(self) -> dict[str, Any]:
        return {
            "cluster": self.name,
            "world ms": round(min(self.build) * 1e3, 1),
            "differences ms": round(min(self.differences) * 1e3, 1),
            "MB": round(self.megabytes, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--namespaces", type=int, default=200)
    parser.add_argument("--services", type=int, default=10)
    parser.add_argument("--changes", type=int, default=7)
    options = parser.parse_args()
    clusters = [
        Cluster(name, options.namespaces, options.services, ruled=ruled)
        for name, ruled in (("without rules", False), ("with rules", True))
    ]
    for number in range(options.changes):
        for one in clusters:
            one.change(number)
    without, ruled = (one.row() for one in clusters)
    for row in (without, ruled):
        print(json.dumps(row))
    ratio = ruled["world ms"] / without["world ms"]
    word = "within" if ratio <= LIMIT else "BEYOND"
    print(f"{options.namespaces} namespaces with rules: {ratio:.1f} times, {word} the limit of {LIMIT:.1f}")


if __name__ == "__main__":
    main()
