"""What other people's changes cost a proxy that has no traffic, beside a proxy with the least that a hand would write.

Services come, get pods of two accounts, lose them one by one and go, as those of a namespace that is set up and torn
down. Each change is sent to two Envoys: one has refmesh's bootstrap and all that refmesh generates, the other a
cluster in plaintext for each port, with nothing but its endpoints. What is counted is Envoy's processor time, in
milliseconds for each port of a Service from its first day to its last.

    python benchmarks/proxy_churn.py --services 10 --rounds 4
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from discovery_push import endpoint_slice, pod, service
from envoy.config.cluster.v3.cluster_pb2 import Cluster

from fixtures.images.dependencies import envoy_binary
from fixtures.workloads.pod.certificate import make
from refmesh.agent.bootstrap import bootstrap
from refmesh.agent.enrolment import Identity
from refmesh.agent.secrets import SecretServer
from refmesh.agent.settings import Settings
from refmesh.config.store import Store
from refmesh.discovery import ads
from refmesh.discovery.accounts import Departures
from refmesh.discovery.packing import duration
from refmesh.discovery.resource import ResourceType, encode
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.world import Generator, World

GENERATED, MINIMAL = "generated", "hand-minimal"
NAMESPACE, PROXY = "bench", "proxy"
PATIENCE_SECONDS = 60.0
Change = tuple[str, str, Any]


def lives(first: int, count: int) -> Iterator[tuple[str, list[Change]]]:
    """The changes of some Services from their first day to their last, step by step."""
    apps = {f"s{index}": index for index in range(first, first + count)}
    pods = {app: [_pod(app, index, version) for version in range(2)] for app, index in apps.items()}
    yield (
        "come",
        [
            change
            for app, index in apps.items()
            for change in (("Service", app, service(index)), *_pods(pods[app], address=False), _slice(app, []))
        ],
    )
    yield "first pod", [c for app in apps for c in (*_pods(pods[app][:1]), _slice(app, pods[app][:1], ready=False))]
    yield "second pod", [c for app in apps for c in (*_pods(pods[app][1:]), _slice(app, pods[app], ready=False))]
    yield "ready", [_slice(app, pods[app]) for app in apps]
    yield "one leaves", [c for app in apps for c in (_slice(app, pods[app][1:]), ("Pod", f"{app}-0", None))]
    yield "both left", [c for app in apps for c in (_slice(app, []), ("Pod", f"{app}-1", None))]
    yield "go", [c for app in apps for c in (("Service", app, None), ("EndpointSlice", app, None))]


def _pod(app: str, index: int, version: int) -> dict[str, Any]:
    made = pod(f"{app}-{version}", app, 2 * index + version)
    made["spec"]["serviceAccountName"] = f"{app}-v{version}"
    return made


def _pods(pods: list[dict[str, Any]], *, address: bool = True) -> list[Change]:
    return [("Pod", item["metadata"]["name"], item if address else item | {"status": {}}) for item in pods]


def _slice(app: str, pods: list[dict[str, Any]], *, ready: bool = True) -> Change:
    made = endpoint_slice(app, pods, ready)
    for endpoint in made["endpoints"]:
        endpoint["conditions"]["ready"] = ready
    return "EndpointSlice", app, made


@dataclass
class Arm:
    """An Envoy with its own discovery server."""

    name: str
    hub: ads.Hub
    pid: int
    spent: dict[str, float] = field(default_factory=dict)
    """Processor seconds by step."""

    def processor_seconds(self) -> float:
        # The clock of another process (clock_getcpuclockid(3)): user and system time of all its threads.
        return time.clock_gettime((~self.pid << 3) | 2)

    async def settled(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := self.hub.streams.get((NAMESPACE, PROXY))) is None or not found[0].in_step:  # noqa: ASYNC110 - no hook
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)  # workers finish what they were told

    async def take(self, step: str, world: World) -> None:
        before = self.processor_seconds()
        self.hub.publish(world)
        await asyncio.sleep(0.02)  # the stream takes it; until then it is in step with the world before
        await self.settled()
        self.spent[step] = self.spent.get(step, 0.0) + self.processor_seconds() - before


class Minimal:
    """Makes of each world the least that a hand would write: every outbound cluster in plaintext, and its endpoints."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def of(self, world: World) -> World:
        found = {}
        for name in world.shared[ResourceType.ENDPOINT]:
            if name not in self._made:
                cluster = Cluster(name=name, type=Cluster.EDS, connect_timeout=duration(1.0))
                cluster.eds_cluster_config.eds_config.ads.SetInParent()
                cluster.eds_cluster_config.eds_config.resource_api_version = 2  # V3
                self._made[name] = encode(ResourceType.CLUSTER, name, cluster)
            found[name] = self._made[name]
        kept = {ResourceType.CLUSTER: found, ResourceType.ENDPOINT: world.shared[ResourceType.ENDPOINT]}
        return replace(world, shared=MappingProxyType(kept), own=lambda _: {}, outbound=lambda _: None)


def configuration(name: str, settings: Settings, port: int) -> dict[str, Any]:
    """The bootstrap, with the discovery server on loopback and in plaintext, and ports that the system chooses."""
    config = bootstrap(settings)
    static = config["static_resources"]
    sds = next(item for item in static["clusters"] if item["name"] == "sds-grpc")
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    xds = sds | {"name": "xds-grpc", "load_assignment": {"cluster_name": "xds-grpc", "endpoints": endpoints}}
    config["admin"]["address"]["socket_address"]["port_value"] = 0
    if name == MINIMAL:
        kept = {key: config[key] for key in ("node", "admin", "dynamic_resources")}
        return kept | {"static_resources": {"clusters": [xds]}}
    static["clusters"] = [xds, *(item for item in static["clusters"] if item["name"] != "xds-grpc")]
    for listener in static["listeners"]:
        if "socket_address" in listener["address"]:
            listener["address"]["socket_address"] |= {"address": "127.0.0.1", "port_value": 0}
    return config


@asynccontextmanager
async def running(name: str, folder: Path, world: World) -> AsyncIterator[Arm]:
    folder.mkdir()  # noqa: ASYNC240 - a temporary one
    settings = Settings(PROXY, NAMESPACE, PROXY, "127.0.0.1", "", run_dir=str(folder))
    key, separator, certificate = make([PROXY]).partition(b"-----BEGIN CERTIFICATE-----")
    secrets = SecretServer(settings.sds_socket)
    secrets.start()
    secrets.publish(Identity(key, separator + certificate, separator + certificate, time.time() + 3600))
    hub = ads.Hub()
    hub.publish(world)
    # The simulated proxies all say that they are of one pod.
    discovery = ads.DiscoveryService(hub, MeshSettings(), authenticate=False, most_of_a_pod=1 << 20)
    server, port = await ads.serve(discovery, "127.0.0.1:0", None)
    config = folder / "bootstrap.json"
    config.write_text(json.dumps(configuration(name, settings, port)))
    arguments = ("-c", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(envoy_binary(), *arguments, stdout=log, stderr=log)
        try:
            arm = Arm(name, hub, process.pid)
            await arm.settled()
            yield arm
        finally:
            process.kill()
            await process.wait()
            await ads.stop(server)


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    store, generator, departures, minimal = Store(), Generator(MeshSettings()), Departures(clock=lambda: 0.0), Minimal()
    store.put("Pod", pod(PROXY, PROXY, 0xFFFFFF))
    for index in range(options.others):
        store.put("Service", service(index))
        store.put("EndpointSlice", endpoint_slice(f"s{index}", [], ready=True))

    def worlds() -> dict[str, World]:
        world = generator.build(departures.noted(store.snapshot()))
        return {GENERATED: world, MINIMAL: minimal.of(world)}

    async with AsyncExitStack() as stack:
        arms = [
            await stack.enter_async_context(running(name, folder / name, world)) for name, world in worlds().items()
        ]
        await asyncio.sleep(1)
        rest = {arm.name: -arm.processor_seconds() for arm in arms}
        await asyncio.sleep(options.rest)
        rest = {arm.name: rest[arm.name] + arm.processor_seconds() for arm in arms}
        for index in range(options.rounds):
            for step, changes in lives(options.others + index * options.services, options.services):
                for kind, name, obj in changes:
                    if obj is None:
                        store.drop(kind, (NAMESPACE, name))
                    else:
                        store.put(kind, obj)
                made = worlds()
                for arm in arms:
                    await arm.take(step, made[arm.name])
    return report(arms, options.rounds * options.services, {name: 1000 * s / options.rest for name, s in rest.items()})


def report(arms: list[Arm], ports: int, rest: dict[str, float]) -> dict[str, Any]:
    total = {arm.name: sum(arm.spent.values()) for arm in arms}
    return {
        "ports": ports,
        "ms_a_port": {
            arm.name: {step: round(1000 * seconds / ports, 2) for step, seconds in arm.spent.items()} for arm in arms
        },
        "ms_a_port_in_all": {name: round(1000 * seconds / ports, 2) for name, seconds in total.items()},
        "ms_a_second_at_rest": {name: round(ms, 2) for name, ms in rest.items()},
        "ratio": round(total[GENERATED] / total[MINIMAL], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--services", type=int, default=10, help="how many change together")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--others", type=int, default=50, help="Services that stay as they are")
    parser.add_argument("--rest", type=float, default=5.0, help="seconds without a change that are measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(asyncio.run(measure(options, Path(directory))), indent=1))


if __name__ == "__main__":
    main()
